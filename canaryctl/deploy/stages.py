"""The stages that Ansible does: provision, render, migrate, start, down."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from canaryctl.agent.read.change import CHANGE_FILE
from canaryctl.ansible import AnsibleOptions, StageOrder, StageResult, StageRun, run_stage
from canaryctl.config.durations import now
from canaryctl.config.versions import version_of
from canaryctl.deploy import backuphost, changes, collection, downtime
from canaryctl.deploy.context import RunContext
from canaryctl.errors import ApplyError, CanaryError, ConfigError, HostError
from canaryctl.facts import lock_lost
from canaryctl.hosts.sudo import as_root
from canaryctl.plan.operations.migrate import Migrate, has_database, marker_of, migration_host
from canaryctl.plan.operations.provision import Provision
from canaryctl.plan.operations.render import WriteSecrets
from canaryctl.plan.operations.rollback import BringBack, RemoveCreated
from canaryctl.plan.operations.start import StopProject
from canaryctl.plan.plan import Plan

_AMPLE, _DATABASES = 1800, 7200  # seconds: to install, copy and drain; to back up, prove and restore
_STOPPING = ("migrate", "start", "rollback", "restore", "down")  # stages that stop what runs
# Stages that may leave a host serving something else than before, or with files of a release that it never served.
_TOUCHING = ("render", "migrate", "start", "rollback", "restore", "down")


def provision(ctx: RunContext, operations: Sequence[Provision]) -> None:
    """Install what hosts lack; those whose services require a GPU get the toolkit for it."""
    hosts = {operation.host: {"gpu": operation.gpu} for operation in operations}
    variables: dict[str, Any] = {"canary_hosts": hosts}
    if cuda := max((operation.cuda for operation in operations), key=version_of, default=""):
        variables["canary_cuda"] = cuda
    if ctx.deployment.request.allow_docker_restart:
        variables["canary_allow_docker_restart"] = True
    _ansible(ctx, "provision", list(hosts), variables)


def render(ctx: RunContext, plan: Plan) -> None:
    """Write the release and secrets to hosts; a compose file that docker compose rejects is refused there."""
    hosts = plan.hosts("render")
    for host in hosts:
        if diff := diff_release(ctx, host):
            ctx.run.host_file(host, "compose.diff", diff)
            if ctx.deployment.request.diff or ctx.command.shows_diff:
                ctx.run.event("diff", host=host, text=diff)
    variables = _stage_variables(ctx, hosts)
    for writing in plan.of(WriteSecrets):
        variables["canary_hosts"][writing.host]["secrets_source"] = str(_secrets_source(ctx))
    _ansible(ctx, "render", hosts, variables)


def migrate(ctx: RunContext, operation: Migrate) -> None:
    """Run the migration once, with the database up and everything else as it was."""
    backuphost.require_host(ctx)
    stack, placed = ctx.deployment.stack, ctx.deployment.placed
    hosts = [host for host in ctx.facts if host == operation.host or has_database(stack, placed.get(host, ()))]
    _ansible(ctx, "migrate", hosts, _stage_variables(ctx, hosts, operation.replaces))


def start(ctx: RunContext, hosts: Sequence[str], plan: Plan) -> dict[str, CanaryError]:
    """Make the release current and bring its services up, healthy; what went wrong by host, lost hosts first."""
    replaces = {host: [stop.project for stop in plan.of(StopProject, host)] for host in hosts}
    return _faults("start", _play(ctx, "start", hosts, _stage_variables(ctx, hosts, replaces)).results)


def down(ctx: RunContext, *, volumes: bool) -> None:
    """Stop the services and remove their containers; data stays unless `volumes`.

    Raises:
        ApplyError: something failed, or Docker does not answer on a host that has it; the others have been seen to.
    """
    hosts = [host for host, facts in ctx.facts.items() if facts.docker and facts.docker.running]
    if hosts:
        variables = _stage_variables(ctx, hosts) | {"canary_down_volumes": volumes}
        for host, entry in variables["canary_hosts"].items():
            entry["leaves"] = _of_others(ctx, host)
        _ansible(ctx, "down", hosts, variables)
    if unheard := [host for host, facts in ctx.facts.items() if facts.docker and not facts.docker.running]:
        why = "; ".join(dict.fromkeys(docker.error for host in unheard if (docker := ctx.facts[host].docker)))
        raise ApplyError(
            f"what serves was not stopped: Docker does not answer{f' ({why})' if why else ''}",
            hint="on the host see journalctl -u docker, and run: systemctl restart docker; then run this again",
            stage="down",
            host=", ".join(unheard),
        )


def _of_others(ctx: RunContext, host: str) -> list[str]:
    """What on a host is another environment's of this stack, and not for ours to end: names of files."""
    if host in ctx.state.touched:  # it was seen before this run brought something
        return []
    state, project = ctx.facts[host].state, ctx.deployment.compose_project
    serves = (state.current_release or {}).get("environment")
    others = ["current", "started.json"] if serves not in (None, ctx.deployment.environment.name) else []
    change = state.change
    if change and project not in {end.project for end in (change.to, change.back) if end}:
        others.append(CHANGE_FILE)
    return others


def rollback(ctx: RunContext, operations: Sequence[BringBack | RemoveCreated]) -> None:
    """Bring an earlier release back, or remove what a first one made."""
    hosts = [operation.host for operation in operations]
    variables = _stage_variables(ctx, hosts)
    variables["canary_hosts"] = {
        operation.host: {
            "become": ctx.facts[operation.host].sudo,
            "wait_timeout": ctx.deployment.stack.start_timeout,
            **operation.data,
        }
        for operation in operations
    }
    _ansible(ctx, "rollback", hosts, variables)


def restore(ctx: RunContext, hosts: Sequence[str], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Stop the writers and put a backup in the database's place; what the role reports. `wanted` is canary_restore."""
    stats = _ansible(ctx, "restore", hosts, _stage_variables(ctx, hosts) | {"canary_restore": dict(wanted)})
    result = stats.get("canary_restore_result")
    return dict(result) if isinstance(result, Mapping) else {}


def _stage_variables(
    ctx: RunContext, hosts: Sequence[str], replaces: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    deployment = ctx.deployment
    entries: dict[str, Any] = {}
    for host in hosts:
        entry: dict[str, Any] = {"become": ctx.facts[host].sudo}
        if host in ctx.targets:
            rendering = ctx.targets[host].rendering
            entry |= {
                "release": rendering.directory,
                "source": str(_written(ctx, host)),
                "services": list(rendering.services),
                "replaces": list((replaces or {}).get(host, ())),
                "wait_timeout": deployment.stack.start_timeout,
            }
        entries[host] = entry
    return {
        "canary_stack": deployment.stack.stack,
        "canary_environment": deployment.environment.name,
        "canary_project": deployment.compose_project,
        "canary_hosts": entries,
        "canary_migration": _migration_variables(ctx),
    }


def _migration_variables(ctx: RunContext) -> dict[str, Any] | None:
    migrations = ctx.deployment.stack.migrations
    host = migration_host(ctx.deployment.stack, ctx.deployment.placed)
    if not migrations or host is None or not ctx.targets:
        return None
    return {
        "service": migrations.service,
        "host": host,
        "database": list(migrations.databases),
        "database_hosts": {service: ctx.deployment.names["service_hosts"][service] for service in migrations.databases},
        "upgrade": migrations.upgrade,
        "current": migrations.current,
        "heads": migrations.heads or "",
        "timeout": migrations.timeout,
        "backup": backuphost.variables(ctx),
        # The run's id makes the file change with every migration, and with it the time that plans compare.
        "marker": marker_of(ctx.deployment.stack, ctx.deployment.release, ctx.deployment.compose_project)
        | {
            "run": ctx.run.id,
            "release": ctx.deployment.release.id,
            "backward_compatible": migrations.backward_compatible,
        },
    }


def _written(ctx: RunContext, host: str) -> Path:
    """A local folder with the host's rendered release, for Ansible to copy."""
    folder = ctx.scratch / "releases" / host
    if not folder.exists():
        for path, content in ctx.targets[host].rendering.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    return folder


def _secrets_source(ctx: RunContext) -> Path | None:
    if not ctx.deployment.configuration.secrets:
        return None
    path = ctx.scratch / "secrets.env"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_bytes(ctx.deployment.secrets_file)
    return path


def _ansible(ctx: RunContext, stage: str, hosts: Sequence[str], variables: dict[str, Any]) -> dict[str, Any]:
    """Run a stage's playbook, record every host's result, raise for those that failed; what the playbook reports."""
    done = _play(ctx, stage, hosts, variables)
    for fault in _faults(stage, done.results).values():
        raise fault
    return done.stats


def _play(ctx: RunContext, stage: str, hosts: Sequence[str], variables: dict[str, Any]) -> StageRun:
    """Run a stage's playbook and record every host's result."""
    ctx.fleet.locks.require_held()
    began = now()
    ctx.run.event("stage.started", stage=stage, hosts=list(hosts), deadline=deadline_of(ctx, stage, len(hosts)))
    with _touching(ctx, stage, hosts):
        done = _run_stage(ctx, stage, hosts, variables)
    for host, result in done.results.items():
        ctx.run.stage(stage, host, result.status, result.seconds, began, message=result.message, detail=result.detail)
        downtime.record(ctx, host, result.gaps)
        if result.kept:
            ctx.run.note(f"{host}: what somebody wrote into the release is kept: {', '.join(result.kept)}")
    if stage == "migrate":
        collection.record_migration(ctx, done.stats.get("canary_migration_result") or {})
    return done


def deadline_of(ctx: RunContext, stage: str, hosts: int) -> float:
    """Seconds after which a stage is ended: what the stack allows it, and ample time for what has no bound of its own.

    No wait is meant to last so long: a silent host is noticed within half a minute, a service has its start_timeout.
    """
    stack = ctx.deployment.stack
    allowed: float = stack.start_timeout if stage in ("migrate", "start", "rollback") else 0
    allowed += changes.drain(ctx, coming=True) if stage in _STOPPING else 0
    allowed += stack.migrations.timeout if stack.migrations and stage == "migrate" else 0
    turns = -(-hosts // AnsibleOptions.forks)
    return float(turns * (allowed + (_DATABASES if stage in ("migrate", "restore") else _AMPLE)))


@contextmanager
def _touching(ctx: RunContext, stage: str, hosts: Sequence[str]) -> Iterator[None]:
    """Remember before a stage begins which hosts it may leave serving something else, whatever becomes of it."""
    before = {host: set(stages) for host, stages in ctx.state.touched.items()}
    if stage in _TOUCHING and not ctx.deployment.request.check:
        for host in hosts:
            ctx.state.touched.setdefault(host, set()).add(stage)
    try:
        yield
    except ConfigError:  # Ansible could not start
        ctx.state.touched = before
        raise


def _run_stage(ctx: RunContext, stage: str, hosts: Sequence[str], variables: dict[str, Any]) -> StageRun:
    request = ctx.deployment.request
    order = StageOrder(
        stage,
        inventory=ctx.deployment.environment.directory,
        hosts=hosts,
        variables=variables,
        private={
            **ctx.deployment.environment.pins,
            "canary_locks": {host: ctx.fleet.locks.held_on(host) for host in hosts},
            "canary_changes": _changes(ctx, stage, variables["canary_hosts"]),
        },
        artifacts=ctx.run.ansible_dir(stage),
        deadline=deadline_of(ctx, stage, len(hosts)),
        options=AnsibleOptions(
            check=request.check,
            diff=request.diff,
            tags=request.tags,
            verbosity=request.verbosity,
            vault_password_file=request.vault_password_file,
            become_password=request.become_password,
        ),
    )
    return run_stage(
        ctx.ansible,
        order,
        on_event=lambda event: ctx.run.event(event["type"], **{k: v for k, v in event.items() if k != "type"}),
        scrub=ctx.run.scrub,
        unkept=ctx.run.incomplete,
    )


def _changes(ctx: RunContext, stage: str, entries: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What hosts are told about a change of what they serve that begins with a stage; most begin none."""
    if stage not in ("start", "rollback") or ctx.deployment.request.check:
        return {}
    hosts = [host for host, entry in entries.items() if "release" in entry]
    changes.begun(ctx, hosts)
    return changes.orders(ctx, hosts)


def _faults(stage: str, results: Mapping[str, StageResult]) -> dict[str, CanaryError]:
    """What went wrong by host, lost hosts first."""
    faults: dict[str, CanaryError] = {
        host: HostError(f"lost in {stage}: {result.message}", host, "fix the connection, then run this again")
        for host, result in results.items()
        if result.status == "unreachable"
    }
    failed = {host: result for host, result in results.items() if result.status == "failed"}
    for host, result in failed.items():
        if result.detail and "lost" in result.detail:
            raise lock_lost(host, result.detail["lost"])
    for host, result in failed.items():
        others = [name for name in failed if name != host]
        also = f" (also on {', '.join(others)})" if others else ""
        faults[host] = ApplyError(
            "\n".join([f"{stage} failed: {result.message}{also}", *last_words(result.detail or {})]),
            hint=str((result.detail or {}).get("hint") or "")
            or "see ansible/ in the evidence; fix it and deploy again",
            stage=stage,
            host=host,
        )
    return faults


def diff_release(ctx: RunContext, host: str) -> str:
    """Unified diff from the compose file that is current on a host to the one rendered now."""
    facts, rendering = ctx.facts[host], ctx.targets[host].rendering
    file = f"{ctx.deployment.environment.hosts[host].root}/{ctx.deployment.stack.stack}/current/compose.yml"
    command = as_root(f"cat {shlex.quote(file)} 2>/dev/null || true", facts.sudo)
    done = ctx.fleet.get(host).run(command, timeout=30)
    lines = difflib.unified_diff(
        done.text.splitlines(keepends=True),
        rendering.compose.splitlines(keepends=True),
        f"{host}: current/compose.yml",
        f"{host}: {rendering.directory[:12]}/compose.yml",
    )
    return "".join(lines)


def _words_of(found: Any) -> tuple[tuple[str, Any], ...]:
    words = found if isinstance(found, Mapping) else {}
    return ("last health output", words.get("health_output")), ("end of log", words.get("log"))


def last_words(failure: Mapping[str, Any], lines: int = 10) -> list[str]:
    """What the services that did not become healthy said last: their health check's output and the end of their log."""
    last = []
    services = failure.get("services")
    for service, found in services.items() if isinstance(services, Mapping) else ():
        for what, text in _words_of(found):
            if tail := str(text or "").strip().splitlines()[-lines:]:
                last += [f"{service}, {what}:", *(f"  {line}" for line in tail)]
    return last
