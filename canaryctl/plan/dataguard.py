"""No service writes where the next deploy would not bring along what it wrote: into a release. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from canaryctl.errors import ConfigError
from canaryctl.plan.mounting import Mounting, documents, mountings

_RELEASE = "releases/RELEASE"  # where the compose file lies on hosts, below the stack's folder
_MOST = 100  # files that services are taken from


def require_data_outside(
    compose: Mapping[str, Any],
    stack: str,
    where: str,
    *,
    secrets: Iterable[str] = (),
    read: Callable[[str], Mapping[str, Any] | None] = lambda _: None,
) -> None:
    """Refuse a mount that a service may write and whose source lies in a release.

    Args:
        stack: the stack's name, which its folder on hosts has.
        where: names the compose file in errors.
        secrets: variables that have a value on hosts.
        read: the document of another file of the release, by its path there; None where it has none.

    Raises:
        ConfigError: names the service, the mount, and what to write instead.
    """
    waiting, names = [("", compose)], tuple(secrets)
    seen: set[tuple[str, str]] = set()
    while waiting:
        folder, document = waiting.pop()
        for mounting in mountings(document, secrets=names):
            _require_outside(mounting, folder, stack, where)
        for other, inside in documents(document, names):
            below = posixpath.normpath(posixpath.join(folder, other))
            if ":" in other or "$" in other or below.startswith(("/", "..")):
                raise ConfigError(
                    f"services are taken from {other}, which is not part of the release: only hosts know what it holds",
                    where,
                    "put the file among the stack's assets and name it there (assets/NAME)",
                )
            meant = posixpath.dirname(below) if inside is None else posixpath.normpath(posixpath.join(folder, inside))
            if (below, meant) in seen or (found := read(below)) is None:
                continue
            if len(seen) == _MOST:
                raise ConfigError(f"services are taken from more than {_MOST} files", where, "put them into fewer")
            seen.add((below, meant))
            waiting.append((meant, found))


def _require_outside(mounting: Mounting, folder: str, stack: str, where: str) -> None:
    source = mounting.source if mounting.type == "bind" else mounting.device
    if not source or mounting.read_only:
        return
    if "$" in source and not source.startswith("/"):
        raise ConfigError(
            f"service {mounting.service} may write to {source}, which may lie in the release: only hosts know",
            where,
            "write the path itself, or a named volume",
        )
    if not _in_release(source, folder, stack):
        return
    name = posixpath.basename(posixpath.normpath(source)).strip(".") or "data"
    target = mounting.target or "/data"
    raise ConfigError(
        f"service {mounting.service} may write to {source} ({target}), which lies in the release: the next release "
        "would not have what it writes there",
        where,
        f"write {source}:{target}:ro if it only reads there; for data a named volume ({name}:{target}, and at the top "
        f"volumes: {{{name}: {{}}}}) or a folder of the host that is no release's (/srv/{stack}/{name}:{target})",
    )


def _in_release(source: str, folder: str, stack: str) -> bool:
    """Whether a path, as compose resolves it, lies in a release, in the link to one, or is a folder above the release.

    Of absolute paths those count that name the stack's own folder, wherever canary_root is.
    """
    if source.startswith("~"):
        return False
    if not source.startswith("/"):
        place = posixpath.normpath(posixpath.join("/stack", _RELEASE, folder, source))
        inside = any(place == part or place.startswith(part + "/") for part in ("/stack/releases", "/stack/current"))
        return inside or place in ("/", "/stack")
    parts = posixpath.normpath(source).split("/")
    return any(parts[at] == stack and parts[at + 1] in ("current", "releases") for at in range(len(parts) - 1))
