"""An environment's configuration as an audit sees it: every fault is noted, none stops the look at the rest."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from canaryctl.audit.inventory import Inventory, InventoryFile, read_inventory
from canaryctl.audit.model import ConfigIssue, HostConfig, Setup
from canaryctl.config.environment import Environment, Host, load_environment
from canaryctl.config.pins import NAME as PINS
from canaryctl.config.policy import Policy, load_policies
from canaryctl.config.secrets import resolve_secrets
from canaryctl.config.shared import require_one_policy
from canaryctl.config.stack import Stack, load_stack
from canaryctl.config.stackfiles import StackFiles, read_stack_files
from canaryctl.config.vault import FILE_MARK, Vault, vaulted_parts
from canaryctl.config.versions import version_of
from canaryctl.config.yamlfile import shown
from canaryctl.errors import ConfigError
from canaryctl.facts import HostFacts
from canaryctl.plan.deployment import Request, granted_secrets
from canaryctl.plan.gpus import devices_for, wants_of
from canaryctl.plan.mounts import mounts_of
from canaryctl.plan.release import ImageFact, Release, recorded_image
from canaryctl.plan.rendering import Rendering, place_services, render_release

_LARGEST = 1 << 20  # bytes of an inventory file


@dataclass
class Snapshot:
    """What could be read. `setup` is what the rules see of it."""

    request: Request
    issues: list[ConfigIssue] = field(default_factory=list)
    inventory: Inventory = field(default_factory=Inventory)
    stack: Stack | None = None
    files: StackFiles | None = None
    environment: Environment | None = None
    policies: dict[str, Policy] = field(default_factory=dict)
    placed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    hosts: dict[str, HostConfig] = field(default_factory=dict)

    @property
    def setup(self) -> Setup:
        """The configuration, as data."""
        stack, project = self.stack, self.request.project
        return Setup(
            environment=self.request.environment,
            directory=shown(project.inventories / self.request.environment),
            inventory=self.inventory,
            hosts=self.hosts,
            groups=self.environment.groups if self.environment else {},
            placement=stack.placement if stack else {},
            placement_where=shown(stack.file) if stack else "",
            compose_where=shown(stack.directory / stack.compose) if stack else "",
            issues=tuple(self.issues),
        )

    @contextlib.contextmanager
    def noting(self, kind: str) -> Iterator[None]:
        """Turn a ConfigError into an issue."""
        try:
            yield
        except ConfigError as error:
            self.issues.append(ConfigIssue(kind, error.what, error.where, error.hint))


def begin(request: Request) -> Snapshot:
    """Read as much of an environment's configuration as looking at its hosts needs; `complete` reads the rest.

    Raises:
        ConfigError: there is no such environment.
    """
    project = request.project
    if request.environment not in project.environments():
        load_environment(project, request.environment)  # says which there are
    found = Snapshot(request)
    with found.noting("stack"):
        found.stack = load_stack(project.stack)
    with found.noting("inventory"):
        found.environment = load_environment(
            project, request.environment, vault_password_file=request.vault_password_file
        )
    if found.environment:
        with found.noting("policy"):
            found.policies = load_policies(found.environment)
        found.hosts = {
            host.name: HostConfig(host.name, host.groups, host.vars) for host in found.environment.hosts.values()
        }
    return found


def complete(found: Snapshot) -> None:
    """Read the rest: the inventory as it is written, placement, templates, probes, secrets."""
    request = found.request
    found.inventory = _inventory(request.project.inventories / request.environment, request.vault_password_file)
    if found.stack:
        with found.noting("stack"):
            found.files = read_stack_files(found.stack, request.project.operators_folders)
    if found.environment:
        _place(found, found.environment)


def _place(found: Snapshot, environment: Environment) -> None:
    stack = found.stack
    if stack:
        with found.noting("placement"):
            found.placed = place_services(stack, environment, shown(stack.file))
        with found.noting("policy"):
            if found.policies:
                require_one_policy(environment, found.policies, found.placed)
        with found.noting("probes"):
            from canaryctl.config.probes import load_probes

            load_probes(found.request.project.probes or stack.probes_file)
        with found.noting("secrets"):
            found.secrets = resolve_secrets(
                stack.secrets, granted_secrets(environment, found.request.secret_env), environment.name
            )
    found.hosts = {host.name: _host(found, host) for host in environment.hosts.values()}


def _host(found: Snapshot, host: Host) -> HostConfig:
    stack = found.stack
    config = HostConfig(host.name, host.groups, host.vars, root=host.root)
    if stack is None:
        return config
    services = found.placed.get(host.name, ())
    images = stack.variants[stack.choose_variant(None)]
    needing = [service for service in services if stack.images[images[service]].gpu == "required"]
    config = replace(
        config,
        stack=stack.stack,
        project=f"{stack.stack}-{found.request.environment}",
        services=services,
        gpu_services=tuple(needing),
        cuda=max(
            (str(getattr(stack.images[images[service]], "cuda", None) or "") for service in needing),
            key=version_of,
            default="",
        ),
        mounts=mounts_of(stack.mounts, host.groups) if services else (),
    )
    if services and found.files:
        with found.noting("template"):
            config = replace(config, ports=_render(found, host.name, _stand_in(stack)).ports)
    return config


def _stand_in(stack: Stack) -> Release:
    """A release of images that need not be on this machine: enough to see what would be published where."""
    variant = stack.choose_variant(None)
    services = {
        service: ImageFact(name, "sha256:" + "0" * 64, "", 0, (), "")
        for service, name in stack.variants[variant].items()
    }
    return Release("0" * 64, stack.stack, variant, services, {})


def as_served(found: Snapshot, facts: HostFacts) -> HostConfig:
    """A host's configuration with what this machine renders of the release that the host serves."""
    config, served = found.hosts[facts.host], facts.state.current_release or {}
    ours = served.get("environment") == found.request.environment and served.get("stack") == config.stack
    if not ours or not found.stack or not found.files or not config.services or set(found.stack.placement) == set():
        return config
    try:
        rendering = _render(found, facts.host, _release_of(served), facts)
    except (ConfigError, KeyError, TypeError, ValueError, AttributeError):
        # The stack's files have moved on, or the host's release.json is none; drift is told without them.
        return config
    return replace(config, files=rendering.files, directory=rendering.directory, ports=rendering.ports)


def _release_of(served: Mapping[str, Any]) -> Release:
    images = {name: recorded_image(name, image) for name, image in served["images"].items()}
    services = {service: images[name] for service, name in served["services"].items()}
    return Release(served["id"], served["stack"], served["variant"], services, served["files"])


def _render(found: Snapshot, host: str, release: Release, facts: HostFacts | None = None) -> Rendering:
    stack, environment, files = found.stack, found.environment, found.files
    assert stack and environment and files  # noqa: S101  callers have looked
    wants = wants_of(stack, release.variant, found.placed.get(host, ()))
    devices = devices_for(facts, found.policies[host], wants) if host in found.policies else {}
    gpus = tuple(facts.gpus) if facts else ()
    return render_release(stack, environment, found.placed, files, release, host, gpus, devices)


def _inventory(directory: Path, vault_password_file: Path | None) -> Inventory:
    vault = Vault(vault_password_file)
    files: list[InventoryFile] = []
    closed: list[tuple[str, int, str]] = []
    for path in sorted(directory.rglob("*")):
        below = path.relative_to(directory)
        hidden = any(part.startswith(".") for part in below.parts) or path == directory / PINS
        if hidden or not _is_text(path):
            continue
        name, text = shown(path), path.read_text(encoding="utf-8", errors="replace")
        vaulted = text.startswith(FILE_MARK)
        parts = [(1, text)] if vaulted else vaulted_parts(text) if "!vault" in text else []
        for line, content in parts:
            try:
                plain = vault.open(content)
            except ValueError as error:
                closed.append((name, line, str(error)))
            else:
                text = plain if vaulted else text
        files.append(InventoryFile(name, below.as_posix(), text, vaulted))
    return read_inventory(files, closed)


def _is_text(path: Path) -> bool:
    kinds = ("", ".yml", ".yaml", ".json", ".ini")
    return path.is_file() and path.suffix in kinds and path.stat().st_size < _LARGEST
