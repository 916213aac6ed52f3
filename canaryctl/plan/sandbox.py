"""Templates of others, rendered where they can take neither time nor memory without end: in a process of their own.

Jinja's sandbox keeps a template from what it may not touch, but not from `'a' * 10**10` or a loop in a loop. One child
of this process renders all of them, one after the other; it is started with the first, before connections and threads,
and ends with this process. A template that takes too long or too much costs the child, and the next starts another.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import pickle
import resource
import select
import signal
import struct
import threading
import time
import traceback
import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal, NoReturn

SECONDS = 5.0  # for one template
MEMORY = 512 << 20  # bytes beyond what this process has when it starts the child
LARGEST = 4 << 20  # characters that one template may become

Kind = Literal["syntax", "undefined", "security", "failed", "bounds"]
_HEAD = struct.Struct("!Q")


class TemplateFault(Exception):  # noqa: N818  made into an error of ours by who knows the place
    """A template that cannot be rendered: what kind of fault, what it says, and in which line of it."""

    def __init__(self, kind: Kind, message: str, line: int = 1) -> None:
        super().__init__(message)
        self.kind, self.message, self.line = kind, message, line


def render_template(text: str, names: Mapping[str, Any], *, blocks: bool = False) -> str:
    """A template rendered with these names, in Jinja's immutable sandbox; an undefined name is a fault.

    Args:
        names: plain data.
        blocks: whether lines with nothing but a block leave no trace, as in a file; else all stays as it is written.

    Raises:
        TemplateFault: it is no template, fails, does what it may not, or takes too much time or memory.
    """
    try:
        request = pickle.dumps((text, dict(names), blocks))
    except RecursionError:
        raise TemplateFault("bounds", "what it is given is nested too deep") from None
    return _CHILD.render(request)


class _Child:
    """The process that renders, and the pipes to it. Used by one thread at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = self._owner = 0
        self._to = self._from = -1

    def render(self, request: bytes) -> str:
        with self._lock:
            if self._owner == os.getpid() and self._has_ended():
                self._forget()
            if self._owner != os.getpid():
                self._start()
            try:
                _send(self._to, request)
                answer = _receive(self._from, time.monotonic() + SECONDS, most=LARGEST * 8)
            except (OSError, EOFError, TimeoutError):
                self.end()
                what = f"it takes more than {SECONDS:g} s, or too much memory"
                raise TemplateFault("bounds", what) from None
            except BaseException:  # an interrupt: an answer may still come, to nobody
                self.end()
                raise
        result = json.loads(answer)
        if "text" not in result:
            raise TemplateFault(result["kind"], result["message"], result["line"])
        return str(result["text"])

    def _start(self) -> None:
        to_read, to_write = os.pipe()
        from_read, from_write = os.pipe()
        with warnings.catch_warnings():
            # The child renders and nothing else: it takes no lock that another thread may have held.
            warnings.simplefilter("ignore", DeprecationWarning)
            process = os.fork()
        if process == 0:
            _serve(to_read, from_write)
        os.close(to_read)
        os.close(from_write)
        self._process, self._owner, self._to, self._from = process, os.getpid(), to_write, from_read

    def _has_ended(self) -> bool:
        """Whether the child ended while it had nothing to do: a machine short of memory may have taken it."""
        try:
            return os.waitpid(self._process, os.WNOHANG)[0] != 0
        except ChildProcessError:
            return True

    def _forget(self) -> None:
        self._owner = 0
        os.close(self._to)
        os.close(self._from)

    def end(self) -> None:
        """End the child, if this process has one."""
        if self._owner != os.getpid():
            return
        self._forget()
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self._process, signal.SIGKILL)
            os.waitpid(self._process, 0)


_CHILD = _Child()
atexit.register(_CHILD.end)


def _send(pipe: int, content: bytes) -> None:
    left = memoryview(_HEAD.pack(len(content)) + content)
    while left:
        left = left[os.write(pipe, left) :]


def _receive(pipe: int, until: float | None, most: int) -> bytes:
    (size,) = _HEAD.unpack(_read(pipe, _HEAD.size, until))
    if size > most:
        raise EOFError
    return _read(pipe, size, until)


def _read(pipe: int, size: int, until: float | None) -> bytes:
    content = bytearray()
    while len(content) < size:
        if until is not None and not select.select([pipe], [], [], max(0.0, until - time.monotonic()))[0]:
            raise TimeoutError
        if not (part := os.read(pipe, min(size - len(content), 1 << 20))):
            raise EOFError
        content += part
    return bytes(content)


# in the child


def _serve(requests: int, answers: int) -> NoReturn:
    try:
        _confine(requests, answers)
        while True:
            request = _receive(requests, None, most=1 << 40)
            signal.setitimer(signal.ITIMER_REAL, SECONDS + 5)  # where nobody is left to end it
            answer = json.dumps(_answer(*pickle.loads(request)))  # noqa: S301  of our own process
            signal.setitimer(signal.ITIMER_REAL, 0)
            _send(answers, answer.encode())
    finally:
        os._exit(0)


def _confine(requests: int, answers: int) -> None:
    """Leave the child nothing of its parent's: no files, locks, terminal or signals, and little memory."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    # A terminal or a service manager sends these to all at once. The parent decides, and may have more to render.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    # By what is open, not by the limit: that is a billion in some containers, or none at all.
    for handle in map(int, os.listdir("/dev/fd")):  # noqa: PTH208
        if handle > 2 and handle not in (requests, answers):
            with contextlib.suppress(OSError):  # the listing's own
                os.close(handle)
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open("/proc/self/statm") as file:  # noqa: PTH123
            present = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (present + MEMORY, present + MEMORY))
    gc.freeze()


def _answer(text: str, names: dict[str, Any], blocks: bool) -> dict[str, Any]:
    from jinja2 import TemplateSyntaxError, UndefinedError
    from jinja2.exceptions import SecurityError

    try:
        rendered = _template(text, blocks).render(names)
        if len(rendered) > LARGEST:
            return _fault("bounds", f"it becomes more than {LARGEST >> 20} MiB", None)
        return {"text": rendered}
    except TemplateSyntaxError as error:
        return {"kind": "syntax", "message": error.message or "", "line": error.lineno}
    except UndefinedError as error:
        return _fault("undefined", error.message or "", error)
    except SecurityError as error:
        return _fault("security", str(error), error)
    except MemoryError as error:
        return _fault("bounds", "it takes too much memory", error)
    except Exception as error:  # a template is the user's code: whatever it raises is theirs to correct
        return _fault("failed", f"{type(error).__name__}: {error}", error)


def _fault(kind: Kind, message: str, error: BaseException | None) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__) if error else []
    lines = [frame.lineno for frame in frames if frame.filename == "<template>"]
    return {"kind": kind, "message": message[:2000], "line": (lines[-1] or 1) if lines else 1}


@lru_cache(maxsize=512)
def _template(text: str, blocks: bool) -> Any:
    jinja = _environment(blocks)
    return jinja.template_class.from_code(jinja, jinja.compile(text, filename="<template>"), dict(jinja.globals))


@lru_cache(maxsize=2)
def _environment(blocks: bool) -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=blocks, lstrip_blocks=blocks, keep_trailing_newline=True
    )
