"""The probe kinds: one module each, all of one shape, `run(probe, scope) -> Outcome`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from canaryctl.probe import container, gpu, http, lifecycle, logs, registered, sql, tcp
from canaryctl.probe import exec as exec_
from canaryctl.probe.results import Outcome

RUN: dict[str, Callable[[Any, Any], Outcome]] = {
    "http": http.run,
    "tcp": tcp.run,
    "exec": exec_.run,
    "container": container.run,
    "logs": logs.run,
    "registered": registered.run,
    "lifecycle": lifecycle.run,
    "sql": sql.run,
    "gpu": gpu.run,
}
