"""Where images of a stack are brought to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from canaryctl.hosts import Connection


@dataclass(frozen=True)
class Destination:
    """A host, the stack whose images it gets, and the locks (`path` and `owner`) that the run must still hold there."""

    connection: Connection
    stack: str
    locks: Sequence[Mapping[str, str]] = ()
