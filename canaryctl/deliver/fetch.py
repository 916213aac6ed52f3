"""An image from a host to this machine's Docker, streamed: nothing is kept on the way."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile

from canaryctl.errors import ConfigError, HostError
from canaryctl.observe import Connection

_PATIENCE = 3600.0  # seconds for a host to send an image


def fetch_image(connection: Connection, tag: str, *, sudo: bool = False) -> None:
    """Have `docker save TAG` there be read by `docker load` here. The caller verifies what came.

    Raises:
        HostError: the host has no such image, or was lost.
        ConfigError: Docker on this machine refuses it.
    """
    command = ("sudo -n " if sudo else "") + shlex.join(["docker", "save", tag])
    refused = False
    with tempfile.TemporaryFile() as said, _load(said.fileno()) as load:
        try:
            done = connection.read(command, lambda data: _write(load, data), timeout=_PATIENCE)
        except BrokenPipeError:
            refused = True
        except BaseException:
            load.kill()  # what came is not whole: Docker must take nothing of it
            raise
        if load.stdin:
            load.stdin.close()
        code = load.wait()
        said.seek(0)
        complaint = said.read().decode(errors="replace").strip()[-300:]
    if not refused and not done.ok:
        raise HostError(f"docker save {tag} failed there: {done.complaint}", connection.host, "see its Docker")
    if refused or code:
        raise ConfigError(
            f"docker load on this machine did not take {tag} from {connection.host}: {complaint}",
            "",
            "is Docker on this machine well, with room? canaryctl doctor",
        )


def _load(said: int) -> subprocess.Popen[bytes]:
    argv = ["docker", "load", "--quiet"]
    # Unbuffered, so that closing it has nothing left to write to a Docker that refused.
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=said, stderr=said, bufsize=0, start_new_session=True)


def _write(load: subprocess.Popen[bytes], data: bytes) -> None:
    assert load.stdin is not None  # noqa: S101  asked for above
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(load.stdin.fileno(), rest) :]
