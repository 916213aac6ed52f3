"""Secrets: where each comes from, resolved once and kept in memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from canaryctl.errors import ConfigError


def resolve_secrets(names: Iterable[str], sources: Mapping[str, Any], where: str) -> dict[str, str]:
    """The value of every secret in `names`.

    Args:
        names: what the stack asks for.
        sources: the environment's `canary_secrets`: NAME to a plain (vaulted, templated) string, `{file: PATH}` or
            `{env: VARIABLE}`. A secret without an entry is read from the environment variable of its own name.
        where: the environment, for the error.

    Raises:
        ConfigError: lists all that are missing, together.
    """
    values: dict[str, str] = {}
    missing: list[str] = []
    for name in names:
        try:
            value = _resolve(sources.get(name, {"env": name}))
        except (LookupError, OSError, ValueError) as problem:
            missing.append(f"{name} ({problem})")
            continue
        if not value:
            missing.append(f"{name} (empty)")
        values[name] = value
    if missing:
        raise ConfigError(
            f"secrets are missing: {', '.join(missing)}",
            where,
            "give each one under canary_secrets (a vaulted string, {file: PATH} or {env: NAME}) or in the environment",
        )
    return values


def _resolve(source: Any) -> str:
    if isinstance(source, Mapping):
        if set(source) == {"env"}:
            variable = str(source["env"])
            if variable not in os.environ:
                raise LookupError(f"environment variable {variable} is not set")
            return os.environ[variable]
        if set(source) == {"file"}:
            path = Path(str(source["file"])).expanduser()
            if not path.is_file():
                raise LookupError(f"no file {path}")
            return path.read_text(encoding="utf-8").rstrip("\n")
        raise ValueError(f"unknown source {sorted(source)}; one of file, env")
    return str(source)


def env_file(values: Mapping[str, str]) -> str:
    """An env file that docker compose reads back to exactly these values.

    Double quotes everywhere, with the escapes compose's dotenv parser undoes.
    """
    lines = []
    for name in sorted(values):
        text = values[name]
        for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("$", "\\$"), ("\n", "\\n"), ("\r", "\\r")):
            text = text.replace(plain, escaped)
        lines.append(f'{name}="{text}"\n')
    return "".join(lines)
