"""Images that a program of ours had Docker load or pull, and that have no tag yet: known by the program's note.

It lies where layers arrive, from before the first image comes until all have their tags. Who wrote it holds the
kernel's lock on it for as long as they live.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from typing import Any

from canaryctl.agent.read.docker import Docker, DockerError

INCOMING = ".incoming"
NOTE = re.compile(r"loading-\w+\.json\Z")


class Note:
    """One program's images by what Docker calls them here: `new` were not there before, `wanted` are all of them."""

    def __init__(self, path: str) -> None:
        """Raises OSError where it is gone."""
        self.path = path
        with open(path, "rb") as file:
            self.age = time.time() - os.fstat(file.fileno()).st_mtime
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                self.abandoned = True
            except OSError:
                self.abandoned = False
            try:
                content = json.loads(file.read().decode())
            except ValueError:
                content = None
        known = content if isinstance(content, dict) else {}
        self.new, self.wanted = (
            [name for name in known.get(key) or () if isinstance(name, str) and len(name) > 1]
            for key in ("new", "wanted")
        )


def read_notes(root: str) -> list[Note]:
    """Those that are there, of the living as well."""
    folder = os.path.join(root, INCOMING)
    found = []
    try:
        names = sorted(name for name in os.listdir(folder) if NOTE.match(name))
    except OSError:
        return []
    for name in names:
        try:
            found.append(Note(os.path.join(folder, name)))
        except OSError:
            continue  # done just now
    return found


def image_there(daemon: Docker, name: str) -> dict[str, Any] | None:
    """What Docker says of an image, None where it has none of that name."""
    try:
        found: dict[str, Any] = daemon.get("/images/" + name + "/json")
        return found
    except DockerError as error:
        if error.status == 404:
            return None
        raise


def is_left(daemon: Docker, name: str) -> bool:
    """Whether an image that was to get its tag is there without one; or under the name that it was pulled by."""
    found = image_there(daemon, name)
    return found is not None and ("@" in name or not [tag for tag in found.get("RepoTags") or [] if ":<" not in tag])


def left_images(daemon: Docker, root: str) -> list[dict[str, Any]]:
    """`path` and `age` of each that a killed program left, for audits."""
    notes = read_notes(root)
    alive = {name for note in notes if not note.abandoned for name in note.wanted}
    return [
        {"path": "the image " + name + ", which has no tag,", "age": round(note.age)}
        for note in notes
        if note.abandoned
        for name in note.new
        if name not in alive and is_left(daemon, name)
    ]
