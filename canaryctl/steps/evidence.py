"""Bring evidence home and write the history."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from canaryctl.errors import CanaryError
from canaryctl.observe import Connection, describe_containers
from canaryctl.observe import collect as collect_from
from canaryctl.observe.sudo import PREFIX
from canaryctl.plan.plan import migration_host
from canaryctl.record import history
from canaryctl.record.excerpts import excerpt
from canaryctl.record.scrub import Scrubber
from canaryctl.steps import locking
from canaryctl.steps.proof import proof
from canaryctl.work import Work


def collect(work: Work) -> None:
    """Bring logs, container state and facts home. What cannot be had is noted; nothing is raised."""
    work.collected = True
    project = work.scene.compose_project
    work.run.event("stage.started", stage="collect", hosts=list(work.facts))
    work.observe(again=True)
    logs: dict[str, Any] = {}
    containers: dict[str, Any] = {}

    def one(host: str) -> None:
        began = time.monotonic()
        try:
            found = collect_from(
                work.connections.get(host),
                work.scene.environment.hosts[host],
                project,
                become_password=work.scene.request.become_password,
            )
        except CanaryError as error:
            work.run.stage("collect", host, "failed", time.monotonic() - began, message=error.what)
            return
        for service, text in found["logs"].items():
            work.run.host_file(host, f"logs/{service}.log", text)
        # Scrubbed first: a pattern of a line hides no secret any more, it only spells it differently.
        logs[host] = {service: excerpt(work.run.scrub(text)) for service, text in found["logs"].items()}
        containers[host] = describe_containers(host, found["containers"], found["memory"], found["became_healthy"])
        work.run.host_file(host, "containers.json", without_secrets(found["containers"], work.scene.stack.secrets))
        if found["compose"]:
            work.run.host_file(host, "compose.yml", found["compose"])
        work.run.stage("collect", host, "ok", time.monotonic() - began)

    with ThreadPoolExecutor(max_workers=max(len(work.facts), 1)) as pool:
        list(pool.map(one, list(work.facts)))
    work.run.set("logs", {host: logs[host] for host in work.facts if host in logs})
    work.run.set("containers", [row for host in work.facts for row in containers.get(host, ())])


def remember(
    work: Work, what: str, verdict: str | None = None, more: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """Append a line to the history of each host; a host that refuses is a warning, not a failure.

    Hosts that a failed wave spared serve what they served, so this release has no history there. `more` is what the
    lines of some hosts have besides.
    """

    def append(connection: Connection) -> None:
        host = connection.host
        line = history.history_line(
            who=work.run.document["operator"],
            environment=work.scene.environment.name,
            what=what,
            before=work.served_before(host),
            after=work.run.document["release"]["id"],
            verdict=verdict,
            run=work.run.id,
            role=work.run.document["role"],
            extra=proof(work, what),
        )
        line |= (more or {}).get(host, {})
        root = work.scene.environment.hosts[host].root
        locks = locking.held_on(work, host)
        history.append(connection, root, work.scene.stack.stack, line, sudo=work.facts[host].sudo, locks=locks)

    reached = [host for host in work.facts if host not in work.held_back]
    _, refused = work.connections.each(reached, append)
    for error in refused.values():
        work.run.warn(error.what, error.where, error.hint)


def know_secrets(work: Work, *, needed: bool = True) -> None:
    """Make the record scrub the stack's secrets; where they are not needed, a missing one is only a warning."""
    try:
        webhook = {"canary_webhook": work.scene.webhook.url} if work.scene.webhook else {}
        work.run.scrub = Scrubber({**work.scene.secrets, **work.scene.registries.secrets, **webhook})
    except CanaryError as error:
        if needed:
            raise
        work.run.warn(f"{error.what}; their values cannot be hidden in what is collected", error.where, error.hint)


def serving(work: Work) -> str:
    """What the hosts serve now, in words, from the last observation."""
    said = []
    for host, facts in work.facts.items():
        running = sorted(
            c.service for c in facts.containers if c.project == work.scene.compose_project and c.state == "running"
        )
        release = facts.state.current[:12] if facts.state.current else "no release"
        said.append(f"{host}: {release}, running {', '.join(running) or 'nothing'}")
    return "; ".join(said)


def record_gaps(work: Work, host: str, gaps: Mapping[str, Mapping[str, float | None]]) -> None:
    """Add to the record which services did not serve for how long while a release started."""
    for service, gap in gaps.items():
        began, until = work.gone.get((host, service)) or gap["from"], gap["until"]
        if began is not None:
            seconds = None if until is None else round(until - began, 2)
            entry = {"host": host, "service": service, "from": began, "until": until, "seconds": seconds}
            work.run.document["gaps"].append(entry)


def record_migration(work: Work, stats: dict[str, Any]) -> None:
    if not stats:
        return
    found = {key: stats.get(key) for key in ("before", "after")}
    if stats.get("backup"):
        found["backup"] = stats["backup"]
    if stats.get("backup_note"):
        work.run.note(stats["backup_note"])
    work.run.set("migrations", found)
    work.run.document["release"]["migration"] = found["after"]


def read_migration(work: Work) -> None:
    """Record the database's revision where nothing was migrated: before is after."""
    migrations = work.scene.stack.migrations
    if not migrations or work.run.document["migrations"]["after"] is not None:
        return
    host = migration_host(work.scene.stack, work.scene.placed)
    if host is None or host not in work.facts:
        return
    project = shlex.quote(work.scene.compose_project)
    labels = f"-f label=com.docker.compose.project={project} -f label=com.docker.compose.service={migrations.service}"
    container = f"$(docker ps -q {labels} -f label=com.docker.compose.oneoff=False | head -n 1)"
    script = f"docker exec {container} sh -c {shlex.quote(migrations.current)}"
    sudo = PREFIX if work.facts[host].sudo else ""  # once, for all of it: see observe/sudo.py
    done = work.connections.get(host).run(f"{sudo}sh -c {shlex.quote(script)}", timeout=60)
    lines = [line for line in done.text.splitlines() if line.strip()]
    if done.code == 0:
        revision = lines[-1].split()[0] if lines else ""
        record_migration(work, {"before": revision, "after": revision})
    else:
        work.run.warn(f"the database's revision could not be read: {done.complaint.strip()[-300:]}", host)


def without_secrets(containers: Any, names: Sequence[str]) -> Any:
    """Containers' inspection without the values of the variables that carry the stack's secrets."""
    for container in containers:
        config = container.get("Config") or {}
        config["Env"] = [
            f"{line.split('=', 1)[0]}=[secret]" if line.split("=", 1)[0] in names else line
            for line in config.get("Env") or ()
        ]
    return containers
