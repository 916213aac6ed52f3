"""What is checked of probes before any runs: their places, the names in their templates, their use of secrets."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from jinja2 import TemplateError, meta, nodes

from canaryctl.config.probes import Probe, is_template, needed_by
from canaryctl.config.probes.exec import Exec
from canaryctl.config.probes.lifecycle import Lifecycle
from canaryctl.errors import ConfigError
from canaryctl.probe.context import HOST_NAMES, ProbeContext
from canaryctl.probe.names import SECRETS, TAG, own_names
from canaryctl.probe.results import Unusable
from canaryctl.probe.templates import JINJA, Location, rendered, templates_of, texts_of

_HELD = 12  # characters of a secret that no longer text holds by chance


def check_probes(probes: tuple[Probe, ...], context: ProbeContext) -> None:
    """Check, before anything runs, that every probe's place and every template's names exist.

    Templates that need no saved value are rendered for each host.

    Raises:
        ConfigError: names the probe, with file and line.
    """
    by_name = {probe.name: probe for probe in probes}
    for probe in probes:
        _check_place(probe, context)
        _check_literals(probe, context)
        saved = {name for needed in needed_by(probe, probes) for name in by_name[needed].saved_names}
        for name in (*probe.vars, *probe.saved_names, *saved):
            if name in context.variables or name in HOST_NAMES or name in _own(probe):
                raise ConfigError(
                    f"probe '{probe.name}' gives '{name}' a second meaning", probe.source(), "choose another name"
                )
        hosts = context.hosts_of(probe.on, service=probe.on_service)
        for location, text in templates_of(probe):
            late = saved | (set(probe.saved_names) if _after_start(probe, location) else set())
            _check_text(probe, context, hosts, location, text, late)
        if isinstance(probe, Lifecycle):
            _check_reap(probe)


def uses_secrets(probes: Iterable[Probe]) -> bool:
    """Whether any template of the probes refers to the stack's secrets."""
    return any(SECRETS in text for probe in probes for _, text in templates_of(probe))


def _own(probe: Probe) -> set[str]:
    return {SECRETS, TAG} if isinstance(probe, Lifecycle) else {SECRETS}


def _check_place(probe: Probe, context: ProbeContext) -> None:
    groups, services = context.variables.get("groups", {}), context.variables.get("service_hosts", {})
    if probe.on_service and probe.on not in services:
        does = "runs a command in" if isinstance(probe, Exec) else f"of kind '{probe.kind}' looks at"
        raise ConfigError(
            f"probe '{probe.name}' {does} '{probe.on}', which is no service",
            probe.source("on"),
            f"services: {', '.join(sorted(services))}",
        )
    if not context.knows(probe.on):
        raise ConfigError(
            f"probe '{probe.name}' is on '{probe.on}', which is neither a group nor a service",
            probe.source("on"),
            f"groups: {', '.join(sorted(groups))}; services: {', '.join(sorted(services))}",
        )


def _check_literals(probe: Probe, context: ProbeContext) -> None:
    """Secrets come by reference only. The value itself is not repeated here."""
    values = [(("vars", key), str(value)) for key, value in probe.vars.items()]
    for location, text in (*texts_of(probe, {"vars"}), *values):
        for name, secret in context.secrets.items():
            if secret and (text == secret or (len(secret) >= _HELD and secret in text)):
                raise ConfigError(
                    f"probe '{probe.name}' holds the value of the secret {name}",
                    probe.source(*location),
                    f"write {{{{ secrets.{name} }}}} in its place, and change the secret if others have read this file",
                )


def _check_reap(probe: Lifecycle) -> None:
    """The `cancel` of a leftover sees what `reap` saves in place of what the start saved."""
    if not probe.reap or not probe.cancel:
        return
    used = {name for _, text in texts_of(probe.cancel) if is_template(text) for name in _names_in(text)}
    missing = sorted((used & set(probe.start.save)) - set(probe.reap.save))
    if missing:
        raise ConfigError(
            f"probe '{probe.name}': 'cancel' uses '{missing[0]}', which 'reap' does not save",
            probe.source("reap"),
            f"save it: {{{missing[0]}: JMESPath in an entry of the list}}",
        )


def _names_in(text: str) -> set[str]:
    return meta.find_undeclared_variables(JINJA.parse(text))


def _after_start(probe: Probe, location: Location) -> bool:
    return isinstance(probe, Lifecycle) and location[0] in ("status", "cancel", "confirm")


def _check_text(
    probe: Probe, context: ProbeContext, hosts: tuple[str, ...], location: Location, text: str, late: set[str]
) -> None:
    where = probe.source(*location)
    try:
        used = _names_in(text)
    except (TemplateError, ValueError, RecursionError) as error:
        raise ConfigError(f"probe '{probe.name}': bad template '{text}': {error}", where, "fix the template") from None
    known = {*context.variables, *HOST_NAMES, *_own(probe), *probe.vars, *late}
    for name in sorted(used - known):
        raise ConfigError(
            f"probe '{probe.name}' uses '{name}', which is not defined",
            where,
            f"names there are: {', '.join(sorted(known))}",
        )
    if SECRETS in used:
        _check_secrets(probe, context, location, text)
    if used & late:
        return
    for host in hosts:
        try:
            rendered(text, {**context.names_on(host), **own_names(probe, context, host), **probe.vars})
        except Unusable as error:
            what = context.scrub(f"probe '{probe.name}' on {host}: {error}")
            raise ConfigError(what, where, "fix the template") from None


def _check_secrets(probe: Probe, context: ProbeContext, location: Location, text: str) -> None:
    where = probe.source(*location)
    if isinstance(probe, Exec) and location[0] == "command":
        raise ConfigError(
            f"probe '{probe.name}' puts a secret into a command, where the host's process list shows it",
            where,
            "have the command read it inside the container: its environment or a file there",
        )
    tree = JINJA.parse(text)
    named = [node.attr for node in tree.find_all(nodes.Getattr) if _is_secrets(node.node)]
    named += [
        str(node.arg.value)
        for node in tree.find_all(nodes.Getitem)
        if _is_secrets(node.node) and isinstance(node.arg, nodes.Const)
    ]
    if len(named) < sum(_is_secrets(node) for node in tree.find_all(nodes.Name)):
        raise ConfigError(f"probe '{probe.name}' uses 'secrets' as a whole", where, "name one: {{ secrets.NAME }}")
    for name in named:
        if name not in context.secrets:
            nearest = difflib.get_close_matches(name, context.secrets, n=1, cutoff=0.5)
            known = ", ".join(sorted(context.secrets)) or "none"
            hint = f"did you mean '{nearest[0]}'?" if nearest else f"secrets of the stack: {known}"
            raise ConfigError(f"probe '{probe.name}' uses the secret '{name}', which is not defined", where, hint)


def _is_secrets(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Name) and node.name == SECRETS
