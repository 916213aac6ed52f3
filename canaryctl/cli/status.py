"""The command `status`: what an environment serves, or all do. It leaves no run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from canaryctl.cli import options as opt
from canaryctl.cli.lock import lock_lines
from canaryctl.cli.output import Output, aligned, leave, print_answer, shown_time
from canaryctl.errors import CanaryError

if TYPE_CHECKING:
    from canaryctl.commands.request import Request
    from canaryctl.commands.status import EnvironmentStatus, HostStatus, LostHost


@opt.takes(all_environments=True)
def status(request: Request, output: Output) -> None:
    """Say what every host of ENV serves, or without ENV all environments at a glance. Changes nothing."""
    from canaryctl.commands import status

    if request.environment:
        found, failures = status.status(request)
        print_answer(found, status_lines(found), output)
        leave(failures)
    environments, problems = status.status_of_all(request)
    documents = {
        name: {"environment": name, "error": one} if isinstance(one, CanaryError) else one
        for name, one in environments.items()
    }
    print_answer({"environments": documents}, overview_lines(environments), output)
    leave(problems)


def status_lines(found: EnvironmentStatus) -> list[str]:
    """An environment as text, host by host."""
    release = f"release {found.release}" if found.release else "no one release"
    lines = [f"{found.stack} on {found.environment}: {release}"]
    for name, host in found.hosts.items():
        if host.reachable:
            lines.append(f"  {name}: {_served(host, found.environment)}")
            lines += [f"    {line}" for line in _host_lines(host)]
        else:
            lines.append(f"  {name}: unreachable: {host.why}")
    return lines


def _served(host: HostStatus, environment: str) -> str:
    from canaryctl.commands.history import standing_words

    of = f" of environment {host.environment}" if host.environment not in (None, environment) else ""
    served = f"release {host.release[:12]} ({host.variant}){of}" if host.release else "no release"
    since = f" since {shown_time(host.since)} by {host.by}" if host.since else ""
    last = host.last or {}
    then = f", last {last.get('what')} {shown_time(last.get('time'))} by {last.get('who')}" if last else ""
    signed = standing_words(last)
    return f"{served}{since}{then}{f', {signed}' if signed else ''}"


def _host_lines(host: HostStatus) -> Iterator[str]:
    yield from (f"drift: {difference}" for difference in host.drift)
    yield from lock_lines(host.lock)
    yield from [host.change] if host.change else []
    yield from host.lacks
    for name, service in host.services.items():
        health = f", {service.health}" if service.health else ""
        restarts = f", {service.restarts} restarts" if service.restarts else ""
        yield f"{name:<22} {service.state}{health}{restarts}  {service.image}"
    yield from (f"{name:<22} not there" for name in host.missing)


def overview_lines(environments: Mapping[str, EnvironmentStatus | CanaryError]) -> list[str]:
    """All environments as text, a line each."""
    return aligned(_overview(name, found) for name, found in environments.items()) or ["there are no environments"]


def _overview(name: str, found: EnvironmentStatus | CanaryError) -> list[str]:
    if isinstance(found, CanaryError):
        return [f"{name}  faulty: {found.what}"]  # in no column: the others' need no room for it
    if found.replaced_by:
        return [name, f"its hosts serve {', '.join(found.replaced_by)}"]
    served = f"{found.release[:12]} ({found.variant})" if found.release else _no_release(found.hosts.values())
    since = f"since {shown_time(found.since)} by {found.by}" if found.since else ""
    drift = "unknown" if found.drift is None else "yes" if found.drift else "no"
    remarks = [f"drift: {drift}"] if found.release else []
    remarks += [f"locked by {found.lock.holder}"] if found.lock else []
    lost = [host for host, state in found.hosts.items() if not state.reachable]
    remarks += [f"unreachable: {', '.join(lost)}"] if lost else []
    return [name, served, since, f"{found.healthy} of {found.services} healthy", ", ".join(remarks)]


def _no_release(hosts: Iterable[HostStatus | LostHost]) -> str:
    ids = {host.release for host in hosts if host.reachable}
    return "different releases" if len(ids) > 1 else "no release" if ids else "unknown"
