"""The machine itself: where each bound lies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from audited import MINE, MOUNT, audited, facts

from canaryctl.audit.rules.system import (
    clock_skew,
    disk_low,
    inodes_low,
    mount_fstype,
    mount_missing,
    mount_room,
    mount_sentinel,
    os_unsupported,
    python_old,
    reboot_required,
)
from canaryctl.audit.severity import Severity

GB = 10**9
THERE = {"path": "/mnt/m", "point": "/mnt/m", "fstype": "nfs4", "sentinel": True, "free": GB}


def disk(total: float, free: float, **more: Any) -> dict[str, Any]:
    return {"total": int(total), "free": int(free), **more}


@pytest.mark.parametrize(
    ("version", "old"), [("3.7.17", True), ("3.8", False), ("3.8.0", False), ("3.10.1", False), ("", False)]
)
def test_pythons_are_compared_by_number(version: str, old: bool) -> None:
    assert [found.subject for found in python_old(facts({"python": version}), MINE)] == (["python"] if old else [])


@pytest.mark.parametrize(
    ("system", "release", "supported"),
    [
        ("debian", "12", True),
        ("debian", "11", False),
        ("debian", "", True),  # an unreleased one
        ("ubuntu", "22.04", True),
        ("ubuntu", "22.10", True),
        ("ubuntu", "9.10", False),
        ("rocky", "8.10", True),
        ("centos", "8", False),
        ("alpine", "3.22", False),
        ("", "", True),  # it does not say
    ],
)
def test_systems_by_name_and_release(system: str, release: str, supported: bool) -> None:
    found = list(os_unsupported(facts({"os": {"id": system, "version_id": release}}), MINE))
    assert bool(found) != supported


@pytest.mark.parametrize(
    ("found", "severities"),
    [
        (disk(100 * GB, 5 * GB), []),
        (disk(100 * GB, 5 * GB - 1), [None]),
        (disk(20 * GB, 2 * GB), []),
        (disk(20 * GB, 2 * GB - 1), [None]),
        (disk(20 * GB, GB / 2), [None]),
        (disk(20 * GB, GB / 2 - 1), [Severity.ERROR]),
        (disk(0, 0), []),
    ],
)
def test_a_disk_is_low_by_share_or_by_bytes_and_an_error_when_nearly_full(
    found: dict[str, Any], severities: list[Severity | None]
) -> None:
    assert [one.severity for one in disk_low(facts({"disks": {"/": found}}), MINE)] == severities


def test_one_file_system_is_told_once_for_all_the_paths_in_it() -> None:
    full, other = disk(20 * GB, 1, inodes=100, inodes_free=0), disk(21 * GB, 1, inodes=100, inodes_free=4)
    host = facts({"disks": {"/": full, "/var/lib/docker": full, "/srv": other}})
    assert [one.subject for one in disk_low(host, MINE)] == ["/", "/srv"]
    assert [(one.subject, one.severity) for one in inodes_low(host, MINE)] == [("/", Severity.ERROR), ("/srv", None)]


@pytest.mark.parametrize(("inodes", "free", "low"), [(0, 0, False), (100, 5, False), (100, 4, True)])
def test_inodes_that_are_not_counted_are_not_low(inodes: int, free: int, low: bool) -> None:
    found = disk(100 * GB, 50 * GB, inodes=inodes, inodes_free=free)
    assert bool(list(inodes_low(facts({"disks": {"/": found}}), MINE))) == low


@pytest.mark.parametrize(
    ("skew", "severities"),
    [(2.0, []), (-2.0, []), (2.1, [None]), (-60.0, [None]), (60.1, [Severity.ERROR]), (-3600, [Severity.ERROR])],
)
def test_a_clock_that_differs(skew: float, severities: list[Severity | None]) -> None:
    assert [one.severity for one in clock_skew(facts({"skew": skew}), MINE)] == severities


@pytest.mark.parametrize(
    ("reboot", "names"), [(None, None), ({"packages": []}, ""), ({"packages": list("abcdefg")}, "a, b, c, d, e")]
)
def test_a_reboot_names_the_first_packages(reboot: Any, names: str | None) -> None:
    found = [one.what for one in reboot_required(facts(audited(reboot=reboot)), MINE)]
    assert found == ([] if names is None else ["a reboot is required" + (f" for {names}" if names else "")])


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({}, None),
        ({"point": "/"}, mount_missing),
        ({"fstype": "tmpfs"}, mount_fstype),
        ({"sentinel": False}, mount_sentinel),
        ({"free": GB - 1}, mount_room),
    ],
)
def test_each_fault_of_a_mount_is_of_one_rule(changed: dict[str, Any], fault: Any) -> None:
    host, config = facts({"mounts": [{**THERE, **changed}]}), replace(MINE, mounts=(MOUNT,))
    for rule in (mount_missing, mount_fstype, mount_sentinel, mount_room):
        assert [one.subject for one in rule(host, config)] == (["/mnt/m"] if rule is fault else [])
