"""Look at hosts: one connection and one round trip each, all at once, nothing changed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from canaryctl.config.environment import Host
from canaryctl.errors import HostError
from canaryctl.facts.audit import MountFacts, parse_mounts
from canaryctl.facts.host import HostFacts, parse
from canaryctl.facts.odd import Odd, history_lines
from canaryctl.facts.programs import ReloadAnswer, believed, collected, watched
from canaryctl.facts.typed import Unbelievable, believing, printable
from canaryctl.hosts.ask import ask
from canaryctl.hosts.connection import Connection
from canaryctl.hosts.ssh import Connections

_EVIDENCE = 64 << 20  # bytes: the agent's own bound on what it collects, and room for the rest


@dataclass(frozen=True)
class Observation:
    """What was seen, by host; hosts that could not be looked at are in `failures`."""

    facts: dict[str, HostFacts] = field(default_factory=dict)
    failures: dict[str, HostError] = field(default_factory=dict)


def observe(
    connections: Connections,
    hosts: Sequence[Host],
    *,
    stack: str,
    releases: Sequence[str] = (),
    nonce: str,
    become_password: str | None = None,
    mounts: Sequence[Mapping[str, str]] = (),
    audit: bool = False,
) -> Observation:
    """Ask every host for its facts.

    Args:
        releases: release directories whose files are hashed besides the current one's.
        nonce: hex; keys the hash of secrets.env, so that the answer tells nothing to who does not know the content.
        mounts: `path` and `sentinel` of the mounts to look at.
        audit: ask for what an audit needs as well, in the same round trip.
    """
    by_name = {host.name: host for host in hosts}

    def look(connection: Connection) -> HostFacts:
        host = by_name[connection.host]
        config: dict[str, Any] = {"stack": stack, "root": host.root, "nonce": nonce, "releases": list(releases)}
        config |= {"mounts": list(mounts)}
        asked = time.time()
        document = ask(connection, host, "audit" if audit else "facts", config, become_password=become_password)
        # Sent early in the round trip, so the truth lies between; less than the trip itself is no skew.
        facts, now = parse(host.name, document), time.time()
        if not facts.time:
            with believing(host.name):
                raise Unbelievable("time", "is missing")
        early, late = facts.time - now, facts.time - asked
        return replace(facts, clock_skew=0 if early <= 0 <= late else min(early, late, key=abs))

    facts, failures = connections.each(hosts, look)
    return Observation(facts, failures)


def collect(
    connection: Connection,
    host: Host,
    project: str,
    *,
    stack: str = "",
    tail: int = 2000,
    since: float | None = None,
    become_password: str | None = None,
) -> dict[str, Any]:
    """The evidence of a compose project on a host.

    Args:
        stack: whose releases hold the compose file; without one it is not read.
        tail: lines of log a container at most, the newest.
        since: epoch; older lines are left out.

    Returns:
        {"logs": {service: text with Docker's timestamps}, "containers": [inspect documents, environment included],
        "memory": {container id: bytes}, "became_healthy": {container id: [epoch]}, "compose": text, "errors": {service:
        text}}. A one-off container's log goes by the container's name. Memory and health are there where Docker tells.
    """
    config = {"root": host.root, "stack": stack, "project": project, "tail": tail, "since": since}
    document = ask(connection, host, "collect", config, become_password=become_password, timeout=120, limit=_EVIDENCE)
    found = collected(host.name, document)
    return {**vars(found), "containers": list(found.containers)}


def watch_gpus(
    connection: Connection,
    host: Host,
    project: str,
    service: str,
    *,
    log: bool = False,
    reload: bool = False,
    become_password: str | None = None,
) -> dict[str, Any]:
    """Look at a service's GPUs from its host, at this moment.

    Args:
        log: look for Xid errors in the kernel log.
        reload: have systemd reload its units first, which takes devices from containers on some hosts.

    Returns:
        {"gpus", "gpu": as in the facts, "containers": ids of the service's that run, "cgroup_driver", "xids": [{"time",
        "device", "number", "text"}] since these were made, "kernel_log": journalctl, dmesg, simulated, or why it is
        unreadable, "reloaded": why the reload did not work, else ''}.
    """
    reloaded = ""
    if reload:
        answer = ask(connection, host, "reload", {"root": host.root}, become_password=become_password)
        reloaded = believed(host.name, ReloadAnswer, answer).error
    config = {"root": host.root, "project": project, "service": service, "log": log}
    found = ask(connection, host, "gpu", config, become_password=become_password)
    known = watched(host.name, found)
    told = {"gpus": found.get("gpus") or [], "gpu": found.get("gpu") or {}, "xids": [vars(xid) for xid in known.xids]}
    return {**vars(known), "containers": list(known.containers), "reloaded": reloaded, **told}


def look_at_mounts(
    connection: Connection, host: Host, mounts: Sequence[Mapping[str, str]], *, become_password: str | None = None
) -> dict[str, MountFacts]:
    """What is mounted on a host now, by path."""
    config = {"root": host.root, "mounts": list(mounts)}
    answer = ask(connection, host, "mounts", config, become_password=become_password)
    with believing(host.name):
        return parse_mounts(answer.get("mounts"))


def read_history(
    connection: Connection, host: Host, stack: str, lines: int, *, become_password: str | None = None
) -> list[dict[str, Any]]:
    """The newest `lines` of a stack's history on a host, oldest first; lines that cannot be ours are left out.

    Raises:
        HostError: the host cannot be asked, or may not read the file.
    """
    config = {"root": host.root, "stack": stack, "lines": lines}
    answer = ask(connection, host, "history", config, become_password=become_password)
    if error := answer.get("error"):
        raise HostError(
            f"the history cannot be read: {printable(error, 300)}",
            host.name,
            f"check who may read {host.root} there",
        )
    with believing(host.name):
        return history_lines(answer.get("lines"), Odd())
