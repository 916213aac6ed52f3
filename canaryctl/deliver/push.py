"""Images to one host: only the layers it lacks, from where an earlier try stopped, verified, and only then tagged.

The other half of the conversation is observe/agent/receive.py, which says how they talk.
"""

from __future__ import annotations

import base64
import json
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from canaryctl.config.environment import Host
from canaryctl.deliver.layers import Layers, Packed
from canaryctl.errors import ApplyError, HostError
from canaryctl.observe import Connection, HostFacts
from canaryctl.observe.ask import call
from canaryctl.plan.release import ImageFact, content_tag

PIECE = 1 << 18
_ZSTD_SINCE = 23  # the first Docker that takes layers compressed with zstd (release notes of 23.0)
_PATIENCE = 3600.0  # seconds for a host to unpack

# Called with bytes sent so far, bytes to send, and bytes that need not be sent again.
Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class Delivery:
    """What one host was sent: bytes that crossed the wire (before SSH), and those an earlier try had sent already."""

    images: tuple[str, ...] = ()
    bytes: int = 0
    resumed: int = 0
    layers: tuple[str, ...] = ()
    way: str = "layers"


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


class _Talk:
    """One conversation with a host's agent. What it says is read by one thread, what we say written by another."""

    def __init__(self, layers: Layers, config: dict[str, Any], limiter: Limiter, progress: Progress) -> None:
        self._layers, self._config = layers, config
        self._limiter, self._progress = limiter, progress
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._rest = b""
        self.missing: list[str] = []
        self.sent = self.resumed = 0
        self.result: dict[str, Any] = {}

    def hear(self, data: bytes) -> None:
        """Take what the agent wrote. Lines that are no JSON come from a login shell."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"{"):
                self._answers.put(json.loads(line))

    def silence(self) -> None:
        """Nothing more will be heard."""
        self._answers.put(None)

    def _answer(self) -> dict[str, Any]:
        answer = self._answers.get(timeout=_PATIENCE)
        if answer is None or answer.get("error"):
            self.result = answer or {"error": "the agent ended early"}
            raise _Ended
        return answer

    def speak(self, prelude: bytes) -> Iterator[bytes]:
        """Everything we say, in the order of saying it."""
        yield prelude
        try:
            opening = self._answer()
            self.missing = opening["missing"]
            if not self._config["ask"]:
                yield from self._send(opening["staged"])
                yield _line({"load": True})
                self.result = self._answer()
        except _Ended:
            return

    def _send(self, staged: dict[str, list[Any]]) -> Iterator[bytes]:
        work = {layer: self._layers.ask(layer, self._config["form"]) for layer in self.missing}
        total = 0
        for layer, future in work.items():
            packed = future.result()
            total += packed.size
            start = _resumable(packed, *staged.get(layer, [0, ""]))
            self.resumed += start
            yield from self._layer(layer, packed, start, total)
            yield _line({"layer": layer, "total": packed.size, "sha256": packed.sha256})
            if not self._answer()["ok"]:
                self.result = {"error": f"layer {layer} did not arrive as it was sent; the host threw it away"}
                raise _Ended

    def _layer(self, layer: str, packed: Packed, start: int, total: int) -> Iterator[bytes]:
        yield _line({"layer": layer, "offset": start, "size": packed.size - start})
        with packed.path.open("rb") as file:
            file.seek(start)
            while piece := file.read(PIECE):
                self._limiter.wait(len(piece))
                yield piece
                self.sent += len(piece)
                self._progress(self.sent, total - self.resumed, self.resumed)


class _Ended(Exception):  # noqa: N818  the other side said its last word
    pass


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode() + b"\n"


def _resumable(packed: Packed, size: int, sha256: str) -> int:
    """How many bytes of the layer need not be sent: those there, if they are the beginning of what we would send."""
    if not 0 < size <= packed.size:
        return 0
    import hashlib

    total = hashlib.sha256()
    with packed.path.open("rb") as file:
        left = size
        while left and (piece := file.read(min(left, 1 << 20))):
            total.update(piece)
            left -= len(piece)
    return size if total.hexdigest() == sha256 else 0


def missing_bytes(
    connection: Connection, host: Host, facts: HostFacts, stack: str, images: Sequence[ImageFact], layers: Layers
) -> dict[str, int]:
    """Layers that a push would send, each with its compressed bytes. Changes nothing but an empty folder."""
    talk = _converse(connection, host, _config(facts, host, stack, images, layers, ask=True), layers)
    return {layer: layers.ask(layer, _form(facts)).result().size for layer in talk.missing}


def push_images(
    connection: Connection,
    host: Host,
    facts: HostFacts,
    stack: str,
    images: Sequence[ImageFact],
    layers: Layers,
    *,
    limiter: Limiter,
    progress: Progress,
) -> Delivery:
    """Bring `images` to a host so that each carries its content-addressed tag and is exactly what is here.

    Raises:
        ApplyError: the host refused an image, or what arrived is not what was sent.
        HostError: the connection was lost; what arrived waits on the host for the next push.
    """
    config = _config(facts, host, stack, images, layers, whole=bool(facts.docker and facts.docker.containerd_store))
    talk = _converse(connection, host, config, layers, limiter, progress)
    way = "layers"
    if talk.result.get("error") and not config["whole"] and _wants_all(talk.result["error"]):
        # This daemon wants every layer in the archive, those it has as well.
        talk = _converse(connection, host, {**config, "whole": True}, layers, limiter, progress)
        way = "whole archive"
    faults = {image: fault for image, fault in talk.result.get("images", {}).items() if fault}
    problem = talk.result.get("error") or "; ".join(f"{image}: {fault}" for image, fault in faults.items())
    if problem or not talk.result:
        raise ApplyError(
            f"Docker there did not take the images: {problem or 'no answer'}",
            hint="what arrived is not tagged and will not be used; mend the host, then push again",
            stage="push",
            host=host.name,
        )
    return Delivery(tuple(i.name for i in images), talk.sent, talk.resumed, tuple(talk.missing), way)


def _wants_all(error: str) -> bool:
    return "no such file" in error.lower() or "not found" in error.lower()


def _converse(
    connection: Connection,
    host: Host,
    config: dict[str, Any],
    layers: Layers,
    limiter: Limiter | None = None,
    progress: Progress = lambda *_: None,
) -> _Talk:
    talk = _Talk(layers, config, limiter or Limiter(), progress)
    command, prelude = call(host, "receive", config, talk=True)

    def hear(data: bytes) -> None:
        talk.hear(data)

    try:
        done = connection.execute(command, talk.speak(prelude), hear, timeout=None)
    finally:
        talk.silence()
    if done.code != 0 and not talk.result and not talk.missing:
        raise HostError(
            f"the receiving program failed there (exit {done.code}): {done.complaint[-300:]}",
            host.name,
            "Python 3.7 or later and room in canary_root are needed",
        )
    if talk.result.get("error") and config["ask"]:
        raise ApplyError(talk.result["error"], stage="push", host=host.name)
    return talk


def _form(facts: HostFacts) -> str:
    """The compression that the host's Docker takes."""
    major = (facts.docker.version if facts.docker else "").split(".")[0]
    return "zst" if major.isdigit() and int(major) >= _ZSTD_SINCE else "gz"


def _config(
    facts: HostFacts,
    host: Host,
    stack: str,
    images: Sequence[ImageFact],
    layers: Layers,
    *,
    ask: bool = False,
    whole: bool = False,
) -> dict[str, Any]:
    return {
        "root": host.root,
        "docker_root": facts.docker.root if facts.docker else "/",
        "form": _form(facts),
        "ask": ask,
        "whole": whole,
        "images": [
            {
                "id": image.id,
                "tag": content_tag(stack, image),
                "config": "" if ask else base64.b64encode(layers.config(image)).decode(),
                "layers": list(image.layers),
            }
            for image in images
        ],
    }
