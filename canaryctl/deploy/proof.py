"""What a verdict proves, as the line of the hosts' history has it for who promotes the release later."""

from __future__ import annotations

from collections import Counter
from typing import Any

from canaryctl.deploy.context import RunContext
from canaryctl.plan.deployment import Deployment


def proof(ctx: RunContext, what: str) -> dict[str, Any]:
    """Further keys of a history line: with a verdict what it stands on, and with everything why it was forced.

    `variant`, `simulated`, `contracts` (how many passed, failed, skipped), `images` (name to identity), `placed` (names
    of the images that ran on hosts), `probes_file`: whether the stack's own probes judged. `reason` is that of --force;
    `forced` is there where something would have been refused without it.
    """
    found: dict[str, Any] = {}
    if forced := ctx.state.forced:
        found["reason"] = forced.reason
        if forced.overrides:
            found["forced"] = True
    release, variant = ctx.state.release, ctx.state.release.variant
    if what not in ("verdict", "rollback") or not release.id or variant not in ctx.deployment.stack.variants:
        return found
    return found | {
        "variant": variant,
        "simulated": ctx.state.simulated,
        "contracts": dict(Counter(row.verdict for row in ctx.state.contracts)),
        "images": {name: image["id"] for name, image in release.images.items()},
        "placed": sorted(placed_images(ctx.deployment, variant, ctx.facts)),
        "probes_file": own_probes(ctx.deployment),
    }


def placed_images(deployment: Deployment, variant: str, hosts: Any = None) -> frozenset[str]:
    """Names of the images that a variant's services need on hosts (all of the environment's if left out)."""
    services = deployment.stack.variants[variant]
    chosen = deployment.placed if hosts is None else [host for host in deployment.placed if host in hosts]
    return frozenset(services[service] for host in chosen for service in deployment.placed[host])


def parts_left_out(deployment: Deployment) -> list[str]:
    """The options by which a run judges only a part of a release; a run with one proves none."""
    request = deployment.request
    found = {
        "--limit leaves hosts out": set(deployment.placed) - {host.name for host in deployment.hosts},
        "--only": request.only,
        "--skip": request.skip,
        "--no-contract": not request.contracts,
        "--probes names other probes than the stack's": not own_probes(deployment),
    }
    return [option for option, given in found.items() if given]


def own_probes(deployment: Deployment) -> bool:
    """Whether the stack's own probes judge."""
    given, own = deployment.project.probes, deployment.stack.probes_file
    return given is None or given.resolve() == own.resolve()
