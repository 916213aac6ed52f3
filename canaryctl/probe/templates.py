"""Templates in probes.yml: their rendering."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

from jinja2 import StrictUndefined, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel

from canaryctl.config.probes import Probe, is_template
from canaryctl.plan.sandbox import TemplateFault, render_template
from canaryctl.probe.results import Unusable

T = TypeVar("T")
Location = tuple[str | int, ...]
Texts = Iterator[tuple[Location, str]]
JINJA = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
_PLAIN = {"name", "kind", "on", "needs", "tags", "vars", "save"}  # never rendered


def rendered(value: T, names: Mapping[str, Any]) -> T:
    """A copy of a string, a collection or a part of a probe with every template in it rendered.

    Raises:
        Unusable: a template cannot be rendered.
    """
    return _rendered(value, names)  # type: ignore[no-any-return]


def _rendered(value: Any, names: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        if not is_template(value):
            return value
        try:
            return render_template(value, names)
        except TemplateFault as fault:
            raise Unusable(f"the template '{value}' cannot be rendered: {fault.message}") from None
    if isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        return value.model_copy(update={k: v if k in _PLAIN else _rendered(v, names) for k, v in fields.items()})
    if isinstance(value, Mapping):
        return {key: _rendered(item, names) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_rendered(item, names) for item in value)
    return value


class _Anything(str):
    """Stands for a value that an application gave, of whatever shape a template takes it to be."""

    __slots__ = ()

    def __getattr__(self, name: str) -> _Anything:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, key: Any) -> _Anything:
        return self


# Values as good as any, one of them as the path that may follow a server's name.
_OTHERS = (_Anything("canaryctl-anything"), _Anything("/canaryctl-anything"))


@lru_cache(maxsize=512)
def _names_in(text: str) -> frozenset[str]:
    return frozenset(meta.find_undeclared_variables(JINJA.parse(text)))


def uses_any(value: Any, names: AbstractSet[str]) -> bool:
    """Whether any template in a part of a probe uses one of the names."""
    return bool(names) and any(is_template(text) and names & _names_in(text) for _, text in texts_of(value, _PLAIN))


def is_moved(place: str, names: Mapping[str, Any], given: AbstractSet[str]) -> bool:
    """Whether the values of the names in `given` decide which server a URL or address names."""
    if not is_template(place) or not given:
        return False
    server = _server(place, names)
    others = [_server(place, {**names, **dict.fromkeys(given, value)}) for value in _OTHERS]
    return server is None or server not in others


def _server(place: str, names: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Which server a URL or address names once it is rendered; None where it names none."""
    import httpx

    try:
        text = rendered(place, names)
        if "://" not in text:
            return (text,)
        # As the request is made, and as others read it: a value must please both.
        url, parts = httpx.URL(text), urlsplit(text.replace("\\", "/"))
        return (parts.scheme, parts.netloc, url.scheme, url.raw_host, url.port, url.userinfo) if url.raw_host else None
    except (Unusable, ValueError, TypeError, httpx.InvalidURL):
        return None


def templates_of(probe: Probe) -> Texts:
    """Every templated string of a probe with its place in the file."""
    return ((at, text) for at, text in texts_of(probe, _PLAIN) if is_template(text))


def texts_of(value: Any, without: AbstractSet[str] = frozenset(), at: Location = ()) -> Texts:
    """Every string in a part of a probe with its place, except below the keys of models in `without`."""
    if isinstance(value, str):
        yield at, value
    elif isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            if name not in without:
                yield from texts_of(getattr(value, name), without, (*at, info.alias or name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from texts_of(item, without, (*at, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from texts_of(item, without, (*at, index))
