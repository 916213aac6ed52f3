"""Template names that only some probes see: `tag` in lifecycles, `secrets` wherever one is referred to."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from canaryctl.config.probes import Probe
from canaryctl.config.probes.lifecycle import Lifecycle
from canaryctl.probe.context import ProbeContext

TAG, SECRETS = "tag", "secrets"


def own_names(probe: Probe, context: ProbeContext, host: str) -> dict[str, Any]:
    """The names a probe sees besides those of its host and its own `vars`."""
    names: dict[str, Any] = {SECRETS: dict(context.secrets)}
    if isinstance(probe, Lifecycle):
        names[TAG] = f"{tag_prefix(probe.name, context, host)}{run_mark(context.run)}-{secrets.token_hex(4)}"
    return names


def tag_prefix(probe: str, context: ProbeContext, host: str) -> str:
    """What the tags of a lifecycle begin with on one host, in every run.

    Hosts are told apart, or one host's operation would look left over to the others, which run at the same time.
    """
    parts = (str(context.variables.get("stack", "")), context.environment, probe, host)
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
    return f"canaryctl-{context.environment}-{digest}-"


def run_mark(run: str) -> str:
    """What stands for a run in its tags, after their prefix."""
    return hashlib.sha256(run.encode()).hexdigest()[:8]
