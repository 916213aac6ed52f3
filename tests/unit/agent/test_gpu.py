"""What nvidia-smi and its neighbours say, in health and in sickness, and the facts made of it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from canaryctl.agent.read import gpu, gpuxml
from canaryctl.agent.read.docker import Program
from canaryctl.facts.host import HostFacts, parse

FIXTURES = Path(__file__).parents[2] / "fixtures/gpu"
FIRST, SECOND = (f"GPU-5ab1c2d3-0000-4000-8000-00000000000{n}" for n in (1, 2))


def text(name: str) -> str:
    return (FIXTURES / name).read_text()


def facts_of(name: str, **more: Any) -> HostFacts:
    found = gpuxml.parse_smi_xml(text(name))
    return parse("gpu-1", {"gpus": found["gpus"], "gpu": {"driver": found["driver"], "cuda": found["cuda"], **more}})


def test_each_of_several_gpus_is_told_with_its_readings() -> None:
    facts = facts_of("two-gpus.xml")
    assert (facts.gpu_host.driver, facts.gpu_host.cuda) == ("550.54.15", "12.4")
    first, second = facts.gpus
    assert (first.index, first.name, first.uuid, first.memory) == (0, "NVIDIA H100 80GB HBM3", FIRST, 81559 << 20)
    assert (first.readings.ecc, first.readings.ecc_uncorrected, first.readings.rows_remapped) == ("Enabled", 0, 1)
    assert (first.readings.rows_pending, first.readings.rows_failed, first.readings.throttled) == (False, False, ())
    assert second.pci_address == "0000:ca:00.0"
    assert (second.readings.pcie_width, second.readings.pcie_width_max) == (8, 16)
    assert (second.readings.pcie_generation, second.readings.pcie_generation_max) == (1, 5)
    assert second.readings.throttled == ("hardware slowdown", "hardware thermal slowdown")
    assert second.readings.temperature == 88


def test_processes_that_compute_are_told_from_those_that_draw() -> None:
    processes = facts_of("two-gpus.xml").gpus[0].readings.processes
    assert [(p.pid, p.name, p.computes, p.memory) for p in processes] == [
        (4711, "python3", True, 1120 << 20),
        (900, "/usr/lib/xorg/Xorg", False, None),
    ]


def test_two_looks_at_a_gpu_are_equal_whatever_it_was_doing() -> None:
    busy, idle = facts_of("two-gpus.xml").gpus[0], facts_of("one-lost.txt").gpus[0]
    assert busy == idle and busy.readings != idle.readings


def test_mig_instances_get_their_uuids_from_the_list() -> None:
    found = gpuxml.parse_smi_xml(text("mig.xml"))["gpus"]
    gpu.name_mig_instances(found, text("mig-list.txt"))
    (one,) = parse("gpu-1", {"gpus": found}).gpus
    assert one.mig_mode == "Enabled"
    assert [(i.index, i.profile, i.uuid[-2:], i.memory) for i in one.mig] == [
        (0, "3g.40gb", "50", 40192 << 20),
        (1, "3g.40gb", "51", 40192 << 20),
    ]


def test_an_old_driver_says_less_and_says_it_otherwise() -> None:
    (one,) = facts_of("old-driver.xml").gpus
    assert (one.driver, one.memory, one.mig_mode) == ("450.51.06", 16160 << 20, "")
    assert (one.readings.ecc_uncorrected, one.readings.rows_pending) == (2, None)
    assert one.readings.throttled == ("power cap",)


def test_the_table_serves_where_xml_is_refused() -> None:
    facts = parse("gpu-1", {"gpus": gpu.parse_smi_csv(text("table.csv"))})
    assert [(g.name, g.memory, g.pci_address) for g in facts.gpus] == [
        ("Tesla V100-PCIE-16GB", 16160 << 20, "0000:3b:00.0"),
        ("Quadro P400", None, "0000:af:00.0"),
    ]
    assert facts.gpus[1].readings.pcie_width == 8


@pytest.mark.parametrize("name", ["none.txt", "no-driver.txt", "lost.txt", "table.csv"])
def test_what_is_no_xml_is_no_document(name: str) -> None:
    with pytest.raises(ValueError):
        gpuxml.parse_smi_xml(text(name))


@pytest.mark.parametrize(
    ("name", "there", "state"),
    [
        ("none.txt", False, "none"),
        ("none.txt", True, "lost"),
        ("no-driver.txt", True, "no-driver"),
        ("mismatch.txt", True, "no-driver"),
        ("lost.txt", True, "lost"),
    ],
)
def test_the_words_of_a_failure_say_what_is_wrong(name: str, there: bool, state: str) -> None:
    said = gpu.complaint_in(text(name))
    assert gpu.gpu_state([], said, there, has_smi=True) == state
    assert said.split()[0] in text(name)


def test_one_lost_gpu_among_others_is_noticed() -> None:
    said = gpu.complaint_in(text("one-lost.txt"))
    assert said == "Unable to determine the device handle for GPU0000:CA:00.0: Unknown Error"
    assert gpu.gpu_state(gpuxml.parse_smi_xml(text("one-lost.txt"))["gpus"], said, True, has_smi=True) == "lost"


def test_a_gpu_without_any_program_of_its_driver_is_seen() -> None:
    assert gpu.gpu_state([], "", True, has_smi=False) == "no-driver"
    assert gpu.gpu_state([], "", False, has_smi=False) == "none"


@pytest.mark.parametrize(("driver", "stale"), [("550.54.15", False), ("570.10", True), (None, False)])
def test_a_cdi_specification_of_another_driver_is_stale(driver: str | None, stale: bool) -> None:
    found = gpu.parse_cdi(text("nvidia.yaml"), driver)
    assert found == {"devices": ["nvidia.com/gpu=0", "nvidia.com/gpu=all"], "driver": "550.54.15", "stale": stale}


def test_addresses_are_written_as_the_kernel_writes_them() -> None:
    assert gpu.pci_address("00000000:CA:00.0") == "0000:ca:00.0"


def test_a_program_that_hangs_is_given_up_on_with_what_it_started() -> None:
    began = time.monotonic()
    asked = Program("/bin/sh", "-c", "sleep 60 & wait")
    assert asked.finish(0.3) == (None, "") and "did not answer within" in asked.late
    assert time.monotonic() - began < 30


def test_programs_are_asked_in_the_language_that_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert Program(sys.executable, "-c", "import os; print(os.environ['LC_ALL'])").answer(5) == "C"
