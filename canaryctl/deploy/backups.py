"""Backups of the stack's database: what a rollback asks of them, and restores."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from canaryctl.deploy import stages
from canaryctl.deploy.backuphost import host_of
from canaryctl.deploy.context import RunContext
from canaryctl.deploy.state import Migration
from canaryctl.errors import HostError
from canaryctl.facts.answers import read_answer
from canaryctl.facts.documents import migration_record
from canaryctl.facts.names import plain_name
from canaryctl.facts.typed import Unbelievable, one, printable
from canaryctl.hosts.sudo import as_root
from canaryctl.plan.operations.migrate import migration_host

BEFORE_RESTORE = "-before-restore.dump"


@dataclass(frozen=True)
class Backup:
    """A dump of the database on a host. `revision` is None where the migration after it never got to read it."""

    host: str
    name: str
    path: str = ""
    bytes: int = 0
    sha256: str = ""
    taken: str = ""
    database: str = ""
    environment: str = ""
    from_release: str = ""
    revision: str | None = None


@dataclass(frozen=True)
class Schema:
    """How the database stands to a release that is to run on it again.

    `now` and `then` are its revision today and the one the release ran on, None where not known. `moved` is also true
    where that cannot be told. `backward_compatible`: every migration since has declared itself so.
    """

    now: str | None
    then: str | None
    moved: bool
    backward_compatible: bool


def find(ctx: RunContext, release_id: str) -> Backup | None:
    """The backup to go back to a release with: the newest that was made when it was left, here in this environment.

    After a migration that failed half way, later ones hold what that left: those with the release's own revision win.

    Raises:
        HostError: the host with the backups does not answer.
    """
    return choose(_listed(ctx), release_id, schema_of(ctx, release_id).then)


def choose(found: Iterable[Backup], release_id: str, revision: str | None) -> Backup | None:
    """Which backup holds what a release ran on. Those made by restores hold what was given up."""
    left = [b for b in found if b.from_release == release_id and not b.name.endswith(BEFORE_RESTORE)]
    left.sort(key=lambda backup: backup.taken, reverse=True)
    fitting = [backup for backup in left if revision is not None and backup.revision == revision]
    known = [backup for backup in left if backup.revision is not None]
    return next(iter(fitting or known or left), None)


def schema_of(ctx: RunContext, release_id: str) -> Schema:
    """How the database stands to a release, from what migrations left on their host and what this run has read.

    Raises:
        HostError: the host with the record does not answer.
    """
    migrations, host = ctx.deployment.stack.migrations, migration_host(ctx.deployment.stack, ctx.deployment.placed)
    if not migrations or host is None or host not in ctx.facts:
        return Schema(None, None, moved=False, backward_compatible=True)
    state = ctx.facts[host].state
    lines = _lines(ctx, host, f"tail -n 500 {_root(ctx, host)}/revisions.jsonl 2>/dev/null || true")
    records = in_order([line for line in lines if migration_record(line)], state.migrated)
    records = [record for record in records if record.get("project") == ctx.deployment.compose_project]
    release = next(
        (known.release for name, known in state.releases.items() if name.startswith(release_id) and known.release), {}
    )
    image = image_of(release, migrations.service)
    return schema_from(records, release_id, image, ctx.state.migration.after if ctx.state.migration else None)


def in_order(lines: list[dict[str, Any]], marker: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The records of migrations with the marker among them: newer than all after a restore, which brings it back."""
    if not marker:
        return lines
    last = _epoch(lines[-1]) if lines else 0.0
    return [*lines, dict(marker)] if _epoch(marker) >= last else [dict(marker), *lines]


def _epoch(record: Mapping[str, Any]) -> float:
    time = record.get("time") or 0
    return datetime.fromisoformat(time).timestamp() if isinstance(time, str) else float(time)


def image_of(release: Mapping[str, Any] | None, service: str) -> str | None:
    """The identity of a service's image, from a release.json."""
    found = release or {}
    image = (found.get("images") or {}).get((found.get("services") or {}).get(service, ""))
    return str(image["id"]) if image else None


def schema_from(records: list[dict[str, Any]], release_id: str, image: str | None, seen: str | None) -> Schema:
    """What the records of migrations, oldest first, say of a release.

    A release whose image migrates as another's ran on the revision that the other left: no line is its own then.
    `seen` is the revision that the database told itself.
    """
    lines = [record for record in records if record.get("revision") is not None]
    own = [index for index, record in enumerate(lines) if record.get("release") == release_id]
    if not own:
        own = [index for index, record in enumerate(lines) if image and record.get("image") == image]
        # One image may have migrated to several revisions, where the stack's files say how far.
        own = own if len({lines[index]["revision"] for index in own}) == 1 else []
    now = seen if seen is not None else (str(lines[-1]["revision"]) if lines else None)
    if not own:
        return Schema(now, None, moved=True, backward_compatible=False)
    then = str(lines[own[-1]]["revision"])
    since = lines[own[-1] + 1 :]
    return Schema(
        now, then, now is None or now != then, bool(since) and all(line.get("backward_compatible") for line in since)
    )


def restore(ctx: RunContext, backup: Backup) -> dict[str, Any]:
    """Put a backup in the database's place: writers stop, the present state is dumped, then the databases change.

    Returns:
        `from` (the backup's path), `window` (`from`, `until`: writes between are lost), `before` (the dump that has
        them), also recorded as `migrations.restored`. The services stay stopped: the caller starts a release.

    Raises:
        ApplyError: it was not restored; the database is as it was.
    """
    migrations, running = ctx.deployment.stack.migrations, ctx.deployment.compose_project
    hosts = [
        host
        for host, facts in ctx.facts.items()
        if host == backup.host or any(container.project == running for container in facts.containers)
    ]
    own = migration_host(ctx.deployment.stack, ctx.deployment.placed)
    wanted = {
        "service": migrations.backup if migrations else "",
        "host": backup.host,
        "environment": ctx.deployment.environment.name,
        "name": backup.name,
        "user": migrations.backup_user if migrations else "",
        "markers": [host for host in hosts if host in (backup.host, own)],
    }
    found = stages.restore(ctx, hosts, wanted)
    before = found.get("before")
    restored = {
        "from": backup.path,
        "window": {"from": backup.taken, "until": str(found.get("until") or "")},
        "before": str(before.get("path") or "") if isinstance(before, Mapping) else "",
    }
    revision = ctx.state.migration.after if ctx.state.migration else None
    ctx.state.migration = Migration(revision, backup.revision)
    ctx.run.set("migrations", {"before": revision, "after": backup.revision, "restored": restored})
    return restored


def _listed(ctx: RunContext) -> list[Backup]:
    host = host_of(ctx)
    if host is None or host not in ctx.facts:
        return []
    folder = f"{_root(ctx, host)}/backups"
    script = f'for f in {folder}/*.json; do [ -e "${{f%.json}}.dump" ] && cat "$f"; done; true'
    environment = ctx.deployment.environment.name
    documents = [line for line in _lines(ctx, host, script) if line.get("environment") == environment]
    known = [(document, backup_of(document, host)) for document in documents]
    for document in (document for document, backup in known if backup is None):
        name = printable(document.get("name"))
        ctx.run.warn(f"the document of backup '{name}' cannot be right, and counts for nothing", host, f"see {folder}")
    return [backup for _, backup in known if backup]


def backup_of(document: Mapping[str, Any], host: str) -> Backup | None:
    """A backup as the document beside it on the host tells; None where it cannot be one of ours."""
    try:
        found = one(Backup, {**document, "host": host})
    except (Unbelievable, TypeError):  # no name at all
        return None
    return found if plain_name(found.name) and found.name.endswith(".dump") else None


def _root(ctx: RunContext, host: str) -> str:
    return shlex.quote(f"{ctx.deployment.environment.hosts[host].root}/{ctx.deployment.stack.stack}")


def _lines(ctx: RunContext, host: str, script: str) -> list[dict[str, Any]]:
    command = as_root(f"sh -c {shlex.quote(script)}", ctx.facts[host].sudo)
    done = ctx.fleet.get(host).run(command, timeout=60)
    if done.code:
        raise HostError(f"its backups could not be read: {done.complaint.strip()[-300:]}", host, "see the message")
    found = []
    for line in done.text.splitlines():
        try:
            document = read_answer(line)
        except ValueError:
            continue  # cut by a crash while it was written
        if isinstance(document, dict):
            found.append(document)
    return found
