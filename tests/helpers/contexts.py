"""A run's context without a lab: a real deployment, record and state, over hosts whose part this machine plays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from canaryctl.config.environment import Environment, Host
from canaryctl.config.policy import Policy
from canaryctl.config.project import Project
from canaryctl.config.stack import load_stack
from canaryctl.config.yamlfile import shown
from canaryctl.deploy.command import DEPLOY, Command
from canaryctl.deploy.context import RunContext
from canaryctl.evidence.document import RunIdentity
from canaryctl.evidence.run import Run
from canaryctl.facts import HostFacts
from canaryctl.facts.host import ContainerFacts, DockerFacts, ReleaseFacts, StateFacts
from canaryctl.plan.deployment import Configuration, Deployment, Request
from canaryctl.plan.release import ImageFact, Release, make_release
from canaryctl.plan.rendering import place_services

WEB, STORE, OTHER = (f"sha256:{digit * 64}" for digit in "abc")
STACK = """\
stack: shop
images: {web: {tag: "shop-web:1"}, store: {tag: "shop-store:1"}}
variants: {only: {web: web, store: store}}
placement: {stores: [store], all: [web]}
secrets: [TOKEN]
compose: compose.yml
"""
MIGRATING = STACK + "migrations: {service: web, upgrade: up, current: now, database: store, backup: store}\n"
COMPOSE = """\
services:
  web: {image: "{{ images.web }}"}
  store: {image: "{{ images.store }}"}
"""
PROD = "prod"


def make_deployment(
    root: Path,
    hosts: Sequence[str] = ("a", "b"),
    *,
    stack: str = STACK,
    policy: Policy = Policy(),  # noqa: B008  frozen
    policies: Mapping[str, Policy] | None = None,
    identities: Mapping[str, str] | None = None,
    variables: Mapping[str, Any] | None = None,
    released: bool = True,
    **asked: Any,
) -> Deployment:
    """The deployment of `stack` on `hosts`, the first of which has the store; `asked` are fields of the request.

    Args:
        identities: of images by name.
        variables: of every host.
        released: whether it has a release yet.
    """
    root.mkdir(exist_ok=True)
    (root / "stack.yml").write_text(stack)
    (root / "compose.yml").write_text(COMPOSE)
    (root / "probes.yml").write_text("- {name: Health, kind: tcp, on: all, port: 1}\n")
    project = Project(root, root / "stack.yml", root / "inventories", root / "runs", hooks=root / "hooks")
    directory = project.inventories / PROD
    directory.mkdir(parents=True, exist_ok=True)
    common = {"canary_secrets": {"TOKEN": "to be hidden"}, **(variables or {})}
    made = {
        name: Host(
            name,
            ("stores",) if number == 0 else (),
            {"ansible_connection": "local", "canary_root": f"{root}/hosts/{name}", **common},
        )
        for number, name in enumerate(hosts)
    }
    environment = Environment(PROD, directory, made, {"all": tuple(hosts), "stores": tuple(hosts[:1])}, common)
    loaded = load_stack(project.stack)
    configuration = Configuration(
        project,
        loaded,
        environment,
        policies or dict.fromkeys(hosts, policy),
        place_services(loaded, environment, shown(loaded.file)),
    )
    asked = {"project": project, "environment": PROD, **asked}
    deployment = Deployment(configuration, Request(**asked), "only", tuple(made.values()))
    return deployment.with_release(make_known(deployment, identities)) if released else deployment


def make_known(deployment: Deployment, identities: Mapping[str, str] | None = None) -> Release:
    """The release of a deployment whose images have these identities."""
    facts = {name: image(name, identity) for name, identity in (identities or {"web": WEB, "store": STORE}).items()}
    return make_release(deployment.stack, "only", facts, deployment.configuration.files.all)


def image(name: str, identity: str, **more: Any) -> ImageFact:
    known = {"reference": f"shop-{name}:1", "size": 1, "layers": ("sha256:l",), "platform": "linux/amd64"}
    return ImageFact(**{"name": name, "id": identity, **known, **more})


def make_context(deployment: Deployment, command: Command = DEPLOY) -> RunContext:
    """A run at work, whose record is in the deployment's project. Close it (it is a context manager)."""
    identity = RunIdentity(command.name, PROD, deployment.stack.stack, deployment.variant, command.role)
    run = Run.start(deployment.project.runs, identity, project_root=deployment.project.root)
    return RunContext(deployment, run, command)


def release_document(deployment: Deployment, host: str, **changed: Any) -> dict[str, Any]:
    """The release.json of a deployment's release, or of what would be, on one host."""
    return {
        **(deployment.made or make_known(deployment)).as_dict(),
        "variant": deployment.variant,
        "stack": deployment.stack.stack,
        "environment": PROD,
        "placed": list(deployment.placed[host]),
        **changed,
    }


def seen(
    host: str,
    *documents: Mapping[str, Any],
    current: bool = True,
    history: Sequence[Mapping[str, Any]] = (),
    running: Sequence[str] = (),
    **more: Any,
) -> HostFacts:
    """A host as observed: the release.json of its releases, newest first, of which the first serves where `current`.

    `running` are the services of the environment that run.
    """
    releases = {f"{document['id']}-{number}": ReleaseFacts(dict(document)) for number, document in enumerate(documents)}
    state = StateFacts(
        current=next(iter(releases), None) if current else None, releases=releases, history=tuple(map(dict, history))
    )
    containers = tuple(
        ContainerFacts(id=f"{host}-{service}", project=f"shop-{PROD}", service=service, state="running", started=1.0)
        for service in running
    )
    known = {"docker": DockerFacts(running=True), "compose": "2.40.0", "arch": "amd64", "containers": containers}
    return HostFacts(host, **{"state": state, **known, **more})


def line(release: str | None, verdict: str | None = "passed", **more: Any) -> dict[str, Any]:
    """A line of a host's history, a verdict on a release of `prod`."""
    known = {"time": "2026-03-09T12:00:00Z", "who": "ann@desk", "environment": PROD, "what": "verdict", "from": None}
    return {**known, "to": release, "verdict": verdict, "run": f"run-{verdict}", **more}


def notes(ctx: RunContext) -> list[str]:
    """What the run has noted."""
    return list(ctx.run.document["notes"])


def warnings(ctx: RunContext) -> list[str]:
    """What the run has warned of."""
    return [warning["what"] for warning in ctx.run.document["warnings"]]
