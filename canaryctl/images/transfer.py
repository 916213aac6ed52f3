"""The conversation with a host's agent; agent/write/receive.py is the other half and says how they talk."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from canaryctl.errors import ApplyError
from canaryctl.images.answers import Lines, Opening, faults, holder, opening, text_of, unbelievable
from canaryctl.images.layers import Layers
from canaryctl.images.streams import LayerStream

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


class Transfer:
    """What the agent says is read by one thread (`hear`), what we say is written by another (`speak`)."""

    def __init__(
        self, host: str, layers: Layers, order: Mapping[str, Any], limiter: Limiter, progress: Progress
    ) -> None:
        self._host, self._layers, self._order = host, layers, order
        self._limiter, self._progress = limiter, progress
        self._streams: dict[str, LayerStream] = {}
        self._images = {layer: i["name"] for i in reversed(order["images"]) for layer in i["layers"]}
        self._lines = Lines(host, most=len(self._images) + 2)  # an opening, one a layer, a last word
        self._answers: queue.Queue[Mapping[str, Any] | None] = queue.Queue()
        self._opening = Opening((), {}, {})
        self.sent = self.resumed = 0
        self.loaded: dict[str, str] | None = None
        self.error = ""
        self.wants_whole = False  # Docker there takes no archive without the layers that it has
        self.lost: list[dict[str, Any] | None] = []  # who holds the lock that this run has lost

    @property
    def missing(self) -> tuple[str, ...]:
        """Layers that the host lacks."""
        return self._opening.missing

    @property
    def staged(self) -> Mapping[str, tuple[int, str]]:
        """Bytes and sha256 of what it has of them."""
        return self._opening.staged

    @property
    def skipped(self) -> int:
        """How many layers the host has."""
        return len(self._images) - len(self.missing)

    def hear(self, data: bytes) -> None:
        """Take what the agent wrote.

        Raises:
            HostError: it is nothing that our agent would say.
        """
        for answer in self._lines.hear(data):
            self._note(answer)

    def _note(self, answer: Mapping[str, Any]) -> None:
        # Here rather than in `speak`, whose thread may not have come so far when the conversation is over.
        self.error = text_of(self._host, answer, "error") or self.error
        self.wants_whole = answer.get("whole") is True
        if "lost" in answer:
            self.lost = [holder(self._host, answer)]
        if "images" in answer:
            self.loaded = faults(self._host, answer, [image["id"] for image in self._order["images"]])
        if "missing" in answer:
            self._opening = opening(self._host, answer, self._images)
        self._answers.put(answer)

    def silence(self) -> None:
        """Nothing more will be heard."""
        self._answers.put(None)

    def _answer(self, key: str) -> Mapping[str, Any]:
        """The next answer, which has to hold `key`."""
        answer = self._answers.get()  # comes, or nothing more is heard: see push.py
        if answer is None or self.error:
            raise _Over
        if key not in answer:
            unbelievable(self._host, f"no {key!r} where it is due")
        return answer

    def speak(self, prelude: bytes) -> Iterator[bytes]:
        """Everything we say, in the order of saying it.

        Raises:
            ApplyError: no room there, or a layer arrived damaged.
            HostError: an answer is not the one that is due.
        """
        yield prelude
        try:
            self._answer("missing")
            if self._order["ask"]:
                return
            self._streams = {layer: self._layers.ask(layer, self._order["form"]) for layer in self.missing}
            self._require_room(self._opening.disks)
            for layer, stream in self._streams.items():
                yield from self._layer(layer, stream)
            for _ in self._streams:
                self._check(self._answer("ok"))
            if self._streams:
                self._report(layer, arrived=True)
            yield _line({"load": True})
            self._answer("images")  # our end stays open until the other has said its last word
        except _Over:
            return

    def _require_room(self, disks: Mapping[str, tuple[int, int]]) -> None:
        """Refuse before any byte is sent what would fill the host's disk.

        Docker's folder holds each layer twice while it loads: packed, and unpacked beside it.
        """
        *_, store = disks  # where Docker keeps images, named last
        if lack(disks, store, self._streams.values(), self._staged_bytes()):
            for stream in self._streams.values():
                stream.wait()  # tight: guesses will not do
        if lacking := lack(disks, store, self._streams.values(), self._staged_bytes()):
            hint = "free space there (docker system df shows what Docker holds), then run this again"
            raise ApplyError(lacking, hint=hint, stage="push", host=self._host)

    def _staged_bytes(self) -> int:
        return sum(size for size, _ in self.staged.values())

    def _layer(self, layer: str, stream: LayerStream) -> Iterator[bytes]:
        size, sha256 = self.staged[layer]
        at = size if stream.begins_with(size, sha256) else 0
        self.resumed += at
        yield _line({"layer": layer, "offset": at, "size": 0})  # nothing may lie behind
        for piece in stream.pieces(at):
            self._limiter.wait(len(piece))
            yield _line({"layer": layer, "offset": at, "size": len(piece)}) + piece
            at += len(piece)
            self.sent += len(piece)
            self._report(layer)
        packed = stream.wait()
        yield _line({"layer": layer, "total": packed.size, "sha256": packed.sha256})

    def _check(self, answer: Mapping[str, Any]) -> None:
        layer = answer.get("layer")
        if not isinstance(layer, str) or layer not in self._streams:
            unbelievable(self._host, "an answer about a layer that was not sent")
        if answer["ok"] is not True:
            self._layers.forget(layer, self._order["form"])  # ours may be what is damaged, after a power loss say
            raise ApplyError(
                f"layer {layer} of image {self._images[layer]} was damaged on its way, and thrown away here and there",
                hint="push again; if it happens again, look for a failing disk or memory on either side",
                stage="push",
                host=self._host,
            )

    def _report(self, layer: str, *, arrived: bool = False) -> None:
        total = sum(stream.expected for stream in self._streams.values()) - self.resumed
        image = self._images[layer]
        self._progress(Sending(image, layer, self.sent, max(total, self.sent), self.resumed, self.skipped, arrived))


def lack(disks: Mapping[str, tuple[int, int]], docker_root: str, streams: Collection[LayerStream], staged: int) -> str:
    """In words, the room that is missing on a host; '' where there is enough.

    Args:
        disks: path to [bytes free, number of its file system]: the staging folder's and Docker's.
        streams: the layers to come.
        staged: packed bytes that are there already.
    """
    packed, plain = sum(s.expected for s in streams), sum(s.plain for s in streams)
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
