"""Bring a lab up, heal it, look at it, take it down."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from canaryctl.errors import ConfigError, HostError
from canaryctl.lab import hosts as box
from canaryctl.lab import image, simulator, state
from canaryctl.lab.docker import Say, docker, ensure_daemon, exists, subnets
from canaryctl.lab.state import Lab, LabHost

DEFAULT_HOSTS = ("canary-1", "staging-core", "staging-cpu", "staging-gpu")
_FIRST_PORT = 22200
_POOL = ipaddress.ip_network("10.87.0.0/16")
T = TypeVar("T")


def up(
    name: str = "default",
    hosts: Sequence[str] = DEFAULT_HOSTS,
    secrets: Mapping[str, Sequence[str]] | None = None,
    say: Say = lambda _line: None,
    *,
    with_docker: bool = False,
) -> Lab:
    """Make sure the lab has these hosts (and those it had), each answering SSH; heals what is stopped or gone.

    Args:
        secrets: environment -> names of secrets to generate where they are missing.
        say: gets one line a step that takes time.
        with_docker: hosts that have to be made come with Docker, as provisioning would leave them.

    Raises:
        ConfigError: Docker or something it needs is missing; the lab belongs to another state directory.
        HostError: a host does not come up.
    """
    for host in hosts:
        state.checked_name(host, "host")
    directory = state.directory(name)
    ensure_daemon(say)
    with state.locked("labs", say):
        lab = state.load(name)
        found = containers(name)
        _refuse_foreign(name, str(directory), found)
        if lab is None:
            # without a record nobody knows their ports or trusts their keys any more
            _remove([c["Id"] for c in found.values()])
            found = {}
        lab = _allocate(lab or Lab(name, ""), hosts)
        state.save(lab)
        public_key = state.ensure_key(lab)
        state.ensure_signing(lab)
        state.ensure_secrets(name, secrets or {})
        _heal(lab, found, public_key, say, with_docker=with_docker)
        for container in simulator.serve(lab, say):
            box.keys_alone(container)
    return lab


def status(name: str = "default") -> dict[str, Any]:
    """The lab's record, each host with `state` (Docker's word, or `missing`) and `ssh` (whether a login works)."""
    lab = state.load(name)
    if lab is None:
        return {"name": name, "subnet": "", "hosts": {}}
    found = containers(name)

    def look(host: str) -> dict[str, Any]:
        at = found.get(host)
        running = at["State"]["Status"] if at else "missing"
        return {"state": running, "ssh": running == "running" and box.answers(lab, host)}

    looks = _each(list(lab.hosts), look)
    document = lab.as_dict()
    for host, seen in looks.items():
        document["hosts"][host].update(seen)
    return document


def down(name: str = "default", *, purge: bool = False, say: Say = lambda _line: None) -> list[str]:
    """Remove the lab's hosts, with everything on them, and its network; with `purge` also its key and secrets.

    Returns the names of the hosts removed. Taking down a lab that is not there is not an error.
    """
    directory = state.directory(name)
    ensure_daemon(say)
    with state.locked("labs", say):
        found = containers(name)
        _refuse_foreign(name, str(directory), found)
        _remove([c["Id"] for c in found.values()])
        if exists("network", Lab(name, "").network):
            docker("network", "rm", Lab(name, "").network)
        state.forget(name, purge=purge)
    return sorted(found)


def require(name: str = "default") -> Lab:
    """The recorded lab.

    Raises:
        ConfigError: it is not up.
    """
    lab = state.load(name)
    if lab is None:
        hint = "canaryctl lab up" + ("" if name == "default" else f" --name {name}")
        raise ConfigError(f"the lab {name!r} is not up", str(state.directory(name)), hint)
    return lab


def containers(name: str) -> dict[str, dict[str, Any]]:
    """The lab's containers as Docker describes them, by host."""
    ids = docker("ps", "--all", "--quiet", "--filter", f"label=canaryctl.lab={name}").split()
    described = json.loads(docker("container", "inspect", *ids)) if ids else []
    return {c["Config"]["Labels"].get("canaryctl.host", c["Name"]): c for c in described}


def _refuse_foreign(name: str, directory: str, found: Mapping[str, Mapping[str, Any]]) -> None:
    owners = {c["Config"]["Labels"].get("canaryctl.state", directory) for c in found.values()} - {directory}
    if owners:
        hint = "use another --name, or the XDG_STATE_HOME it was made with"
        raise ConfigError(f"the lab {name!r} belongs to another state directory", min(owners), hint)


def _remove(ids: Sequence[str]) -> None:
    if ids:
        docker("rm", "--force", "--volumes", *ids)


def _allocate(lab: Lab, wanted: Iterable[str]) -> Lab:
    """The lab with a network of its own and a place for every wanted host; places once given stay."""
    if not lab.subnet or not exists("network", lab.network):
        lab = replace(lab, subnet=_make_network(lab))
    taken = _recorded_ports()
    net = ipaddress.ip_network(lab.subnet)
    hosts = {h: replace(w, address=str(net[10 + i])) for i, (h, w) in enumerate(lab.hosts.items())}
    for host in wanted:
        if host not in hosts:
            port = next(p for p in range(_FIRST_PORT, 65000) if p not in taken and port_is_free(p))
            taken.add(port)
            hosts[host] = LabHost(str(net[10 + len(hosts)]), port, f"canaryctl-{lab.name}-{host}")
    return replace(lab, hosts=hosts)


def _recorded_ports() -> set[int]:
    """Ports that any lab of this user has, running or not."""
    ports: set[int] = set()
    for record in (state.root() / "labs").glob("*/lab.json"):
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            ports |= {int(h["port"]) for h in json.loads(record.read_text())["hosts"].values()}
    return ports


def port_is_free(port: int) -> bool:
    """Whether 127.0.0.1:`port` can be bound."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _make_network(lab: Lab) -> str:
    """Create the lab's network; on the subnet it had, where that is still free."""
    used = [*subnets(), *_routes()]
    candidates = ([lab.subnet] if lab.subnet else []) + [str(n) for n in _POOL.subnets(new_prefix=24)]
    if exists("network", lab.network):  # left by an interrupted `up` that had recorded nothing yet
        docker("network", "rm", lab.network)
    subnet = free_subnet(candidates, used)
    docker("network", "create", "--subnet", subnet, "--label", f"canaryctl.lab={lab.name}", lab.network)
    return subnet


def _routes() -> list[str]:
    try:
        done = subprocess.run(["ip", "-4", "-o", "route", "show"], capture_output=True, text=True)
    except FileNotFoundError:
        return []
    return [word for line in done.stdout.splitlines() for word in line.split()[:1]]


def free_subnet(candidates: Iterable[str], used: Iterable[str]) -> str:
    """The first candidate that overlaps none of the used networks (words that are no IPv4 network are ignored).

    Raises:
        ConfigError: none is free.
    """
    taken = []
    for word in used:
        with contextlib.suppress(ValueError):
            taken.append(ipaddress.IPv4Network(word, strict=False))
    for candidate in candidates:
        if not any(ipaddress.IPv4Network(candidate).overlaps(net) for net in taken):
            return candidate
    raise ConfigError(f"no free subnet for the lab in {_POOL}", "docker", "remove networks: docker network ls")


def _heal(lab: Lab, found: Mapping[str, Mapping[str, Any]], public_key: str, say: Say, *, with_docker: bool) -> None:
    """Bring every host to answering SSH with the lab's key and pinned host keys."""
    usable = {h: c for h, c in found.items() if h in lab.hosts and c["State"]["Status"] == "running"}
    healthy = {h for h, ok in _each(list(usable), lambda h: box.answers(lab, h)).items() if ok}
    sick = [h for h in lab.hosts if h not in healthy]
    if not sick:
        return
    missing = [h for h in sick if _half_made(found.get(h))]
    recipe = image.host_image(image.base_image(say), say, with_docker=with_docker) if missing else ""
    cgroups = docker("info", "--format", "{{.CgroupVersion}}") if missing else ""
    say(f"starting {', '.join(sick)}")

    def bring(host: str) -> list[str]:
        at = found.get(host)
        if host in missing:
            if at:
                _remove([at["Id"]])
            box.create(lab, host, recipe, public_key, cgroups)
        else:
            _restart(lab, host, str(at["State"]["Status"]) if at else "")
            box.admit(lab, host, public_key)
        box.wait_for_ssh(lab, host)
        return box.host_keys(lab, host)

    box.pin(lab, [line for lines in _each(sick, bring).values() for line in lines])
    _each(sick, lambda host: _login(lab, host))


def _half_made(container: Mapping[str, Any] | None) -> bool:
    return container is None or container["State"]["Status"] in ("created", "dead", "removing")


def _restart(lab: Lab, host: str, was: str) -> None:
    container = lab.hosts[host].container
    if was == "paused":
        docker("unpause", container)
    elif was == "running":
        # may fail while the host still boots: then SSH comes by itself, and the wait after this is the judge
        docker("exec", container, "systemctl", "start", "ssh.service", check=False)
    else:
        docker("start", container)


def _login(lab: Lab, host: str) -> None:
    deadline = time.monotonic() + 20
    while not box.answers(lab, host):  # logins are refused until systemd has let users in
        if time.monotonic() > deadline:
            hint = f"canaryctl lab ssh {host} --name {lab.name}; or start over: canaryctl lab down --name {lab.name}"
            raise HostError("the lab host refuses the lab's own login", host, hint)
        time.sleep(0.2)


def _each(names: Sequence[str], work: Callable[[str], T]) -> dict[str, T]:
    """Do `work` for all names at once; the first error is raised after all have ended."""
    if not names:
        return {}
    with ThreadPoolExecutor(max_workers=len(names)) as pool:
        return dict(zip(names, pool.map(work, names), strict=True))
