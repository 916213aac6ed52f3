"""Words and forms that a terminal shares with reports and files; quick to import, as every command needs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from canaryctl.audit.severity import Severity
from canaryctl.evidence.files import UNSEEN, json_text
from canaryctl.evidence.words import flaky_words, human_size

__all__ = ["UNSEEN", "Severity", "flaky_words", "human_size", "json_text", "promotion_lines"]


def promotion_lines(promotion: Mapping[str, Any]) -> list[str]:
    """A promotion as people read it."""
    from canaryctl.plan.promotion import lines_of

    return lines_of(promotion)
