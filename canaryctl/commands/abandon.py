"""What any command does that is to end at once."""

from __future__ import annotations

from canaryctl.hosts import scratch


def abandon() -> None:
    """Kill all that this process started, and remove its private directories."""
    scratch.abandon()
