"""What a service is told through its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

WORKER_TYPES = ("backtesting", "training")


class SettingsError(Exception):
    """A variable is missing or wrong; the message names it."""


@dataclass(frozen=True)
class Settings:
    """One service's configuration. Secrets stay out of its repr. The worker_* fields mean nothing to the backend."""

    service: str
    db_host: str
    db_port: int
    db_password: str = field(repr=False)
    jwt_secret: str = field(repr=False)
    worker_type: str
    worker_port: int
    worker_url: str
    worker_gpu: bool
    backend_url: str
    strategies: Path = Path("strategies")
    prices: Path = Path("data")
    checkpoints: Path = Path("/var/lib/ktrdr")

    @classmethod
    def from_environment(cls, env: Mapping[str, str] = os.environ) -> Settings:
        """Read the variables; raises SettingsError for what the named service cannot do without."""
        service = env.get("KTRDR_SERVICE", "backend")
        if service not in ("backend", "worker"):
            raise SettingsError(f"KTRDR_SERVICE is {service!r}; it must be backend or worker")
        needed = ["DB_HOST", "DB_PASSWORD", "JWT_SECRET"]
        if service == "worker":
            needed += ["WORKER_TYPE", "WORKER_PORT", "WORKER_PUBLIC_URL", "BACKEND_URL"]
        missing = [name for name in needed if not env.get(name)]
        if missing:
            raise SettingsError(f"{', '.join(missing)} must be set")
        if service == "worker" and env["WORKER_TYPE"] not in WORKER_TYPES:
            raise SettingsError(f"WORKER_TYPE is {env['WORKER_TYPE']!r}; it must be one of {', '.join(WORKER_TYPES)}")
        return cls(
            service=service,
            db_host=env["DB_HOST"],
            db_port=_port(env, "DB_PORT", 5432),
            db_password=env["DB_PASSWORD"],
            jwt_secret=env["JWT_SECRET"],
            worker_type=env.get("WORKER_TYPE", ""),
            worker_port=_port(env, "WORKER_PORT", 0),
            worker_url=env.get("WORKER_PUBLIC_URL", "").rstrip("/"),
            worker_gpu=env.get("WORKER_GPU") == "true",
            backend_url=env.get("BACKEND_URL", "").rstrip("/"),
        )


def _port(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name) or str(default)
    if not text.isdecimal() or int(text) > 65535:
        raise SettingsError(f"{name} is {text!r}; it must be a port number")
    return int(text)
