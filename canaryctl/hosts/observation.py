"""Look at hosts: one connection and one round trip each, all at once, nothing changed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from canaryctl.errors import HostError
from canaryctl.facts.audit import MountFacts, parse_mounts
from canaryctl.facts.host import HostFacts, parse
from canaryctl.facts.odd import Odd, history_lines
from canaryctl.facts.programs import ReloadAnswer, believed, collected, watched
from canaryctl.facts.typed import Unbelievable, believing, printable
from canaryctl.hosts.ask import ask
from canaryctl.hosts.connection import Connection
from canaryctl.hosts.fleet import Fleet

_EVIDENCE = 64 << 20  # bytes: the agent's own bound on what it collects, and room for the rest


@dataclass(frozen=True)
class Observation:
    """What was seen, by host; hosts that could not be looked at are in `failures`."""

    facts: dict[str, HostFacts] = field(default_factory=dict)
    failures: dict[str, HostError] = field(default_factory=dict)


def observe(
    fleet: Fleet,
    hosts: Iterable[str],
    *,
    stack: str,
    releases: Sequence[str] = (),
    nonce: str = "",
    mounts: Sequence[Mapping[str, str]] = (),
    audit: bool = False,
) -> Observation:
    """Ask hosts, by their names, for their facts.

    Args:
        releases: release directories whose files are hashed besides the current one's.
        nonce: hex; keys the hash of secrets.env, so that the answer tells nothing to who does not know the content.
        mounts: `path` and `sentinel` of the mounts to look at.
        audit: ask for what an audit needs as well, in the same round trip.
    """

    def look(connection: Connection) -> HostFacts:
        config = {"stack": stack, "nonce": nonce, "releases": list(releases), "mounts": list(mounts)}
        asked = time.time()
        document = ask(connection, "audit" if audit else "facts", config)
        # Sent early in the round trip, so the truth lies between; less than the trip itself is no skew.
        facts, now = parse(connection.host, document), time.time()
        if not facts.time:
            with believing(connection.host):
                raise Unbelievable("time", "is missing")
        early, late = facts.time - now, facts.time - asked
        return replace(facts, clock_skew=0 if early <= 0 <= late else min(early, late, key=abs))

    facts, failures = fleet.each(hosts, look)
    return Observation(facts, failures)


def collect(
    connection: Connection, project: str, *, stack: str = "", tail: int = 2000, since: float | None = None
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
    config = {"stack": stack, "project": project, "tail": tail, "since": since}
    found = collected(connection.host, ask(connection, "collect", config, timeout=120, limit=_EVIDENCE))
    return {**vars(found), "containers": list(found.containers)}


def watch_gpus(
    connection: Connection, project: str, service: str, *, log: bool = False, reload: bool = False
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
    reloaded = believed(connection.host, ReloadAnswer, ask(connection, "reload", {})).error if reload else ""
    answer = ask(connection, "gpu", {"project": project, "service": service, "log": log})
    known = watched(connection.host, answer)
    return {
        **vars(known),
        "containers": list(known.containers),
        "reloaded": reloaded,
        "gpus": answer.get("gpus") or [],
        "gpu": answer.get("gpu") or {},
        "xids": [vars(xid) for xid in known.xids],
    }


def look_at_mounts(connection: Connection, mounts: Sequence[Mapping[str, str]]) -> dict[str, MountFacts]:
    """What is mounted on a host now, by path."""
    answer = ask(connection, "mounts", {"mounts": list(mounts)})
    with believing(connection.host):
        return parse_mounts(answer.get("mounts"))


def read_history(connection: Connection, stack: str, lines: int) -> list[dict[str, Any]]:
    """The newest `lines` of a stack's history on a host, oldest first; lines that cannot be ours are left out.

    Raises:
        HostError: the host cannot be asked, or may not read the file.
    """
    answer = ask(connection, "history", {"stack": stack, "lines": lines})
    if error := answer.get("error"):
        raise HostError(
            f"the history cannot be read: {printable(error, 300)}",
            connection.host,
            f"check who may read {connection.inventory.root} there",
        )
    with believing(connection.host):
        return history_lines(answer.get("lines"), Odd())
