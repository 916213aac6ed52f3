"""Questions to the operator: asked on a terminal, and a no where nobody can answer."""

from __future__ import annotations

import sys

import typer

from canaryctl.errors import ConfigError


def agreed(question: str) -> bool:
    """Whether the operator says yes."""
    return _somebody_there() and typer.confirm(question, err=True)


def require_agreement(question: str, yes: bool, otherwise: str, *, err: bool = True) -> None:
    """Stop unless the operator says yes, or did with --yes.

    Args:
        otherwise: what was not done then, after a comma.
        err: whether the question goes to standard error.

    Raises:
        ConfigError: a no, or nobody to ask.
    """
    if yes:
        return
    if not (_somebody_there() if err else sys.stdin.isatty()):
        raise ConfigError(f"not confirmed, {otherwise}", "", "pass --yes, or run it on a terminal")
    if not typer.confirm(question, err=err):
        raise ConfigError(f"not confirmed, {otherwise}", "", "answer yes, or pass --yes")


def require_environment_name(environment: str, given: str | None) -> None:
    """Stop `down --volumes` unless the operator writes the environment's name, on a terminal or as --confirm-volumes.

    Raises:
        ConfigError: another name, or nobody to ask.
    """
    hint = f"on a terminal write the environment's name when asked, or pass --confirm-volumes {environment}"
    if given is None:
        if not _somebody_there():
            raise ConfigError("deleting data was not confirmed (--yes does not), nothing was changed", "", hint)
        given = typer.prompt(f"all data in the volumes of {environment} will be lost; write its name", err=True)
    if given != environment:
        raise ConfigError(f"'{given}' is not {environment}: nothing was changed", "--confirm-volumes", hint)


def _somebody_there() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()
