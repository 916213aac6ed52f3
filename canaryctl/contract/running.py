"""Run an image for a check: without network, without writing, without rights, bounded in memory and time.

The same shell script runs on this machine and, over SSH, on hosts. It removes its container however it ends.
"""

from __future__ import annotations

import re
import secrets
import shlex
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

from canaryctl.errors import Interrupted
from canaryctl.hosts import CommandTimeout, Connection, LocalConnection
from canaryctl.hosts.sudo import as_root

LABEL = "canaryctl.contract"
OLD = " [0-9]+ (hours|days|weeks|months|years) ago$"  # in Docker's words, as a regular expression of grep's
_KEPT = 64_000  # bytes of output kept, its end
_GRACE = 20.0  # seconds for Docker to remove what ran too long, and to say so
# A shell that tells a dead canaryctl of what was killed dies of it, before its traps: it tells nobody.
_TRAPS = (
    "exec 2>/dev/null; w=; trap 'exit 143' HUP INT TERM; trap 'kill $w; {docker} rm -f {name} >/dev/null 2>&1' EXIT; "
)
# Standard input ends when canaryctl does, however that does, or with the connection.
_WATCH = "exec 3<&0; { cat <&3 >/dev/null; kill -TERM $$; } >/dev/null & w=$!; "
# `wait` lets the traps run at once; a foreground command would hold them up.
_BOUNDED = "b=; command -v timeout >/dev/null 2>&1 && b='timeout -s KILL {seconds:g}'; {run} </dev/null 3<&- 2>&1 & "
_ANSWER = "wait $!; exit $?"
_NOISE = re.compile("^WARNING: |docker run --help")
# Docker's own words where the program to start is not in the image.
_STARTING = re.compile("OCI runtime|exec:|failed to create")
_NO_PROGRAM = ("executable file not found", "no such file or directory")


@dataclass(frozen=True)
class Place:
    """Where images are run: this machine, or a host through its connection.

    `name` is `here` or the host's; `gpu` are Docker's options that give a container its GPUs, empty where there is
    none. `mark` begins the name of every container that is started here; once `stopped` is set none is started.
    """

    name: str
    connection: Connection
    sudo: bool = False
    gpu: tuple[str, ...] = ()
    mark: str = field(default_factory=lambda: f"canaryctl-contract-{secrets.token_hex(4)}")
    stopped: threading.Event = field(default_factory=threading.Event)

    def docker(self, *words: str) -> str:
        """A docker command line for a POSIX shell."""
        return as_root(shlex.join(["docker", *words]), self.sudo)


def here() -> Place:
    """This machine. Close its connection: it ends what still runs."""
    return Place("here", LocalConnection("this machine"))


@dataclass(frozen=True)
class Ran:
    """How a run of an image ended. `output` is the end of both streams; `late`: it was ended for its time."""

    code: int
    output: str
    seconds: float
    late: bool = False

    @property
    def no_program(self) -> bool:
        """Whether the image does not have the program it was to start."""
        if self.code not in (126, 127) or not (starting := _STARTING.search(self.output)):
            return False
        return any(words in self.output[starting.end() :] for words in _NO_PROGRAM)

    @property
    def fault(self) -> str:
        """Why Docker could not run the image at all, in its words; empty where it did, or lacked the program."""
        if "exec format error" in self.output:
            return "exec format error: it is for another kind of processor than this machine's, or lacks its '#!' line"
        if self.code == 125 or "Cannot connect to the Docker daemon" in self.output:
            return self.last_words or "docker run failed"
        return ""

    @property
    def out_of_memory(self) -> bool:
        """Whether it was killed, which the memory bound does."""
        return self.code == 137 and not self.late

    @property
    def last_words(self) -> str:
        """The last lines it said, on one line."""
        stripped = (line.strip() for line in self.output.splitlines())
        lines = [line for line in stripped if line and not _NOISE.search(line)]
        return " / ".join(lines[-3:])[-600:]


def run_image(
    place: Place,
    image: str,
    words: Sequence[str],
    *,
    memory: int,
    timeout: float,
    gpu: bool = False,
    entrypoint: bool = False,
) -> Ran:
    """Start `words` in an image, as its user and in its working directory, its entry point aside.

    Args:
        image: what the place's Docker knows it by.
        memory: bytes it may use.
        timeout: seconds until it is ended.
        gpu: give it the place's GPUs.
        entrypoint: have the image's entry point start `words`; it may become another user.

    Raises:
        HostError: the host was lost.
        Interrupted: the place was stopped.
    """
    name = f"{place.mark}-{secrets.token_hex(4)}"
    options = ["--rm", "--name", name, "--label", LABEL, "--network", "none", "--read-only", "--tmpfs", "/tmp"]  # noqa: S108  in the container
    options += ["--memory", str(memory), "--memory-swap", str(memory), "--pids-limit", "512", "--pull", "never"]
    options += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", *(place.gpu if gpu else ())]
    if entrypoint:
        argv = ["--cap-add", "SETUID", "--cap-add", "SETGID", image, *words]
    else:
        argv = ["--entrypoint", words[0], image, *words[1:]]
    run = as_root("$b " + shlex.join(["docker", "run", *options, *argv]), place.sudo)
    command, given = _script(place, name, run, timeout)
    tail = b""

    def keep(data: bytes) -> None:
        nonlocal tail
        tail = (tail + data)[-_KEPT:]

    _mind_stop(place)
    began = time.monotonic()
    try:
        with given as chunks:
            done = place.connection.read(command, keep, timeout=timeout + _GRACE, chunks=chunks)
        code = done.code
        tail = tail or done.complaint.encode()
    except CommandTimeout:
        code = 124
    _mind_stop(place)
    seconds = time.monotonic() - began
    output = tail.decode("utf-8", "replace")
    return Ran(code, output, round(seconds, 3), late=code in (124, 137) and seconds >= timeout)


def _script(place: Place, name: str, run: str, timeout: float) -> tuple[str, AbstractContextManager[Iterable[bytes]]]:
    """A shell's line that runs a container and removes it however that ends, and what it is fed meanwhile."""
    script = _TRAPS.format(docker=place.docker(), name=name)
    # Where sudo takes its password from standard input, that has its end at once.
    watched = not place.connection.sudo_password
    script += (_WATCH if watched else "") + _BOUNDED.format(seconds=timeout, run=run) + _ANSWER
    # The login shell may be no POSIX shell.
    return f"exec sh -c {shlex.quote(script)}", _nothing_yet() if watched else nullcontext(())


@contextmanager
def _nothing_yet() -> Iterator[Iterable[bytes]]:
    """Standard input that has its end when the block has."""
    over = threading.Event()

    def nothing() -> Iterator[bytes]:
        over.wait()
        yield from ()

    try:
        yield nothing()
    finally:
        over.set()


def _mind_stop(place: Place) -> None:
    if place.stopped.is_set():
        raise Interrupted("the check was stopped", place.name)


def clear_old(place: Place) -> None:
    """Remove containers of checks whose canaryctl was killed before it could: none takes hours."""
    form = ["--filter", f"label={LABEL}", "--format", "{{.ID}} {{.RunningFor}}"]
    old = f"{place.docker('ps', '-a', *form)} | grep -E {shlex.quote(OLD)} | cut -d' ' -f1"
    script = f'ids=$({old}); [ -z "$ids" ] || {place.docker("rm", "-f")} $ids'
    place.connection.run(f"exec sh -c {shlex.quote(script)}", timeout=30)


def sweep(place: Place, seconds: float) -> None:
    """Remove the containers that were started here, in so many seconds, and with that end what waits for them."""
    listed = place.docker("ps", "-aq", "--filter", f"name=^/{place.mark}")
    script = f'ids=$({listed}); [ -z "$ids" ] || {place.docker("rm", "-f")} $ids'
    place.connection.run(f"exec sh -c {shlex.quote(script)}", timeout=seconds)
