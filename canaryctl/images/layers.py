"""Image layers packed for sending: read once, compressed once per format, kept for the next push."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event, Lock
from typing import IO, Any

from canaryctl.agent.write.atomic import write_atomic
from canaryctl.config.caches import cache_home
from canaryctl.errors import ApplyError, CanaryError, ConfigError
from canaryctl.images.source import chain_ids, overlay_store, saved, unpacked
from canaryctl.images.streams import LayerStream, Packed
from canaryctl.plan.release import ImageFact

KEPT = 20 * 10**9  # bytes of compressed layers kept for the next push
_MEMBER = 4 << 20  # uncompressed bytes of one gzip member: members are compressed side by side
_ABANDONED = 86400  # seconds after which a half packed layer is nobody's any more


class Layers:
    """The layers of those images that are local. Safe to use from several threads; close it to stop work under way."""

    def __init__(self, images: Iterable[ImageFact]) -> None:
        self._images = [image for image in images if image.local]
        self._home = cache_home("layers")
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._store = overlay_store(self._images)
        self._chains = {d: c for i in self._images for d, c in zip(i.layers, chain_ids(i.layers), strict=True)}
        self._sizes = {layer: size for i in self._images for layer, size in zip(i.layers, i.layer_sizes, strict=False)}
        self._guard, self._saving = Lock(), Lock()
        self._stop = Event()
        self._work: dict[tuple[str, str], LayerStream] = {}
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="layers")

    def close(self) -> None:
        """Give up what is not packed yet, and make room for later."""
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for stream in self._work.values():
            stream.fail(KeyboardInterrupt())
        if self._work:
            self._prune()

    def config(self, image: ImageFact) -> bytes:
        """An image's configuration, the document whose sha256 is its identity."""
        if self._store:
            return self._store.config(image.id)
        kept = self._config_place(image)
        if not kept.exists():
            self._save("zst")
        if not kept.exists():
            raise ConfigError(f"image {image.reference} is not what it was", "", "was it built anew? run this again")
        return kept.read_bytes()

    def ask(self, layer: str, form: str) -> LayerStream:
        """Begin to pack a layer as `zst` or `gz`; every caller shares the one piece of work.

        Raises:
            ApplyError: no image here has it.
        """
        with self._guard:
            if (layer, form) not in self._work:
                if layer not in self._chains:
                    raise _unreadable(layer[:80], "no image that is to be sent has it")
                stream = self._work[layer, form] = LayerStream(self._sizes.get(layer))
                if found := self._find(layer, form):
                    stream.finish(found)
                else:
                    self._pool.submit(self._pack, layer, form, stream)
            return self._work[layer, form]

    def forget(self, layer: str, form: str) -> None:
        """Throw away a packed layer, so that the next push packs it anew."""
        for path in (_label(self._place(layer, form)), self._place(layer, form)):
            path.unlink(missing_ok=True)

    def _pack(self, layer: str, form: str, stream: LayerStream) -> None:
        try:
            if self._store:
                stream.finish(self._write(layer, form, self._store.read(self._chains[layer]), stream))
            else:
                self._save(form)
                stream.finish(self._find(layer, form) or _gone(layer))
        except (OSError, ValueError, CanaryError) as error:
            stream.fail(error if isinstance(error, CanaryError) else _unreadable(layer, str(error)))
        except BaseException as error:
            stream.fail(error)
            raise

    def _place(self, layer: str, form: str) -> Path:
        return self._home / f"{layer.removeprefix('sha256:')}.{form}"

    def _config_place(self, image: ImageFact) -> Path:
        return self._home / f"{image.id.removeprefix('sha256:')}.json"

    def _find(self, layer: str, form: str) -> Packed | None:
        path = self._place(layer, form)
        try:
            known = json.loads(_label(path).read_text())
            if path.stat().st_size != known["size"]:
                return None
            os.utime(path)
            return Packed(path, known["size"], known["sha256"], known["plain"])
        except (OSError, ValueError, KeyError):
            return None

    def _write(self, layer: str, form: str, chunks: Iterator[bytes], stream: LayerStream) -> Packed:
        path = self._place(layer, form)
        with path.with_suffix(f".{form}.lock").open("w") as lock:
            while not _locked(lock):  # another canaryctl packs it
                if self._stop.wait(0.1):
                    raise KeyboardInterrupt
            if found := self._find(layer, form):
                return found
            part = path.with_suffix(f".{form}.part")
            name, packed = self._fill(part, form, chunks, stream)
            if name != layer:
                part.unlink()
                raise _unreadable(layer, f"its content hashes to {name[:19]}")
            return _settle(packed, path)

    def _fill(self, part: Path, form: str, chunks: Iterator[bytes], stream: LayerStream | None) -> tuple[str, Packed]:
        """Pack a tar into a file; its diff id, and what became of it. `stream` hears of it as it grows."""
        plain, packed, size, read = hashlib.sha256(), hashlib.sha256(), 0, 0

        def hashed() -> Iterator[bytes]:
            nonlocal read
            for chunk in chunks:
                if self._stop.is_set():
                    raise KeyboardInterrupt
                plain.update(chunk)
                read += len(chunk)
                yield chunk

        with part.open("wb", buffering=0) as file:
            for piece in compress(hashed(), form):
                packed.update(piece)
                size += file.write(piece)
                if stream:
                    stream.grow(part, size, read)
        return f"sha256:{plain.hexdigest()}", Packed(part, size, packed.hexdigest(), read)

    def _save(self, form: str) -> None:
        """Read `docker save` of all images once and pack every layer that is not there yet."""
        wanted = {layer for image in self._images for layer in image.layers}
        configs = {self._config_place(image).name.removesuffix(".json") for image in self._images}
        with self._saving:
            missing = [
                image
                for image in self._images
                if not self._config_place(image).exists() or not all(self._find(layer, form) for layer in image.layers)
            ]
            if not missing:
                return
            part = self._home / f"save-{os.getpid()}.part"
            for path, file in saved(missing):
                name = path.rsplit("/", 1)[-1].removesuffix(".json")
                if name in configs:
                    content = file.read()
                    if hashlib.sha256(content).hexdigest() == name:
                        write_atomic(self._home / f"{name}.json", content)
                elif path.endswith("/layer.tar") or path.startswith("blobs/sha256/"):
                    if self._find(f"sha256:{name}", form):
                        continue  # newer archives name a layer by its hash
                    layer, packed = self._fill(part, form, unpacked(file), None)
                    if layer in wanted:
                        _settle(packed, self._place(layer, form))
            part.unlink(missing_ok=True)

    def _prune(self) -> None:
        """Keep the layers used last, `KEPT` bytes of them."""
        files = [(path.stat(), path) for path in self._home.iterdir()]
        files.sort(key=lambda entry: entry[0].st_mtime, reverse=True)
        total = 0
        for stat, path in files:
            if path.suffix == ".part" and stat.st_mtime < time.time() - _ABANDONED:
                path.unlink(missing_ok=True)
            elif path.suffix in (".zst", ".gz"):
                total += stat.st_size
                if total > KEPT:
                    path.unlink(missing_ok=True)
                    _label(path).unlink(missing_ok=True)


def _label(path: Path) -> Path:
    return path.with_suffix(f"{path.suffix}.json")


def _settle(packed: Packed, path: Path) -> Packed:
    """Give a packed layer its name, once what is known of it lies beside."""
    known = {"size": packed.size, "sha256": packed.sha256, "plain": packed.plain}
    write_atomic(_label(path), json.dumps(known).encode())
    packed.path.replace(path)
    return Packed(path, packed.size, packed.sha256, packed.plain)


def _locked(lock: IO[Any]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unreadable(layer: str, why: str) -> ApplyError:
    hint = "Docker's store on this machine may be damaged, or its disk full: see `df`, or build the image again"
    return ApplyError(f"layer {layer} cannot be read as it was built: {why}", hint=hint, stage="push")


def _gone(layer: str) -> Packed:
    raise ConfigError(f"layer {layer} is not in what Docker saves", "", "was the image built anew? run this again")


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
