"""GPUs as an agent tells of them, typed."""

from __future__ import annotations

from typing import Any

import pytest

from canaryctl.facts.gpu import CdiSpec, GpuFacts, GpuHost, GpuProcess, MigInstance, parse_gpu_host, parse_gpus
from canaryctl.facts.typed import Unbelievable

TOLD = {
    "index": 0,
    "name": "NVIDIA H200",
    "uuid": "GPU-1",
    "memory": 150_754_820_096,
    "memory_used": 1024,
    "pci": {"address": "0000:17:00.0", "generation": 5, "generation_max": 5, "width": 16, "width_max": 16},
    "mig": {"mode": "enabled", "instances": [{"index": 0, "uuid": "MIG-1", "profile": "1g.18gb", "memory": 1 << 34}]},
    "ecc": {"mode": "enabled", "volatile_uncorrected": 2},
    "rows": {"remapped": 1, "pending": True, "failed": False},
    "throttled": ["power cap"],
    "processes": [{"pid": 5, "type": "C+G", "name": "python", "memory": 7, "container": "ab12"}],
}


def test_what_lies_deeper_in_the_answer_comes_up() -> None:
    (gpu,) = parse_gpus([TOLD])
    assert (gpu.name, gpu.pci_address, gpu.mig_mode) == ("NVIDIA H200", "0000:17:00.0", "enabled")
    assert gpu.mig == (MigInstance(0, "MIG-1", "1g.18gb", 1 << 34),)
    readings = gpu.readings
    assert (readings.ecc, readings.ecc_uncorrected) == ("enabled", 2)
    assert (readings.rows_remapped, readings.rows_pending, readings.rows_failed) == (1, True, False)
    assert (readings.pcie_generation, readings.pcie_width_max) == (5, 16)
    assert readings.throttled == ("power cap",) and readings.processes[0].computes


def test_what_a_driver_does_not_tell_is_none() -> None:
    (gpu,) = parse_gpus([{"index": 1}])
    assert gpu == GpuFacts(index=1) and gpu.readings.memory_used is None and gpu.readings.rows_pending is None
    assert parse_gpus(None) == ()


@pytest.mark.parametrize(("kind", "computes"), [("C", True), ("G", False), ("C+G", True), ("", False)])
def test_who_computes(kind: str, computes: bool) -> None:
    assert GpuProcess(type=kind).computes is computes


def test_two_looks_are_equal_but_for_what_stays() -> None:
    (before,), (after,) = parse_gpus([TOLD]), parse_gpus([{**TOLD, "memory_used": 5, "throttled": []}])
    assert before == after and before.readings != after.readings
    assert parse_gpus([{**TOLD, "uuid": "GPU-2"}]) != (before,)


def test_what_a_host_has_around_them() -> None:
    cdi = {"path": "/etc/cdi/nvidia.yaml", "devices": ["all"], "driver": "570.1", "stale": True}
    told = {"state": "lost", "pci": [{"address": "0000:17:00.0"}, {}], "missing": ["0000:17:00.0"], "cdi": [cdi]}
    host = parse_gpu_host(told)
    assert (host.state, host.pci, host.missing) == ("lost", ("0000:17:00.0", ""), ("0000:17:00.0",))
    assert host.cdi == (CdiSpec("/etc/cdi/nvidia.yaml", ("all",), "570.1", stale=True),)
    assert parse_gpu_host(None) == GpuHost()


@pytest.mark.parametrize(
    ("entry", "where"),
    [
        ("NVIDIA", "gpus[0]"),
        ({"index": "0"}, "gpus[0].index"),
        ({"pci": []}, "gpus[0].pci"),
        ({"pci": {"address": 17}}, "gpus[0].pci_address"),
        ({"mig": {"instances": {}}}, "gpus[0].mig"),
        ({"rows": {"pending": "yes"}}, "gpus[0].readings.rows_pending"),
        ({"processes": [{"pid": 1.5}]}, "gpus[0].readings.processes[0].pid"),
    ],
)
def test_an_answer_of_another_form_is_refused_by_its_field(entry: Any, where: str) -> None:
    with pytest.raises(Unbelievable) as caught:
        parse_gpus([entry])
    assert caught.value.where == where


@pytest.mark.parametrize(
    ("document", "where"), [({"state": "fine"}, "gpu.state"), ({"pci": {}}, "gpu.pci"), ({"pci": ["x"]}, "gpu.pci")]
)
def test_so_is_what_is_around_them(document: Any, where: str) -> None:
    with pytest.raises(Unbelievable) as caught:
        parse_gpu_host(document)
    assert caught.value.where == where
