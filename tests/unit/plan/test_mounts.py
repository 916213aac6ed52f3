"""Declared mounts against what a host has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from planned import (
    TARGET,
    document,
    only_problem,
    plan_of,
)

from canaryctl.config.stack import Mount
from canaryctl.facts.audit import MountFacts
from canaryctl.plan.mounts import mount_faults, mounts_of


def test_a_mount_that_is_gone_forbids_running_anything_but_not_pushing() -> None:
    target = replace(TARGET, mounts=(Mount(path="/mnt/models", fstype="nfs4", sentinel=".mounted"),))
    plan = plan_of(document(), target)
    problem = only_problem(plan)
    assert problem.what == "nothing is mounted at /mnt/models"
    assert plan.problems_before_end_of("render") == []
    assert plan.problems_before_end_of("start") == [problem]
    there = {"path": "/mnt/models", "point": "/mnt/models", "fstype": "nfs4", "sentinel": True, "free": 1}
    assert plan_of(document(mounts=[there]), target).problems == ()


@pytest.mark.parametrize(
    ("seen", "kind"),
    [
        ({"point": "/", "fstype": "ext4"}, "absent"),
        ({"point": "/mnt/models", "fstype": "nfs4", "error": "stat did not answer within 5 s"}, "absent"),
        ({"point": "/mnt/models", "fstype": "tmpfs", "sentinel": True, "free": 10**10}, "fstype"),
        ({"point": "/mnt/models", "fstype": "nfs4", "sentinel": False, "free": 10**10}, "sentinel"),
        ({"point": "/mnt/models", "fstype": "nfs4", "sentinel": True, "free": 10**6}, "room"),
    ],
)
def test_what_is_wrong_with_a_mount(seen: dict[str, Any], kind: str) -> None:
    mount = Mount.model_validate({"path": "/mnt/models", "fstype": "nfs", "sentinel": ".mounted", "min_free": "1GB"})
    (fault,) = mount_faults([mount], {"/mnt/models": MountFacts(path="/mnt/models", **seen)})
    assert fault.kind == kind


def test_a_mount_of_certain_groups_is_not_asked_of_other_hosts() -> None:
    everywhere, gpus = Mount(path="/a"), Mount(path="/b", groups=("gpu_workers",))
    assert mounts_of((everywhere, gpus), ["core"]) == (everywhere,)
    assert mounts_of((everywhere, gpus), ["core", "gpu_workers"]) == (everywhere, gpus)
