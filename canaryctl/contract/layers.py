"""What an image's layers are and what made them, from `docker history`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from canaryctl.contract.credentials import redacted
from canaryctl.contract.running import Place
from canaryctl.facts.jsontext import parse_json

_SHOWN = 160  # characters of a build step


@dataclass(frozen=True)
class Step:
    """One step of an image's build. `size` in bytes; `created_by` as Docker has it, secrets included."""

    size: int
    created_by: str


def read_history(place: Place, image: str) -> list[Step]:
    """An image's build steps, the base first. Empty where Docker does not say.

    Raises:
        HostError: the host was lost.
    """
    asked = place.docker("history", "--no-trunc", "--human=false", "--format", "{{json .}}", image)
    done = place.connection.run(f"{asked} 2>/dev/null", timeout=60)
    return parse_history(done.text) if done.ok else []


def parse_history(text: str) -> list[Step]:
    """What `docker history` printed, a JSON object a line, the newest first."""
    return [step for line in reversed(text.split("\n")) if line.startswith("{") for step in _steps(line)]


def _steps(line: str) -> list[Step]:
    try:
        found = parse_json(line)
    except ValueError:
        return []
    return [Step(_bytes(found.get("Size")), str(found.get("CreatedBy") or ""))]


def _bytes(size: Any) -> int:
    text = str(size or "0")
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else 0


def picture(steps: Sequence[Step], secrets: Sequence[str]) -> list[dict[str, Any]]:
    """The layers that hold something, the base first, as run.json has them: `size` (bytes) and `created_by`, cut."""
    return [{"size": step.size, "created_by": shown_step(step.created_by, secrets)} for step in steps if step.size > 0]


def read_layers(place: Place, image: str, secrets: Sequence[str]) -> list[dict[str, Any]]:
    """`picture` of an image."""
    return picture(read_history(place, image), secrets)


def shown_step(created_by: str, secrets: Sequence[str]) -> str:
    """A build step as people wrote it: without the builder's prefixes, on one line, cut, without secrets."""
    text = " ".join(redacted(created_by, secrets).split())
    text = re.sub(r"^/bin/sh -c #\(nop\) ", "", text)
    text = re.sub(r"^(?:RUN )?(?:\|\d+ .*?)?/bin/sh -c ", "RUN ", text)
    text = re.sub(r"# buildkit$", "", text).strip() or "base image"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def biggest(layers: Sequence[dict[str, Any]], count: int = 5) -> list[dict[str, Any]]:
    """The biggest layers, the biggest first."""
    return sorted(layers, key=lambda layer: -int(layer["size"]))[:count]
