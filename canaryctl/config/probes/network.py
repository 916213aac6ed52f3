"""Kinds that ask over the network: `http`, `tcp`, `registered`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from canaryctl.config.probes.parts import HttpExpect, JmesPath, Model, Request, Retried, Seconds


class Http(Retried, Request):
    """One request and what its answer must be. Follows at most `redirects` redirects, none by default."""

    kind: Literal["http"]
    redirects: Annotated[int, Field(ge=0, le=20)] = 0
    expect: HttpExpect = HttpExpect()
    save: dict[str, JmesPath] = Field(default={})


class Tcp(Retried):
    """A port that accepts connections."""

    kind: Literal["tcp"]
    port: Annotated[int, Field(gt=0, lt=65536)]
    address: str = "{{ address }}"


class Fresh(Model):
    """`field` holds a time (RFC 3339 or epoch seconds) at most `within` before the answer."""

    field: JmesPath
    within: Seconds


class Reachable(Model):
    """Each entry answers 2xx at `path` under the URL it registered in `endpoint_field`."""

    endpoint_field: JmesPath
    path: str = "/"


class Registered(Retried, Request):
    """A list endpoint holds at least so many entries of each kind; `only` says which entries count at all."""

    kind: Literal["registered"]
    at: JmesPath = "@"
    kind_field: JmesPath
    kinds: Annotated[dict[str, Annotated[int, Field(ge=1)]], Field(min_length=1)]
    only: JmesPath | None = None
    fresh: Fresh | None = None
    reachable: Reachable | None = None
