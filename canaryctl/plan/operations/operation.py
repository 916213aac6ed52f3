"""One thing that a stage does on one host: what is shown, agreed with, recorded and done is the same value."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Operation:
    """What is done on `host`, and why. A kind of it adds what its stage has to know to do it."""

    kind: ClassVar[str]
    stage: ClassVar[str]

    host: str
    reason: str

    @property
    def what(self) -> str:
        """What it does, in words."""
        raise NotImplementedError

    @property
    def data(self) -> dict[str, Any]:
        """What it is besides host and reason, as JSON has it."""
        known: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return {key: value for key, value in known.items() if key not in ("host", "reason")}

    def as_dict(self) -> dict[str, Any]:
        """As in plan.json and run.json: for people, and under `operation` for programs."""
        return {
            "host": self.host,
            "stage": self.stage,
            "what": self.what,
            "reason": self.reason,
            "operation": {"kind": self.kind, **self.data},
        }
