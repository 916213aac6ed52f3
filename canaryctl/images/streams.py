"""A layer while it is being packed: those who send it read what is there and wait for the rest."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_PIECE = 1 << 18


@dataclass(frozen=True)
class Packed:
    """A compressed layer on disk. `plain` is the bytes of its tar."""

    path: Path
    size: int
    sha256: str
    plain: int


class LayerStream:
    """One layer's file, written by one thread (`grow`, then `finish` or `fail`) and read by any number of others."""

    def __init__(self, plain: int | None = None) -> None:
        self._plain = plain
        self._changed = threading.Condition()
        self._path = Path()
        self._size = self._read = 0
        self._packed: Packed | None = None
        self._error: BaseException | None = None

    def grow(self, path: Path, size: int, read: int) -> None:
        """The file has `size` bytes by now, out of `read` bytes of tar."""
        with self._changed:
            self._path, self._size, self._read = path, size, read
            self._changed.notify_all()

    def finish(self, packed: Packed) -> None:
        """The file is whole."""
        with self._changed:
            self._packed, self._path, self._size, self._plain = packed, packed.path, packed.size, packed.plain
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """There will be no file; readers get the error."""
        with self._changed:
            self._error = None if self._packed else error
            self._changed.notify_all()

    @property
    def plain(self) -> int:
        """Bytes of the tar; 0 where nobody knows yet."""
        return self._plain or 0

    @property
    def expected(self) -> int:
        """Bytes of the file when it will be whole: a guess until then."""
        with self._changed:
            if self._packed or not self._read:
                return self._size or self.plain
            return max(self._size, self._size * self.plain // self._read)

    def wait(self) -> Packed:
        """The whole file."""
        with self._changed:
            self._changed.wait_for(lambda: self._packed or self._error)
            if self._packed:
                return self._packed
            raise self._error or AssertionError

    def begins_with(self, size: int, sha256: str) -> bool:
        """Whether the first `size` bytes have that hash."""
        if size <= 0:
            return False
        total = hashlib.sha256()
        count = 0
        for piece in self.pieces(0):
            piece = piece[: size - count]
            total.update(piece)
            count += len(piece)
            if count == size:
                return total.hexdigest() == sha256
        return False

    def pieces(self, start: int) -> Iterator[bytes]:
        """The file from `start` on, as fast as it is written."""
        with self._open() as file:
            file.seek(start)
            while True:
                end = self._beyond(start)
                if end <= start:
                    return
                while start < end:
                    piece = file.read(min(_PIECE, end - start))
                    start += len(piece)
                    yield piece

    def _open(self) -> IO[bytes]:
        with self._changed:
            self._changed.wait_for(lambda: self._size or self._packed or self._error)
            if not self._packed and not self._error:
                try:
                    return self._path.open("rb")
                except FileNotFoundError:  # it is just getting its final name
                    self._changed.wait_for(lambda: self._packed or self._error)
            if self._error:
                raise self._error
            return self._path.open("rb")

    def _beyond(self, start: int) -> int:
        with self._changed:
            self._changed.wait_for(lambda: self._size > start or self._packed or self._error)
            if self._error:
                raise self._error
            return self._size
