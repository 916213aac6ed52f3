"""The conversation with a host's agent; observe/agent/receive.py is the other half and says how they talk."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from canaryctl.deliver.layers import Layers
from canaryctl.deliver.packing import Packing
from canaryctl.errors import ApplyError

_PATIENCE = 3600.0  # seconds for a host to unpack
_SPARE = 64 << 20  # bytes that Docker needs beside the layers


@dataclass(frozen=True)
class Sending:
    """How far a host's transfer is, in packed bytes. `total` is a guess until every layer is packed.

    `resumed` came with an earlier try; `skipped` counts layers that the host had. `arrived` when all is there, and
    Docker's part begins.
    """

    image: str
    layer: str
    bytes: int
    total: int
    resumed: int
    skipped: int
    arrived: bool = False


Progress = Callable[[Sending], None]


@dataclass
class Limiter:
    """At most `rate` bytes a second; None for as fast as it goes."""

    rate: float | None = None
    _began: float = field(default_factory=time.monotonic)
    _sent: int = 0

    def wait(self, count: int) -> None:
        """Account for `count` bytes and sleep as long as they are too early."""
        if self.rate:
            self._sent += count
            time.sleep(max(self._began + self._sent / self.rate - time.monotonic(), 0))


class _Over(Exception):  # noqa: N818  the other side said its last word
    pass


class Talk:
    """What the agent says is read by one thread (`hear`), what we say is written by another (`speak`)."""

    def __init__(self, layers: Layers, order: Mapping[str, Any], limiter: Limiter, progress: Progress) -> None:
        self._layers, self._order = layers, order
        self._limiter, self._progress = limiter, progress
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._rest = b""
        self._work: dict[str, Packing] = {}
        self._images = {layer: i["name"] for i in reversed(order["images"]) for layer in i["layers"]}
        self.missing: list[str] = []
        self.staged: Mapping[str, tuple[int, str]] = {}
        self.sent = self.resumed = 0
        self.loaded: dict[str, str] | None = None
        self.error = ""
        self.lost: list[dict[str, Any] | None] = []  # who holds the lock that this run has lost

    @property
    def skipped(self) -> int:
        """How many layers the host has."""
        return len(self._images) - len(self.missing)

    def hear(self, data: bytes) -> None:
        """Take what the agent wrote. Lines that are no JSON come from a login shell."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"{"):
                self._note(json.loads(line))

    def _note(self, answer: dict[str, Any]) -> None:
        # Here rather than in `speak`, whose thread may not have come so far when the conversation is over.
        self.error = answer.get("error") or self.error
        self.loaded = answer.get("images", self.loaded)
        self.lost = [answer["lost"]] if "lost" in answer else self.lost
        if "missing" in answer:
            self.missing, self.staged = answer["missing"], answer["staged"]
        self._answers.put(answer)

    def silence(self) -> None:
        """Nothing more will be heard."""
        self._answers.put(None)

    def _answer(self) -> dict[str, Any]:
        answer = self._answers.get(timeout=_PATIENCE)
        if answer is None or answer.get("error"):
            raise _Over
        return answer

    def speak(self, prelude: bytes) -> Iterator[bytes]:
        """Everything we say, in the order of saying it.

        Raises:
            ApplyError: no room there, or a layer arrived damaged.
        """
        yield prelude
        try:
            opening = self._answer()
            if self._order["ask"]:
                return
            self._work = {layer: self._layers.ask(layer, self._order["form"]) for layer in self.missing}
            self._demand_room(opening["disks"])
            for layer, packing in self._work.items():
                yield from self._layer(layer, packing)
            for _ in self._work:
                self._check(self._answer())
            if self._work:
                self._tell(layer, arrived=True)
            yield _line({"load": True})
            self._answer()  # our end stays open until the other has said its last word
        except _Over:
            return

    def _demand_room(self, disks: Mapping[str, tuple[int, int]]) -> None:
        """Refuse before any byte is sent what would fill the host's disk.

        Docker's folder holds each layer twice while it loads: packed, and unpacked beside it.
        """
        *_, store = disks  # where Docker keeps images, named last
        if lack(disks, store, self._work.values(), self._there()):
            for packing in self._work.values():
                packing.wait()  # tight: guesses will not do
        if words := lack(disks, store, self._work.values(), self._there()):
            hint = "free space there (docker system df shows what Docker holds), then run this again"
            raise ApplyError(words, hint=hint, stage="push")

    def _there(self) -> int:
        return sum(size for size, _ in self.staged.values())

    def _layer(self, layer: str, packing: Packing) -> Iterator[bytes]:
        size, sha256 = self.staged[layer]
        at = size if packing.begins_with(size, sha256) else 0
        self.resumed += at
        yield _line({"layer": layer, "offset": at, "size": 0})  # nothing may lie behind
        for piece in packing.pieces(at):
            self._limiter.wait(len(piece))
            yield _line({"layer": layer, "offset": at, "size": len(piece)}) + piece
            at += len(piece)
            self.sent += len(piece)
            self._tell(layer)
        packed = packing.wait()
        yield _line({"layer": layer, "total": packed.size, "sha256": packed.sha256})

    def _check(self, answer: Mapping[str, Any]) -> None:
        if not answer["ok"]:
            layer = answer["layer"]
            raise ApplyError(
                f"layer {layer} of image {self._images[layer]} was damaged on its way there, and thrown away",
                hint="push again; if it happens again, look for a failing disk or memory on either side",
                stage="push",
            )

    def _tell(self, layer: str, *, arrived: bool = False) -> None:
        total = sum(packing.expected for packing in self._work.values()) - self.resumed
        image = self._images[layer]
        self._progress(Sending(image, layer, self.sent, max(total, self.sent), self.resumed, self.skipped, arrived))


def lack(disks: Mapping[str, tuple[int, int]], docker_root: str, work: Any, staged: int) -> str:
    """In words, the room that is missing on a host; '' where there is enough.

    Args:
        disks: path to [bytes free, number of its file system]: the staging folder's and Docker's.
        work: the layers to come, as `Packing`.
        staged: packed bytes that are there already.
    """
    packed, plain = sum(p.expected for p in work), sum(p.plain for p in work)
    if not packed:
        return ""
    needs: dict[int, int] = {}
    for path, (_, number) in disks.items():
        more = packed + plain + _SPARE if path == docker_root else max(packed - staged, 0)
        needs[number] = needs.get(number, 0) + more
    for path, (free, number) in disks.items():
        if free < needs[number]:
            return (
                f"not enough room for the images: {needs[number] / 1e6:.0f} MB are needed in {path}, "
                f"{free / 1e6:.0f} MB are free"
            )
    return ""


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode() + b"\n"
