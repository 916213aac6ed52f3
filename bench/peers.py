"""The ways images get to hosts today, each as whole as somebody would type it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from canaryctl import lab as labs


def load_through_ssh(ssh: Sequence[str], image: str) -> float:
    """Seconds of `docker save IMAGE | ssh HOST docker load`; `ssh` is the command line of the latter."""
    began = time.monotonic()
    save = subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE)
    subprocess.run(ssh, check=True, stdin=save.stdout, stdout=subprocess.DEVNULL)
    if save.wait():
        raise SystemExit(f"docker save {image} failed")
    return time.monotonic() - began


@contextlib.contextmanager
def registry_through_ssh(lab: labs.Lab, host: str) -> Iterator[Callable[[str], float]]:
    """A registry on this machine's loopback; the function pushes an image to it and has the host pull it."""
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="bench-registry-") as folder:
        config = Path(folder, "config.yml")
        config.write_text(
            f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
            f"http: {{addr: '127.0.0.1:{port}'}}\n"
        )
        registry = subprocess.Popen(
            ["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            _until_open(port)
            yield lambda image: _push_and_pull(lab, host, port, image)
        finally:
            registry.terminate()
            registry.wait()


def _push_and_pull(lab: labs.Lab, host: str, port: int, image: str) -> float:
    published = f"127.0.0.1:{port}/{image}"
    began = time.monotonic()
    _quietly(["docker", "tag", image, published])
    _quietly(["docker", "push", "-q", published])
    ssh, *options = labs.ssh_argv(lab, host, f"sudo docker pull -q {published}")
    _quietly([ssh, "-R", f"127.0.0.1:{port}:127.0.0.1:{port}", *options])
    seconds = time.monotonic() - began
    _quietly(["docker", "rmi", published])
    return seconds


def _quietly(argv: Sequence[str]) -> None:
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _until_open(port: int) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise SystemExit("the registry does not start")
