"""The evidence of one compose project: logs, inspect documents, the compose file."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import sys
import threading
import time
from typing import Any, Callable

from canaryctl.agent.read.docker import Docker, DockerError, open_docker, quoted_filter
from canaryctl.agent.read.regular import LARGEST_COMPOSE, read_below

MOST_OF_A_LOG = 8 << 20  # bytes of one container's log
MOST_IN_ALL = 60 << 20  # bytes of the answer
LONGEST_ASIDE = 3.0  # seconds that figures beside the logs may take longer than these


def collect_project(config: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "agent": 1,
        "logs": {},
        "containers": [],
        "memory": {},
        "became_healthy": {},
        "compose": "",
        "errors": {},
    }
    try:
        daemon = open_docker()
    except (DockerError, OSError) as error:
        document["errors"]["docker"] = str(error)
        return document
    if daemon is None:
        return document
    chosen = quoted_filter(label=["com.docker.compose.project=" + config["project"]])
    entries = daemon.get("/containers/json?all=1&filters=" + chosen)
    side: list[Callable[[], None]] = [lambda: document.update(became_healthy=healthy_events(daemon, entries))]
    side += [memory_reader(daemon, entry, document["memory"]) for entry in entries if entry.get("State") == "running"]
    threads = [threading.Thread(target=ask_in_passing, args=(read,), daemon=True) for read in side]
    for thread in threads:
        thread.start()
    for entry in entries:
        name = log_name(entry)
        try:
            detail = daemon.get("/containers/" + entry["Id"] + "/json")
            document["containers"].append(detail)
            container = detail["Name"].lstrip("/")
            text = read_log(daemon, entry["Id"], detail["Config"].get("Tty", False), config)
            before = document["logs"].get(name, "")
            document["logs"][name] = before + (f"==> {container} <==\n" if before else "") + text
            document["compose"] = document["compose"] or read_compose(entry.get("Labels") or {}, config)
        except (DockerError, OSError, ValueError, KeyError) as error:
            document["errors"][name] = str(error)
    waited_until = time.monotonic() + LONGEST_ASIDE
    for thread in threads:
        thread.join(max(waited_until - time.monotonic(), 0))
    # A thread that is late may still write: what is printed is what is there now.
    return {**document, "memory": dict(document["memory"])}


def ask_in_passing(read: Callable[[], None]) -> None:
    """Figures that the evidence is good without."""
    with contextlib.suppress(DockerError, OSError, ValueError, KeyError, TypeError):
        read()


def memory_reader(daemon: Docker, entry: dict[str, Any], found: dict[str, int]) -> Callable[[], None]:
    """A question that puts a container's memory into `found`, in bytes, page cache left out as `docker stats` does."""

    def read() -> None:
        # Without one-shot, which Docker 20.10 brought, the daemon takes two samples, a second apart.
        once = "&one-shot=true" if daemon.version >= (1, 41) else ""
        stats = daemon.get("/containers/" + entry["Id"] + "/stats?stream=false" + once)["memory_stats"]
        detail = stats.get("stats") or {}
        cache = detail.get("inactive_file", detail.get("total_inactive_file", 0))
        found[entry["Id"]] = stats["usage"] - cache if cache < stats["usage"] else stats["usage"]

    return read


def healthy_events(daemon: Docker, entries: list[dict[str, Any]]) -> dict[str, list[float]]:
    """When each container became healthy, of what the daemon remembers (its last 256 events)."""
    if not entries:
        return {}
    chosen = quoted_filter(container=[entry["Id"] for entry in entries], event=["health_status"])
    events = daemon.raw(f"/events?since=0&until={time.time():.3f}&filters={chosen}")
    found: dict[str, list[float]] = {}
    for line in events.splitlines():
        event = json.loads(line.decode("utf-8", "replace"))
        if str(event.get("Action", "")).endswith(": healthy"):
            found.setdefault(event["Actor"]["ID"], []).append(event["timeNano"] / 1e9)
    return found


def log_name(entry: dict[str, Any]) -> str:
    """The service; a one-off container (a migration) goes by its own name."""
    labels = entry.get("Labels") or {}
    name: str = (entry.get("Names") or ["/"])[0].lstrip("/")
    oneoff = labels.get("com.docker.compose.oneoff") == "True"
    return name if oneoff else str(labels.get("com.docker.compose.service") or name)


def read_log(daemon: Docker, container: str, tty: bool, config: dict[str, Any]) -> str:
    question = f"/containers/{container}/logs?stdout=1&stderr=1&timestamps=1&tail={config['tail']}"
    if config.get("since") is not None:
        question += f"&since={config['since']:.9f}"
    data = daemon.raw(question, 60)
    if not tty:
        data = without_headers(data)
    return data[-MOST_OF_A_LOG:].decode("utf-8", "replace")


def without_headers(data: bytes) -> bytes:
    """Docker puts 8 bytes before each piece of a log: the stream it belongs to and its length."""
    pieces = []
    position = 0
    while position + 8 <= len(data):
        (size,) = struct.unpack(">I", data[position + 4 : position + 8])
        pieces.append(data[position + 8 : position + 8 + size])
        position += 8 + size
    return b"".join(pieces)


def read_compose(labels: dict[str, str], config: dict[str, Any]) -> str:
    """The rendered file that a container's label names, where it is one of this stack's releases: a label may name any.

    Nothing where it names another: whoever built the image may have set the label.
    """
    path = labels.get("com.docker.compose.project.config_files", "").split(",")[0]
    base = os.path.join(config["root"], config["stack"], "releases")
    if not os.path.isabs(path) or not config["stack"]:
        return ""
    try:
        return read_below(base, path, LARGEST_COMPOSE).decode("utf-8", "replace")
    except (OSError, ValueError):  # ValueError: NUL
        return ""


def answer_collect(config: dict[str, Any]) -> None:
    """Evidence of a project as one line of JSON: see facts/programs.py, `Collected`."""
    document = collect_project(config)
    text = json.dumps(document)
    most = MOST_OF_A_LOG
    while len(text) > MOST_IN_ALL and most > 1:
        most //= 2  # the newest part of long ones stays: more than this is not taken from us
        document["logs"] = {name: log[-most:] for name, log in document["logs"].items()}
        text = json.dumps(document)
    sys.stdout.write("\n" + text + "\n")
