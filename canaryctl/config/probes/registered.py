"""Kind `registered`: a list that services register themselves in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from canaryctl.config.probes.parts import JmesPath, Model, Origins, Request, Retried, Seconds


class Fresh(Model):
    """`field` holds a time (RFC 3339 or epoch seconds) at most `within` before the answer."""

    field: JmesPath
    within: Seconds


class Reachable(Model):
    """Each entry answers 2xx at `path` under the URL it registered in `endpoint_field`.

    An address of the host's own (loopback, link-local) counts only where `origins` lists it.
    """

    endpoint_field: JmesPath
    path: str = "/"
    origins: Origins = ()


class Registered(Retried, Request):
    """A list endpoint holds at least so many entries of each kind; `only` says which entries count at all."""

    kind: Literal["registered"]
    at: JmesPath = "@"
    kind_field: JmesPath
    kinds: Annotated[dict[str, Annotated[int, Field(ge=1)]], Field(min_length=1)]
    only: JmesPath | None = None
    fresh: Fresh | None = None
    reachable: Reachable | None = None
