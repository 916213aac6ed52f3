"""Kinds that look at a service's container: `exec`, `container`, `logs`, `sql`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from canaryctl.config.durations import parse_duration
from canaryctl.config.probes.parts import JmesPath, JmesPaths, Model, Pattern, Retried, Text, as_tuple, is_template

ERRORS = (
    r"^Traceback \(most recent call last\):",
    r"\b(ModuleNotFoundError|ImportError): ",
    r"error while loading shared libraries",
)
"""What no log may hold where a `logs` probe says nothing: Python's tracebacks, and imports that fail."""


class ExecExpect(Model):
    """What a command must do: its exit code, its standard output as text, or as JSON."""

    exit: int = 0
    stdout: Text | None = None
    jmespath: JmesPaths = ()


class Exec(Retried):
    """A command in the service's running container: a string for its shell, or a list of arguments."""

    kind: Literal["exec"]
    command: str | tuple[str, ...]
    expect: ExecExpect = ExecExpect()
    save: dict[str, JmesPath] = Field(default={})


class Container(Retried):
    """The service's container runs, is healthy where it has a check, and is made from the release's image.

    `restarts` is how often Docker may have restarted it since it was made.
    """

    kind: Literal["container"]
    restarts: Annotated[int, Field(ge=0)] = 0


def _since(value: Any) -> Any:
    if value not in ("deploy", "start"):
        try:
            parse_duration(value)
        except ValueError:
            raise ValueError(f"'{value}' is neither 'deploy', 'start' nor a duration such as 10m") from None
    return value


class LogsExpect(Model):
    """Regular expressions that some line must match (`present`), and those that none may (`absent`)."""

    present: Annotated[tuple[Pattern, ...], BeforeValidator(as_tuple)] = ()
    absent: Annotated[tuple[Pattern, ...], BeforeValidator(as_tuple)] = ()


class Logs(Retried):
    """What the service has logged: since its container was made (`deploy`), since it last started, or for so long."""

    kind: Literal["logs"]
    since: Annotated[str, BeforeValidator(_since)] = "deploy"
    expect: LogsExpect = LogsExpect(absent=ERRORS)


def check_query(text: str) -> str:
    """Refuse what is more than one statement: the read-only transaction holds for one."""
    if is_template(text):
        return text
    bare = re.sub(r"'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL).strip()
    if not bare.rstrip(";").strip():
        raise ValueError("the query is empty")
    if ";" in bare.rstrip(";").rstrip() or "\\" in bare:
        raise ValueError("a query is one SQL statement, without psql's own commands")
    return text


class SqlExpect(Model):
    """What a query must find: how many rows, and JMESPath over the list of them (objects of text, or null)."""

    rows: Annotated[int, Field(ge=0)] | None = None
    jmespath: JmesPaths = ()


class Sql(Retried):
    """A query in the service's PostgreSQL, read-only. `env` is libpq's: PGUSER, PGDATABASE, PGPASSWORD, PGHOST ..."""

    kind: Literal["sql"]
    query: Annotated[str, AfterValidator(check_query)]
    env: dict[Annotated[str, Field(pattern=r"^PG[A-Z]+$")], str] = Field(default={})
    expect: SqlExpect = SqlExpect()
    save: dict[str, JmesPath] = Field(default={})
