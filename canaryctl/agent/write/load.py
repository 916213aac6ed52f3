"""Give image layers to Docker (the daemon's API, POST /images/load), the first while others still arrive.

An archive may leave out layers that the daemon has. A layer can only be loaded as part of an image, so what arrives
early is loaded as an image of the beginning of the real one: without a tag, with the label below, and removed once the
real one holds its layers.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import tarfile
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import IO, Any

from canaryctl.agent.read.docker import Docker, DockerError, quoted_filter
from canaryctl.agent.write.staging import PIECE, STALE, Staging, size_of

OCI = "application/vnd.oci.image."
PARTIAL = "canaryctl.partial"
ANSWER = 1 << 16  # bytes kept of each end of Docker's answer
TAKEN = 16 << 20  # bytes that the daemon is given at a time
WORTH = 16 << 20  # packed bytes that are worth an image of their own


class Archive:
    """A tar that becomes the chunked body of a request. Files go from the disk to the daemon without passing by us."""

    def __init__(self, link: socket.socket, step: Callable[[], None]) -> None:
        """step: called for each piece that the daemon has taken."""
        self.link, self.step = link, step

    def add(self, path: str, content: bytes) -> None:
        self._chunk(header(path, len(content)) + content + padding(len(content)))

    def add_file(self, path: str, file: IO[bytes]) -> None:
        size = size_of(file)
        self._chunk(header(path, size))
        if size:
            self.link.sendall(b"%x\r\n" % size)
            at = 0
            while at < size:
                sent = os.sendfile(self.link.fileno(), file.fileno(), at, min(size - at, TAKEN))
                if not sent:
                    raise OSError(path + " became shorter while it was read")
                at += sent
                self.step()
            self.link.sendall(b"\r\n")
        self._chunk(padding(size))

    def close(self) -> None:
        self._chunk(bytes(2 * tarfile.BLOCKSIZE))
        self.link.sendall(b"0\r\n\r\n")

    def _chunk(self, data: bytes) -> None:
        if data:
            self.link.sendall(b"%x\r\n" % len(data) + data + b"\r\n")


def header(path: str, size: int) -> bytes:
    member = tarfile.TarInfo(path)
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)


def padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)


def load(daemon: Docker, write: Callable[[Archive], Any], step: Callable[[], None]) -> str:
    """Load the images of the archive that `write` makes. Returns the daemon's complaint, or ''.

    step: called for each sign that it gets further: what it takes, and what it says of its unpacking.
    """
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(daemon.path)
        head = f"POST {daemon.prefix}/images/load?quiet=0 HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n"
        link.sendall((head + "Content-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n").encode())
        archive = Archive(link, step)
        try:
            write(archive)
            archive.close()
        except OSError:  # the daemon refused early, and its answer says why; or a file is not what it was
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_WR)
        return complaint_of(told(link, step))


def told(link: socket.socket, step: Callable[[], None]) -> bytes:
    """A daemon's whole answer; of one that says how far it is, the beginning and the end."""
    head, tail = b"", b""
    while True:
        data = link.recv(PIECE)
        if not data:
            return head + tail
        step()
        if len(head) < ANSWER:
            head += data
        else:
            tail = (tail + data)[-ANSWER:]


def complaint_of(answer: bytes) -> str:
    """What a daemon complains of, or ''."""
    text = answer.partition(b"\r\n\r\n")[2].decode("utf-8", "replace").strip()
    if answer.split(b" ")[1:2] == [b"200"]:
        return "\n".join(line for line in text.splitlines() if '"error"' in line)[-600:]
    return text[-600:] or "no answer"


def lacks_layers(complaint: str) -> bool:
    """Whether Docker misses files of an archive that has all but the layers it has itself. It has no code for that."""
    return "no such file" in complaint.lower() or "not found" in complaint.lower()


def fill(archive: Archive, images: list[tuple[bytes, list[str]]], files: dict[str, IO[bytes]]) -> None:
    """The archive that `docker save` makes: layers, configurations, manifest.json naming both.

    images: each its configuration and its layers. files: those of the layers that the daemon lacks.
    """
    for layer, file in files.items():
        archive.add_file(layer_path(layer), file)
    manifest = []
    for config, layers in images:
        name = hashlib.sha256(config).hexdigest() + ".json"
        archive.add(name, config)
        manifest.append({"Config": name, "RepoTags": None, "Layers": [layer_path(layer) for layer in layers]})
    archive.add("manifest.json", json.dumps(manifest).encode())


def fill_oci(
    archive: Archive, images: list[tuple[bytes, list[str]]], staging: Staging, packed: dict[str, dict[str, Any]]
) -> None:
    """The same as an OCI image layout, for containerd's store: it names images by the manifests that we make here.

    packed: descriptors of the layers that the store has.
    """
    blob = "blobs/sha256/"
    for layer, file in staging.files.items():
        archive.add_file(blob + staging.hashes[layer].hexdigest(), file)
    index = []
    for config, layers in images:
        manifest = oci_manifest(config, layers, staging, packed)
        for content in (config, manifest):
            archive.add(blob + hashlib.sha256(content).hexdigest(), content)
        index.append(described(OCI + "manifest.v1+json", hashlib.sha256(manifest).hexdigest(), len(manifest)))
    for path, document in (
        ("oci-layout", {"imageLayoutVersion": "1.0.0"}),
        ("index.json", {"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": index}),
    ):
        archive.add(path, json.dumps(document).encode())


def oci_manifest(config: bytes, layers: list[str], staging: Staging, packed: dict[str, dict[str, Any]]) -> bytes:
    """The manifest of an image whose layers are staged, or in the store."""
    kind = OCI + "layer.v1.tar+" + {"zst": "zstd", "gz": "gzip"}[staging.form]
    document = {
        "schemaVersion": 2,
        "mediaType": OCI + "manifest.v1+json",
        "config": described(OCI + "config.v1+json", hashlib.sha256(config).hexdigest(), len(config)),
        "layers": [
            packed.get(layer) or described(kind, staging.hashes[layer].hexdigest(), size_of(staging.files[layer]))
            for layer in layers
        ],
    }
    return json.dumps(document).encode()


def described(kind: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": kind, "digest": "sha256:" + digest, "size": size}


def layer_path(layer: str) -> str:
    return layer.split(":")[1] + "/layer.tar"


def chain_ids(layers: list[str]) -> list[str]:
    """Docker's name for each layer on top of those below it."""
    chain: list[str] = []
    for layer in layers:
        below = chain[-1] + " " + layer if chain else ""
        chain.append("sha256:" + hashlib.sha256(below.encode()).hexdigest() if below else layer)
    return chain


def beginning(layers: list[str], chains: set[str], arrived: set[str]) -> list[str]:
    """As many of an image's layers as are there, or have arrived."""
    found = []
    for layer, chain in zip(layers, chain_ids(layers)):
        if chain not in chains and layer not in arrived:
            break
        found.append(layer)
    return found


def partial_config(config: bytes, layers: list[str]) -> bytes:
    """The configuration of an image that ends after some layers of the real one."""
    real = json.loads(config)
    return json.dumps(
        {
            "architecture": real.get("architecture", ""),
            "os": real.get("os", "linux"),
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "config": {"Labels": {PARTIAL: "a transfer is under way, or was cut off"}},
            "rootfs": {"type": "layers", "diff_ids": layers},
        }
    ).encode()


class Ahead:
    """Loads what has arrived, in a thread of its own, as long as more is to come."""

    def __init__(
        self,
        daemon: Docker,
        images: list[tuple[bytes, list[str]]],
        chains: set[str],
        staging: Staging,
        coming: int,
        step: Callable[[], None],
    ) -> None:
        """Takes images (configuration and layers each), and how many layers are to come; 0 to load all at the end.

        step: as for `load`.
        """
        self.daemon, self.images, self.chains, self.staging, self.step = daemon, images, chains, staging, step
        self.coming = coming
        self.whole: set[str] = set()  # layers that have arrived and are not loaded
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def arrived(self, layer: str) -> None:
        """A layer's file is whole and right."""
        with self.changed:
            self.whole.add(layer)
            self.coming -= 1
            self.changed.notify()

    def finish(self, write: Callable[[Archive], Any]) -> str:
        """Load what `write` makes, once nothing else is being loaded. Returns Docker's complaint, or ''."""
        with self.changed:
            self.coming = 0
            self.changed.notify()
        self.thread.join()
        return load(self.daemon, write, self.step)

    def _work(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: not self.coming or self._ready())
                if not self.coming:
                    return
                config, layers, new = self._ready() or (b"", [], [])
            files = {layer: self.staging.files[layer] for layer in new}
            part = [(partial_config(config, layers), layers)]
            if load(self.daemon, partial(fill, images=part, files=files), self.step):
                return  # then all at the end, and its complaint counts
            self.chains.update(chain_ids(layers))
            with self.changed:
                for layer in new:
                    self.whole.discard(layer)
                    if not self._needed(layer):
                        self.staging.drop(layer)

    def _ready(self) -> tuple[bytes, list[str], list[str]] | None:
        """An image's configuration, its beginning that is there, and the layers of it to load; None for too little."""
        for config, layers in self.images:
            present = beginning(layers, self.chains, self.whole)
            new = [layer for layer, chain in zip(present, chain_ids(present)) if chain not in self.chains]
            if sum(size_of(self.staging.files[layer]) for layer in new) >= WORTH:
                return config, present, new
        return None

    def _needed(self, layer: str) -> bool:
        """Whether some image still lacks the layer."""
        return any(
            other == layer and chain not in self.chains
            for _, layers in self.images
            for other, chain in zip(layers, chain_ids(layers))
        )


def forget_partial(daemon: Docker, images: list[list[str]]) -> None:
    """Remove the images of beginnings: those whose layers `images` hold now, and those nobody came back for."""
    for entry in daemon.get("/images/json?filters=" + quoted_filter(label=[PARTIAL])):
        try:
            layers = daemon.get("/images/" + entry["Id"] + "/json")["RootFS"].get("Layers") or []
            if any(image[: len(layers)] == layers for image in images) or entry["Created"] < time.time() - STALE:
                daemon.delete("/images/" + entry["Id"])
        except DockerError:
            continue  # another operator was quicker, or needs it
