"""What `docker image inspect` tells of an image, held against its contract. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from canaryctl.config.contract import Contract, Pattern
from canaryctl.config.patterns import matches
from canaryctl.config.sizes import show_size
from canaryctl.contract.credentials import carried
from canaryctl.contract.layers import Step, biggest, picture
from canaryctl.contract.results import Row
from canaryctl.errors import HostError
from canaryctl.facts.jsontext import parse_json

Inspection = Mapping[str, Any]


def read_inspection(text: str, where: str) -> Inspection:
    """The one object that `docker image inspect` prints, each part that is looked at of its type.

    Raises:
        HostError: it is none; `where` is whose Docker said so.
    """
    try:
        (found,) = parse_json(text)
        config = found.get("Config") or {}
        whole = isinstance(found["Id"], str) and isinstance(found["RootFS"].get("Layers") or [], list)
        whole = whole and isinstance(found.get("Size") or 0, int)
        whole = whole and all(isinstance(config.get(key) or {}, dict) for key in ("ExposedPorts", "Labels"))
        whole = whole and isinstance(config.get("Env") or [], list)
    except (ValueError, TypeError, KeyError, AttributeError):
        whole = False
    if not whole:
        raise HostError("docker image inspect printed what it cannot", where, "see to its Docker", reason="agent")
    return dict(found)


def check_inspection(
    name: str,
    contract: Contract,
    inspection: Inspection,
    history: Sequence[Step],
    secrets: Sequence[str],
    uid: int | None = None,
) -> tuple[list[Row], dict[str, str]]:
    """Every promise that needs no more than a look.

    Args:
        name: the image's name in the stack file.
        inspection: one object of `docker image inspect`.
        secrets: names of the stack's secrets.
        uid: who the image's processes are, where that was tried; its entry point may have made them another than USER.

    Returns:
        The rows, and the values that no row may show (value -> what to print instead).
    """
    config = inspection.get("Config") or {}
    rows = []
    if contract.platform:
        rows.append(_platform(name, contract.platform, inspection))
    if contract.user:
        rows.append(_user(name, contract.user, str(config.get("User") or ""), uid))
    if contract.max_size is not None:
        rows.append(_size(name, contract.max_size, int(inspection.get("Size") or 0), history, secrets))
    if contract.ports is not None:
        rows.append(_ports(name, contract.ports, config.get("ExposedPorts") or {}))
    rows += [_label(name, label, wanted, config.get("Labels") or {}) for label, wanted in contract.labels.items()]
    environment = [str(line) for line in config.get("Env") or ()]
    rows += [_unset(name, variable, environment) for variable in contract.env.absent]
    found, hidden = carried(environment, (step.created_by for step in history), secrets, contract.env.allowed)
    places = "; ".join(f"{where} holds {kind}" for where, kind in found.items())
    rows.append(_row(name, "environment without secrets", places, found=f"{len(environment)} variables"))
    return [row.without(hidden) for row in rows], hidden


def _row(image: str, check: str, reason: str, found: str) -> Row:
    return Row(image, check, "failed" if reason else "passed", found, reason)


def _platform(image: str, wanted: str, inspection: Inspection) -> Row:
    found = f"{inspection.get('Os', 'linux')}/{inspection.get('Architecture', '')}"
    variant = str(inspection.get("Variant") or "")
    full = f"{found}/{variant}" if variant else found
    reason = "" if wanted in (found, full) else f"the image is for {full}, not {wanted}"
    return _row(image, f"platform {wanted}", reason, full)


def _user(image: str, wanted: str, user: str, uid: int | None) -> Row:
    name = user.partition(":")[0]
    by_number = re.fullmatch("[0-9]{1,10}", name) is not None
    if uid is None and (by_number or name in ("", "root")):
        uid = int(name) if by_number else 0
    changed = bool(uid) and name in ("", "root", "0")
    found = f"uid {uid} by its entry point" if changed else user or "root, for want of a USER"
    found += "" if changed or uid is None or name in ("", str(uid)) else f" (uid {uid})"
    if wanted == "nonroot":
        reason = f"it runs as {found}" if uid == 0 else ""
    elif wanted.isdigit():
        reason = "" if uid == int(wanted) else f"it runs as {found}, not as uid {wanted}"
    else:
        reason = "" if (name or "root") == wanted else f"it runs as {found}, not as {wanted}"
    return _row(image, f"user {wanted}", reason, found)


def _size(image: str, bound: int, size: int, history: Sequence[Step], secrets: Sequence[str]) -> Row:
    reason = ""
    if size > bound:
        layers = biggest(picture(history, secrets), 3)
        largest = "; ".join(f"{show_size(layer['size'])} {layer['created_by'][:60]}" for layer in layers)
        reason = f"it has {show_size(size)}, {show_size(size - bound)} more than promised"
        reason += f"; its biggest layers: {largest}" if largest else ""
    return _row(image, f"size at most {show_size(bound)}", reason, show_size(size))


def _ports(image: str, wanted: Sequence[str], exposed: Mapping[str, Any]) -> Row:
    opened = {port if "/" in port else f"{port}/tcp" for port in exposed}
    faults = []
    if lacking := sorted(set(wanted) - opened):
        faults.append(f"it does not expose {', '.join(lacking)}")
    if more := sorted(opened - set(wanted)):
        faults.append(f"it exposes {', '.join(more)} as well")
    check = f"ports {', '.join(wanted)}" if wanted else "no ports"
    return _row(image, check, "; ".join(faults), ", ".join(sorted(opened)) or "none")


def _label(image: str, label: str, wanted: str | Pattern, labels: Mapping[str, str]) -> Row:
    check = f"label {label}"
    if label not in labels:
        return _row(image, check, f"there is no label {label}", "not there")
    value = str(labels[label])
    if isinstance(wanted, Pattern):
        try:
            fits = matches(wanted.regex, value, whole=True)
            reason = "" if fits else f"'{value}' does not match {wanted.regex}"
        except TimeoutError as error:
            reason = f"it cannot be judged: {error}"
    else:
        reason = "" if value == wanted else f"it is '{value}', not '{wanted}'"
    return _row(image, check, reason, value)


def _unset(image: str, variable: str, environment: Sequence[str]) -> Row:
    found = any(line.partition("=")[0] == variable for line in environment)
    reason = f"the image sets {variable}" if found else ""
    return _row(image, f"variable {variable} absent", reason, "set" if found else "not set")
