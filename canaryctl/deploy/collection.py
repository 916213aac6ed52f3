"""Bring evidence home and write the history."""

from __future__ import annotations

import contextlib
import shlex
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from canaryctl.config.scrub import Scrubber
from canaryctl.deploy import changes, signing
from canaryctl.deploy.context import RunContext
from canaryctl.deploy.proof import proof
from canaryctl.deploy.state import Migration
from canaryctl.errors import CanaryError, HostError
from canaryctl.evidence.excerpts import excerpt
from canaryctl.evidence.files import safe_name
from canaryctl.facts import describe_containers
from canaryctl.hosts import Connection, Fleet, history
from canaryctl.hosts import collect as collect_from
from canaryctl.hosts.sudo import as_root
from canaryctl.plan.operations.migrate import migration_host


def collect(ctx: RunContext) -> None:
    """Bring logs, container state and facts home. What cannot be had is noted: nothing that a host answers raises."""
    ctx.state.collected = True
    ctx.run.event("stage.started", stage="collect", hosts=list(ctx.facts))
    try:
        ctx.observe(again=True)
    except Exception as fault:
        _note_fault(ctx, "the hosts could not be observed again", fault)
    logs: dict[str, Any] = {}
    containers: dict[str, Any] = {}

    def one(connection: Connection) -> None:
        host, began = connection.host, time.monotonic()
        try:
            logs[host], containers[host] = _collect_from(ctx, connection)
        except Exception as fault:
            message = fault.what if isinstance(fault, CanaryError) else f"{type(fault).__name__}: {fault}"
            ctx.run.stage("collect", host, "failed", time.monotonic() - began, message=message)
        else:
            ctx.run.stage("collect", host, "ok", time.monotonic() - began)

    _, lost = ctx.fleet.each(list(ctx.facts), one)
    for host, error in lost.items():
        ctx.run.stage("collect", host, "failed", 0.0, message=error.what)
    ctx.run.set("logs", {host: logs[host] for host in ctx.facts if host in logs})
    ctx.run.set("containers", [row for host in ctx.facts for row in containers.get(host, ())])


def _collect_from(ctx: RunContext, connection: Connection) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Excerpts of one host's logs by service, and its containers; the whole of both is kept as files."""
    host = connection.host
    found = collect_from(connection, ctx.deployment.compose_project, stack=ctx.deployment.stack.stack)
    for service, text in found["logs"].items():
        _keep(ctx, host, f"logs/{safe_name(service)}.log", text)
    _keep(ctx, host, "containers.json", without_secrets(found["containers"], ctx.deployment.stack.secrets))
    if found["compose"]:
        _keep(ctx, host, "compose.yml", found["compose"])
    # Scrubbed first: a pattern of a line hides no secret any more, it only spells it differently.
    logs = {service: excerpt(ctx.run.scrub(text)) for service, text in found["logs"].items()}
    return logs, describe_containers(host, found["containers"], found["memory"], found["became_healthy"])


def _keep(ctx: RunContext, host: str, relative: str, content: Any) -> None:
    try:
        ctx.run.host_file(host, relative, content)
    except Exception as fault:
        _note_fault(ctx, f"{relative} is not in the evidence", fault, host)


def _note_fault(ctx: RunContext, what: str, fault: Exception, where: str = "") -> None:
    if isinstance(fault, CanaryError):
        ctx.run.warn(f"{what}: {fault.what}", where or fault.where, fault.hint)
    else:
        ctx.run.warn(f"{what}: {type(fault).__name__}: {fault}", where)


def remember(
    ctx: RunContext,
    what: str,
    verdict: str | None = None,
    more: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    confirms: bool = False,
) -> None:
    """Append a line to the history of each host; a host that refuses is a warning, not a failure.

    Hosts that a failed wave spared serve what they served, so this release has no history there. `more` is what the
    lines of some hosts have besides. With `confirms` what the run has brought stays, see changes.require_confirmed.
    """
    reached = [host for host in ctx.facts if host not in ctx.state.held_back]
    phases, lost = _append(ctx, ctx.fleet, reached, what, verdict, more, confirms=confirms)
    for error in lost.values():
        ctx.run.warn(error.what, error.where, error.hint)
    if confirms:
        changes.require_confirmed(ctx, phases, lost)


def remember_interrupted(ctx: RunContext, verdict: str, seconds: float) -> None:
    """Append a line to the history of the hosts that an interrupted run has touched, in `seconds` at most.

    What it made them serve, and had not confirmed, they take back at once.

    Over connections of its own: an interruption closes the run's.
    """
    hosts = [host for host in ctx.state.touched if host in ctx.facts]
    waiting = set(hosts)

    def tell() -> None:
        with ctx.fleet.anew(hosts) as fleet, contextlib.suppress(CanaryError):
            waiting.intersection_update(_append(ctx, fleet, hosts, ctx.command.name, verdict, give_up=True)[1])

    teller = threading.Thread(target=tell, name="history", daemon=True)
    teller.start()
    teller.join(seconds)
    if waiting:
        ctx.run.warn("the interruption is not in the history of every host", ", ".join(sorted(waiting)))


def _append(
    ctx: RunContext,
    fleet: Fleet,
    hosts: Sequence[str],
    what: str,
    verdict: str | None,
    more: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    confirms: bool = False,
    give_up: bool = False,
) -> tuple[dict[str, str], dict[str, HostError]]:
    """Append a line to the history of each of `hosts`; what they say to `confirms`, and who refused, with why."""
    common = history.history_line(
        who=ctx.run.operator,
        environment=ctx.deployment.environment.name,
        what=what,
        after=ctx.state.release.id,
        verdict=verdict,
        run=ctx.run.id,
        role=ctx.command.role,
        extra=proof(ctx, what),
    )
    signature = signing.signature(ctx, common)  # once, for all hosts

    def append(connection: Connection) -> str:
        host = connection.host
        line = {**common, "from": ctx.served_before(host), **signature, **(more or {}).get(host, {})}
        if give_up:
            changes.give_up(ctx, connection, line)
        return "" if give_up else changes.tell(ctx, connection, line, confirms=confirms)

    return fleet.each(hosts, append)


def know_secrets(ctx: RunContext, *, needed: bool = True) -> None:
    """Make the record scrub the stack's secrets; where they are not needed, a missing one is only a warning."""
    configuration = ctx.deployment.configuration
    try:
        webhook = configuration.webhook.secrets if configuration.webhook else {}
        known = {**ctx.deployment.passwords, **configuration.secrets, **ctx.registries.secrets, **webhook}
        ctx.run.scrub = Scrubber(known)
    except CanaryError as error:
        if needed:
            raise
        ctx.run.warn(f"{error.what}; their values cannot be hidden in what is collected", error.where, error.hint)


def serving(ctx: RunContext) -> str:
    """What the hosts serve now, in words, from the last observation."""
    hosts = []
    for host, facts in ctx.facts.items():
        running: dict[str, list[str]] = {ctx.deployment.compose_project: []}
        for container in facts.containers:  # other environments of the stack may serve on the same host
            if container.state == "running" and container.project.startswith(f"{ctx.deployment.stack.stack}-"):
                running.setdefault(container.project, []).append(container.service)
        ours, *others = ((project, ", ".join(sorted(services))) for project, services in running.items())
        release = facts.state.current[:12] if facts.state.current else "no release"
        if facts.docker is not None and not facts.docker.running:
            hosts.append(f"{host}: {release}, and Docker does not say what runs")
            continue
        words = f"{host}: {release}, running {ours[1] or 'nothing'}" + (f" of {ours[0]}" if others else "")
        hosts.append(words + "".join(f"; {project} runs {services}" for project, services in others))
    hosts += [f"{host}: not known, it cannot be reached" for host in ctx.state.failures if host not in ctx.facts]
    return "; ".join(hosts)


def record_migration(ctx: RunContext, stats: Any) -> None:
    """Record what the migration's playbook reports: the words of the hosts that it ran on."""
    if not isinstance(stats, Mapping) or not stats:
        return
    texts = {key: value for key, value in stats.items() if isinstance(value, str)}
    found: dict[str, Any] = {key: texts.get(key) for key in ("before", "after")}
    if isinstance(stats.get("backup"), Mapping) and stats["backup"]:
        found["backup"] = dict(stats["backup"])
    if texts.get("backup_note"):
        ctx.run.note(texts["backup_note"])
    ctx.state.migration = Migration(found["before"], found["after"])
    ctx.run.migration(found)


def read_migration(ctx: RunContext) -> None:
    """Record the database's revision where nothing was migrated: before is after."""
    migrations = ctx.deployment.stack.migrations
    if not migrations or (ctx.state.migration and ctx.state.migration.after is not None):
        return
    host = migration_host(ctx.deployment.stack, ctx.deployment.placed)
    if host is None or host not in ctx.facts:
        return
    project = shlex.quote(ctx.deployment.compose_project)
    labels = f"-f label=com.docker.compose.project={project} -f label=com.docker.compose.service={migrations.service}"
    container = f"$(docker ps -q {labels} -f label=com.docker.compose.oneoff=False | head -n 1)"
    script = f"docker exec {container} sh -c {shlex.quote(migrations.current)}"
    command = as_root(f"sh -c {shlex.quote(script)}", ctx.facts[host].sudo)  # once, for all of it
    done = ctx.fleet.get(host).run(command, timeout=60)
    lines = [line for line in done.text.splitlines() if line.strip()]
    if done.code == 0:
        revision = lines[-1].split()[0] if lines else ""
        known = ctx.state.migration  # of a restore whose backup's revision nobody had read
        ctx.state.migration = Migration(known.before if known else revision, revision)
        ctx.run.migration({**ctx.run.document["migrations"], **vars(ctx.state.migration)})
    else:
        ctx.run.warn(f"the database's revision could not be read: {done.complaint.strip()[-300:]}", host)


def without_secrets(containers: Any, names: Sequence[str]) -> Any:
    """Containers' inspection without the values of the variables that carry the stack's secrets."""
    for container in containers:
        config = container.get("Config") or {}
        config["Env"] = [
            f"{line.split('=', 1)[0]}=[secret]" if line.split("=", 1)[0] in names else line
            for line in config.get("Env") or ()
        ]
    return containers
