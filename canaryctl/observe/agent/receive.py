"""Take image layers from standard input, resume what was left half-way, and give Docker only what it lacks.

The operator's side speaks first with lines of JSON, some followed by bytes; each of our answers is one line of JSON:

    us    {"missing": [diff ids], "staged": {diff id: [size, sha256]}, "free": {path: bytes}}
    them  {"layer": diff id, "offset": n, "size": n}, then size bytes          as often as they like
    them  {"layer": diff id, "total": n, "sha256": hex}                       the layer is whole
    us    {"layer": diff id, "ok": bool}
    them  {"load": true}
    us    {"images": {id: ""}, "error": text}

A connection that ends in the middle ends this program; what arrived stays staged for the next time.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import socket
import sys
import tarfile
import time
from typing import IO, Any
from urllib.parse import quote

from canaryctl.observe.agent.docker import Docker, DockerError, open_docker

STALE = 7 * 86400  # seconds after which somebody's half layer is given up
PIECE = 1 << 20


class Staging:
    """The folder where layers wait until Docker takes them: ours alone, one file a layer."""

    def __init__(self, root: str, form: str) -> None:
        self.path = os.path.join(root, ".incoming")
        self.form = form
        os.makedirs(root, 0o755, exist_ok=True)
        os.makedirs(self.path, 0o700, exist_ok=True)
        os.chmod(self.path, 0o700)
        self.files: dict[str, IO[bytes]] = {}
        self._sweep()

    def _sweep(self) -> None:
        for name in os.listdir(self.path):
            path = os.path.join(self.path, name)
            try:
                if time.time() - os.stat(path).st_mtime > STALE:
                    os.unlink(path)
            except OSError:
                continue

    def open(self, layer: str) -> IO[bytes]:
        """The layer's file, locked. Where somebody else is filling it, a private one that is not kept."""
        if layer not in self.files:
            base = os.path.join(self.path, layer.replace(":", "-") + "." + self.form)
            for path in (base, base + "." + str(os.getpid())):
                handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    os.close(handle)
                    continue
                self.files[layer] = os.fdopen(handle, "r+b", buffering=0)
                break
        return self.files[layer]

    def staged(self, layer: str) -> list[Any]:
        """[size, sha256] of what is there."""
        file = self.open(layer)
        return [os.fstat(file.fileno()).st_size, digest(file)]

    def path_of(self, layer: str) -> str:
        return "/proc/self/fd/" + str(self.files[layer].fileno())

    def drop(self, layer: str) -> None:
        """Forget a layer and its file."""
        file = self.files.pop(layer)
        path = os.readlink("/proc/self/fd/" + str(file.fileno()))
        if os.path.exists(path):
            os.unlink(path)
        file.close()


def digest(file: IO[bytes]) -> str:
    file.seek(0)
    total = hashlib.sha256()
    while True:
        piece = file.read(PIECE)
        if not piece:
            return total.hexdigest()
        total.update(piece)


def chain_ids(layers: list[str]) -> list[str]:
    """Docker's name for each layer on top of those below it."""
    chain: list[str] = []
    for layer in layers:
        below = chain[-1] + " " + layer if chain else ""
        chain.append("sha256:" + hashlib.sha256(below.encode()).hexdigest() if below else layer)
    return chain


def known_chains(daemon: Docker) -> set[str]:
    """Every layer that some image of the host holds."""
    found: set[str] = set()
    for entry in daemon.get("/images/json"):
        try:
            found.update(chain_ids(daemon.get("/images/" + entry["Id"] + "/json")["RootFS"].get("Layers") or []))
        except (DockerError, KeyError):
            continue  # removed meanwhile
    return found


def missing_layers(config: dict[str, Any], chains: set[str]) -> list[str]:
    missing: dict[str, None] = {}
    for image in config["images"]:
        for layer, chain in zip(image["layers"], chain_ids(image["layers"])):
            if config["whole"] or chain not in chains:
                missing[layer] = None
    return list(missing)


class Chunked:
    """A file to write to that becomes the chunked body of a request."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self.buffer = bytearray()

    def write(self, data: bytes) -> int:
        self.buffer += data
        if len(self.buffer) >= PIECE:
            self.flush()
        return len(data)

    def flush(self) -> None:
        if self.buffer:
            self.link.sendall(b"%x\r\n" % len(self.buffer) + bytes(self.buffer) + b"\r\n")
            self.buffer = bytearray()

    def close(self) -> None:
        self.flush()
        self.link.sendall(b"0\r\n\r\n")


def load(daemon: Docker, config: dict[str, Any], staging: Staging) -> str:
    """Give Docker an archive of the images with only the layers that were sent. Returns its complaint, or ''."""
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(daemon.path)
        head = f"POST {daemon.prefix}/images/load?quiet=1 HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n"
        link.sendall((head + "Content-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n").encode())
        try:
            body = Chunked(link)
            with tarfile.open(fileobj=body, mode="w|") as archive:  # type: ignore[call-overload]
                fill(archive, config, staging)
            body.close()
        except OSError:
            pass  # the daemon refused early; its answer says why
        answer = b""
        while True:
            data = link.recv(PIECE)
            if not data:
                break
            answer += data
    status = answer.split(b" ")[1:2]
    text = answer.partition(b"\r\n\r\n")[2].decode("utf-8", "replace")
    if status != [b"200"] or '"error"' in text:
        return text.strip()[-600:] or "no answer"
    return ""


def fill(archive: tarfile.TarFile, config: dict[str, Any], staging: Staging) -> None:
    """The archive that `docker save` makes: configurations, layers, manifest.json naming both."""
    import io

    manifest = []
    named: dict[str, str] = {}
    for image in config["images"]:
        content = base64.b64decode(image["config"])
        member = tarfile.TarInfo(image["id"].split(":")[1] + ".json")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
        paths = []
        for layer, chain in zip(image["layers"], chain_ids(image["layers"])):
            paths.append(named.setdefault(layer, chain.split(":")[1] + "/layer.tar"))
        manifest.append({"Config": member.name, "RepoTags": None, "Layers": paths})
    for layer, path in named.items():
        if layer in staging.files:
            file = staging.files[layer]
            member = tarfile.TarInfo(path)
            member.size = os.fstat(file.fileno()).st_size
            file.seek(0)
            archive.addfile(member, file)
    content = json.dumps(manifest).encode()
    member = tarfile.TarInfo("manifest.json")
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def check_and_tag(daemon: Docker, config: dict[str, Any]) -> dict[str, str]:
    """What is wrong with each image, '' for those that are exactly right and carry their tag now."""
    result = {}
    for image in config["images"]:
        try:
            found = daemon.get("/images/" + image["id"] + "/json")
            if found["RootFS"].get("Layers") != image["layers"]:
                result[image["id"]] = "its layers differ from the ones it was built with"
                continue
            name, _, tag = image["tag"].rpartition(":")
            daemon.post("/images/" + image["id"] + "/tag?repo=" + quote(name, safe="") + "&tag=" + quote(tag, safe=""))
            result[image["id"]] = ""
        except DockerError as error:
            result[image["id"]] = str(error)
    return result


def say(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def answer_receive(config: dict[str, Any]) -> None:
    """The whole conversation; see the top of this file."""
    try:
        daemon = open_docker()
        if daemon is None:
            raise DockerError("Docker is not installed")
        staging = Staging(config["root"], config["form"])
        wanted = missing_layers(config, known_chains(daemon))
        staged = {} if config["ask"] else {layer: staging.staged(layer) for layer in wanted}
        places = {path: os.statvfs(path) for path in (staging.path, config["docker_root"]) if os.path.exists(path)}
        free = {path: place.f_bavail * place.f_frsize for path, place in places.items()}
    except (DockerError, OSError) as error:
        say({"error": str(error)})
        return
    say({"missing": wanted, "staged": staged, "free": free})
    source = sys.stdin.buffer
    while True:
        line = source.readline()
        if not line:
            return
        order = json.loads(line)
        try:
            if "offset" in order:
                take(source, staging.open(order["layer"]), order["offset"], order["size"])
            elif "total" in order:
                good = staging.staged(order["layer"]) == [order["total"], order["sha256"]]
                if not good:
                    staging.drop(order["layer"])
                say({"layer": order["layer"], "ok": good})
            elif order.get("load"):
                refusal = load(daemon, config, staging) if wanted else ""
                say({"error": refusal, "images": {} if refusal else check_and_tag(daemon, config)})
                for layer in list(staging.files):
                    staging.drop(layer)
                return
        except OSError as error:
            say({"error": str(error)})
            return


def take(source: IO[bytes], file: IO[bytes], offset: int, size: int) -> None:
    """Write `size` bytes of the source at `offset`; nothing stays behind them."""
    file.seek(offset)
    file.truncate(offset)
    while size:
        piece = source.read1(min(size, PIECE))  # type: ignore[attr-defined]
        if not piece:
            raise SystemExit(1)  # the connection is gone; what came stays
        view = memoryview(piece)
        while view:
            view = view[file.write(view) :]
        size -= len(piece)
