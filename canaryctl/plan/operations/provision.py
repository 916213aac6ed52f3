"""Install what a host lacks to run containers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from canaryctl.config.policy import Policy
from canaryctl.config.versions import version_of
from canaryctl.errors import ApplyError, CanaryError, HostError
from canaryctl.facts.host import HostFacts
from canaryctl.plan.gpus import GpuRequest, gpu_lacks
from canaryctl.plan.operations.operation import Operation

# docker compose learnt `up --wait` and `pull_policy: never` well before; this is the oldest release we rely on, and the
# one that the role docker_engine installs where there is an older one (docker_engine_compose_minimum).
OLDEST_COMPOSE = version_of("2.20")
Software = Literal["docker", "nvidia-container-toolkit"]


@dataclass(frozen=True)
class Provision(Operation):
    """Install one thing.

    `gpu`: services of the host require a GPU, so that the toolkit is looked after whatever is installed; `cuda` is the
    newest CUDA that their images are made with, '' where none says.
    """

    kind = "provision"
    stage = "provision"

    software: Software
    gpu: bool = False
    cuda: str = ""

    @property
    def what(self) -> str:
        docker = self.software == "docker"
        return "install Docker and compose" if docker else "install the NVIDIA container toolkit"


def to_provision(
    host: str, facts: HostFacts, policy: Policy, wants: Sequence[GpuRequest]
) -> tuple[list[Provision], list[CanaryError]]:
    """What is to be installed, or that it must not be."""
    if silent := docker_silent(facts):
        return [], [silent]
    if policy.provision == "never":
        return [], []
    lacks: dict[Software, list[str]] = {
        "docker": readiness(facts),
        "nvidia-container-toolkit": gpu_lacks(facts, policy, wants),
    }
    if policy.provision == "auto":
        required = [want.image.cuda or "" for want in wants if want.required]
        gpu, cuda = bool(required), max(required, key=version_of, default="")
        return [Provision(host, "; ".join(words), name, gpu, cuda) for name, words in lacks.items() if words], []
    sentence = "; ".join(lack for words in lacks.values() for lack in words)
    hint = f"set canary_provision: auto, or run: canaryctl provision ENV --limit {host}"
    return [], [
        ApplyError(f"the host is not ready: {sentence}", hint=hint, stage="provision", host=host)
    ] if sentence else []


def docker_silent(facts: HostFacts, stage: str = "provision") -> ApplyError | None:
    """That a host's Docker is there and answers nobody, which no installation changes; None where it does not hang."""
    if facts.docker is None or not facts.docker.silent:
        return None
    return ApplyError(
        f"Docker is installed there and does not answer ({facts.docker.error})",
        hint="on the host see journalctl -u docker, and run: systemctl restart docker",
        stage=stage,
        host=facts.host,
    )


def readiness(facts: HostFacts) -> list[str]:
    """What a host lacks to run containers, each in words."""
    lacks = []
    if facts.docker is None:
        lacks.append("Docker is not installed")
    elif not facts.docker.running:
        lacks.append(f"Docker does not answer{f' ({facts.docker.error})' if facts.docker.error else ''}")
    if facts.docker is not None and facts.compose is None:
        lacks.append("docker compose v2 is not installed")
    elif facts.compose is not None and version_of(facts.compose) < OLDEST_COMPOSE:
        lacks.append(f"docker compose {facts.compose} is older than {OLDEST_COMPOSE}")
    return lacks


def access_problems(facts: HostFacts) -> list[CanaryError]:
    """Sudo that is refused where nothing can be done without it."""
    try:
        facts.require_privilege()
    except HostError as refused:
        return [refused]
    return []
