"""Kind `sql`: a query in a service's PostgreSQL."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from canaryctl.config.probes.parts import JmesPath, JmesPaths, Model, Retried, is_template


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

    on_service: ClassVar[bool] = True
    kind: Literal["sql"]
    query: Annotated[str, AfterValidator(check_query)]
    env: dict[Annotated[str, Field(pattern=r"^PG[A-Z]+$")], str] = Field(default={})
    expect: SqlExpect = SqlExpect()
    save: dict[str, JmesPath] = Field(default={})
