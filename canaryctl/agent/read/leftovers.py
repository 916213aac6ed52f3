"""What programs of ours that were killed on this host have left: files half written, their scratch directories."""

from __future__ import annotations

import contextlib
import os
import re
import time
from typing import Any, Iterator

LEFT_AFTER = 600  # seconds: what is younger may be somebody's work under way
LAYERS_AFTER = 86400  # seconds: layers that arrived wait for whoever sends the rest
TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108
# What write_atomic names a file that it has not put into its place yet; releases and secrets have names of their own.
PARTIAL = re.compile(r"\.[\w.-]+\.(?:[a-z0-9_]{8}|partial)\Z|lock\.(?:new-\w+|gone)\Z")
HOST_LOCK = re.compile(r"\.lock\.(?:new-\w+|gone)\Z")  # in the folder of all stacks, which others may use too
LAYERS = re.compile(r"(?!loading-)")  # and notes of images that come (loads.py)
SCRATCH = re.compile(r"canaryctl-[a-z0-9_]{8}\Z")


def about_leftovers(root: str, stack: str, temporary: tuple[str, ...] = TEMPORARY) -> list[dict[str, Any]]:
    """`path` and `age` in seconds of each; of the folders of one stack and of the host."""
    found = [*entries(root, HOST_LOCK, LEFT_AFTER), *left_in(os.path.join(root, stack))]
    found += entries(os.path.join(root, ".incoming"), LAYERS, LAYERS_AFTER)
    for folder in temporary:
        found += entries(folder, SCRATCH, LEFT_AFTER)
    return [{"path": path, "age": round(age)} for path, age in found]


def left_in(base: str) -> Iterator[tuple[str, float]]:
    """What was never put into its place in a stack's folder: paths, and how many seconds ago they were touched."""
    for folder in (base, base + "/releases", base + "/backups"):
        yield from entries(folder, PARTIAL, LEFT_AFTER)


def entries(folder: str, pattern: Any, after: float) -> Iterator[tuple[str, float]]:
    now = time.time()
    with contextlib.suppress(OSError):
        for entry in sorted(os.scandir(folder), key=lambda one: one.name):
            with contextlib.suppress(OSError):
                age = now - entry.stat(follow_symlinks=False).st_mtime
                if pattern.match(entry.name) and age > after:
                    yield entry.path, age
