"""What the command line makes of options: a request, and the values that people write as text."""

from __future__ import annotations

from canaryctl.config.durations import parse_duration
from canaryctl.config.project import load_project
from canaryctl.config.sizes import parse_size
from canaryctl.plan.deployment import Request

__all__ = ["Request", "load_project", "parse_duration", "parse_size"]
