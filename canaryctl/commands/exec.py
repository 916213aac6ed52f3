"""Run a command in a service's container. What it does there is its own affair: no run is left."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence

from canaryctl.commands.logs import require_service
from canaryctl.config.yamlfile import shown
from canaryctl.errors import ConfigError, HostError
from canaryctl.hosts import Fleet, observe
from canaryctl.hosts.sudo import as_root, with_password
from canaryctl.plan.deployment import Request, load_deployment

Sink = Callable[[bytes], None]


def execute(
    request: Request,
    service: str,
    command: Sequence[str],
    *,
    stdin: Iterable[bytes] | None,
    terminal: bool,
    out: Sink,
    err: Sink,
    say: Callable[[str], None],
) -> int:
    """Run `command` in the service's running container on the first host that it is placed on, and give its exit code.

    Args:
        stdin: what it is fed; None for nothing.
        terminal: it gets this process's terminal instead of `stdin`, `out` and `err`; sudo asks there for its password.
        out, err: take its output as it comes, as it is.
        say: is told the host where there was a choice.

    Raises:
        ConfigError: there is no such service, or not on the hosts that --limit leaves.
        HostError: the host cannot be reached, or the service does not run there.
    """
    deployment = load_deployment(request)
    require_service(deployment, service)
    placed = [host for host in deployment.hosts if service in deployment.placed.get(host.name, ())]
    if not placed:
        hosts = ", ".join(name for name, services in deployment.placed.items() if service in services)
        raise ConfigError(
            f"{service} is on none of the hosts chosen", shown(deployment.environment.directory), f"on: {hosts}"
        )
    host, *others = placed
    if others:
        say(f"on {host.name}; --limit chooses another ({', '.join(other.name for other in others)})")
    with Fleet([host], request.become_password) as fleet:
        seen = observe(fleet, fleet.hosts, stack=deployment.stack.stack)
        for failure in seen.failures.values():
            raise failure
        facts = seen.facts[host.name]
        container = facts.container(service, deployment.compose_project)
        if container is None or container.state != "running":
            state = container.state if container else "not there"
            hint = f"canaryctl status {deployment.environment.name} shows what runs"
            raise HostError(f"{service} does not run there: it is {state}", host.name, hint)
        connection = fleet.get(host.name)
        if terminal:
            sudo = ["sudo"] if facts.sudo else []
            code = connection.lend_terminal(shlex.join([*sudo, "docker", "exec", "-it", container.id, *command]))
            return code if code >= 0 else 255
        argv = ["docker", "exec", *(["-i"] if stdin is not None else []), container.id, *command]
        line, given = with_password(as_root(shlex.join(argv), facts.sudo), stdin or (), connection.sudo_password)
        done = connection.execute(line, given, out, timeout=None, aside=err)
    return done.code if done.code >= 0 else 255
