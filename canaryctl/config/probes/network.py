"""Kinds that ask over the network: `http`, `tcp`, `registered`."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from canaryctl.config.probes.parts import HttpExpect, JmesPath, Model, Request, Retried, Seconds, as_tuple, is_template


def _origin(text: str) -> str:
    """Refuse what is no origin; templates are judged once they are rendered."""
    if is_template(text):
        return text
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise ValueError(f"'{text}' is no origin; write a URL without a path, for example https://login.example:8443")
    return text


Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], BeforeValidator(as_tuple)]


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
