"""Private directories in memory for what a process must not leave behind: secrets, passwords, control sockets.

A killed process cannot clean up after itself: a guard does, at once, and where that was killed too, the next process of
ours. Each directory holds a locked file, so that one whose owner lives is told from one whose owner is gone, whatever
process numbers say. Processes that work with a directory carry its name in their environment, and go with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

PREFIX = "canaryctl-"
_VARIABLE = "CANARYCTL_SCRATCH"
_LOCK = ".owner"
_PLACES = ("/tmp", "/dev/shm")  # noqa: S108  made by mkdtemp there
_GRACE = 0.5  # seconds that processes get to end when asked, before they are killed
_LAST_WORDS = 0.3  # seconds: a shell removes its container, say
_ROUNDS = 20  # of killing: who forks as fast as it is killed is another problem
# Ends without a word when it is told to. When it is not, whoever held the other end of its standard input is gone.
_WAITS = 'read -r _ || exec "$@"'
_NEEDED = ("PATH", "LD_LIBRARY_PATH")  # neither our mark, nor secrets that we were given
_held: dict[Path, int] = {}


def make_scratch(folder: str | None) -> Path:
    """A new directory (0700) in `folder`, or in the system's own for temporary files where it is None.

    Those of processes that are gone are removed first, wherever they are, with the processes that work with them.
    Should this process be killed, its guard does the same with this one.
    """
    found = (folder, tempfile.gettempdir(), *_PLACES, os.environ.get("XDG_RUNTIME_DIR"))
    places = sorted({place for place in found if place})
    _sweep_all(places)
    made = _make(folder)
    _guard.watch(made, places)
    return made


def _sweep_all(places: Iterable[str]) -> None:
    for place in places:
        with contextlib.suppress(OSError):
            _sweep(Path(place))


def _make(folder: str | None) -> Path:
    made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder))
    lock = os.open(made / f"{_LOCK}.new", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    (made / f"{_LOCK}.new").rename(made / _LOCK)  # seen by others only once it is locked
    _held[made] = lock
    return made


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A new directory for files alone, for as long as the block lasts."""
    made = _make(None)
    try:
        yield made
    finally:
        _remove(made)


class _Guard:
    """A process beside this one that clears away its directories, and ends who works with them, should it be killed.

    A shell, which costs nothing: it becomes this program when it has something to do. It leads a session of its own, so
    that what kills our group leaves it.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._watched: set[Path] = set()
        self._process: subprocess.Popen[bytes] | None = None

    def watch(self, made: Path, places: Iterable[str]) -> None:
        with self._turn:
            self._watched.add(made)
            if self._process is None:
                with contextlib.suppress(OSError):  # no room for another process: the next command clears away
                    self._process = subprocess.Popen(
                        ["sh", "-c", _WAITS, "sh", sys.executable, "-IS", __file__, *places],
                        cwd="/",
                        env={name: os.environ[name] for name in _NEEDED if name in os.environ},
                        stdin=subprocess.PIPE,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        start_new_session=True,
                    )

    def forget(self, made: Path) -> None:
        """The directory is gone; without any the guard is not needed."""
        with self._turn:
            self._watched.discard(made)
            if self._watched or self._process is None:
                return
            process, self._process = self._process, None
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                process.communicate(b"\n", timeout=_GRACE)
            process.kill()  # where it did not end by itself
            process.wait()


_guard = _Guard()


def mark_of(path: Path) -> dict[str, str]:
    """What the environment of a process that works with a directory needs, so that it ends with it."""
    return {_VARIABLE: str(path)}


def remove_scratch(path: Path) -> None:
    """End what still works with a directory that `make_scratch` made, and remove it; nothing where it is gone."""
    if path in _held:
        end_users(path)
    _remove(path)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if (lock := _held.pop(path, None)) is not None:
        os.close(lock)
    _guard.forget(path)


def end_users(path: Path) -> None:
    """End the processes that work with a directory, however far they went from who started them.

    They are asked, and killed half a second later; what they start in the meantime as well.
    """
    deadline = time.monotonic() + _GRACE
    _send(signal.SIGTERM, users := _users(path))
    while users and time.monotonic() < deadline:
        time.sleep(0.02)
        users = {pid for pid in users if _stat(pid)[:1] not in ([], ["Z"])}
    for _ in range(_ROUNDS):
        if not (users := _users(path)):
            return
        _send(signal.SIGKILL, users)
        time.sleep(0.02)


def abandon() -> None:
    """End all that this process started, and remove its directories: there is hardly time to ask."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        _send(sign, _below(os.getpid()).union(*map(_users, list(_held))))
        time.sleep(_LAST_WORDS if sign == signal.SIGTERM else 0)
    for path in list(_held):
        shutil.rmtree(path, ignore_errors=True)


def _send(sign: signal.Signals, pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, sign)


def _users(path: Path) -> set[int]:
    """Processes that have a directory's mark, but this one. Others' environments cannot be read, and are not ours.

    OpenSSH's masters write their title over their environment: it names their socket.
    """
    entry = f"{_VARIABLE}={path}".encode()
    found: set[int] = set()
    for pid in _processes():
        with contextlib.suppress(OSError):
            marks = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            title = Path(f"/proc/{pid}/cmdline").read_bytes()
            if pid != os.getpid() and (entry in marks or title.startswith(f"ssh: {path}/".encode())):
                found.add(pid)
    return found


def _below(pid: int) -> set[int]:
    """The processes that a process started, and those that they did."""
    parents = {child: _stat(child)[1:2] for child in _processes()}
    found: set[int] = set()
    ring = {pid}
    while ring:
        ring = {child for child, parent in parents.items() if parent and int(parent[0]) in ring} - found
        found |= ring
    return found


def _processes() -> list[int]:
    with contextlib.suppress(OSError):
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return []  # another system: there processes end when they notice


def _stat(pid: int) -> list[str]:
    """State, parent and what follows of /proc/PID/stat (proc(5)), behind the name, in which anything may be."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return []


def _sweep(folder: Path) -> None:
    for path in folder.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if path.is_symlink() or path.stat().st_uid != os.getuid():
                continue
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC)  # without one it is no scratch of ours
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                end_users(path)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


if __name__ == "__main__":  # the guard, whose charge was killed
    for _pause in (0, 1):  # it may just be letting go of its locks
        time.sleep(_pause)
        _sweep_all(sys.argv[1:])
