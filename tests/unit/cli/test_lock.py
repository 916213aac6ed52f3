"""`canaryctl lock`, with this machine as the host."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import LOST, ctl, make_project

from canaryctl.evidence.document import operator_name

HELD = ("acquire", "canary", "--message", "the disk is being swapped", "--ttl", "10m")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_project(tmp_path)


def held() -> dict[str, object] | None:
    document = ctl("lock", "status", "canary", "--output", "json").document
    lock: dict[str, object] | None = document["locks"]["here"]["stack"]
    return lock


def test_a_lock_is_held_until_it_is_released() -> None:
    assert ctl("lock", "status", "canary").out == "here: free\n"
    assert ctl("lock", "release", "canary").out == "canary was not locked\n"
    assert ctl("lock", *HELD).out == "canary is locked for 10m on here\n"
    lock = held()
    assert lock is not None and lock["holder"] == operator_name() and lock["message"] == "the disk is being swapped"
    assert lock["held"] is True and lock["ttl"] == 600 and lock["expires"]
    assert "locked by" in ctl("lock", "status", "canary").out
    released = ctl("lock", "release", "canary", "--output", "json").document
    assert [one["mark"] for one in released["released"]["here"]] == [lock["mark"]]
    assert held() is None


def test_who_comes_second_is_refused_and_may_break_it() -> None:
    first = ctl("lock", *HELD, "--output", "json").document
    assert first == {"environment": "canary", "stack": "shop", "locked": ["here"], "displaced": []}
    refused = ctl("lock", *HELD)
    assert refused.code == 5 and refused.error and refused.error.where == "here"
    broken = ctl("lock", *HELD, "--break-lock")
    assert broken.code == 0 and broken.out.startswith("displaced: locked by ")


def test_a_host_that_cannot_be_asked_takes_the_exit_code_and_not_the_answer(tmp_path: Path) -> None:
    make_project(tmp_path, "pair", here={}, lost=LOST)
    done = ctl("lock", "status", "pair")
    assert (done.code, done.out) == (3, "here: free\n") and "where: lost" in done.err
    assert ctl("lock", "acquire", "pair", "-m", "x").code == 3
    assert ctl("lock", "status", "pair", "--limit", "here").out == "here: free\n"  # nothing was locked


@pytest.mark.parametrize(
    ("argv", "where"), [(["--ttl", "soon"], "--ttl"), (["--ttl", "0s"], "--ttl"), (["--message", " "], "--message")]
)
def test_options_that_say_nothing_are_refused(argv: list[str], where: str) -> None:
    done = ctl("lock", *HELD, *argv)
    assert done.code == 2 and done.error and done.error.where == where and held() is None


def test_a_lock_needs_a_message() -> None:
    done = ctl("lock", "acquire", "canary")
    assert done.code == 2 and "--message" in done.err
