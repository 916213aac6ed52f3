"""Image layers as files ready to send: read once, compressed once per format, kept.

A layer is named by its diff id, the sha256 of its uncompressed tar. Where Docker keeps layers with overlay2 and we may
read its folder, a layer's tar is put together from its files and the `tar-split` record that Docker keeps for exactly
that (format: github.com/vbatts/tar-split), so that a small new layer costs nothing of the big ones below it.
Elsewhere `docker save` is read once. Either way the diff id is checked.
"""

from __future__ import annotations

import base64
import fcntl
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from canaryctl.errors import ApplyError, ConfigError
from canaryctl.plan.release import ImageFact

PIECE = 1 << 20
KEPT = 20 * 10**9  # bytes of compressed layers kept for the next push
_MEMBER = 4 << 20  # uncompressed bytes of one gzip member: members are compressed side by side


@dataclass(frozen=True)
class Packed:
    """A compressed layer on disk."""

    path: Path
    size: int
    sha256: str


class Layers:
    """The layers of some local images. Safe to use from several threads; close it to stop work under way."""

    def __init__(self, images: Iterable[ImageFact]) -> None:
        self._images = list(images)
        self._home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "canaryctl" / "layers"
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._root = _overlay_root()
        self._guard = threading.Lock()
        self._saving = threading.Lock()
        self._stop = threading.Event()
        self._work: dict[tuple[str, str], Future[Packed]] = {}
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="layers")

    def close(self) -> None:
        """Give up what is not packed yet, and make room for later."""
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._prune()

    def config(self, image: ImageFact) -> bytes:
        """An image's configuration, the document whose sha256 is its identity."""
        kept = self._home / f"{image.id.removeprefix('sha256:')}.json"
        if self._root and not kept.exists():
            place = (
                self._root / "image" / "overlay2" / "imagedb" / "content" / "sha256" / image.id.removeprefix("sha256:")
            )
            return place.read_bytes()
        if not kept.exists():
            self._save("gz")
        return kept.read_bytes()

    def ask(self, layer: str, form: str) -> Future[Packed]:
        """Begin to pack a layer as `zst` or `gz`; every caller shares the one piece of work."""
        with self._guard:
            if (layer, form) not in self._work:
                self._work[layer, form] = self._pool.submit(self._pack, layer, form)
            return self._work[layer, form]

    def _pack(self, layer: str, form: str) -> Packed:
        if found := self._find(layer, form):
            return found
        if self._root is None:
            self._save(form)
            return self._find(layer, form) or _gone(layer)
        return self._write(layer, form, self._read(layer))

    def _place(self, layer: str, form: str) -> Path:
        return self._home / f"{layer.removeprefix('sha256:')}.{form}"

    def _find(self, layer: str, form: str) -> Packed | None:
        path = self._place(layer, form)
        try:
            known = json.loads(path.with_suffix(f".{form}.json").read_text())
            if path.stat().st_size != known["size"]:
                return None
        except (OSError, ValueError, KeyError):
            return None
        os.utime(path)
        return Packed(path, known["size"], known["sha256"])

    def _write(self, layer: str, form: str, chunks: Iterator[bytes]) -> Packed:
        path = self._place(layer, form)
        with path.with_suffix(f".{form}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another canaryctl may be packing it
            if found := self._find(layer, form):
                return found
            part = path.with_suffix(f".{form}.part")
            plain, packed, size = hashlib.sha256(), hashlib.sha256(), 0
            with part.open("wb") as file:
                for piece in compress(_hashed(self._unless_stopped(chunks), plain), form):
                    packed.update(piece)
                    size += file.write(piece)
            if f"sha256:{plain.hexdigest()}" != layer:
                part.unlink()
                raise ApplyError(
                    f"layer {layer} cannot be read as it was built (its content hashes to {plain.hexdigest()[:12]})",
                    hint="Docker's store on this machine may be damaged: build the image again",
                    stage="push",
                )
            path.with_suffix(f".{form}.json").write_text(json.dumps({"size": size, "sha256": packed.hexdigest()}))
            part.replace(path)
            return Packed(path, size, packed.hexdigest())

    def _unless_stopped(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if self._stop.is_set():
                raise KeyboardInterrupt
            yield chunk

    def _read(self, layer: str) -> Iterator[bytes]:
        """The exact tar of a layer from Docker's own folder."""
        chain = next(
            chain
            for image in self._images
            for diff, chain in zip(image.layers, chain_ids(image.layers), strict=True)
            if diff == layer
        )
        home = (self._root or Path()) / "image" / "overlay2" / "layerdb" / "sha256" / chain.removeprefix("sha256:")
        files = (self._root or Path()) / "overlay2" / (home / "cache-id").read_text().strip() / "diff"
        return read_tar_split(home / "tar-split.json.gz", files)

    def _save(self, form: str) -> None:
        """Read `docker save` of all images once and pack every layer that is not there yet."""
        with self._saving:
            missing = [
                image
                for image in self._images
                if not all(self._find(layer, form) for layer in image.layers)
                or not (self._home / f"{image.id.removeprefix('sha256:')}.json").exists()
            ]
            if not missing:
                return
            with subprocess.Popen(["docker", "save", *(i.id for i in missing)], stdout=subprocess.PIPE) as process:
                try:
                    with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                        self._unpack(archive, form)
                finally:
                    process.kill()

    def _unpack(self, archive: tarfile.TarFile, form: str) -> None:
        """Layers come before anything that names them, so each is packed under the hash it turns out to have."""
        wanted = {layer for image in self._images for layer in image.layers}
        configs = {image.id.removeprefix("sha256:") for image in self._images}
        for member in archive:
            name = member.name.rsplit("/", 1)[-1].removesuffix(".json")
            file = archive.extractfile(member) if member.isfile() else None
            if file is None:
                continue
            if name in configs:
                (self._home / f"{name}.json").write_bytes(file.read())
            elif member.name.endswith("/layer.tar") or member.name.startswith("blobs/sha256/"):
                self._write_unnamed(wanted, form, file)

    def _write_unnamed(self, wanted: set[str], form: str, file: IO[bytes]) -> None:
        plain, packed, size = hashlib.sha256(), hashlib.sha256(), 0
        part = self._home / f"save-{os.getpid()}.part"
        chunks: Iterator[bytes] = iter(lambda: file.read(PIECE), b"")
        with part.open("wb") as out:
            for piece in compress(_hashed(self._unless_stopped(chunks), plain), form):
                packed.update(piece)
                size += out.write(piece)
        layer = f"sha256:{plain.hexdigest()}"
        if layer not in wanted:
            part.unlink()
            return
        path = self._place(layer, form)
        path.with_suffix(f".{form}.json").write_text(json.dumps({"size": size, "sha256": packed.hexdigest()}))
        part.replace(path)

    def _prune(self) -> None:
        """Keep the layers used last, `KEPT` bytes of them."""
        files = [path for path in self._home.iterdir() if path.suffix in (".zst", ".gz")]
        files.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        total = 0
        for path in files:
            total += path.stat().st_size
            if total > KEPT:
                path.unlink(missing_ok=True)
                path.with_suffix(f"{path.suffix}.json").unlink(missing_ok=True)


def _gone(layer: str) -> Packed:
    raise ConfigError(f"layer {layer} is not in what Docker saves", "", "build the image again")


def _hashed(chunks: Iterator[bytes], total: Any) -> Iterator[bytes]:
    for chunk in chunks:
        total.update(chunk)
        yield chunk


def chain_ids(layers: tuple[str, ...]) -> list[str]:
    """Docker's names of layers on top of those below them (OCI image specification, ChainID)."""
    chain: list[str] = []
    for layer in layers:
        chain.append(f"sha256:{hashlib.sha256(f'{chain[-1]} {layer}'.encode()).hexdigest()}" if chain else layer)
    return chain


def read_tar_split(record: Path, files: Path) -> Iterator[bytes]:
    """The tar that a tar-split record and the unpacked files make, in pieces of about a megabyte."""
    buffer = bytearray()
    with gzip.open(record) as lines:
        for line in lines:
            entry = json.loads(line)
            if entry["type"] == 2:  # bytes of the tar itself: headers, padding
                buffer += base64.b64decode(entry.get("payload") or "")
            elif entry.get("size"):
                name = entry["name"] if "name" in entry else os.fsdecode(base64.b64decode(entry["name_raw"]))
                with (files / name.lstrip("/")).open("rb", buffering=0) as file:
                    while piece := file.read(PIECE):
                        buffer += piece
                        if len(buffer) >= PIECE:
                            yield bytes(buffer)
                            buffer.clear()
            if len(buffer) >= PIECE:
                yield bytes(buffer)
                buffer.clear()
    yield bytes(buffer)


def compress(chunks: Iterator[bytes], form: str) -> Iterator[bytes]:
    """Compress as `zst` or `gz`; the same input always gives the same bytes, which is what resuming needs."""
    if form == "zst":
        import zstandard

        packer = zstandard.ZstdCompressor(level=1, threads=2).compressobj()
        for chunk in chunks:
            if piece := packer.compress(chunk):
                yield piece
        yield packer.flush()
        return
    with ThreadPoolExecutor(max_workers=2) as pool:
        pending: list[Future[bytes]] = []
        for block in _blocks(chunks, _MEMBER):
            pending.append(pool.submit(gzip.compress, block, 1, mtime=0))
            if len(pending) > 3:
                yield pending.pop(0).result()
        for future in pending:
            yield future.result()


def _blocks(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        while len(buffer) >= size:
            yield bytes(buffer[:size])
            del buffer[:size]
    yield bytes(buffer)


def _overlay_root() -> Path | None:
    """Docker's folder where we may read layers from it: the classic overlay2 store, and enough rights."""
    if shutil.which("docker") is None:
        return None
    done = subprocess.run(
        ["docker", "info", "--format", "{{.Driver}} {{.DockerRootDir}}"], capture_output=True, text=True, check=False
    )
    driver, _, root = done.stdout.strip().partition(" ")
    store = Path(root) / "image" / "overlay2" / "layerdb" / "sha256"
    return Path(root) if driver == "overlay2" and os.access(store, os.R_OK | os.X_OK) else None
