"""Images that are run to check them leave no container behind."""

from __future__ import annotations

import subprocess

import pytest

from canaryctl.contract.running import OLD


@pytest.mark.parametrize(
    ("ago", "old"),
    [
        ("Less than a second ago", False),
        ("59 minutes ago", False),
        ("About an hour ago", False),
        ("2 hours ago", True),
        ("36 hours ago", True),
        ("3 weeks ago", True),
    ],
)
def test_only_containers_that_no_check_can_be_waiting_for_are_old(ago: str, old: bool) -> None:
    done = subprocess.run(["grep", "-E", OLD], input=f"0123456789ab {ago}\n", text=True, capture_output=True)
    assert (done.returncode == 0) is old
