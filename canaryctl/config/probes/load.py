"""Read a probe file; every fault is said with its line."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from canaryctl.config.probes.gpu import Gpu
from canaryctl.config.probes.kinds import KINDS, Probe, needed_by
from canaryctl.config.yamlfile import Document, load_yaml, shown, validate
from canaryctl.errors import ConfigError

_ADAPTER: TypeAdapter[tuple[Probe, ...]] = TypeAdapter(tuple[Annotated[Probe, Field(discriminator="kind")], ...])


def load_probes(path: Path) -> tuple[Probe, ...]:
    """Read a probe file: a list, kept in its order.

    Raises:
        ConfigError: with file and line: unknown kind or key, wrong type, bad JMESPath, `needs` that name no probe or
            go in a circle, a name used twice.
    """
    document = load_yaml(path)
    if not isinstance(document.data, list) or not document.data:
        raise ConfigError("a probe file holds a list of probes", shown(path), "see docs/probes.md")
    # YAML 1.1 reads the bare key `on` as the boolean true.
    items = [_with_on(item) for item in document.data]
    document = dataclasses.replace(document, data=items)
    for index, item in enumerate(items):
        _check_kind(document, index, item)
    probes = validate(_ADAPTER, document)
    for index, probe in enumerate(probes):
        probe._source = (document, index)
    _check_names(probes)
    return probes


def _with_on(item: Any) -> Any:
    return {"on" if key is True else key: value for key, value in item.items()} if isinstance(item, dict) else item


def _check_kind(document: Document, index: int, item: Any) -> None:
    kinds = ", ".join(KINDS)
    if not isinstance(item, dict):
        raise ConfigError(
            "a probe is a mapping with 'name', 'kind' and 'on'", document.where(index), "see docs/probes.md"
        )
    kind = item.get("kind")
    if kind not in KINDS:
        nearest = difflib.get_close_matches(str(kind), KINDS, n=1, cutoff=0.5)
        what = f"probe '{item.get('name', index + 1)}' has " + (f"the unknown kind '{kind}'" if kind else "no kind")
        hint = f"did you mean '{nearest[0]}'?" if nearest else f"kinds: {kinds}"
        raise ConfigError(what, document.where(index, "kind"), hint)


def _check_names(probes: Sequence[Probe]) -> None:
    names = [probe.name for probe in probes]
    for index, probe in enumerate(probes):
        if probe.name in names[:index]:
            raise ConfigError(f"two probes are named '{probe.name}'", probe.source("name"), "rename one of them")
        for place, needed in enumerate(probe.needs):
            if needed not in names:
                nearest = difflib.get_close_matches(needed, names, n=1, cutoff=0.5)
                hint = f"did you mean '{nearest[0]}'?" if nearest else f"probes there are: {', '.join(names)}"
                raise ConfigError(
                    f"'{probe.name}' needs '{needed}', which is no probe", probe.source("needs", place), hint
                )
    for probe in probes:
        if isinstance(probe, Gpu) and probe.during is not None:
            _check_during(probe, probe.during, probes)
        if probe.name in needed_by(probe, probes):
            circle = " and ".join(f"'{p.name}'" for p in probes if p.name in needed_by(probe, probes))
            raise ConfigError(f"'needs' goes in a circle: {circle}", probe.source("needs"), "break the circle")


def _check_during(probe: Gpu, during: str, probes: Sequence[Probe]) -> None:
    lifecycles = {other.name: other for other in probes if other.kind == "lifecycle"}
    if during not in lifecycles:
        raise ConfigError(
            f"'{probe.name}' watches during '{during}', which is no lifecycle",
            probe.source("during"),
            f"lifecycles there are: {', '.join(lifecycles) or 'none'}",
        )
    if probe.name in {during, *lifecycles[during].needs, *needed_by(lifecycles[during], probes)}:
        raise ConfigError(
            f"'{during}' needs '{probe.name}', which watches it", probe.source("during"), "take it out of 'needs'"
        )
    if during in needed_by(probe, probes):
        raise ConfigError(
            f"'{probe.name}' needs '{during}' and would come too late to watch it",
            probe.source("needs"),
            "take it out of 'needs'",
        )
