"""The release of a deployment, from the images that this machine or a registry has."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from pathlib import Path

from canaryctl.config.environment import Environment
from canaryctl.evidence.store import stored_runs
from canaryctl.images.registry import Registries
from canaryctl.images.resolve import USUAL_PLATFORM, release_images
from canaryctl.plan.deployment import Deployment
from canaryctl.plan.leftdata import Known
from canaryctl.plan.release import make_release

_LATELY = 10  # runs


def registries_of(environment: Environment) -> Registries:
    """The registries that an environment's images come from."""
    given = environment.vars.get("canary_registry_ca")
    return Registries(environment.directory / str(given) if given else None)


def with_own_release(deployment: Deployment, registries: Registries, platform: str = "") -> Deployment:
    """The deployment of what this machine's images and files make, where it was not given a release.

    Raises:
        ConfigError: an image is not where it should be, or cannot be delivered as the environment wants.
    """
    if deployment.given:
        return deployment
    stack, variant, request = deployment.stack, deployment.variant, deployment.request
    images = release_images(
        stack,
        sorted(set(stack.variants[variant].values())),
        request.images,
        deliveries=[deployment.policies[host].delivery for host in deployment.placed],
        registries=registries,
        platform=platform or deployment.platform or USUAL_PLATFORM,
    )
    release = make_release(stack, variant, images, deployment.configuration.files.all)
    return deployment.with_release(release, platform=platform)


def settle_platform(deployment: Deployment, architectures: Collection[str], registries: Registries) -> Deployment:
    """Make the release anew where the observed hosts are of another platform, and its references have that one.

    Raises:
        ConfigError: as `with_own_release`.
    """
    before = deployment.platform or USUAL_PLATFORM
    platform = f"linux/{next(iter(architectures))}" if len(architectures) == 1 else before
    if platform == before or deployment.given or deployment.made is None:
        return deployment
    if not any(i.platform != platform and platform in i.platforms for i in deployment.made.images.values()):
        return deployment
    settled = with_own_release(deployment, registries, platform)
    settled.check(probes=False)
    return settled


def known_names(deployment: Deployment) -> Known:
    """Names that data on hosts may go by: of environments, and what this machine's last runs called the stack."""

    def former_stacks() -> set[str]:
        runs: Path = deployment.project.runs
        lately = islice(stored_runs(runs, deployment.environment.name), _LATELY)
        return {str(run.document.get("stack") or "") for run in lately} - {"", deployment.stack.stack}

    return Known(tuple(deployment.project.environments()), former_stacks)
