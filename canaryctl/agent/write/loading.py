"""Note what Docker is about to load or pull, and remove what of it never got its tag. Never anybody else's images."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from typing import Iterator, Sequence

from canaryctl.agent.read.docker import Docker, DockerError, quoted_filter
from canaryctl.agent.read.loads import INCOMING, image_there, is_left, read_notes

UNPACKED = "canaryctl-unpacked-"  # begins the name of a container that is made of an image to see that it is whole


@contextlib.contextmanager
def loading(daemon: Docker, root: str, images: Sequence[str]) -> Iterator[list[str]]:
    """Around what has images come and gives them their tags; gives those that are not there yet.

    Of these none is left without a tag, however that ends; where this program is killed, the next one sees to it.
    images: by what Docker here calls them, or will.
    """
    new = [name for name in images if image_there(daemon, name) is None]
    if not new:
        yield new
        return
    path, handle = write_note(root, new, list(images))
    try:
        yield new
    finally:
        with contextlib.suppress(DockerError, OSError):
            remove_untagged(daemon, new, living(root, but=path))
            os.unlink(path)
        os.close(handle)


def write_note(root: str, new: list[str], wanted: list[str]) -> tuple[str, int]:
    """A note of ours, on the disk and locked by the time that anybody sees it: its path, and what holds the lock."""
    folder = os.path.join(root, INCOMING)
    os.makedirs(folder, 0o700, exist_ok=True)
    name = f"loading-{os.getpid()}_{secrets.token_hex(4)}.json"
    temporary, path = os.path.join(folder, "." + name), os.path.join(folder, name)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        os.write(handle, json.dumps({"new": new, "wanted": wanted}).encode())
        os.fsync(handle)
        os.rename(temporary, path)
    except BaseException:
        os.close(handle)
        os.unlink(temporary)
        raise
    return path, handle


def living(root: str, but: str = "") -> set[str]:
    """What others that live are about to give a tag."""
    return {name for note in read_notes(root) if not note.abandoned and note.path != but for name in note.wanted}


def remove_untagged(daemon: Docker, names: Sequence[str], spare: set[str]) -> list[str]:
    """Remove those of our images that have no tag; what a container uses by now is its own affair."""
    gone = []
    for name in names:
        if name not in spare and is_left(daemon, name):
            with contextlib.suppress(DockerError):
                daemon.delete("/images/" + name)
                gone.append(name)
    return gone


def clear_abandoned(daemon: Docker, root: str) -> list[str]:
    """Remove what killed programs of ours had loaded and not tagged, and their notes; the images that went."""
    gone: list[str] = []
    with contextlib.suppress(DockerError, OSError):
        for note in read_notes(root):
            if note.abandoned:
                for entry in daemon.get("/containers/json?all=1&filters=" + quoted_filter(name=["^/" + UNPACKED])):
                    with contextlib.suppress(DockerError):
                        daemon.delete("/containers/" + entry["Id"])
                gone += remove_untagged(daemon, note.new, living(root))
                os.unlink(note.path)
    return gone
