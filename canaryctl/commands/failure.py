"""A command that left no run and failed, as its document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from canaryctl.config.scrub import without_secrets
from canaryctl.evidence.document import new_document

__all__ = ["failed_document", "without_secrets"]


def failed_document(error: Mapping[str, str], code: int) -> dict[str, Any]:
    """The document (as run.json) of a command that ended with an error: `what`, `where`, `hint`."""
    return new_document(verdict="error", exit_code=code, error=without_secrets(dict(error)))
