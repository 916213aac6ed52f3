"""What one host of an environment should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from canaryctl.config.stack import Mount
from canaryctl.plan.rendering import Rendering


@dataclass(frozen=True)
class Target:
    """A host's rendering and the keyed digest of its secrets file.

    `secrets` is HMAC-SHA256 (hex) of the wanted secrets file under the observation's nonce, or None for no secrets;
    `secret_macs` are the same of its lines by name.
    `mounts` are those that must be there before anything that uses them runs. `root` is the folder of everything of
    ours there.
    """

    rendering: Rendering
    project: str
    secrets: str | None
    mounts: tuple[Mount, ...] = ()
    secret_macs: Mapping[str, str] = field(default_factory=dict)
    root: str = ""
