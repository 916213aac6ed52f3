"""An image from a host to this machine's Docker: the one that was asked for, and nothing else that the host sends."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from canaryctl.config.caches import cache_home
from canaryctl.errors import ConfigError, HostError
from canaryctl.hosts import Connection
from canaryctl.hosts.sudo import as_root
from canaryctl.images.archive import read_saved, write_saved

# Seconds for a host to send an image, and for the next bytes of one: Docker may put all of it together first.
_PATIENCE, _IDLE = 6 * 3600.0, 900.0
# A tar is bigger than the files in it, and what is known of a published image is its size compressed.
_LOOSENESS, _SPARE = 6, 256 << 20
_LEFT_FREE = 1 << 30  # bytes that stay free here, whatever a host says of its image


def fetch_image(connection: Connection, tag: str, identity: str, size: int, *, sudo: bool = False) -> None:
    """Load here what `docker save TAG` there gives, if it is the image `identity` alone, whole and unchanged.

    What comes waits in a file below the cache until all of it is verified; this machine's Docker reads an archive of
    our own making, so that no name in the host's ever reaches it.

    Args:
        size: bytes that the image is known to have.

    Raises:
        HostError: the host has no such image, was lost, or what it sent is something else.
        ConfigError: there is no room for it here, or Docker on this machine refuses it.
    """
    folder = cache_home("incoming")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    most = min(max(size, 0) * _LOOSENESS + _SPARE, max(shutil.disk_usage(folder).free - _LEFT_FREE, 0))
    with tempfile.TemporaryFile(dir=folder, prefix="image-") as spool:
        _receive(connection, tag, spool, most, folder, sudo=sudo)
        try:
            image = read_saved(spool, identity, tag, most)
        except ValueError as error:
            raise HostError(
                f"docker save {tag} there gives something else than the image {identity[:19]}: {error}",
                connection.host,
                "do not trust this host until that is explained; nothing of it was taken",
                reason="agent",
            ) from None
        _load(write_saved(spool, image, tag), f"{tag} from {connection.host}")


def _receive(connection: Connection, tag: str, spool: IO[bytes], most: int, folder: Path, *, sudo: bool) -> None:
    count = 0

    def keep(data: bytes) -> None:
        nonlocal count
        count += len(data)
        if count > most:
            raise HostError(
                f"docker save {tag} there gives more than {most / 1e6:.0f} MB, too much for that image or for {folder}",
                connection.host,
                f"see what it sends, and that there is room in {folder}; nothing of it was taken",
                reason="agent",
            )
        try:
            spool.write(data)
        except OSError as error:
            raise ConfigError(f"an image cannot be kept here: {error}", str(folder), "make room there") from None

    command = as_root(shlex.join(["docker", "save", "--", tag]), sudo)
    done = connection.read(command, keep, timeout=_PATIENCE, idle=_IDLE)
    if not done.ok:
        raise HostError(f"docker save {tag} failed there: {done.complaint}", connection.host, "see its Docker")


def _load(archive: Iterable[bytes], what: str) -> None:
    refused = False
    with tempfile.TemporaryFile() as output:
        argv = ["docker", "load", "--quiet"]
        # Unbuffered, so that closing it has nothing left to write to a Docker that refused.
        with subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=output, stderr=output, bufsize=0, start_new_session=True
        ) as load:
            try:
                for data in archive:
                    _write(load, data)
            except BrokenPipeError:
                refused = True
            except BaseException:
                load.kill()  # what came is not whole: Docker must take nothing of it
                raise
            if load.stdin:
                load.stdin.close()
            code = load.wait()
        output.seek(0)
        complaint = output.read().decode(errors="replace").strip()[-300:]
    if refused or code:
        raise ConfigError(
            f"docker load on this machine did not take {what}: {complaint}",
            what,
            "is Docker on this machine well, with room? canaryctl doctor",
        )


def _write(load: subprocess.Popen[bytes], data: bytes) -> None:
    assert load.stdin is not None  # noqa: S101  asked for above
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(load.stdin.fileno(), rest) :]
