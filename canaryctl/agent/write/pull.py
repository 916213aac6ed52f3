"""Have Docker pull images by digest, check them, and give them their tags.

Credentials come as one line of JSON on standard input, {registry: X-Registry-Auth}, and go to Docker's socket alone.
Each answer is one line of JSON, or an empty one that only asks whether anybody still listens:

    us    {"image": id, "bytes": n, "total": n}                  while an image comes in
    us    {"images": {id: fault or ""}, "error": text}           last; with "lost": who holds it now, where the
                                                                 run's lock is gone
"""

from __future__ import annotations

import json
import socket
import sys
import time
from typing import Any, Iterator
from urllib.parse import quote

from canaryctl.agent.read.docker import Docker, DockerError, open_docker, trouble_words
from canaryctl.agent.read.held import LockLost, require_locks
from canaryctl.agent.read.loads import image_there
from canaryctl.agent.write.loading import clear_abandoned, loading
from canaryctl.agent.write.pulse import Pulse, say_line

REPORT_EVERY = 0.5  # seconds
LISTENER_ASKED_EVERY = 5.0  # seconds: a pull that nobody waits for is given up
STALLED = 300.0  # seconds without a word of Docker's: its registry has gone silent, or Docker itself


class Refused(Exception):  # noqa: N818  not a fault of this program
    """Docker's reason not to pull."""


def answer_pull(config: dict[str, Any]) -> None:
    """Pull every image of `config`: see the top of this file."""
    logins = json.loads(sys.stdin.buffer.readline() or b"{}")
    faults: dict[str, str] = {}
    error = ""
    try:
        daemon = open_docker()
        if daemon is None:
            raise DockerError("Docker is not installed")
        Pulse(lambda: None).begin()
        for image in config["images"]:
            faults[image["id"]] = pull_image(daemon, image, logins, config)
        clear_abandoned(daemon, config["root"])
    except LockLost as lost:
        tell({"images": faults, "error": str(lost), "lost": lost.holder})
        return
    except (DockerError, OSError) as trouble:
        error = trouble_words(trouble)
    tell({"images": faults, "error": error})


def tell(document: dict[str, Any] | None) -> None:
    """One line; where nobody reads it any more, this program ends, and with it the pull."""
    try:
        say_line(json.dumps(document) if document else "")
    except OSError:
        raise SystemExit(1) from None


def pull_image(daemon: Docker, image: dict[str, Any], logins: dict[str, str], config: dict[str, Any]) -> str:
    """One image, whole and under its tag; what is wrong, or ''. Raises LockLost."""
    require_locks(config["locks"])
    found = image_there(daemon, image["id"])
    if found is None:
        # The name it is pulled by would keep the image when its tag goes, and is removed; somebody else's stays.
        with loading(daemon, config["root"], [image["source"]]) as new:
            try:
                if new:
                    login = logins.get(image["source"].partition("/")[0], "")
                    follow(pulling(daemon, image["source"], login), image["id"])
                fault = wrong(image_there(daemon, image["source"]), image)
                if not fault:
                    require_locks(config["locks"])  # it may have taken long
                    give_tag(daemon, image["source"], image["tag"])
            except Refused as refused:
                return str(refused)
        return fault
    fault = wrong(found, image)
    if not fault:
        give_tag(daemon, image["id"], image["tag"])
    return fault


def wrong(found: dict[str, Any] | None, image: dict[str, Any]) -> str:
    """How an image differs from what the registry promised. A containerd store names it by its manifest."""
    if found is None:
        return "Docker says that it pulled the image, but does not have it"
    named = {found.get("Id"), (found.get("Descriptor") or {}).get("digest")}
    if not named & {image["id"], image["source"].partition("@")[2]}:
        return "it is another image than the one asked for: " + str(found.get("Id"))
    if (found.get("RootFS") or {}).get("Layers") != image["layers"]:
        return "its layers differ from the ones it was published with"
    return ""


def give_tag(daemon: Docker, name: str, tag: str) -> None:
    repository, _, version = tag.rpartition(":")
    daemon.post("/images/" + name + "/tag?repo=" + quote(repository, safe="") + "&tag=" + quote(version, safe=""))


def pulling(daemon: Docker, source: str, login: str) -> Iterator[dict[str, Any]]:
    """What Docker says while it pulls. Raises Refused with its words where it doesn't."""
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(daemon.path)
        link.settimeout(LISTENER_ASKED_EVERY)
        head = "POST " + daemon.prefix + "/images/create?fromImage=" + quote(source, safe="") + " HTTP/1.0\r\n"
        if login:
            head += "X-Registry-Auth: " + login + "\r\n"
        link.sendall((head + "Host: docker\r\n\r\n").encode())
        rest, status = b"", b""
        for data in heard(link):
            rest += data
            if not status:
                head_there, gap, body = rest.partition(b"\r\n\r\n")
                if not gap:
                    continue
                status, rest = head_there.split(b" ")[1], body
            if status == b"200":
                *lines, rest = rest.split(b"\n")
                for line in lines:
                    if line.strip():
                        yield json.loads(line.decode("utf-8"))
        if status != b"200":
            raise Refused(message_of(rest))


def heard(link: socket.socket) -> Iterator[bytes]:
    """What comes over a socket until it ends, making sure now and then that somebody still wants it.

    Raises Refused where nothing comes any more.
    """
    last = time.monotonic()
    while True:
        try:
            data = link.recv(1 << 16)
        except socket.timeout:
            tell(None)
            if time.monotonic() - last > STALLED:
                raise Refused(f"nothing came for {STALLED:.0f} s") from None
            continue
        last = time.monotonic()
        if not data:
            return
        yield data


def message_of(body: bytes) -> str:
    try:
        return str(json.loads(body.decode("utf-8"))["message"])
    except (ValueError, KeyError):
        return body.decode("utf-8", "replace").strip()[-300:] or "no answer"


def follow(events: Iterator[dict[str, Any]], identity: str) -> None:
    """Report how far a pull is. Raises Refused where it fails on the way."""
    layers: dict[str, tuple[int, int]] = {}
    reported = 0.0
    for event in events:
        if event.get("error"):
            raise Refused(event["error"])
        detail = event.get("progressDetail") or {}
        if event.get("status") == "Downloading" and detail.get("total"):
            layers[event["id"]] = (detail.get("current", 0), detail["total"])
        elif event.get("status") == "Download complete" and event.get("id") in layers:
            layers[event["id"]] = (layers[event["id"]][1], layers[event["id"]][1])
        if time.monotonic() - reported > REPORT_EVERY:
            reported = time.monotonic()
            sums = [sum(part) for part in zip(*layers.values())] or [0, 0]
            tell({"image": identity, "bytes": sums[0], "total": sums[1]})
