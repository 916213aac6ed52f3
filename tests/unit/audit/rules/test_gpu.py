"""GPUs: each way that a host can have one which no container gets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from audited import CLEAN, GPU, GPU_HOST, MINE, WITH_GPU, facts

from canaryctl.audit.rules.gpu import (
    cdi_stale,
    driver_missing,
    driver_old,
    gpu_lost,
    gpu_missing,
    lost_on_reload,
    runtime_missing,
    toolkit_missing,
)
from canaryctl.audit.severity import Severity
from canaryctl.facts.host import HostFacts

RULES = (gpu_missing, driver_missing, gpu_lost, driver_old, toolkit_missing, runtime_missing, cdi_stale, lost_on_reload)
CDI = [{"path": "/etc/cdi/nvidia.yaml", "driver": "550.54.15", "devices": ["nvidia.com/gpu=all"]}]
SOUND: dict[str, Any] = {"cgroup_driver": "cgroupfs", "runtimes": ["nvidia", "runc"]}


def host(*, gpus: int = 1, docker: dict[str, Any] = SOUND, **gpu: Any) -> HostFacts:
    return facts({"gpus": [GPU] * gpus, "gpu": {**GPU_HOST, **gpu}, "docker": {**CLEAN["docker"], **docker}})


@pytest.mark.parametrize(
    ("seen", "rules"),
    [
        (host(), []),
        (facts({}), [gpu_missing]),
        (host(gpus=0, driver="", state="no-driver"), [driver_missing]),
        (host(gpus=0, driver="", pci=[], nvidiactl=True, state="no-driver"), [driver_missing]),
        (host(gpus=0, driver="", state="lost", says="fallen off the bus"), [gpu_lost]),
        (host(gpus=0, driver="", state="unanswered"), [gpu_lost]),
        (host(missing=["0000:02"]), [gpu_lost]),
        (host(driver="440.33.01"), [driver_old]),
        (host(toolkit=None), [toolkit_missing]),
        (host(toolkit=None, docker={**SOUND, "cdi": True}, cdi=CDI), []),
        (host(docker={**SOUND, "runtimes": ["runc"]}), [runtime_missing]),
        (host(docker={**SOUND, "runtimes": ["runc"]}, hook=True), []),
        (host(docker={**SOUND, "runtimes": ["runc"], "cdi": True}, cdi=CDI), []),
        (host(docker={**SOUND, "runtimes": ["runc"], "cdi": True}), [runtime_missing]),
        (host(cdi=[{**CDI[0], "driver": "535.1", "stale": True}]), [cdi_stale]),
        (host(docker={**SOUND, "cgroup_driver": "systemd"}), [lost_on_reload]),
        (host(docker={**SOUND, "cgroup_driver": "systemd", "cdi": True}, cdi=CDI), []),
    ],
)
def test_what_keeps_a_gpu_from_a_service(seen: HostFacts, rules: list[Any]) -> None:
    assert [rule for rule in RULES if list(rule(seen, WITH_GPU))] == rules


@pytest.mark.parametrize(
    ("driver", "cuda", "enough"),
    [("525.60.13", "12.4", True), ("525.60.12", "12.4", False), ("550.54.15", "13.0", False), ("550.54.15", "", True)],
)
def test_a_driver_is_held_against_the_newest_cuda_that_images_need(driver: str, cuda: str, enough: bool) -> None:
    assert bool(list(driver_old(host(driver=driver), replace(WITH_GPU, cuda=cuda)))) != enough


def test_what_is_amiss_with_a_gpu_that_nothing_uses_is_a_warning() -> None:
    for seen in (host(toolkit=None), host(missing=["0000:02"]), host(driver="440.33.01")):
        (found,) = [one for rule in RULES for one in rule(seen, MINE)]
        assert found.severity is Severity.WARNING
    for seen in (facts({}), host(docker={**SOUND, "cgroup_driver": "systemd"})):
        assert not [one for rule in RULES for one in rule(seen, MINE)]
