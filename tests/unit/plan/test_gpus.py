"""GPUs for services: what they get, what forbids them, and whose GPUs they would disturb."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from canaryctl.agent.read import gpu as agent
from canaryctl.agent.read import gpuxml
from canaryctl.config.policy import Policy
from canaryctl.config.stack import Image, Stack
from canaryctl.facts.host import HostFacts, parse
from canaryctl.plan.cuda import driver_is_enough, minimum_driver
from canaryctl.plan.gpus import (
    GpuRequest,
    busy_problems,
    gpu_lacks,
    gpu_problems,
    others_on,
    reservation,
    run_options,
    unchecked,
    wants_of,
)
from canaryctl.plan.plan import plan_provision

FIXTURES = Path(__file__).parents[2] / "fixtures/gpu"
NVIDIA = {"running": True, "runtimes": ["nvidia", "runc"]}
READY = {"state": "ok", "driver": "550.54.15", "toolkit": "/usr/bin/nvidia-ctk", "hook": True}
CDI = [{"path": "/etc/cdi/nvidia.yaml", "devices": [f"nvidia.com/gpu={name}" for name in ("0", "1", "all")]}]


def host(fixture: str = "two-gpus.xml", docker: Any = NVIDIA, gpu: Any = None, **more: Any) -> HostFacts:
    gpus = gpuxml.parse_smi_xml((FIXTURES / fixture).read_text())["gpus"] if fixture else []
    if fixture == "mig.xml":
        agent.name_mig_instances(gpus, (FIXTURES / "mig-list.txt").read_text())
    for one in gpus:
        one["compute_capability"] = "9.0"
    return parse("gpu-1", {"docker": docker, "gpus": gpus, "gpu": READY if gpu is None else gpu, **more})


def want(**floors: Any) -> tuple[GpuRequest, ...]:
    return (GpuRequest("jobs", "worker", Image.model_validate({"tag": "w:1", "gpu": "required", **floors})),)


def said(facts: HostFacts, wants: tuple[GpuRequest, ...], policy: Policy | None = None) -> str:
    return " | ".join(f"{problem}. {problem.hint}" for problem in gpu_problems(facts, policy or Policy(), wants))


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        ("all", {"count": "all"}),
        (1, {"count": 1}),
        (("1", "GPU-5"), {"device_ids": ["1", "GPU-5"]}),
    ],
)
def test_a_service_gets_the_devices_that_the_policy_names(devices: Any, expected: dict[str, Any]) -> None:
    given = reservation(host(), Policy(gpu_devices=devices))
    assert given == {"driver": "nvidia", "capabilities": ["gpu", "compute", "utility"], **expected}


@pytest.mark.parametrize(
    ("devices", "names"),
    [("all", ["nvidia.com/gpu=all"]), (1, ["nvidia.com/gpu=0"]), (("1",), ["nvidia.com/gpu=1"])],
)
def test_a_host_that_offers_gpus_through_cdi_alone_is_asked_by_cdi_names(devices: Any, names: list[str]) -> None:
    docker = {"running": True, "runtimes": ["runc"], "cdi": True}
    facts = host(docker=docker, gpu={**READY, "hook": False, "toolkit": "", "cdi": CDI})
    assert reservation(facts, Policy(gpu_devices=devices)) == {
        "driver": "cdi",
        "device_ids": names,
        "capabilities": ["gpu"],
    }
    assert gpu_lacks(facts, Policy(), want()) == [] and gpu_problems(facts, Policy(), want()) == []


def test_a_host_without_gpus_gives_none() -> None:
    assert reservation(host("", gpu={}), Policy()) is None
    assert run_options(host("", gpu={}), Policy()) == ()


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        ("all", '"driver=nvidia","count=all","capabilities=gpu,compute,utility"'),
        (1, '"driver=nvidia","count=1","capabilities=gpu,compute,utility"'),
        (("1", "GPU-5"), '"driver=nvidia","device=1,GPU-5","capabilities=gpu,compute,utility"'),
    ],
)
def test_a_container_by_hand_gets_what_a_service_gets(devices: Any, expected: str) -> None:
    assert run_options(host(), Policy(gpu_devices=devices)) == ("--gpus", expected)


def test_a_container_by_hand_gets_cdi_names_where_there_is_cdi_alone() -> None:
    docker = {"running": True, "runtimes": ["runc"], "cdi": True}
    facts = host(docker=docker, gpu={**READY, "hook": False, "toolkit": "", "cdi": CDI})
    devices = ("--device", "nvidia.com/gpu=0", "--device", "nvidia.com/gpu=1")
    assert run_options(facts, Policy(gpu_devices=2)) == devices


@pytest.mark.parametrize(("simulated", "asked"), [(True, False), (False, True)])
def test_only_a_simulated_gpu_that_docker_cannot_give_is_not_asked_for(simulated: bool, asked: bool) -> None:
    facts = host(docker={"running": True, "runtimes": ["runc"]}, gpu={**READY, "hook": False, "simulated": simulated})
    assert bool(run_options(facts, Policy())) == asked


def test_a_ready_host_is_no_problem() -> None:
    assert said(host(), want(gpu_memory="80GB", compute_capability="9.0", cuda="12.4")) == ""
    assert gpu_lacks(host(), Policy(), want()) == []


@pytest.mark.parametrize(
    ("gpu", "words"),
    [
        ({"state": "none"}, ("needs a GPU: the host has none", "/dev/nvidiactl", "gpu: optional")),
        (
            {"state": "no-driver", "pci": [{"address": "0000:17:00.0"}], "says": "couldn't communicate"},
            ("NVIDIA GPU (PCI 0000:17:00.0) without a working driver: couldn't communicate", "install the driver"),
        ),
        ({"state": "lost", "says": "GPU is lost"}, ("has lost one: GPU is lost", "reboot", "Xid")),
        ({"state": "unanswered", "says": "did not answer within 10 s"}, ("gives no answer: did not answer",)),
    ],
)
def test_a_host_without_a_usable_gpu_says_what_is_missing(gpu: dict[str, Any], words: tuple[str, ...]) -> None:
    text = said(host("", gpu=gpu), want())
    assert text.startswith("gpu-1: service jobs (image worker)")
    assert all(word in text for word in words), text


def test_a_lost_gpu_among_others_is_a_problem_too() -> None:
    assert "has lost one" in said(host("one-lost.txt", gpu={**READY, "state": "lost"}), want())


@pytest.mark.parametrize(
    ("floors", "words"),
    [
        ({"gpu_memory": "100GB"}, "GPU 0 (NVIDIA H100 80GB HBM3) has 85.52 GB of memory, service jobs"),
        ({"compute_capability": "10.0"}, "has compute capability 9.0, service jobs (image worker) needs 10.0"),
        ({"cuda": "13.0"}, "is made with CUDA 13.0, which needs driver 580 or newer; the host runs 550.54.15"),
    ],
)
def test_floors_are_checked_with_what_is_there_and_what_is_needed(floors: dict[str, Any], words: str) -> None:
    assert words in said(host(), want(**floors))


def test_an_instance_counts_with_its_own_memory() -> None:
    text = said(host("mig.xml"), want(gpu_memory="60GB"))
    assert "MIG instance 0 (3g.40gb of GPU 0, NVIDIA H100 80GB HBM3) has 42.14 GB of memory" in text


@pytest.mark.parametrize(
    ("devices", "words"), [(3, "asks for 3 GPUs, and there are 2"), (("7",), "asks for 7, which is not there")]
)
def test_gpus_that_are_not_there_cannot_be_given(devices: Any, words: str) -> None:
    assert words in said(host(), want(), Policy(gpu_devices=devices))


def test_only_the_chosen_gpus_must_meet_the_floors() -> None:
    facts = host()
    small = replace(facts, gpus=(facts.gpus[0], replace(facts.gpus[1], memory=1 << 30)))
    assert "GPU 1" in said(small, want(gpu_memory="10GB"))
    assert said(small, want(gpu_memory="10GB"), Policy(gpu_devices=("0",))) == ""


def test_what_the_driver_does_not_tell_is_said_not_guessed() -> None:
    facts = host("old-driver.xml")
    facts = replace(facts, gpus=(replace(facts.gpus[0], compute_capability=""),))
    (note,) = unchecked(facts, Policy(), want(compute_capability="7.0"))
    assert "needs 7.0, which could not be checked" in note


@pytest.mark.parametrize(
    ("docker", "gpu", "lacks"),
    [
        (None, {"state": "ok"}, ["the NVIDIA container toolkit is not installed"]),
        (NVIDIA, READY, []),
        (
            {"running": True, "runtimes": ["runc"]},
            READY,
            ["Docker does not know the runtime nvidia"],
        ),
    ],
)
def test_a_missing_toolkit_is_work_for_provisioning(docker: Any, gpu: Any, lacks: list[str]) -> None:
    assert gpu_lacks(host(docker=docker, gpu=gpu), Policy(), want()) == lacks


@pytest.mark.parametrize("state", ["none", "no-driver"])
def test_a_driver_that_provisioning_may_install_is_work_and_no_problem(state: str) -> None:
    bare = host("", docker={"running": True}, gpu={"state": state, "toolkit": "/usr/bin/nvidia-ctk"})
    allowed = Policy("auto", gpu_driver=True)
    assert gpu_lacks(bare, allowed, want())[0] == "the NVIDIA driver is not installed"
    assert gpu_problems(bare, allowed, want()) == []
    assert gpu_problems(bare, replace(allowed, provision="check"), want()) != []


def test_an_optional_gpu_forbids_nothing() -> None:
    optional = (GpuRequest("jobs", "worker", Image.model_validate({"tag": "w:1", "gpu": "optional"})),)
    bare = host("", docker={"running": True}, gpu={"state": "none"})
    assert gpu_problems(bare, Policy(), optional) == [] and gpu_lacks(bare, Policy(), optional) == []


def owned(container: str, project: str, state: str = "running") -> list[dict[str, Any]]:
    return [{"id": container, "name": "theirs", "image": "x:1", "state": state, "project": project}]


@pytest.mark.parametrize(
    ("project", "busy", "refused"),
    [("other", "refuse", True), ("other", "wait", True), ("other", "proceed", False), ("shop-canary", "refuse", False)],
)
def test_gpus_that_others_compute_on_are_theirs(project: str, busy: str, refused: bool) -> None:
    facts = host(containers=owned("c" * 64, project))
    readings = facts.gpus[0].readings
    held = replace(readings, processes=tuple(replace(p, container="c" * 64) for p in readings.processes))
    facts = replace(facts, gpus=(replace(facts.gpus[0], readings=held), facts.gpus[1]))
    problems = busy_problems(facts, Policy(busy=busy), want(), "shop")
    assert bool(problems) == refused
    if refused:
        assert "process 4711 (python3, 1.17 GB) in container theirs on GPU 0" in problems[0].what
        assert problems[0].hint.startswith("set canary_busy to wait" if busy == "refuse" else "a deploy waits 10 m")
    free = Policy(busy=busy, gpu_devices=("1",))
    assert busy_problems(facts, free, want(), "shop") == []


def test_what_others_have_on_a_host_is_listed() -> None:
    facts = host(containers=owned("d" * 64, "other") + owned("e" * 64, "shop-canary") + owned("f" * 64, "", "exited"))
    assert others_on(facts, "shop") == [
        "gpu-1: container theirs (x:1)",
        "gpu-1: process 4711 (python3, 1.17 GB) on GPU 0",
    ]


@pytest.mark.parametrize(
    ("cuda", "driver", "enough"),
    [
        ("12.4", "525.60.13", True),
        ("12.4", "525.60.11", False),
        ("11.8", "450.80.02", True),
        ("10.2", "440.33", True),
        ("10.2", "418.40", False),
        ("13.0", "580.65.06", True),
        ("99.0", "1", True),
    ],
)
def test_drivers_and_cuda(cuda: str, driver: str, enough: bool) -> None:
    assert driver_is_enough(driver, cuda) is enough
    assert minimum_driver("99.0") == ""


def test_services_that_get_gpus() -> None:
    stack = {
        "stack": "shop",
        "images": {"web": {"tag": "w:1"}, "fat": {"tag": "f:1", "gpu": "required"}},
        "variants": {"lean": {"api": "web", "jobs": "fat"}, "mono": {"api": "fat", "jobs": "fat"}},
        "placement": {"all": ["api", "jobs"]},
        "compose": "c.yml",
    }
    plain, named = Stack.model_validate(stack), Stack.model_validate({**stack, "gpu_services": ["jobs"]})
    services = ("api", "jobs")
    assert [w.service for w in wants_of(plain, "lean", services)] == ["jobs"]
    assert [w.service for w in wants_of(plain, "mono", services)] == ["api", "jobs"]
    assert [w.service for w in wants_of(named, "mono", services)] == ["jobs"]


def test_floors_without_a_gpu_make_no_sense() -> None:
    with pytest.raises(ValueError, match="need 'gpu: required'"):
        Image.model_validate({"tag": "w:1", "gpu_memory": "1GB"})
    assert Image.model_validate({"tag": "w:1", "gpu": "optional", "cuda": 12.4}).cuda == "12.4"


def test_provisioning_asked_for_by_name_installs_the_toolkit_where_a_service_requires_a_gpu() -> None:
    bare = host("", docker=None, gpu={"state": "no-driver"})
    plan = plan_provision({"gpu-1": bare}, {"gpu-1": Policy("check")}, {"gpu-1": want()})
    assert [(c.what, c.reason) for c in plan.operations] == [
        ("install Docker and compose", "Docker is not installed"),
        ("install the NVIDIA container toolkit", "the NVIDIA container toolkit is not installed"),
    ]
    assert [c.what for c in plan_provision({"gpu-1": bare}, {"gpu-1": Policy()}).operations] == [
        "install Docker and compose"
    ]
