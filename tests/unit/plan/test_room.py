"""Room on a host for a release's files: asked before anything is changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from planned import TARGET, document, only_problem, plan_of, state

ROOT = "/opt/canaryctl"
PLENTY = {"total": 10**10, "free": 10**9, "inodes": 10**6, "inodes_free": 10**5}


def with_root(disk: dict[str, Any], **more: Any) -> dict[str, Any]:
    return document(disks={"/var/lib/docker": {"free": 10**12}, ROOT: {**PLENTY, **disk}}, **more)


@pytest.mark.parametrize(
    ("disk", "said"),
    [
        ({"free": 4096}, "/opt/canaryctl has 4,096 bytes free, the release needs 2,097,"),
        ({"inodes_free": 3}, "/opt/canaryctl has 3 inodes free"),
        ({"read_only": True}, "/opt/canaryctl is on a file system that is mounted read-only"),
    ],
)
def test_a_full_or_read_only_disk_is_named_with_path_and_figures(disk: dict[str, Any], said: str) -> None:
    target = replace(TARGET, root=ROOT)
    plan = plan_of(with_root(disk, **state(releases={}, current=None)), target)
    problem = only_problem(plan)
    assert problem.what.startswith(f"the release cannot be rendered there: {said}") and (
        problem.stage,
        problem.host,
    ) == ("render", "one")
    assert plan.problems_before_end_of("push") == [] and plan.problems_before_end_of("render") == [problem]


@pytest.mark.parametrize("disk", [{}, {"inodes": 0, "inodes_free": 0}])
def test_a_disk_with_room_stops_nothing(disk: dict[str, Any]) -> None:
    target = replace(TARGET, root=ROOT)
    assert plan_of(with_root(disk, **state(releases={}, current=None)), target).problems == ()


def test_where_nothing_is_written_no_room_is_needed() -> None:
    assert plan_of(with_root({"free": 0}), replace(TARGET, root=ROOT)).problems == ()
