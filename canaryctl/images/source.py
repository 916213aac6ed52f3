"""Where layers come from: Docker's own folder, or what `docker save` prints.

A layer is named by its diff id, the sha256 of its uncompressed tar. Where Docker keeps layers with overlay2 and we may
read its folder, a layer's tar is put together from its files and the `tar-split` record that Docker keeps for exactly
that (format: github.com/vbatts/tar-split), so that a small new layer costs nothing of the big ones below it.
Elsewhere `docker save` is read once, in both of its layouts: `<id>/layer.tar` before Docker 25, OCI blobs since
(github.com/moby/docker-image-spec; OCI image layout).
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from canaryctl.errors import ApplyError
from canaryctl.plan.release import ImageFact

PIECE = 1 << 20
_LONGEST_ENTRY = 64 << 20  # bytes of a line of a tar-split record; real ones have some kilobytes


class OverlayStore:
    """Docker's folder with the classic overlay2 store, readable by us."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._records = root / "image" / "overlay2"

    def config(self, identity: str) -> bytes:
        """An image's configuration, the document whose sha256 is its identity."""
        return (self._records / "imagedb" / "content" / "sha256" / identity.removeprefix("sha256:")).read_bytes()

    def sizes(self, image: ImageFact) -> tuple[int, ...]:
        """Bytes of the files of each layer."""
        return tuple(int((self._layer(chain) / "size").read_text()) for chain in chain_ids(image.layers))

    def read(self, chain: str) -> Iterator[bytes]:
        """The exact tar of a layer."""
        files = self._root / "overlay2" / (self._layer(chain) / "cache-id").read_text().strip() / "diff"
        return read_tar_split(self._layer(chain) / "tar-split.json.gz", files)

    def _layer(self, chain: str) -> Path:
        return self._records / "layerdb" / "sha256" / chain.removeprefix("sha256:")


def overlay_store(images: Iterable[ImageFact]) -> OverlayStore | None:
    """Docker's folder where it keeps all of these images so, and we may read it."""
    if shutil.which("docker") is None:
        return None
    root = Path("/var/lib/docker")
    if not all(_kept_in(root, image) for image in images):  # the usual place spares a question of 50 ms
        done = subprocess.run(
            ["docker", "info", "--format", "{{.DockerRootDir}}"], capture_output=True, text=True, check=False
        )
        root = Path(done.stdout.strip() or root)
        if not all(_kept_in(root, image) for image in images):
            return None
    return OverlayStore(root)


def _kept_in(root: Path, image: ImageFact) -> bool:
    records = root / "image" / "overlay2"
    config = records / "imagedb" / "content" / "sha256" / image.id.removeprefix("sha256:")
    top = [records / "layerdb" / "sha256" / chain.removeprefix("sha256:") for chain in chain_ids(image.layers)[-1:]]
    return os.access(config, os.R_OK) and all(os.access(layer / "tar-split.json.gz", os.R_OK) for layer in top)


def chain_ids(layers: tuple[str, ...]) -> list[str]:
    """Docker's names of layers on top of those below them (OCI image specification, ChainID)."""
    chain: list[str] = []
    for layer in layers:
        chain.append(f"sha256:{hashlib.sha256(f'{chain[-1]} {layer}'.encode()).hexdigest()}" if chain else layer)
    return chain


def read_tar_split(record: Path, files: Path) -> Iterator[bytes]:
    """The tar that a tar-split record and the unpacked files make, in pieces of about a megabyte.

    Record and files come from an image that nobody trusts yet: nothing outside of `files` is ever opened.

    Raises:
        ValueError: the record is none, or names what is no regular file of that size below `files`.
        OSError: something cannot be read.
    """
    buffer = bytearray()
    with gzip.open(record) as lines, _Beneath(files) as below:
        for entry in _entries(lines):
            if entry.get("type") == 2:  # bytes of the tar itself: headers, padding
                buffer += base64.b64decode(entry.get("payload") or "")
            elif size := entry.get("size"):
                name = entry["name"] if "name" in entry else os.fsdecode(base64.b64decode(entry["name_raw"]))
                with below.open(name, size) as file:
                    while size:
                        piece = file.read(min(PIECE, size))
                        if not piece:
                            raise ValueError(f"{name!r} became shorter")
                        size -= len(piece)
                        buffer += piece
                        if len(buffer) >= PIECE:
                            yield bytes(buffer)
                            buffer.clear()
            if len(buffer) >= PIECE:
                yield bytes(buffer)
                buffer.clear()
    yield bytes(buffer)


def _entries(lines: gzip.GzipFile) -> Iterator[dict[str, Any]]:
    """The entries of a tar-split record, those of files with a name and a size in their right form."""
    try:
        while line := lines.readline(_LONGEST_ENTRY):
            entry = json.loads(line)
            if not isinstance(entry, dict):
                raise ValueError("an entry is no object")
            size, name = entry.get("size") or 0, entry.get("name", entry.get("name_raw"))
            if not isinstance(size, int) or size < 0 or (size and not isinstance(name, str)):
                raise ValueError("an entry has no size or name")
            if not isinstance(entry.get("payload") or "", str):
                raise ValueError("an entry has no bytes")
            yield entry
    except (EOFError, zlib.error, RecursionError) as error:
        raise ValueError(f"the record is damaged: {error}") from None


class _Beneath:
    """Opens regular files below a folder, and follows no link on the way to them."""

    def __init__(self, root: Path) -> None:
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        self._folder: tuple[str, ...] = ()
        self._handle = self._root

    def __enter__(self) -> _Beneath:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()
        os.close(self._root)

    def open(self, name: str, size: int) -> IO[bytes]:
        """A file of at least `size` bytes; `name` may begin with a slash, as names in a tar do."""
        *folder, last = [part for part in name.split("/") if part not in ("", ".")] or [""]
        if ".." in (*folder, last) or not last:
            raise ValueError(f"{name!r} is no file of the layer")
        if tuple(folder) != self._folder:  # files of one folder follow each other
            self._enter(tuple(folder))
        handle = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._handle)
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_size < size:
            os.close(handle)
            raise ValueError(f"{name!r} is not the file that was recorded")
        return os.fdopen(handle, "rb", buffering=0)

    def _enter(self, folder: tuple[str, ...]) -> None:
        self._leave()
        for part in folder:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self._handle)
            self._leave()
            self._handle = below
        self._folder = folder

    def _leave(self) -> None:
        if self._handle != self._root:
            os.close(self._handle)
        self._folder, self._handle = (), self._root


def saved(images: Iterable[ImageFact]) -> Iterator[tuple[str, IO[bytes]]]:
    """The files of what `docker save` prints: their paths, and their content to be read before the next one.

    Raises:
        ApplyError: docker save failed.
    """
    argv = ["docker", "save", "--", *dict.fromkeys(image.reference for image in images)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                for member in archive:
                    if member.isfile() and (file := archive.extractfile(member)):
                        yield member.name, file
        except tarfile.ReadError:
            complaint = process.stderr.read().decode(errors="replace").strip()[-300:] if process.stderr else ""
            raise ApplyError(
                f"docker save failed: {complaint}", "", "is Docker on this machine well? canaryctl doctor", stage="push"
            ) from None
        finally:
            process.kill()


def unpacked(file: IO[bytes]) -> Iterator[bytes]:
    """A layer's tar, whatever it was packed with."""
    head = file.peek(4)[:4] if isinstance(file, io.BufferedReader) else b""
    if head.startswith(b"\x1f\x8b"):
        file = cast(IO[bytes], gzip.GzipFile(fileobj=file))
    elif head == b"\x28\xb5\x2f\xfd":
        import zstandard

        file = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    while piece := file.read(PIECE):
        yield piece
