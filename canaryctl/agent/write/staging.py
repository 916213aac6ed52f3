"""Image layers that wait on a host until Docker takes them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from typing import IO, Any

from canaryctl.agent.read.loads import INCOMING, NOTE

STALE = 7 * 86400  # seconds after which somebody's half layer is given up
PIECE = 1 << 20


class Staging:
    """The folder where layers wait until Docker takes them: ours alone, one file a layer."""

    def __init__(self, root: str, form: str) -> None:
        self.root = root
        self.path = os.path.join(root, INCOMING)
        self.form = form
        self.files: dict[str, IO[bytes]] = {}
        self.hashes: dict[str, Any] = {}  # of each file up to its end

    def make(self) -> None:
        """Make the folder, and throw away what nobody came back for."""
        os.makedirs(self.root, 0o755, exist_ok=True)
        os.makedirs(self.path, 0o700, exist_ok=True)
        os.chmod(self.path, 0o700)
        for name in os.listdir(self.path):
            path = os.path.join(self.path, name)
            try:
                if not NOTE.match(name) and time.time() - os.stat(path).st_mtime > STALE:
                    os.unlink(path)
            except OSError:
                continue

    def place(self, layer: str) -> str:
        return os.path.join(self.path, layer.replace(":", "-") + "." + self.form)

    def open(self, layer: str) -> IO[bytes]:
        """The layer's file, locked. Where somebody else is filling it, a private one that is not kept."""
        if layer not in self.files:
            base = self.place(layer)
            for path in (base, base + "." + str(os.getpid())):
                handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    os.close(handle)
                    continue
                self.files[layer] = os.fdopen(handle, "r+b", buffering=0)
                if path != base:
                    os.unlink(path)
                break
        return self.files[layer]

    def staged(self, layer: str) -> list[Any]:
        """[size, sha256] of what is there."""
        file = self.open(layer)
        self.hashes[layer] = digest(file)
        return [size_of(file), self.hashes[layer].hexdigest()]

    def take(self, source: Any, layer: str, offset: int, size: int) -> None:
        """Write `size` bytes of the source (it has `read1`) at `offset`; nothing stays behind them."""
        file = self.open(layer)
        if offset != size_of(file):
            file.truncate(offset)
            self.hashes[layer] = digest(file)
        file.seek(offset)
        while size:
            piece = source.read1(min(size, PIECE))
            if not piece:
                raise SystemExit(1)  # the connection is gone; what came stays
            self.hashes[layer].update(piece)
            view = memoryview(piece)
            while view:
                view = view[file.write(view) :]
            size -= len(piece)

    def arrived(self, layer: str) -> list[Any]:
        """[size, sha256] of what was taken, without reading it again."""
        return [size_of(self.files[layer]), self.hashes[layer].hexdigest()]

    def spoilt(self) -> list[str]:
        """Layers that are no longer on the disk what they were when they arrived. They are thrown away."""
        bad = [layer for layer, file in self.files.items() if digest(file).digest() != self.hashes[layer].digest()]
        for layer in bad:
            self.drop(layer)
        return bad

    def glance(self, layer: str) -> list[Any]:
        """The same without making or locking anything."""
        try:
            with open(self.place(layer), "rb") as file:
                return [size_of(file), digest(file).hexdigest()]
        except OSError:
            return [0, ""]

    def drop(self, layer: str) -> None:
        """Forget a layer and its file."""
        file = self.files.pop(layer)
        path = os.readlink("/proc/self/fd/" + str(file.fileno()))
        if os.path.exists(path):
            os.unlink(path)
        file.close()

    def done_with(self, layer: str) -> None:
        """Docker has the layer: nobody needs what arrived of it, whoever else was sent it and may have been cut off."""
        self.drop(layer)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.place(layer))


def size_of(file: IO[bytes]) -> int:
    """Bytes of an open file."""
    return os.fstat(file.fileno()).st_size


def digest(file: IO[bytes]) -> Any:
    """The hash of a file, ready for more."""
    file.seek(0)
    total = hashlib.sha256()
    while True:
        piece = file.read(PIECE)
        if not piece:
            return total
        total.update(piece)
