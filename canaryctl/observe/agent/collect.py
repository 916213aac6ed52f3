"""The evidence of one compose project: logs, inspect documents, the compose file."""

from __future__ import annotations

import json
import os
import struct
import sys
from typing import Any

from canaryctl.observe.agent.docker import Docker, DockerError, open_docker, quoted_filter

MOST_OF_A_LOG = 8 << 20  # bytes of one container's log


def collect_project(config: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {"agent": 1, "logs": {}, "containers": [], "compose": "", "errors": {}}
    try:
        daemon = open_docker()
    except (DockerError, OSError) as error:
        document["errors"]["docker"] = str(error)
        return document
    if daemon is None:
        return document
    chosen = quoted_filter(label=["com.docker.compose.project=" + config["project"]])
    for entry in daemon.get("/containers/json?all=1&filters=" + chosen):
        name = log_name(entry)
        try:
            detail = daemon.get("/containers/" + entry["Id"] + "/json")
            document["containers"].append(detail)
            container = detail["Name"].lstrip("/")
            text = read_log(daemon, entry["Id"], detail["Config"].get("Tty", False), config)
            before = document["logs"].get(name, "")
            document["logs"][name] = before + (f"==> {container} <==\n" if before else "") + text
            document["compose"] = document["compose"] or read_compose(entry.get("Labels") or {})
        except (DockerError, OSError, ValueError, KeyError) as error:
            document["errors"][name] = str(error)
    return document


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


def read_compose(labels: dict[str, str]) -> str:
    path = labels.get("com.docker.compose.project.config_files", "").split(",")[0]
    if not path or not os.path.isfile(path):
        return ""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def answer_collect(config: dict[str, Any]) -> None:
    sys.stdout.write("\n" + json.dumps(collect_project(config)) + "\n")
