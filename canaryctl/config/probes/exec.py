"""Kind `exec`: a command in a service's container."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from canaryctl.config.probes.parts import JmesPath, JmesPaths, Model, Retried, Text


class ExecExpect(Model):
    """What a command must do: its exit code, its standard output as text, or as JSON."""

    exit: int = 0
    stdout: Text | None = None
    jmespath: JmesPaths = ()


class Exec(Retried):
    """A command in the service's running container: a string for its shell, or a list of arguments."""

    on_service: ClassVar[bool] = True
    kind: Literal["exec"]
    command: str | tuple[str, ...]
    expect: ExecExpect = ExecExpect()
    save: dict[str, JmesPath] = Field(default={})
