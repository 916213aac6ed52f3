"""What hosts' programs say while they take or pull images: JSON, one object a line, believed only in its right form."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from canaryctl.errors import HostError
from canaryctl.facts.jsontext import parse_json

_LONGEST = 4 << 20  # bytes of a line; the longest there is names each layer once, in about 200 bytes
_LONGEST_TEXT = 2000  # characters of a reason


@dataclass
class Lines:
    """The objects in what a host's program writes. Lines that begin otherwise come from a login shell."""

    host: str
    most: int | None = None  # objects; None for any number
    _count: int = 0
    _rest: bytearray = field(default_factory=bytearray)

    def hear(self, data: bytes) -> list[dict[str, Any]]:
        """Those that are whole by now.

        Raises:
            HostError: a line is too long or no JSON, or there are too many.
        """
        if b"\n" not in data:
            self._rest += data
            self._require_short(self._rest)
            return []
        *lines, rest = (bytes(self._rest) + data).split(b"\n")
        self._rest = bytearray(rest)
        found = []
        for line in [*lines, rest]:
            self._require_short(line)
        for line in lines:
            if line.startswith(b"{"):
                self._count += 1
                if self.most is not None and self._count > self.most:
                    unbelievable(self.host, f"more than {self.most} answers")
                found.append(self._parsed(line))
        return found

    def _require_short(self, line: bytes | bytearray) -> None:
        if len(line) > _LONGEST:
            unbelievable(self.host, f"a line of more than {_LONGEST >> 20} MB")

    def _parsed(self, line: bytes) -> dict[str, Any]:
        try:
            found: dict[str, Any] = parse_json(line)
        except ValueError:
            unbelievable(self.host, "a line that is no JSON")
        return found


@dataclass(frozen=True)
class Opening:
    """What a host that is to be sent layers says first.

    `missing` are layers of those that were offered. `staged` are bytes and sha256 of what an earlier try left of them.
    `disks` are bytes free and the number of the file system by path, Docker's last.
    """

    missing: tuple[str, ...]
    staged: Mapping[str, tuple[int, str]]
    disks: Mapping[str, tuple[int, int]]


def opening(host: str, answer: Mapping[str, Any], offered: Collection[str]) -> Opening:
    """Check a host's first answer.

    Raises:
        HostError: it asks for layers that it was not offered, or is malformed.
    """
    missing, staged, disks = (answer.get(key) for key in ("missing", "staged", "disks"))
    if not isinstance(missing, list) or not all(isinstance(layer, str) for layer in missing):
        unbelievable(host, "no list of the layers that it lacks")
    if foreign := [layer for layer in missing if layer not in offered]:
        unbelievable(host, f"that it lacks {foreign[0][:80]!r}, which is no layer of these images")
    if len(set(missing)) != len(missing):
        unbelievable(host, "the same layer twice")
    if not isinstance(staged, dict) or not isinstance(disks, dict) or not disks:
        unbelievable(host, "nothing about its disks")
    if not all(layer in staged and _is_pair(staged[layer], str) for layer in missing):
        unbelievable(host, "nothing about what it has of the layers")
    if not all(_is_pair(disk, int) for disk in disks.values()):
        unbelievable(host, "no sizes of its disks")
    return Opening(
        tuple(missing),
        {layer: (staged[layer][0], staged[layer][1]) for layer in missing},
        {path: (free, number) for path, (free, number) in disks.items()},
    )


def faults(
    host: str, answer: Mapping[str, Any], images: Collection[str], *, all_of_them: bool = True
) -> dict[str, str]:
    """What is wrong with each image, '' for nothing, by its identity.

    Raises:
        HostError: it says nothing about one of them, or something else than words.
    """
    found = answer.get("images")
    if not isinstance(found, dict) or not all(isinstance(fault, str) for fault in found.values()):
        unbelievable(host, "no list of the images' faults")
    if all_of_them and (silent := [image for image in images if image not in found]):
        unbelievable(host, f"nothing about image {silent[0][:19]}")
    return {image: str(found[image])[:_LONGEST_TEXT] for image in images if image in found}


def text_of(host: str, answer: Mapping[str, Any], key: str) -> str:
    """A text of an answer, '' where it has none. Raises HostError where it is none."""
    text = answer.get(key)
    if text is not None and not isinstance(text, str):
        unbelievable(host, f"{key} that is no text")
    return (text or "")[:_LONGEST_TEXT]


def counts(host: str, answer: Mapping[str, Any], *keys: str) -> tuple[int, ...]:
    """Numbers of an answer, none negative. Raises HostError where one is none."""
    if not all(_is_count(answer.get(key)) for key in keys):
        unbelievable(host, f"{' and '.join(keys)} that are no numbers")
    return tuple(answer[key] for key in keys)


def holder(host: str, answer: Mapping[str, Any]) -> dict[str, Any] | None:
    """Who holds the lock that a run has lost, as far as the host says. Raises HostError where it says nonsense."""
    found = answer.get("lost")
    if found is not None and not isinstance(found, dict):
        unbelievable(host, "no holder of its lock")
    return found


def unbelievable(host: str, what: str) -> NoReturn:
    """Refuse what a host's program said."""
    raise HostError(
        f"what the program there says cannot be believed: it gave {what}",
        host,
        "look for a shell profile that replaces commands; do not trust this host until that is explained",
        reason="agent",
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _is_pair(value: Any, second: type) -> bool:
    """[count, count or text]."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and _is_count(value[0])
        and (_is_count(value[1]) if second is int else isinstance(value[1], second))
    )
