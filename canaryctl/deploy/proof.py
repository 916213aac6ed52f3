"""What a verdict proves, as the line of the hosts' history has it for who promotes the release later."""

from __future__ import annotations

from collections import Counter
from typing import Any

from canaryctl.deploy.context import Work
from canaryctl.plan.deployment import Scene


def proof(work: Work, what: str) -> dict[str, Any]:
    """Further keys of a history line: with a verdict what it stands on, and with everything why it was forced.

    `variant`, `simulated`, `contracts` (how many passed, failed, skipped), `images` (name to identity), `placed` (names
    of the images that ran on hosts), `probes_file`: whether the stack's own probes judged. `reason` is that of --force;
    `forced` is there where something would have been refused without it.
    """
    found: dict[str, Any] = {}
    if forced := work.run.document["forced"]:
        found["reason"] = forced["reason"]
        if forced["overrides"]:
            found["forced"] = True
    release, variant = work.run.document["release"], work.run.document["variant"]
    if what not in ("verdict", "rollback") or not release["id"] or variant not in work.scene.stack.variants:
        return found
    return found | {
        "variant": variant,
        "simulated": bool(work.run.document["simulated"]),
        "contracts": dict(Counter(row["verdict"] for row in work.run.document["contracts"])),
        "images": {name: image["id"] for name, image in release["images"].items()},
        "placed": sorted(placed_images(work.scene, variant, work.facts)),
        "probes_file": own_probes(work.scene),
    }


def placed_images(scene: Scene, variant: str, hosts: Any = None) -> frozenset[str]:
    """Names of the images that a variant's services need on hosts (all of the environment's if left out)."""
    services = scene.stack.variants[variant]
    chosen = scene.placed if hosts is None else [host for host in scene.placed if host in hosts]
    return frozenset(services[service] for host in chosen for service in scene.placed[host])


def parts_left_out(scene: Scene) -> list[str]:
    """The options by which a run judges only a part of a release; a run with one proves none."""
    request = scene.request
    found = {
        "--limit leaves hosts out": set(scene.placed) - {host.name for host in scene.hosts},
        "--only": request.only,
        "--skip": request.skip,
        "--no-contract": not request.contracts,
        "--probes names other probes than the stack's": not own_probes(scene),
    }
    return [option for option, given in found.items() if given]


def own_probes(scene: Scene) -> bool:
    """Whether the stack's own probes judge."""
    given, own = scene.project.probes, scene.stack.probes_file
    return given is None or given.resolve() == own.resolve()
