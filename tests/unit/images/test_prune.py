"""What became of pruning a host."""

from __future__ import annotations

from pathlib import Path

import pytest
from local import local
from recorded import Recorded

from canaryctl.errors import HostError, LockedError
from canaryctl.hosts import Connection
from canaryctl.images.destination import Destination
from canaryctl.images.prune import Pruned, prune

ANSWER = {"agent": 1, "images": ["canaryctl/shop/web:a"], "releases": ["a-b"], "kept": {"c-d": ["x"]}, "faults": {}}


def pruned(connection: Connection) -> Pruned:
    return prune(Destination(connection, "shop"))


def test_what_went_and_what_stayed() -> None:
    assert pruned(Recorded([ANSWER])) == Pruned(("canaryctl/shop/web:a",), ("a-b",), {}, {"c-d": ("x",)})


def test_a_lost_lock_is_told() -> None:
    with pytest.raises(LockedError) as caught:
        pruned(Recorded([{**ANSWER, "lost": [{"holder": "eve@box"}]}]))
    assert caught.value.exit_code == 5 and "eve@box" in caught.value.what


def test_an_answer_of_another_form_is_not_believed() -> None:
    with pytest.raises(HostError):
        pruned(Recorded([{**ANSWER, "images": [5]}]))


def test_where_nothing_was_ever_released_nothing_goes(tmp_path: Path) -> None:
    found = pruned(local("alpha", tmp_path))  # the real program, on this machine
    assert (found.images, found.releases) == ((), ()) and list(found.faults) == [str(tmp_path / "shop")]
