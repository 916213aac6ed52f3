"""Files of a release's directory on a host: which are the release's, which differ, which somebody else wrote. Pure."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from typing import Any

from canaryctl.errors import ApplyError
from canaryctl.facts.host import HostFacts

SHORT, SHOWN = 12, 5
_KEPT = re.compile(r"\.drifted-\d{8}T\d{6}Z(-\d+)?")


def kept_by_healing(path: str) -> bool:
    """Whether a file is one that healing has kept beside what it put back."""
    return _KEPT.search(path) is not None


def drifted_files(facts: HostFacts, directory: str, hashes: Mapping[str, str]) -> list[str]:
    """Files of a release that is on a host, and that are not as they were installed."""
    release = facts.state.releases.get(directory)
    return sorted(path for path in hashes if release.files.get(path) != hashes[path]) if release else []


def foreign_files(release: Mapping[str, Any] | None, files: Mapping[str, str]) -> list[str]:
    """Paths in a release's directory that are not of the release: services or people wrote them, or healing kept them.

    A release.json that cannot be read tells of none.
    """
    known = release.get("files") if release else None
    if not isinstance(known, Mapping):
        return []
    ours = {"compose.yml", "release.json", *(f"assets/{path}" for path in known)}
    return sorted(path for path in files if path not in ours)


def foreign_notes(facts: HostFacts, directory: str) -> list[str]:
    """What services or people have written into a release's directory, in words; what healing kept was told then."""
    release = facts.state.releases.get(directory)
    found = foreign_files(release.release, release.files) if release else []
    found = [path for path in found if not kept_by_healing(path)]
    if not found:
        return []
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    sentence = f"release {directory[:SHORT]} holds files that are not of it, which stay"
    return [f"{facts.host}: {sentence}: {', '.join(found[:SHOWN])}{more}"]


def current_problems(facts: HostFacts) -> list[ApplyError]:
    """What somebody has put in the place of the link `current`: it is theirs, and no release can serve from there."""
    if f"[Errno {errno.EINVAL}]" not in facts.errors.get("state.current", ""):
        return []
    what = "what is at `current` beside the releases is no link: somebody has put it there"
    return [ApplyError(what, hint="move it away, then run this again", stage="start", host=facts.host)]
