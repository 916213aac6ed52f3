"""The stages that Ansible does: provision, render, migrate, start, down."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from canaryctl.ansible import AnsibleOptions, StageResult, StageRun, run_stage
from canaryctl.config.versions import version_of
from canaryctl.deploy import backuphost, collection, locking
from canaryctl.deploy.context import Work
from canaryctl.errors import ApplyError, CanaryError, ConfigError, HostError
from canaryctl.evidence.files import now
from canaryctl.facts import lock_lost
from canaryctl.hosts.sudo import as_root
from canaryctl.plan.plan import Plan, marker_of, migration_host

# Stages that may leave a host serving something else than before, or with files of a release that it never served.
_TOUCHING = ("render", "migrate", "start", "rollback", "restore", "down")


def provision(work: Work, hosts: Sequence[str]) -> None:
    """Install what hosts lack; those whose services require a GPU get the toolkit for it."""
    wants = {host: [want for want in work.scene.wants(host) if want.required] for host in hosts}
    cuda = [want.image.cuda for host in hosts for want in wants[host] if want.image.cuda]
    variables: dict[str, Any] = {"canary_hosts": {host: {"gpu": bool(wants[host])} for host in hosts}}
    if cuda:
        variables["canary_cuda"] = max(cuda, key=version_of)
    if work.scene.request.allow_docker_restart:
        variables["canary_allow_docker_restart"] = True
    _ansible(work, "provision", hosts, variables)


def render(work: Work, hosts: Sequence[str]) -> None:
    """Write the release to hosts; a compose file that docker compose rejects is refused there."""
    for host in hosts:
        if diff := diff_release(work, host):
            work.run.host_file(host, "compose.diff", diff)
            if work.scene.request.diff or work.run.document["command"] == "render":
                work.run.event("diff", host=host, text=diff)
    _ansible(work, "render", hosts, _stage_variables(work, hosts))


def migrate(work: Work, host: str, plan: Plan) -> None:
    """Run the migration once, with the database up and everything else as it was."""
    databases = work.scene.stack.migrations.databases if work.scene.stack.migrations else ()
    backuphost.require_host(work)
    hosts = [h for h in work.facts if h == host or set(databases) & set(work.scene.placed.get(h, ()))]
    _ansible(work, "migrate", hosts, _stage_variables(work, hosts, plan))


def start(work: Work, hosts: Sequence[str], plan: Plan) -> dict[str, CanaryError]:
    """Make the release current and bring its services up, healthy; what went wrong by host, lost hosts first."""
    return _faults("start", _play(work, "start", hosts, _stage_variables(work, hosts, plan)).results)


def down(work: Work, *, volumes: bool) -> None:
    """Stop the services and remove their containers; data stays unless `volumes`."""
    hosts = [host for host, facts in work.facts.items() if facts.docker and facts.docker.running]
    if not hosts:
        return
    variables = _stage_variables(work, hosts) | {"canary_down_volumes": volumes}
    _ansible(work, "down", hosts, variables)


def rollback(work: Work, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Bring an earlier release back, or remove what a first one made; `entries` are as rollback.yml takes them."""
    variables = _stage_variables(work, list(entries))
    for host, entry in entries.items():
        variables["canary_hosts"][host] = dict(entry)
    _ansible(work, "rollback", list(entries), variables)


def restore(work: Work, hosts: Sequence[str], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Stop the writers and put a backup in the database's place; what the role reports. `wanted` is canary_restore."""
    stats = _ansible(work, "restore", hosts, _stage_variables(work, hosts) | {"canary_restore": dict(wanted)})
    told = stats.get("canary_restore_result")
    return dict(told) if isinstance(told, Mapping) else {}


def _stage_variables(work: Work, hosts: Sequence[str], plan: Plan | None = None) -> dict[str, Any]:
    scene = work.scene
    entries: dict[str, Any] = {}
    for host in hosts:
        entry: dict[str, Any] = {"become": work.facts[host].sudo}
        if host in work.targets:
            rendering = work.targets[host].rendering
            entry |= {
                "release": rendering.directory,
                "source": str(_written(work, host)),
                "secrets_source": str(_secrets_source(work) or ""),
                "services": list(rendering.services),
                "replaces": list(plan.replaces.get(host, ())) if plan else [],
                "wait_timeout": scene.stack.start_timeout,
            }
        entries[host] = entry
    return {
        "canary_stack": scene.stack.stack,
        "canary_environment": scene.environment.name,
        "canary_project": scene.compose_project,
        "canary_hosts": entries,
        "canary_migration": _migration_variables(work),
    }


def _migration_variables(work: Work) -> dict[str, Any] | None:
    migrations = work.scene.stack.migrations
    host = migration_host(work.scene.stack, work.scene.placed)
    if not migrations or host is None or not work.targets:
        return None
    return {
        "service": migrations.service,
        "host": host,
        "database": list(migrations.databases),
        "database_hosts": {service: work.scene.names["service_hosts"][service] for service in migrations.databases},
        "upgrade": migrations.upgrade,
        "current": migrations.current,
        "heads": migrations.heads or "",
        "timeout": migrations.timeout,
        "backup": backuphost.variables(work),
        # The run's id makes the file change with every migration, and with it the time that plans compare.
        "marker": marker_of(work.scene.stack, work.scene.release, work.scene.compose_project)
        | {"run": work.run.id, "release": work.scene.release.id, "backward_compatible": migrations.backward_compatible},
    }


def _written(work: Work, host: str) -> Path:
    """A local folder with the host's rendered release, for Ansible to copy."""
    folder = work.scratch / "releases" / host
    if not folder.exists():
        for path, content in work.targets[host].rendering.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    return folder


def _secrets_source(work: Work) -> Path | None:
    if not work.scene.secrets:
        return None
    path = work.scratch / "secrets.env"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_bytes(work.scene.secrets_file)
    return path


def _ansible(work: Work, stage: str, hosts: Sequence[str], variables: dict[str, Any]) -> dict[str, Any]:
    """Run a stage's playbook, record every host's result, raise for those that failed; what the playbook reports."""
    done = _play(work, stage, hosts, variables)
    for fault in _faults(stage, done.results).values():
        raise fault
    return done.stats


def _play(work: Work, stage: str, hosts: Sequence[str], variables: dict[str, Any]) -> StageRun:
    """Run a stage's playbook and record every host's result."""
    locking.require_held(work)
    began = now()
    work.run.event("stage.started", stage=stage, hosts=list(hosts))
    with _touching(work, stage, hosts):
        done = _run_stage(work, stage, hosts, variables)
    for host, result in done.results.items():
        work.run.stage(stage, host, result.status, result.seconds, began, message=result.message, detail=result.detail)
        collection.record_gaps(work, host, result.gaps)
        if result.kept:
            work.run.note(f"{host}: what somebody wrote into the release is kept: {', '.join(result.kept)}")
    if stage == "migrate":
        collection.record_migration(work, done.stats.get("canary_migration_result") or {})
    return done


@contextmanager
def _touching(work: Work, stage: str, hosts: Sequence[str]) -> Iterator[None]:
    """Remember before a stage begins which hosts it may leave serving something else, whatever becomes of it."""
    before = {host: set(stages) for host, stages in work.touched.items()}
    if stage in _TOUCHING and not work.scene.request.check:
        for host in hosts:
            work.touched.setdefault(host, set()).add(stage)
    try:
        yield
    except ConfigError:  # Ansible could not start
        work.touched = before
        raise


def _run_stage(work: Work, stage: str, hosts: Sequence[str], variables: dict[str, Any]) -> StageRun:
    request = work.scene.request
    return run_stage(
        stage,
        inventory=work.scene.environment.directory,
        extravars=variables,
        private={**work.scene.environment.pins, "canary_locks": {host: locking.held_on(work, host) for host in hosts}},
        hosts=hosts,
        artifacts=work.run.ansible_dir(stage),
        options=AnsibleOptions(
            check=request.check,
            diff=request.diff,
            tags=request.tags,
            verbosity=request.verbosity,
            vault_password_file=request.vault_password_file,
            become_password=request.become_password,
        ),
        on_event=lambda event: work.run.event(event["type"], **{k: v for k, v in event.items() if k != "type"}),
        scrub=work.run.scrub,
    )


def _faults(stage: str, results: Mapping[str, StageResult]) -> dict[str, CanaryError]:
    """What went wrong by host, lost hosts first."""
    faults: dict[str, CanaryError] = {
        host: HostError(result.message, host, "fix the connection, then run this again: it goes on from there")
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


def diff_release(work: Work, host: str) -> str:
    """Unified diff from the compose file that is current on a host to the one rendered now."""
    facts, rendering = work.facts[host], work.targets[host].rendering
    file = f"{work.scene.environment.hosts[host].root}/{work.scene.stack.stack}/current/compose.yml"
    command = as_root(f"cat {shlex.quote(file)} 2>/dev/null || true", facts.sudo)
    done = work.connections.get(host).run(command, timeout=30)
    lines = difflib.unified_diff(
        done.text.splitlines(keepends=True),
        rendering.compose.splitlines(keepends=True),
        f"{host}: current/compose.yml",
        f"{host}: {rendering.directory[:12]}/compose.yml",
    )
    return "".join(lines)


def _words_of(found: Any) -> tuple[tuple[str, Any], ...]:
    told = found if isinstance(found, Mapping) else {}
    return ("last health output", told.get("health_output")), ("end of log", told.get("log"))


def last_words(failure: Mapping[str, Any], lines: int = 10) -> list[str]:
    """What the services that did not become healthy said last: their health check's output and the end of their log."""
    said = []
    services = failure.get("services")
    for service, found in services.items() if isinstance(services, Mapping) else ():
        for what, text in _words_of(found):
            if tail := str(text or "").strip().splitlines()[-lines:]:
                said += [f"{service}, {what}:", *(f"  {line}" for line in tail)]
    return said
