"""A host's last change of what it serves, as its keeper notes it: see agent/read/change.py. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from canaryctl.agent.read.change import GOING_BACK, OPEN, away_words
from canaryctl.facts.names import release_directory
from canaryctl.facts.typed import LATEST, Unbelievable, longest, one, printable

OVERDUE = 60.0  # seconds: its host is about to go back, or what came between is longer than usual


@dataclass(frozen=True)
class Serving:
    """A release (the name of its directory) as a compose project."""

    release: str = ""
    project: str = ""


@dataclass(frozen=True)
class ChangeFacts:
    """A change; times are epochs by the host's clock.

    Attributes:
        run: the run that made it.
        who: its operator.
        to: what it brings.
        back: what the host goes back to unless it is confirmed; None for nothing, and `why`.
        confirm: seconds after `begun` within which it has to be confirmed; None where nobody is to.
        phase: begun, started, failed, confirmed, returning, returned or stranded.
        result: why it failed, or did not come back.
        away: seconds that services were away meanwhile, None for one that has not come back.
        replaced: of those that served before and serve now.
    """

    id: str = ""
    run: str = ""
    who: str = ""
    environment: str = ""
    to: Serving = field(default_factory=Serving)
    back: Serving | None = None
    why: str = ""
    confirm: float | None = None
    phase: str = ""
    begun: float = 0
    started: float | None = None
    returning: float | None = None
    ended: float | None = None
    result: str = field(default="", metadata=longest(4000))
    away: dict[str, float | None] = field(default_factory=dict)
    replaced: dict[str, float] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether the host will go back by itself unless it is confirmed."""
        return self.confirm is not None and self.phase in OPEN

    @property
    def went_back(self) -> bool:
        """Whether its operator was not heard of in time."""
        return self.phase in GOING_BACK

    def words(self, at: float) -> str:
        """What is to be said of it at a time by the host's clock, after its name; nothing of one that is confirmed."""
        run = f"the change of run {printable(self.run)}" if self.run else "the last change"
        back = f"back to {self.back.release[:12]}" if self.back else "back to nothing"
        if self.is_open:
            due = min(self.begun + (self.confirm or 0), LATEST)
            until = datetime.fromtimestamp(int(due), UTC).isoformat().replace("+00:00", "Z")
            if at > due + OVERDUE:
                why = "another run has the lock, or what does it no longer runs there; the next deploy settles it"
                return f"{run} is not confirmed, and the host has not gone {back} at {until}: {why}"
            return f"{run} is not confirmed; unless it is, the host goes {back} at {until}"
        if self.phase == "returning":
            return f"{run} was not confirmed; the host is going {back} now"
        away = f"; out of service meanwhile: {printable(away_words(self.away), 500)}" if self.away else ""
        if self.phase == "returned":
            return f"{run} was not confirmed; the host went {back} by itself: {printable(self.result, 500)}{away}"
        if self.phase == "stranded":
            why = printable(self.result or self.why, 500)
            return f"{run} was not confirmed, and the host could not go back: {why}{away}"
        return ""


def parse_change(document: Any) -> ChangeFacts | None:
    """What change.json says; None where it says nothing that can be believed."""
    try:
        change = one(ChangeFacts, document, "change") if document else None
    except Unbelievable:
        return None
    known = change and all(release_directory(end.release) for end in (change.to, change.back) if end)
    return change if known else None
