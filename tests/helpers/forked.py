"""canaryctl as a process of its own that need not import anything: forked from one that has, which takes half as long.

`python forked.py SOCKET` is that one: it is asked on a Unix socket, with where output goes, and ends with its stdin.
What a process takes over when Python starts (its locale, Ansible's configuration) is this one's: `Warm.fits`.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Variables of the environment that are read when Python starts and modules are imported.
_AT_START = ("ANSIBLE_", "COLUMNS", "FORCE_COLOR", "HOME", "LANG", "LC_", "NO_COLOR", "PATH", "PYTHON", "TERM")
_ANSIBLE = ("ansible.cli", "ansible.inventory.manager", "ansible.template", "ansible.vars.manager")
_ROOT = Path(__file__).parents[2]
_MOST = 1 << 18  # bytes of a question


class Warm:
    """Runs canaryctl in forks of a process that has imported it."""

    def __init__(self, program: str, env: Mapping[str, str]) -> None:
        self._program, self._env = program, dict(env)
        self._folder = tempfile.TemporaryDirectory(prefix="warm-")  # a short path, as sockets need
        self._socket = f"{self._folder.name}/socket"
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, self._socket],
            cwd=self._folder.name,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout and self._process.stdout.readline() == b"ready\n"

    def close(self) -> None:
        """End it."""
        self._process.communicate()
        self._folder.cleanup()

    def fits(self, cwd: Path, env: Mapping[str, str]) -> bool:
        """Whether a canaryctl in this folder and environment would have imported the same."""

        def read(variables: Mapping[str, str]) -> dict[str, str]:
            return {name: value for name, value in variables.items() if name.startswith(_AT_START)}

        # The checkout's own ansible.cfg says nothing that canaryctl reads.
        return read(env) == read(self._env) and (cwd == _ROOT or not (cwd / "ansible.cfg").exists())

    def run(self, *argv: str, cwd: Path, env: Mapping[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
        """As subprocess.run with both outputs captured, and nothing to read."""
        out, err = os.pipe(), os.pipe()
        asked = {"argv": [self._program, *argv], "cwd": str(cwd), "env": dict(env)}
        texts: dict[int, str] = {}

        def read(end: int) -> None:
            with open(end, encoding="utf-8") as file:
                texts[end] = file.read()

        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.connect(self._socket)
            socket.send_fds(connection, [json.dumps(asked).encode()], [out[1], err[1]])
            for end in (out[1], err[1]):
                os.close(end)
            readers = [threading.Thread(target=read, args=(end,), daemon=True) for end in (out[0], err[0])]
            for reader in readers:
                reader.start()
            process = int(connection.recv(64))
            connection.settimeout(timeout)
            try:
                code = int(connection.recv(64))
            except TimeoutError:
                os.kill(process, signal.SIGKILL)
                raise subprocess.TimeoutExpired(asked["argv"], timeout) from None  # type: ignore[arg-type]
        for reader in readers:
            reader.join(timeout)
            assert not reader.is_alive(), f"something that {argv} started holds its output open"
        return subprocess.CompletedProcess([self._program, *argv], code, texts[out[0]], texts[err[0]])


def _serve(path: str) -> None:
    """Fork a canaryctl for each question, until nobody is there any more to ask."""
    _import_all()
    gc.freeze()  # or collecting garbage would copy all memory in each fork
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen(16)
        os.write(1, b"ready\n")
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                return _answer(connection)
            connection.close()
            _reap()


def _import_all() -> None:
    import canaryctl

    for module in pkgutil.walk_packages(canaryctl.__path__, "canaryctl."):
        if not module.name.startswith("canaryctl.agent") and not module.name.endswith("__main__"):  # which are programs
            importlib.import_module(module.name)
    for name in _ANSIBLE:
        importlib.import_module(name)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _answer(connection: socket.socket) -> None:
    """Run what is asked for in a fork, and answer with its process and then how it ended; returns in the fork alone."""
    message, outputs, _, _ = socket.recv_fds(connection, _MOST, 2)
    process = os.fork()
    if process == 0:
        connection.close()
        return _become(json.loads(message), outputs)
    for output in outputs:
        os.close(output)
    connection.send(str(process).encode())
    _, status = os.waitpid(process, 0)
    with contextlib.suppress(OSError):  # nobody waits for it any more
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(asked: dict[str, Any], outputs: list[int]) -> None:
    """Be the canaryctl that is asked for, as its script would be."""
    from ansible.utils.path import cleanup_tmp_file

    from canaryctl.cli.main import run

    atexit.unregister(cleanup_tmp_file)  # Ansible's temporary folder is shared by all of us
    for target, source in enumerate([os.open(os.devnull, os.O_RDONLY), *outputs]):
        os.dup2(source, target)
        os.close(source)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv = asked["argv"]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C: the session ends us
    _serve(sys.argv[1])
