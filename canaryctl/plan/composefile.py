"""A compose document: parsed, and its parts that are used here checked for their shape. Pure."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from canaryctl.config.durations import parse_duration
from canaryctl.config.yamltext import ComposeLoader, YamlFault, read_yaml
from canaryctl.errors import ConfigError

MOST_PORTS = 65_535
_SCALARS = (str, int, float, bool)
# What an entry of a service's block may be, as far as something here looks into it.
_LISTS: Mapping[str, tuple[type, ...]] = {
    "ports": (str, int, dict),
    "volumes": (str, dict),
    "secrets": (str, dict),
    "configs": (str, dict),
}
_SHARED = ("volumes", "secrets", "configs", "networks")
_PORT = re.compile(
    r"(?:(?P<address>\[[0-9a-fA-F:]+\]|[0-9.]+):)?(?P<published>[0-9]+(?:-[0-9]+)?):[0-9-]+(?:/(?P<protocol>tcp|udp))?"
)
_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


def compose_document(text: str, file: str, host: str) -> dict[str, Any]:
    """The document of a rendered compose file: `services` maps names to mappings, and what is read of it fits.

    Args:
        file: names the file in errors.
        host: whose file it is.

    Raises:
        ConfigError: it is no YAML, too much of it, or a part has another type than compose takes.
    """
    try:
        document, _ = read_yaml(text, ComposeLoader)
    except YamlFault as fault:
        lines = text.splitlines()
        shown = lines[fault.line - 1].strip()[:200] if fault.line <= len(lines) else ""
        raise ConfigError(
            f"on host {host} the rendered compose file is not YAML: {fault.problem} (its line {fault.line}: {shown!r})",
            file,
            "correct the template",
        ) from None
    if not isinstance(document, dict) or not isinstance(document.get("services"), dict):
        raise ConfigError(f"on host {host} the rendered compose file has no 'services' mapping", file)
    for path, problem in _faults(document):
        raise ConfigError(
            f"on host {host} the rendered compose file has '{path}' {problem}", file, "see compose's reference"
        )
    return document


def _faults(document: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """(place, what is wrong there)."""
    for section in _SHARED:
        entries = document.get(section)
        if entries is None:
            continue
        if not isinstance(entries, dict):
            yield section, "that is no mapping"
            continue
        for key, entry in entries.items():
            if not isinstance(key, str) or not (entry is None or isinstance(entry, dict)):
                yield f"{section}.{key}", "that is no mapping"
    for name, block in document["services"].items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9._-]+", name):
            yield f"services.{name}", "that is no name of a service"
        elif not isinstance(block, dict):
            yield f"services.{name}", "that is no mapping"
        else:
            for key, problem in _block_faults(block):
                yield f"services.{name}.{key}", problem


def _block_faults(block: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for key in block:
        if not isinstance(key, str):
            yield str(key), "that is no key"
    for key, kinds in _LISTS.items():
        entries = block.get(key)
        if entries is None:
            continue
        if not isinstance(entries, list) or not all(isinstance(entry, kinds) for entry in entries):
            yield key, "that is no list of what compose takes there"
            continue
        for entry in entries:
            if isinstance(entry, dict) and not all(
                value is None or isinstance(value, _SCALARS)
                for value in map(entry.get, ("source", "target", "published", "host_ip", "protocol", "type"))
            ):
                yield key, "with an entry that compose does not take"
    for key in ("environment", "depends_on"):
        entries = block.get(key)
        if isinstance(entries, list):
            if not all(isinstance(entry, _SCALARS) for entry in entries):
                yield key, "that is no list of texts"
        elif not (entries is None or isinstance(entries, dict)):
            yield key, "that is neither a mapping nor a list"
    inner: Any = block
    path = []
    for key in ("deploy", "resources", "reservations"):
        path.append(key)
        inner = inner.get(key)
        if inner is None:
            break
        if not isinstance(inner, dict):
            yield ".".join(path), "that is no mapping"
            break
    else:
        if not isinstance(inner.get("devices") or [], list):
            yield ".".join([*path, "devices"]), "that is no list"


def published_ports(compose: Mapping[str, Any], where: str) -> tuple[tuple[str, int, str], ...]:
    """(address, host port, service) of every TCP port a document publishes; '' stands for all addresses.

    Raises:
        ConfigError: a port that there is not, or more of them than a host has.
    """
    found: list[tuple[str, int, str]] = []
    for name, service in compose["services"].items():
        for port in service.get("ports") or ():
            address, published, protocol = _parts(port)
            match = _RANGE.fullmatch(published)
            if not published or protocol == "udp" or (match is None and isinstance(port, dict)):
                continue
            first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
            if not 1 <= first <= last <= MOST_PORTS:
                if first == last == 0 and match:  # compose's word for any free port
                    continue
                raise ConfigError(
                    f"service {name} publishes '{published[:40]}', which is no port from 1 to {MOST_PORTS} nor a range",
                    where,
                    "correct 'ports'",
                )
            if len(found) + last - first >= MOST_PORTS:
                raise ConfigError(f"more than {MOST_PORTS} ports are published", where, "correct 'ports'")
            found += [(address, number, name) for number in range(first, last + 1)]
    return tuple(found)


def _parts(port: Any) -> tuple[str, str, str]:
    """Address, published port or range, and protocol; '' for what is not said or cannot be told before it runs."""
    if isinstance(port, dict):
        published = port.get("published")
        address = str(port.get("host_ip") or "")
        return address, "" if published is None else str(published), str(port.get("protocol") or "tcp")
    match = _PORT.fullmatch(str(port))
    if match is None:
        return "", "", ""
    return (match["address"] or "").strip("[]"), match["published"], match["protocol"] or "tcp"


def stop_graces(compose: Mapping[str, Any]) -> dict[str, float]:
    """Seconds that each service has to stop, where the document says so in words that can be told here."""
    found = {}
    for service, block in compose["services"].items():
        with contextlib.suppress(ValueError):
            found[service] = parse_duration(str(block.get("stop_grace_period") or ""))
    return found


def named_volumes(compose: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Each service's named volumes: their names where the document gives them, else their keys."""
    declared = compose.get("volumes") or {}
    found: dict[str, tuple[str, ...]] = {}
    for service, block in compose["services"].items():
        keys = []
        for entry in block.get("volumes") or ():
            source = entry.get("source") if isinstance(entry, dict) else entry.partition(":")[0]
            if isinstance(source, str) and source in declared:
                keys.append(str((declared[source] or {}).get("name") or source))
        if keys:
            found[service] = tuple(keys)
    return found
