"""Rules about Docker, its configuration and the ports it publishes."""

from __future__ import annotations

from collections.abc import Iterator

from canaryctl.audit.model import Found, HostConfig, Setup, Severity
from canaryctl.audit.rule import Rule
from canaryctl.config.versions import version_of
from canaryctl.facts.host import HostFacts
from canaryctl.plan.operations.provision import OLDEST_COMPOSE
from canaryctl.plan.ports import on_all_addresses, taken_ports

OLDEST_DOCKER = version_of("20.10")
# Options whose name on the command line is not the key's.
_FLAG_OF_KEY = {
    "hosts": ("H", "host"),
    "registry-mirrors": ("registry-mirror",),
    "insecure-registries": ("insecure-registry",),
    "labels": ("label",),
    "log-opts": ("log-opt",),
    "storage-opts": ("storage-opt",),
    "exec-opts": ("exec-opt",),
    "default-address-pools": ("default-address-pool",),
    "default-ulimits": ("default-ulimit",),
    "runtimes": ("add-runtime",),
    "debug": ("D", "debug"),
    "log-level": ("l", "log-level"),
    "group": ("G", "group"),
    "pidfile": ("p", "pidfile"),
}

DOCKER_MISSING = Rule(
    "docker-missing",
    Severity.ERROR,
    title="Docker is not installed",
    why="No container can run there.",
    fix="Run: canaryctl provision ENV.",
)
DOCKER_DOWN = Rule(
    "docker-not-running",
    Severity.ERROR,
    title="Docker is installed and does not answer",
    why="Containers may still run, but none can be started, stopped or looked at.",
    fix="See systemctl status docker and journalctl -u docker on the host.",
)
DOCKER_OLD = Rule(
    "docker-old",
    Severity.WARNING,
    title="Docker is older than what canaryctl relies on",
    why="Image delivery and health checks use what later versions brought.",
    fix="Upgrade Docker to 20.10 or later.",
)
COMPOSE_MISSING = Rule(
    "compose-missing",
    Severity.ERROR,
    title="docker compose v2 is not installed",
    why="Releases are started with it.",
    fix="Run: canaryctl provision ENV.",
)
COMPOSE_OLD = Rule(
    "compose-old",
    Severity.ERROR,
    title="docker compose is older than what canaryctl relies on",
    why="It lacks `up --wait` or `pull_policy: never`, so a start could neither be waited for nor kept from pulling.",
    fix=f"Upgrade it to {OLDEST_COMPOSE} or later: canaryctl provision ENV.",
)
DAEMON_INVALID = Rule(
    "daemon-json-invalid",
    Severity.ERROR,
    title="Docker's daemon.json is not valid",
    why="Docker refuses to start with it: the next restart or reboot takes every container down.",
    fix="Fix the file (JSON has no comments) and check it: dockerd --validate --config-file FILE.",
)
DAEMON_CONFLICT = Rule(
    "daemon-option-conflict",
    Severity.ERROR,
    title="A Docker option is set both in daemon.json and on the command line",
    why="Docker refuses to start where both say it: the next restart or reboot takes every container down.",
    fix="Keep it in one place: take it out of daemon.json, or out of ExecStart with a systemd drop-in.",
)
PORT_CONFLICT = Rule(
    "port-conflict",
    Severity.ERROR,
    title="A port that the stack publishes is held by something else",
    why="The service that publishes it cannot start there.",
    fix="Stop what holds it, or publish another port.",
)
PORT_EVERYWHERE = Rule(
    "port-on-all-interfaces",
    Severity.WARNING,
    title="A port is published on all interfaces",
    why="Docker opens it past the host's firewall to every network the host is in.",
    fix='Bind it to the address that needs it: "{{ address }}:PORT:PORT" in the compose template.',
)


@DOCKER_MISSING.host
def docker_missing(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """Neither a socket nor a program."""
    if facts.docker is None:
        yield Found("Docker is not installed", subject="docker")


@DOCKER_DOWN.host
def docker_down(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """A refused sudo keeps us out just as well, and is a finding of its own."""
    if facts.docker is not None and not facts.docker.running and facts.become != "refused":
        why = f": {facts.docker.error}" if facts.docker.error else ""
        yield Found(f"Docker does not answer{why}", subject="docker")


@DOCKER_OLD.host
def docker_old(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """The server's version."""
    if facts.docker and facts.docker.version and version_of(facts.docker.version) < OLDEST_DOCKER:
        yield Found(f"Docker is {facts.docker.version}", subject="docker")


@COMPOSE_MISSING.host
def compose_missing(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """The plugin."""
    if facts.docker is not None and facts.compose is None:
        yield Found("docker compose v2 is not installed", subject="compose")


@COMPOSE_OLD.host
def compose_old(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """The plugin's version."""
    if facts.compose is not None and version_of(facts.compose) < OLDEST_COMPOSE:
        yield Found(f"docker compose is {facts.compose}", subject="compose")


@DAEMON_INVALID.host
def daemon_invalid(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """As JSON; which options there are is Docker's to know."""
    daemon = facts.audit.daemon
    if daemon.error:
        yield Found(f"{daemon.path} is not valid: {daemon.error}", subject=daemon.path)


@DAEMON_CONFLICT.host
def daemon_conflict(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """Drop-ins included."""
    daemon = facts.audit.daemon
    for key in daemon.keys:
        for flag in _FLAG_OF_KEY.get(key, (key,)):
            if flag in daemon.flags:
                shown = f"-{flag}" if len(flag) == 1 else f"--{flag}"
                yield Found(f"'{key}' is in {daemon.path}, and dockerd is started with {shown}", subject=key)


@PORT_CONFLICT.host
def port_conflict(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """Other environments of the same stack do not count: a deploy replaces them."""
    own = {host.project, *facts.projects(host.stack)}
    for port, service, holder in taken_ports(host.ports, facts, own):
        yield Found(f"port {port} of service {service} is held by {holder}", subject=f"{service}:{port}")


@PORT_EVERYWHERE.host
def port_everywhere(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """Containers of others are mentioned only."""
    for container in facts.containers:
        ours = container.project == host.project
        name = container.service if ours else container.name
        for port in container.ports:
            if on_all_addresses(port.address):
                yield Found(
                    f"{name} publishes port {port.port} on all interfaces",
                    subject=f"{name}:{port.port}",
                    severity=None if ours else Severity.INFO,
                    fix="" if ours else "Ask its owner whether that is meant.",
                )


@PORT_EVERYWHERE.setup
def port_everywhere_planned(setup: Setup) -> Iterator[Found]:
    """As the compose template would publish it."""
    for host in setup.hosts.values():
        for address, port, service in host.ports:
            if on_all_addresses(address):
                yield Found(
                    f"{service} publishes port {port} on all interfaces",
                    subject=f"{service}:{port}",
                    host=host.name,
                    file=setup.compose_where,
                )
