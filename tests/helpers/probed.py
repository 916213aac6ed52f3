"""One probe on one host, without a set of probes around it."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

from canaryctl.probe.context import ProbeContext
from canaryctl.probe.scope import Scope


def scope_on(connection: Any, seconds: float = 20, names: dict[str, Any] | None = None, **context: Any) -> Scope:
    """The scope of a probe on host `h1`, which `connection` reaches; `context` is of the ProbeContext."""
    pool = SimpleNamespace(get=lambda name: connection)
    known = {"scrub": lambda text: text.replace("s3cret", "[secret]"), "project": "shop-prod", **context}
    deadline = time.monotonic() + seconds
    return Scope(ProbeContext("prod", {"stack": "shop"}, pool, **known), "h1", names or {}, deadline, threading.Event())
