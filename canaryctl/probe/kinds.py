"""How each kind of probe is run: by the module of its name, all of one shape, `run(probe, scope) -> Outcome`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from canaryctl.config.probes import KINDS
from canaryctl.probe.results import Outcome

RUN: dict[str, Callable[[Any, Any], Outcome]] = {kind: import_module(f"canaryctl.probe.{kind}").run for kind in KINDS}
