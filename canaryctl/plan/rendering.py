"""What a release becomes on one host of one environment: its compose file and the files beside it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import yaml

from canaryctl.agent.read.installed import rendering_suffix
from canaryctl.config.environment import Environment
from canaryctl.config.stack import Stack
from canaryctl.config.stackfiles import StackFiles
from canaryctl.config.yamlfile import shown
from canaryctl.config.yamltext import ComposeLoader, YamlFault, read_yaml
from canaryctl.errors import ConfigError
from canaryctl.plan.composefile import compose_document, named_volumes, published_ports, stop_graces
from canaryctl.plan.dataguard import require_data_outside
from canaryctl.plan.mounting import Mounting, mountings
from canaryctl.plan.release import Release, sha256
from canaryctl.plan.sandbox import TemplateFault, render_template
from canaryctl.plan.secretuse import secret_use


@dataclass(frozen=True)
class Rendering:
    """The files of one host's release directory, and the services that run there.

    `directory` is the name under `releases/`: the release's id and the first 8 of the rendering's hash. `volumes` has
    each service's named ones: their names where the file gives them, else their keys. `secrets` has the names of those
    that each service uses. `mounts` are their binds and volumes, these by the names that they have on hosts.
    `graces` are seconds that services have to stop, of those that say so.
    """

    host: str
    directory: str
    services: tuple[str, ...]
    files: Mapping[str, bytes]
    ports: tuple[tuple[str, int, str], ...]
    volumes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    secrets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    mounts: tuple[Mounting, ...] = ()
    graces: Mapping[str, float] = field(default_factory=dict)

    @property
    def compose(self) -> str:
        """The rendered compose file."""
        return self.files["compose.yml"].decode()

    @property
    def hashes(self) -> dict[str, str]:
        """sha256 of every file, by its path in the release directory."""
        return {path: sha256(content) for path, content in self.files.items()}


def place_services(stack: Stack, environment: Environment, where: str) -> dict[str, tuple[str, ...]]:
    """Services of every host, in the order of the placement; hosts without any are left out.

    Raises:
        ConfigError: a group that a placement needs has no hosts and the service is not optional.
    """
    placed: dict[str, list[str]] = {host: [] for host in environment.hosts}
    for group, services in stack.placement.items():
        hosts = environment.groups.get(group, ())
        needed = [service for service in services if service not in stack.optional]
        if not hosts and needed:
            groups = ", ".join(sorted(set(environment.groups) - {"all", "ungrouped"})) or "none"
            state = "is empty" if group in environment.groups else "does not exist"
            raise ConfigError(
                f"group '{group}' {state} in environment '{environment.name}', but {', '.join(needed)} is placed there",
                where,
                f"add a host to the group, or list the service under 'optional'; groups there are: {groups}",
            )
        for host in hosts:
            placed[host] += [service for service in services if service not in placed[host]]
    return {host: tuple(services) for host, services in placed.items() if services}


def template_names(
    stack: Stack,
    environment: Environment,
    placed: Mapping[str, tuple[str, ...]],
    *,
    release: str,
    variant: str,
    images: Mapping[str, str],
) -> dict[str, Any]:
    """Names every template sees, the same on all hosts. `host_names` adds those of one host.

    Args:
        release: its id, or '' where nothing is deployed.
        images: content-addressed tag of every service.
    """
    services = [service for group in stack.placement.values() for service in group]
    return {
        "environment": environment.name,
        "stack": stack.stack,
        "variant": variant,
        "release": release,
        "groups": {group: list(members) for group, members in environment.groups.items()},
        "hosts": {
            host.name: {
                "address": host.address,
                "groups": list(host.groups),
                "services": list(placed.get(host.name, ())),
            }
            for host in environment.hosts.values()
        },
        "images": dict(images),
        "service_hosts": {
            service: [host for host, names in placed.items() if service in names] for service in services
        },
    }


def host_names(names: Mapping[str, Any], host: str, gpus: tuple[Any, ...] = ()) -> dict[str, Any]:
    """The names a template sees on one host."""
    entry = names["hosts"][host]
    return {**names, "host": host, "address": entry["address"], "services": entry["services"], "gpus": list(gpus)}


def render_release(
    stack: Stack,
    environment: Environment,
    placed: Mapping[str, tuple[str, ...]],
    files: StackFiles,
    release: Release,
    host: str,
    gpus: tuple[Any, ...] = (),
    devices: Mapping[str, Mapping[str, Any]] | None = None,
) -> Rendering:
    """Render a release on one host of an environment, by the names that are the release's. Arguments, errors as below.

    Args:
        placed: services by host.
    """
    names = template_names(stack, environment, placed, release=release.id, variant=release.variant, images=release.tags)
    return render_host(stack, files, release, names, host, gpus, devices)


def render_host(
    stack: Stack,
    files: StackFiles,
    release: Release,
    names: Mapping[str, Any],
    host: str,
    gpus: tuple[Any, ...] = (),
    devices: Mapping[str, Mapping[str, Any]] | None = None,
) -> Rendering:
    """Render one host's release directory.

    Args:
        names: those of `template_names`.
        devices: by service, the device reservation that it gets unless its block asks for devices itself.

    Raises:
        ConfigError: the template uses an undefined name, is no template, or does not become a compose document.
    """
    on_host = host_names(names, host, gpus)
    services, where = tuple(on_host["services"]), shown(stack.directory / files.compose)
    if stack.compose.endswith(".j2"):
        text = _render(files.template, on_host, where)
        compose = compose_document(text, where, host)
    else:
        compose = _with_images(compose_document(files.template, where, host), services, on_host["images"])
        text = yaml.safe_dump(compose, sort_keys=False)
    absent = [service for service in services if service not in compose["services"]]
    if absent:
        raise ConfigError(
            f"the compose file has no service {', '.join(absent)} on host {host}",
            where,
            "write a block for every service placed there",
        )
    if _give_devices(compose, devices or {}):
        text = yaml.safe_dump(compose, sort_keys=False, width=1000)
    made = {"compose.yml": text.encode()} | {f"assets/{path}": content for path, content in files.assets.items()}
    suffix = rendering_suffix(str(names["environment"]), {path: sha256(content) for path, content in made.items()})
    require_data_outside(compose, stack.stack, where, secrets=stack.secrets, read=partial(_document, made))
    made["release.json"] = _release_json(release, str(names["environment"]), services)
    return Rendering(
        host=host,
        directory=f"{release.id}-{suffix}",
        services=services,
        files=made,
        ports=published_ports(compose, where),
        volumes=named_volumes(compose),
        secrets=secret_use(compose, stack.secrets),
        graces=stop_graces(compose),
        mounts=tuple(
            mountings(compose, f"{stack.stack}-{names['environment']}", stack.secrets, partial(_document, made))
        ),
    )


def _document(files: Mapping[str, bytes], path: str) -> Mapping[str, Any] | None:
    """A YAML file of the release; None where there is none, which is compose's to tell.

    Raises:
        ConfigError: what services mount by it cannot be told.
    """
    if path not in files:
        return None
    try:
        found, _ = read_yaml(files[path].decode(), ComposeLoader)
    except (UnicodeDecodeError, YamlFault) as fault:
        raise ConfigError(
            f"a compose file that this one takes services from cannot be read: {fault}",
            path.removeprefix("assets/"),
            "correct it: one YAML document, without tags of its own",
        ) from None
    return found if isinstance(found, dict) else None


def _release_json(release: Release, environment: str, services: tuple[str, ...]) -> bytes:
    document = release.as_dict() | {
        "schema_version": 1,
        "stack": release.stack,
        "variant": release.variant,
        "environment": environment,
        "placed": list(services),
    }
    return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"


def _render(template: str, names: Mapping[str, Any], file: str) -> str:
    try:
        return render_template(template, names, blocks=True)
    except TemplateFault as fault:
        message = fault.message
        what, hint = {
            "syntax": (f"template error: {message}", "correct the template"),
            "undefined": (
                f"the template uses something undefined: {message}",
                f"names a template sees: {', '.join(sorted(names))}",
            ),
            "security": (f"the template may not do that: {message}", ""),
            "failed": (f"the template failed: {message}", "correct the template"),
            "bounds": (f"the template was stopped: {message}", "correct the template"),
        }[fault.kind]
        raise ConfigError(what, f"{file}:{fault.line}", hint) from None


def _give_devices(compose: dict[str, Any], devices: Mapping[str, Mapping[str, Any]]) -> bool:
    """Reserve GPUs for services that do not ask for devices in a way of their own; whether any was reserved."""
    given = False
    for name, device in devices.items():
        service = compose["services"].get(name)
        if (
            not isinstance(service, dict)
            or {"runtime", "gpus"} & set(service)
            or "nvidia" in str(service.get("devices"))
        ):
            continue
        reserved = service
        for key in ("deploy", "resources", "reservations"):
            reserved[key] = dict(reserved.get(key) or {})
            reserved = reserved[key]
        if not reserved.get("devices"):
            reserved["devices"] = [dict(device)]
            given = True
    return given


def _with_images(compose: dict[str, Any], services: tuple[str, ...], images: Mapping[str, str]) -> dict[str, Any]:
    """A compose file used as it is: only the services placed here, on our images, never pulled or built."""
    kept: dict[str, Any] = {}
    for name in services:
        service = compose["services"].get(name)
        if service is None:
            continue
        service = {key: value for key, value in service.items() if key != "build"}
        service |= {"image": images[name], "pull_policy": "never"}
        needs = service.get("depends_on")
        if isinstance(needs, list):
            service["depends_on"] = [other for other in needs if other in services]
        elif isinstance(needs, dict):
            service["depends_on"] = {other: how for other, how in needs.items() if other in services}
        if not service.get("depends_on", True):
            del service["depends_on"]
        kept[name] = service
    return {**compose, "services": kept}
