"""The gpu probe's rules, its watch over a lifecycle, and the kernel log's errors."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from canaryctl.agent.read import gpuwatch, gpuxml
from canaryctl.config.probes import load_probes, select_probes
from canaryctl.config.probes.gpu import Gpu
from canaryctl.errors import ConfigError
from canaryctl.probe import gpu
from canaryctl.probe.context import ProbeContext
from canaryctl.probe.incontainer.gpu_rules import in_words, judge_gpu, lost_devices
from canaryctl.probe.incontainer.gpu_shape import read_gpu_answer
from canaryctl.probe.scope import Scope
from canaryctl.probe.soak import sampled

FIXTURES = Path(__file__).parents[2] / "fixtures/gpu"
INSIDE = Path(gpu.__file__).parent / "incontainer"
FIRST = "GPU-5ab1c2d3-0000-4000-8000-000000000001"
SMI = {"gpus": [{"name": "NVIDIA H100 80GB HBM3", "uuid": FIRST}]}
DEVICE = {
    "index": 0,
    "name": "NVIDIA H100",
    "address": "0000:17:00.0",
    "copied": True,
    "equal": True,
    "copy_gb_s": 24.0,
}
CUDA = {"version": "12.4", "devices": [DEVICE]}
TORCH = {
    "version": "2.6",
    "cuda": "12.4",
    "devices": [{"device": "cuda:0", "equal": True, "error": 0.0, "product_gflop_s": 50000.0}],
}
GOOD = {"python": "3.12", "nodes": ["nvidia0"], "environment": {}, "libcuda": CUDA, "smi": SMI, "torch": TORCH}
NO_CUDA = {"error": "libcuda.so.1: cannot open", "kind": "missing"}
ON_CPU = {**GOOD, "libcuda": NO_CUDA, "cpu": {"equal": True}, "torch": {"missing": True}}


def host(simulated: bool = False, **more: Any) -> dict[str, Any]:
    gpus = gpuxml.parse_smi_xml((FIXTURES / "two-gpus.xml").read_text())["gpus"]
    known = {
        "gpus": gpus,
        "gpu": {"simulated": simulated, "state": "ok", "says": ""},
        "xids": [],
        "kernel_log": "dmesg",
    }
    return {**known, **more}


def said(found: dict[str, Any], seen: dict[str, Any] | None = None, devices: int = 1, **before: Any) -> str:
    seen = seen or host()
    return in_words(judge_gpu(found, seen, devices, before, 0.7), found, seen)


def faults(found: dict[str, Any], seen: dict[str, Any] | None = None, devices: int = 1, **before: Any) -> list[str]:
    return list(judge_gpu(found, seen or host(), devices, before, 0.7)["faults"])


def test_a_sound_gpu_passes_with_its_figures() -> None:
    assert faults(GOOD) == []
    assert said(GOOD) == (
        "NVIDIA H100 80GB HBM3 (driver 550.54.15); GPU 0 copy GB/s 24.0; GPU 0 product GFLOP/s 50000.0"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"libcuda": NO_CUDA}, "there is no libcuda.so.1 in the container"),
        ({"libcuda": NO_CUDA, "nodes": [], "smi": {"missing": True}}, "it was started without a GPU"),
        ({"libcuda": {"error": "cuInit: no CUDA device (100)"}}, "libcuda: cuInit: no CUDA device (100)"),
        ({"libcuda": {"version": "12.4", "devices": []}}, "libcuda sees 0 GPUs, 1 are expected"),
        ({"libcuda": {"devices": [{**DEVICE, "equal": False}]}}, "copied to its memory and back is not what was sent"),
        ({"libcuda": {"devices": [{**DEVICE, "error": "cuMemAlloc_v2: out of GPU memory (2)"}]}}, "out of GPU memory"),
        ({"smi": {"error": "Failed to initialize NVML: Unknown Error"}}, "Failed to initialize NVML"),
        (
            {"environment": {"NVIDIA_DRIVER_CAPABILITIES": "utility"}, "libcuda": NO_CUDA},
            "NVIDIA_DRIVER_CAPABILITIES is 'utility' and lacks compute: the container has no libcuda",
        ),
        (
            {"environment": {"NVIDIA_DRIVER_CAPABILITIES": "compute"}, "smi": {"missing": True}},
            "NVIDIA_DRIVER_CAPABILITIES is 'compute' and lacks utility: the container has no nvidia-smi",
        ),
        (
            {"torch": {"version": "2.6", "cuda": None, "devices": []}},
            "torch 2.6 sees no GPU: it is a build without CUDA",
        ),
        ({"torch": {"error": "libcudnn.so.9: cannot open"}}, "torch is in the image and cannot be used: libcudnn"),
        (
            {"torch": {**TORCH, "devices": [{"device": "cuda:0", "equal": False, "error": 9.5}]}},
            "torch on cuda:0 multiplies wrongly (off by 9.5)",
        ),
    ],
)
def test_what_a_container_lacks_is_named(change: dict[str, Any], words: str) -> None:
    found = faults({**GOOD, **change})
    assert len(found) == 1 and words in found[0], found


def test_a_simulated_gpu_computes_on_the_cpu_and_says_so() -> None:
    text = said(ON_CPU, host(simulated=True, kernel_log="simulated"))
    assert text.startswith("simulated: ") and "there is no libcuda, the CPU computed" in text
    lost = said(ON_CPU, host(simulated=True, gpu={"simulated": True, "state": "lost", "says": "GPU is lost"}))
    assert lost == "simulated: the host has lost a GPU: GPU is lost"


def test_a_simulated_gpu_without_its_capabilities_fails_too() -> None:
    lacking = {**ON_CPU, "environment": {"NVIDIA_DRIVER_CAPABILITIES": "compute"}, "smi": {"missing": True}}
    assert "lacks utility" in said(lacking, host(simulated=True))
    bare = {**ON_CPU, "smi": {"missing": True}}
    assert "it was started without a GPU" in said(bare, host(simulated=True))


def test_an_image_without_python_is_asked_for_nvidia_smi_alone() -> None:
    bare = {"python": None, "smi": SMI}
    assert faults(bare) == [] and "the image has no Python: only nvidia-smi was asked" in said(bare)
    assert faults({"python": None, "smi": {"missing": True}}) == [
        "there is no nvidia-smi in the container: it was started without a GPU"
    ]


@pytest.mark.parametrize(
    ("where", "value", "words"),
    [
        ("ecc", {"mode": "Enabled", "volatile_uncorrected": 2}, "GPU 0: 2 uncorrected ECC errors"),
        ("rows", {"failed": True}, "row remapping has failed"),
        ("rows", {"pending": True}, "wait to be remapped: reset the GPU"),
        ("pci", {"width": 8, "width_max": 16}, "GPU 0: PCIe runs on 8 of 16 lanes"),
    ],
)
def test_unsound_hardware_fails(where: str, value: dict[str, Any], words: str) -> None:
    seen = host()
    seen["gpus"][0][where] |= value
    (fault,) = faults(GOOD, seen)
    assert words in fault


def test_the_hardware_of_other_containers_gpus_is_not_this_ones() -> None:
    assert faults(GOOD) == []  # GPU 1 of the fixture runs on 8 of 16 lanes
    both = {**GOOD, "smi": {"gpus": [{"name": "x", "uuid": gpu["uuid"]} for gpu in host()["gpus"]]}}
    assert faults(both) == ["GPU 1: PCIe runs on 8 of 16 lanes"]
    assert judge_gpu(both, host(), 1, {}, 0.7)["remarks"] == [
        "GPU 1 is throttled: hardware slowdown, hardware thermal slowdown",
        "GPU 1: PCIe generation 1 of 5 when idle",
    ]


@pytest.mark.parametrize(("copy", "slow"), [(24.0, False), (17.0, False), (16.0, True)])
def test_figures_are_compared_with_the_last_good_run_of_the_same_gpus(copy: float, slow: bool) -> None:
    found = {**GOOD, "libcuda": {"devices": [{**DEVICE, "copy_gb_s": copy}]}}
    before = {"gpus": [FIRST], "figures": {"GPU 0 copy GB/s": 24.0}}
    assert bool(faults(found, **before)) == slow
    if slow:
        assert "16.0, and 24.0 in this host's last good run (67 %" in faults(found, **before)[0]
    assert faults(found, gpus=["another"], figures=before["figures"]) == []
    simulated = host(simulated=True)
    assert faults({**ON_CPU, "libcuda": found["libcuda"]}, simulated, **before) == []


def test_devices_lost_by_a_reload_are_counted() -> None:
    after = {"smi": {"error": "Failed to initialize NVML: Unknown Error"}, "libcuda": {"error": "cuInit: no device"}}
    (fault,) = lost_devices(GOOD, after, "systemd")
    assert "lost 1 of 1 GPUs when systemd reloaded its units (cgroup driver systemd): Failed to initialize" in fault
    assert lost_devices(GOOD, GOOD, "systemd") == []


def test_xids_since_the_deploy_fail() -> None:
    log = (FIXTURES / "kernel-log.txt").read_text()
    every = gpuwatch.parse_xids(log, 0, 1000.0)
    assert [(xid["number"], xid["time"]) for xid in every] == [(13, 1100.5), (79, 1900.25)]
    (fault,) = faults(GOOD, host(xids=gpuwatch.parse_xids(log, 1500, 1000.0)))
    assert fault.startswith("Xid 79 (the GPU has fallen off the bus) on 0000:CA:00 since the deploy: pid=")


@pytest.mark.parametrize(
    ("line", "epoch"),
    [
        ("2026-11-24T12:00:00+0000 gpu-1 kernel: NVRM", 1795521600),
        ("2026-11-24T13:00:00+01:00 simulator: NVRM", 1795521600),
        ("[   10.5] NVRM", 1010.5),
        ("NVRM", None),
    ],
)
def test_times_of_the_kernel_log(line: str, epoch: float | None) -> None:
    assert gpuwatch.time_of(line, 1000.0) == epoch


def test_a_log_that_cannot_be_read_is_said_and_does_not_fail() -> None:
    seen = host(kernel_log="unreadable: dmesg: Operation not permitted")
    assert faults(GOOD, seen) == [] and "could not be looked for" in said(GOOD, seen)


def scope_with(stages: list[str], looks: list[dict[str, Any]]) -> Scope:
    left, seen = list(stages), list(looks)

    def look(*_: Any) -> dict[str, Any]:
        return seen.pop(0) if len(seen) > 1 else seen[0]

    context = ProbeContext("lab", {}, None, look_at_gpus=look)  # type: ignore[arg-type]
    return Scope(
        context,
        "gpu-1",
        {},
        time.monotonic() + 30,
        threading.Event(),
        stage_of=lambda name: left.pop(0) if len(left) > 1 else left[0],
    )


def on_gpu(container: str) -> dict[str, Any]:
    process = {"pid": 7, "name": "python3", "type": "C", "container": container}
    return {"gpu": {}, "containers": ["mine"], "gpus": [{"index": 0, "processes": [process]}]}


@pytest.mark.parametrize(
    ("stages", "container", "verdict", "words"),
    [
        (["", "running", "running"], "mine", "passed", "process 7 (python3) was on GPU 0"),
        (["running", "passed"], "theirs", "failed", "fell back to the CPU without a word"),
        (["running", "failed"], "theirs", "failed", "no process of jobs was on a GPU"),
        (["skipped"], "mine", "skipped", "was skipped"),
        (["passed"], "mine", "inconclusive", "over before a look"),
    ],
)
def test_a_lifecycle_that_leaves_the_gpu_alone_is_noticed(
    stages: list[str], container: str, verdict: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "_LOOK_EVERY", 0.01)
    probe = Gpu(name="g", kind="gpu", on="jobs", during="Training")
    outcome = gpu.run(probe, scope_with(stages, [on_gpu(container)]))
    assert outcome.verdict == verdict and words in outcome.reason


LIFECYCLE = (
    '- {name: Train, kind: lifecycle, on: core, start: {url: "http://x"}, status: {url: "http://x", until: a}}\n'
)


@pytest.mark.parametrize(
    ("gpu_keys", "words"),
    [
        ("during: Trian", "which is no lifecycle"),
        ("during: Train, needs: [Train]", "would come too late"),
        ("during: Train, after_daemon_reload: true", "only watches"),
        ("during: Train, soak: true", "a soak does not repeat"),
        ("slower_than: 2", "slower_than"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, gpu_keys: str, words: str) -> None:
    (tmp_path / "p.yml").write_text(LIFECYCLE + f"- {{name: G, kind: gpu, on: jobs, {gpu_keys}}}\n")
    with pytest.raises(ConfigError, match=words):
        load_probes(tmp_path / "p.yml")


def test_a_watch_runs_with_its_lifecycle_or_not_at_all_and_is_not_soaked(tmp_path: Path) -> None:
    (tmp_path / "p.yml").write_text(LIFECYCLE + "- {name: G, kind: gpu, on: jobs, during: Train}\n")
    probes = load_probes(tmp_path / "p.yml")
    assert [p.name for p in select_probes(probes, ["G"], []).probes] == ["Train", "G"]
    with pytest.raises(ConfigError, match="leave no probe"):
        select_probes(probes, [], ["Train"])
    assert sampled(probes) == ()


@pytest.mark.parametrize("module", ["gpu_check", "gpu_rules", "gpu_shape"])
def test_what_is_carried_along_runs_on_an_old_python(module: str) -> None:
    tree = ast.parse((INSIDE / f"{module}.py").read_text(), feature_version=(3, 7))
    imported = {a.name for node in tree.body if isinstance(node, ast.Import) for a in node.names}
    assert imported <= set(sys.stdlib_module_names)


def test_the_program_answers_without_any_gpu() -> None:
    source = (INSIDE / "gpu_check.py").read_text() + "\nanswer_gpu_check(False)\n"
    done = subprocess.run([sys.executable, "-"], input=source, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["libcuda"]["kind"] == "missing" and found["cpu"] == {"equal": True}


@pytest.mark.parametrize(
    "said",
    [
        "5",
        "[1]",
        "null",
        '"x"',
        "{}",
        "",
        "[" * 5000,
        '{"python": null}',
        '{"torch": {"version": 1}}',
        json.dumps({**GOOD, "torch": {"version": 1}}),
        json.dumps({**GOOD, "libcuda": {"version": "12.4", "devices": [1]}}),
        json.dumps({**GOOD, "libcuda": {"devices": [{**DEVICE, "copy_gb_s": float("nan")}]}}),
        json.dumps({**GOOD, "libcuda": {"devices": [{**DEVICE, "copy_gb_s": "24.0"}]}}),
        json.dumps({**GOOD, "libcuda": {"devices": [{**DEVICE, "copy_gb_s": 10**400}]}}),
        json.dumps({**GOOD, "libcuda": {"devices": [{**DEVICE, "equal": 1}]}}),
        json.dumps({**GOOD, "smi": {}}),
        json.dumps({**GOOD, "smi": {"missing": "no"}}),
        json.dumps({**GOOD, "environment": {"NVIDIA_DRIVER_CAPABILITIES": ["all"]}}),
        json.dumps({**GOOD, "nodes": {}}),
    ],
)
def test_what_an_images_own_python_prints_is_an_answer_or_it_fails(said: str) -> None:
    with pytest.raises(ValueError, match=r"^(is|has|names|does) "):
        read_gpu_answer(said)


@pytest.mark.parametrize("found", [GOOD, ON_CPU, {**GOOD, "torch": {"missing": True}}])
def test_a_true_answer_is_read_as_it_is(found: dict[str, Any]) -> None:
    assert read_gpu_answer(json.dumps(found)) == found


def test_gpus_that_the_host_does_not_have_do_not_count() -> None:
    elsewhere = {
        **GOOD,
        "smi": {"gpus": [{"name": "x", "uuid": "GPU-0"}]},
        "libcuda": {"devices": [DEVICE | {"address": ""}]},
    }
    assert faults(elsewhere) == ["of the host's GPUs the container names 0, 1 are expected"]
    assert faults(GOOD, devices=2)
    assert faults({"python": None, "smi": SMI}, devices=2) == [
        "nvidia-smi in the container lists 1 GPUs, 2 are expected"
    ]
    two = {**GOOD, "libcuda": {"devices": [DEVICE, DEVICE]}, "smi": {"gpus": SMI["gpus"] * 2}}
    assert "torch 2.6 sees 1 GPUs, 2 are expected" in faults(two, devices=2)


@pytest.mark.parametrize("cpu", [None, {"error": "MemoryError"}, {"equal": False}])
def test_a_simulated_gpu_on_which_nothing_was_computed_fails(cpu: dict[str, Any] | None) -> None:
    found = {key: value for key, value in ON_CPU.items() if key != "cpu"} | ({"cpu": cpu} if cpu else {})
    assert len(faults(found, host(simulated=True))) == 1


def test_a_copy_that_was_not_compared_fails() -> None:
    (fault,) = faults({**GOOD, "libcuda": {"devices": [{k: v for k, v in DEVICE.items() if k != "equal"}]}})
    assert "is not what was sent" in fault
