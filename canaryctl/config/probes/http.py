"""Kind `http`: one request and what its answer must be."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from canaryctl.config.probes.parts import HttpExpect, JmesPath, Origins, Request, Retried


class Http(Retried, Request):
    """One request and what its answer must be. Follows at most `redirects` redirects, none by default.

    They lead to the request's own origin, to one that `redirects_to` lists (`https://login.example:8443`), or with
    `redirects_to: any` to every one that is not the host's own.
    """

    kind: Literal["http"]
    redirects: Annotated[int, Field(ge=0, le=20)] = 0
    redirects_to: Literal["any"] | Origins = ()
    expect: HttpExpect = HttpExpect()
    save: dict[str, JmesPath] = Field(default={})
