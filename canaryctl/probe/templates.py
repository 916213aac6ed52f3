"""Templates in probes.yml: which names they use, whether those exist, and their rendering."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from jinja2 import StrictUndefined, Template, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel

from canaryctl.config.probes import Exec, Lifecycle, Probe, is_template, needed_by, saved_names
from canaryctl.errors import ConfigError
from canaryctl.probe.context import HOST_NAMES, ProbeContext
from canaryctl.probe.results import Unusable

T = TypeVar("T")
Location = tuple[str | int, ...]
_JINJA = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
_PLAIN = {"name", "kind", "on", "needs", "tags", "vars", "save"}  # never rendered


@lru_cache(maxsize=512)
def _compiled(text: str) -> Template:
    return _JINJA.from_string(text)


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
            return _compiled(value).render(names)
        # A template may call anything its values offer, so any error may come of it.
        except Exception as error:
            raise Unusable(f"the template '{value}' cannot be rendered: {error}") from None
    if isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        return value.model_copy(update={k: v if k in _PLAIN else _rendered(v, names) for k, v in fields.items()})
    if isinstance(value, Mapping):
        return {key: _rendered(item, names) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_rendered(item, names) for item in value)
    return value


def check_templates(probes: tuple[Probe, ...], context: ProbeContext) -> None:
    """Check, before anything runs, that every probe's place and every template's names exist.

    Templates that need no saved value are rendered for each host.

    Raises:
        ConfigError: names the probe, with file and line.
    """
    by_name = {probe.name: probe for probe in probes}
    for probe in probes:
        _check_place(probe, context)
        saved = {name for needed in needed_by(probe, probes) for name in saved_names(by_name[needed])}
        for name in (*probe.vars, *saved_names(probe), *saved):
            if name in context.variables or name in HOST_NAMES:
                raise ConfigError(
                    f"probe '{probe.name}' gives '{name}' a second meaning", probe.source(), "choose another name"
                )
        hosts = context.hosts_of(probe.on, service=isinstance(probe, Exec))
        for location, text in _texts(probe):
            late = saved | (set(saved_names(probe)) if _after_start(probe, location) else set())
            _check_text(probe, context, hosts, location, text, late)


def _check_place(probe: Probe, context: ProbeContext) -> None:
    groups, services = context.variables.get("groups", {}), context.variables.get("service_hosts", {})
    if isinstance(probe, Exec) and probe.on not in services:
        raise ConfigError(
            f"probe '{probe.name}' runs a command in '{probe.on}', which is no service",
            probe.source("on"),
            f"services: {', '.join(sorted(services))}",
        )
    if not context.knows(probe.on):
        raise ConfigError(
            f"probe '{probe.name}' is on '{probe.on}', which is neither a group nor a service",
            probe.source("on"),
            f"groups: {', '.join(sorted(groups))}; services: {', '.join(sorted(services))}",
        )


def _after_start(probe: Probe, location: Location) -> bool:
    return isinstance(probe, Lifecycle) and location[0] in ("status", "cancel", "confirm")


def _check_text(
    probe: Probe, context: ProbeContext, hosts: tuple[str, ...], location: Location, text: str, late: set[str]
) -> None:
    where = probe.source(*location)
    try:
        used = meta.find_undeclared_variables(_JINJA.parse(text))
    except TemplateError as error:
        raise ConfigError(f"probe '{probe.name}': bad template '{text}': {error}", where, "mend the template") from None
    known = {*context.variables, *HOST_NAMES, *probe.vars, *late}
    for name in sorted(used - known):
        raise ConfigError(
            f"probe '{probe.name}' uses '{name}', which is not defined",
            where,
            f"names there are: {', '.join(sorted(known))}",
        )
    if used & late:
        return
    for host in hosts:
        try:
            rendered(text, {**context.names_on(host), **probe.vars})
        except Unusable as error:
            raise ConfigError(f"probe '{probe.name}' on {host}: {error}", where, "mend the template") from None


def _texts(probe: Probe) -> Iterator[tuple[Location, str]]:
    """Every templated string of a probe with its place in the file."""
    yield from _walk(probe, ())


def _walk(value: Any, at: Location) -> Iterator[tuple[Location, str]]:
    if isinstance(value, str):
        if is_template(value):
            yield at, value
    elif isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            if name not in _PLAIN:
                yield from _walk(getattr(value, name), (*at, info.alias or name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _walk(item, (*at, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _walk(item, (*at, index))
