"""A lock on a host, by the agent's own program on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from local import local, local_host

from canaryctl.errors import ApplyError
from canaryctl.hosts.lock import Claim, acquire, host_lock, release, renew, show, stack_lock

MINE = Claim("mine", "me@laptop", "canary", "deploy", "", "r-1", "/runs/r-1", 60, False)
THEIRS = replace(MINE, token="theirs", holder="bob@desk")


def test_where_locks_are() -> None:
    host = local_host(root="/srv/ctl")
    assert (stack_lock(host, "shop"), host_lock(host)) == ("/srv/ctl/shop/lock", "/srv/ctl/.lock")


def test_a_lock_is_taken_shown_renewed_and_given_up(tmp_path: Path) -> None:
    here = local(root=tmp_path)
    path = stack_lock(here.inventory, "shop")
    assert acquire(here, [path], MINE).refused is None
    refused = acquire(here, [path], THEIRS)
    assert refused.refused and (refused.refused.holder, refused.path) == ("me@laptop", path)
    assert show(here, [path, host_lock(here.inventory)])[path].run == "r-1"
    assert renew(here, [path], "mine") == {} and list(renew(here, [path], "theirs")) == [path]
    assert release(here, [path], "theirs") == ()
    (given_up,) = release(here, [path], "mine")
    assert given_up.holder == "me@laptop" and show(here, [path]) == {}
    assert renew(here, [path], "mine") == {path: None}


def test_a_lock_makes_way_by_its_mark(tmp_path: Path) -> None:
    here = local(root=tmp_path)
    path = stack_lock(here.inventory, "shop")
    acquire(here, [path], MINE)
    seen = show(here, [path])[path]
    (displaced,) = acquire(here, [path], THEIRS, {seen.mark}).displaced
    assert displaced.mark == seen.mark
    (given_up,) = release(here, [path], marks=[show(here, [path])[path].mark])
    assert given_up.holder == "bob@desk"


def test_a_host_that_can_keep_no_lock_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    here = local(root=tmp_path / "file")
    with pytest.raises(ApplyError) as caught:
        acquire(here, [stack_lock(here.inventory, "shop")], MINE)
    assert (caught.value.stage, caught.value.host) == ("lock", "here")
