"""The second question of `down --volumes`."""

from __future__ import annotations

import sys

import typer

from canaryctl.errors import ConfigError


def require_confirmation(environment: str, given: str | None) -> None:
    """Stop unless the operator writes the environment's name, on a terminal or as --confirm-volumes.

    Raises:
        ConfigError: another name, or nobody to ask.
    """
    hint = f"on a terminal write the environment's name when asked, or pass --confirm-volumes {environment}"
    if given is None:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise ConfigError("deleting data was not confirmed (--yes does not), nothing was changed", "", hint)
        given = typer.prompt(f"all data in the volumes of {environment} will be lost; write its name", err=True)
    if given != environment:
        raise ConfigError(f"'{given}' is not {environment}: nothing was changed", "--confirm-volumes", hint)
