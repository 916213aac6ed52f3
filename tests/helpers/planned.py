"""A host as a release wants it, and the plan of one that differs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from canaryctl.config.policy import Policy
from canaryctl.config.stack import Stack
from canaryctl.errors import ApplyError
from canaryctl.facts.host import parse
from canaryctl.plan.plan import Plan, make_plan
from canaryctl.plan.release import ImageFact, Release
from canaryctl.plan.rendering import Rendering
from canaryctl.plan.target import Target

WEB = ImageFact("web", f"sha256:{'a' * 64}", "web:1", 2_000_000_000, ("sha256:l1", "sha256:l2"), "linux/amd64")
DB = ImageFact("db", f"sha256:{'b' * 64}", "db:1", 1_000_000_000, ("sha256:l1", "sha256:l3"), "linux/amd64")
WEB_TAG, DB_TAG = f"canaryctl/shop/web:sha256-{'a' * 12}", f"canaryctl/shop/db:sha256-{'b' * 12}"
UPGRADE = "shop-migrate up"
MARKER = {"project": "shop-prod", "image": WEB.id, "upgrade": UPGRADE, "revision": "7", "time": 1000.0}
STACK = Stack.model_validate(
    {
        "stack": "shop",
        "images": {"web": {"tag": "web:1"}, "db": {"tag": "db:1"}},
        "variants": {"only": {"web": "web", "db": "db", "gpu": "web"}},
        "placement": {"all": ["db", "web"], "gpus": ["gpu"]},
        "optional": ["gpu"],
        "compose": "compose.yml.j2",
        "migrations": {"service": "web", "upgrade": UPGRADE, "current": "shop-migrate current", "database": "db"},
    }
)
RELEASE = Release("1" * 64, "shop", "only", {"web": WEB, "db": DB, "gpu": WEB}, {})
ANY = "0.0.0.0"  # noqa: S104  compared with, not bound
DIRECTORY = f"{'1' * 64}-abcdef01"


def make_rendering(host: str = "one", services: tuple[str, ...] = ("db", "web"), name: str = DIRECTORY) -> Rendering:
    ports = (("192.0.2.1", 8080, "web"),) if "web" in services else ()
    return Rendering(host, name, services, {"compose.yml": b"services: {}\n"}, ports)


TARGET = Target(make_rendering(), "shop-prod", "mac")
USING = replace(
    TARGET,
    rendering=replace(make_rendering(), secrets={"db": ("DB",), "web": ("DB", "JWT")}),
    secret_macs={"DB": "1", "JWT": "2"},
)


def container(service: str, content: ImageFact, tag: str, **more: Any) -> dict[str, Any]:
    ports = [{"address": "192.0.2.1", "port": 8080, "container_port": 80}] if service == "web" else []
    return {
        "name": f"shop-prod-{service}-1",
        "image": tag,
        "image_id": content.id,
        "state": "running",
        "health": "healthy",
        "project": "shop-prod",
        "service": service,
        "ports": ports,
        "config_files": f"/opt/canaryctl/shop/releases/{DIRECTORY}/compose.yml",
        **more,
    }


def document(**changes: Any) -> dict[str, Any]:
    """A host on which everything is as the release wants it."""
    return {
        "user": "ops",
        "become": "sudo",
        "arch": "amd64",
        "docker": {"running": True, "version": "26.1.5", "root": "/var/lib/docker"},
        "compose": {"version": "2.26.1"},
        "disks": {"/": {"free": 1_000_000}, "/var/lib/docker": {"free": 10**12}},
        "images": [
            {"id": WEB.id, "tags": [WEB_TAG], "layers": list(WEB.layers)},
            {"id": DB.id, "tags": [DB_TAG], "layers": list(DB.layers)},
        ],
        "containers": [container("web", WEB, WEB_TAG), container("db", DB, DB_TAG)],
        "volumes": [{"name": "shop-prod_data", "created": 900.0, "project": "shop-prod"}],
        "ports": [{"address": "192.0.2.1", "port": 8080, "pid": 7, "process": "docker-proxy"}],
        "state": {
            "current": DIRECTORY,
            "releases": {
                DIRECTORY: {"release": {"environment": "prod"}, "files": make_rendering().hashes},
            },
            "secrets": "mac",
            "migrated": MARKER,
        },
        **changes,
    }


def state(**changes: Any) -> dict[str, Any]:
    return {"state": {**document()["state"], **changes}}


def plan_of(seen: dict[str, Any], target: Target = TARGET, policy: str = "auto", stack: Stack = STACK) -> Plan:
    return make_plan(stack, RELEASE, {"one": target}, {"one": parse("one", seen)}, {"one": Policy(policy)})


def brief(plan: Plan) -> list[tuple[str, str, str]]:
    return [(change.stage, change.what, change.reason) for change in plan.operations]


def only_problem(plan: Plan) -> ApplyError:
    (problem,) = plan.problems
    assert isinstance(problem, ApplyError)
    return problem
