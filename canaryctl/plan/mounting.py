"""What services mount, as compose reads it from a document. Pure; a part that is no mount is compose's to refuse.

compose looks for variables in the env file alone: on hosts that holds the stack's secrets, so every other variable has
its default.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<bare>[A-Za-z_]\w*)"
    r"|\{(?P<name>[A-Za-z_]\w*)(?:(?P<how>:?[-+?])(?P<word>[^{}]*))?\})"
)
_SECRET = re.compile("\1([^\1\2]*)\2")
_DEPTH = 8  # variables in defaults of variables
_MOST = 50  # services that one has mounts of
_PROJECT = "COMPOSE_PROJECT_NAME"  # compose gives it a value itself
_DRIVE = re.compile(r"[A-Za-z]:")  # compose takes a single letter for one, on every system


@dataclass(frozen=True)
class Mounting:
    """A mount of a service. `type` is bind or volume; `source` a path as written, a volume's name on hosts, or '' for a
    volume without a name. `device` is the folder that a named volume is bound to, else ''.
    """

    service: str
    type: str
    source: str
    target: str
    read_only: bool = False
    device: str = ""


Read = Callable[[str], Mapping[str, Any] | None]


def mountings(
    compose: Mapping[str, Any], project: str = "", secrets: Iterable[str] = (), read: Read | None = None
) -> list[Mounting]:
    """Every bind and volume of a compose document's services, in its order.

    Args:
        project: the compose project, which names volumes begin with.
        secrets: variables that have a value on hosts, which nobody knows here: they stay as written.
        read: the document of another file of the release, by its path. Given, what a service has of others (`extends`,
            `volumes_from`) is told before its own, which takes its place at the same target.
    """
    known = frozenset({*secrets, _PROJECT})
    declared = compose.get("volumes")
    volumes = declared if isinstance(declared, Mapping) else {}
    services = compose.get("services")
    found = []
    for service in services if isinstance(services, Mapping) else ():
        for entry in _entries(service, compose, read, "compose.yml", set()):
            if mounting := _mounting(str(service), entry, known):
                found.append(_in_project(_named(mounting, volumes, project, known), project))
    return found


def _entries(
    service: Any, document: Mapping[str, Any], read: Read | None, path: str, seen: set[tuple[str, str]]
) -> Iterator[Any]:
    """A service's entries under `volumes`, after those that it has of others. `seen`: (file, service) told already."""
    services = document.get("services")
    block = services.get(service) if isinstance(services, Mapping) else None
    if not isinstance(block, Mapping) or (path, str(service)) in seen or len(seen) == _MOST:
        return
    seen.add((path, str(service)))
    if read is not None:
        givers = block.get("volumes_from")
        for giver in givers if isinstance(givers, list) else ():
            yield from _entries(str(giver).partition(":")[0], document, read, path, seen)
        extends = block.get("extends")
        extends = extends if isinstance(extends, Mapping) else {"service": extends}
        place, base = path, document
        if isinstance(extends.get("file"), str):
            place = posixpath.normpath(posixpath.join(posixpath.dirname(path), interpolated(extends["file"])))
            base = read(place) or {}
        if isinstance(extends.get("service"), str):
            yield from _entries(extends["service"], base, read, place, seen)
    entries = block.get("volumes")
    yield from entries if isinstance(entries, list) else ()


def _in_project(mounting: Mounting, project: str) -> Mounting:
    """The same with the project's name, which compose gives a variable."""
    known = {
        key: text.replace(f"${{{_PROJECT}}}", project)
        for key in ("source", "target", "device")
        if "$" in (text := getattr(mounting, key))
    }
    return replace(mounting, **known) if project and known else mounting


def interpolated(text: str, secrets: frozenset[str] = frozenset(), depth: int = _DEPTH) -> str:
    """A text as compose makes it of its variables; those of `secrets` stay, as `${NAME}`."""

    def value(match: re.Match[str]) -> str:
        name = match["name"] or match["bare"]
        if match["escaped"]:
            return match[0]
        if name in secrets:
            return f"\1{name}\2"  # without braces, for what is around it
        if name == "HOME":
            return "~"  # compose has it from its environment, and takes one for the other
        return str(match["word"] or "") if (match["how"] or "").endswith("-") else ""

    # From the inside out: `${A:-${B:-x}}` has a default with a default.
    for _ in range(depth):
        after = _VARIABLE.sub(value, text)
        if after == text:
            break
        text = after
    return _SECRET.sub(r"${\1}", text.replace("$$", "$"))


def _mounting(service: str, entry: Any, secrets: frozenset[str]) -> Mounting | None:
    if isinstance(entry, str):
        return _short(service, interpolated(entry, secrets))
    if not isinstance(entry, Mapping):
        return None
    kind, source, target = (_text(entry.get(key), secrets) for key in ("type", "source", "target"))
    source = source or _text(entry.get("src"), secrets)
    if kind not in ("bind", "volume", ""):
        return None
    read_only = _text(entry.get("read_only"), secrets).lower() in ("true", "1", "t")
    return Mounting(service, kind or _kind(source), source, target, read_only)


def _short(service: str, text: str) -> Mounting | None:
    """SOURCE:TARGET[:MODE], or TARGET alone for a volume without a name."""
    drive = text[:2] if _DRIVE.match(text) else ""
    source, *rest = text[len(drive) :].split(":")
    if not rest:
        return Mounting(service, "volume", "", text)
    # Of several the last counts, and what compose does not know (`readonly`) it passes over.
    modes = [mode for mode in (rest[1].split(",") if len(rest) > 1 else ()) if mode in ("ro", "rw")]
    return Mounting(service, _kind(drive + source), drive + source, rest[0], modes[-1:] == ["ro"])


def _kind(source: str) -> str:
    return "bind" if source.startswith((".", "/", "~", "$")) or _DRIVE.match(source) else "volume"


def _named(mounting: Mounting, volumes: Mapping[str, Any], project: str, secrets: frozenset[str]) -> Mounting:
    """The same with the name that its volume has on hosts, and the folder that this is bound to."""
    if mounting.type != "volume" or not mounting.source:
        return mounting
    declared = volumes.get(mounting.source)
    block = declared if isinstance(declared, Mapping) else {}
    external = block.get("external")
    outside = external.get("name") if isinstance(external, Mapping) else None
    name = _text(block.get("name") or outside, secrets)
    is_external = _text(external, secrets).lower() == "true" or isinstance(external, Mapping)
    name = name or (mounting.source if is_external or not project else f"{project}_{mounting.source}")
    device, read_only = _device(block.get("driver_opts"), secrets)
    return Mounting(
        mounting.service, "volume", name, mounting.target, mounting.read_only or (bool(device) and read_only), device
    )


def _device(options: Any, secrets: frozenset[str]) -> tuple[str, bool]:
    """The folder that a volume's driver options bind, and whether only to be read."""
    if not isinstance(options, Mapping):
        return "", False
    how = _text(options.get("o"), secrets).split(",")
    bound = {"bind", "rbind"} & set(how) or _text(options.get("type"), secrets) in ("bind",)
    return (_text(options.get("device"), secrets) if bound else ""), "ro" in how


def _text(value: Any, secrets: frozenset[str]) -> str:
    return interpolated(str(value), secrets) if isinstance(value, (str, bool, int)) else ""


def documents(compose: Mapping[str, Any], secrets: Iterable[str] = ()) -> Iterator[tuple[str, str | None]]:
    """Other files that a document takes services from: `extends: {file}` and `include`, as written.

    Each with the folder that relative paths in it are meant from; None for the file's own.
    """
    known = frozenset(secrets)
    services = compose.get("services")
    for block in services.values() if isinstance(services, Mapping) else ():
        extends = block.get("extends") if isinstance(block, Mapping) else None
        if isinstance(extends, Mapping) and isinstance(extends.get("file"), str):
            yield interpolated(extends["file"], known), None
    included = compose.get("include")
    for entry in included if isinstance(included, list) else ():
        paths = entry.get("path") if isinstance(entry, Mapping) else entry
        folder = entry.get("project_directory") if isinstance(entry, Mapping) else None
        paths = [
            interpolated(path, known)
            for path in (paths if isinstance(paths, list) else [paths])
            if isinstance(path, str)
        ]
        for path in paths:  # those after the first are laid over it
            yield (
                path,
                interpolated(folder, known) if isinstance(folder, str) and folder else posixpath.dirname(paths[0]),
            )
