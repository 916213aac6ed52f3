"""How bad a finding is. By itself, so that the command line loads nothing more for its help."""

from __future__ import annotations

from enum import StrEnum


class Severity(StrEnum):
    """Mildest first."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for the mildest."""
        return list(Severity).index(self)
