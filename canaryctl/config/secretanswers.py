"""Secrets that are asked for: the answer of a command (`op read`, `pass`, `bws`, anything) or of a person."""

from __future__ import annotations

import getpass
import shlex
import subprocess
import sys
import threading
from typing import Any

from canaryctl.agent.read.processes import end_group

COMMAND_TIMEOUT = 60.0  # seconds; a password manager may wait for a finger

_lock = threading.Lock()
_answers: dict[tuple[str, ...], str] = {}


def command_words(given: Any) -> list[str]:
    """What a command source runs, for showing and running: a list as it is, a text's words.

    Raises:
        ValueError: it is neither, or empty.
    """
    if isinstance(given, list) and given:
        return [str(word) for word in given]
    if isinstance(given, str) and given.strip():
        try:
            return shlex.split(given)
        except ValueError:
            return given.split()  # the shell will say what is wrong with it
    raise ValueError("a command is a text for the shell or a list of words")


def answer_of_command(given: Any) -> str:
    """The standard output of a command, without the newlines at its end.

    A text runs in `sh -c`, a list without a shell.

    Raises:
        LookupError: it cannot be run, fails, is late, or answers with what is no text. Holds its complaint, never its
            answer.
    """
    words = command_words(given)
    argv = words if isinstance(given, list) else ["sh", "-c", str(given)]
    with _lock:
        if (key := ("command", *argv)) not in _answers:
            _answers[key] = _run(argv)
        return _answers[key]


def answer_of_person(name: str, where: str, given: Any) -> str:
    """What the operator types, without echo.

    Args:
        given: the text to ask with; True for one of our own.

    Raises:
        LookupError: nobody can be asked.
        ValueError: the source is neither a text nor true.
    """
    if given is not True and not (isinstance(given, str) and given.strip()):
        raise ValueError("a prompt is the text to ask with, or true")
    text = f"{name} for {where}" if given is True else str(given).strip().rstrip(":")
    with _lock:
        if (key := ("prompt", where, name)) not in _answers:
            if sys.stdin is None or not sys.stdin.isatty():
                raise LookupError("it is asked for on a terminal, and standard input is none")
            try:
                _answers[key] = getpass.getpass(f"{text}: ", sys.stderr)
            except EOFError:
                raise LookupError("nothing was typed") from None
        return _answers[key]


def forget_answers() -> None:
    """Ask afresh from here on."""
    with _lock:
        _answers.clear()


def _run(argv: list[str]) -> str:
    # On a terminal it stays in our process group, where a password manager may ask its user for the master password.
    apart = 0 if sys.stdin is None or not sys.stdin.isatty() else None
    try:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=apart
        )
    except OSError as error:
        raise LookupError(f"`{argv[0]}` cannot be run: {error.strerror}") from None
    program = argv[0] if argv[:2] != ["sh", "-c"] else "the command"
    try:
        out, err = child.communicate(timeout=COMMAND_TIMEOUT)
    except subprocess.TimeoutExpired:
        _end(child, apart)
        raise LookupError(f"{program} did not answer within {COMMAND_TIMEOUT:g} s") from None
    except BaseException:
        _end(child, apart)
        raise
    if child.returncode:
        complaint = _without(err, out)
        raise LookupError(f"{program} ended with code {child.returncode}" + (f": {complaint}" if complaint else ""))
    try:
        return out.decode("utf-8").rstrip("\n")
    except UnicodeDecodeError:
        raise LookupError(f"{program} answered with bytes that are no text") from None


def _end(child: subprocess.Popen[bytes], apart: int | None) -> None:
    if apart is None:
        child.kill()
    else:
        end_group(child, grace=0)
    for stream in (child.stdout, child.stderr):  # what it started may hold them open for ever
        if stream:
            stream.close()
    child.wait()


def _without(complaint: bytes, answer: bytes) -> str:
    """The end of what a command complained about; where it repeats its answer there, without that."""
    words = " ".join(complaint.decode("utf-8", "replace").split())
    for part in (answer.decode("utf-8", "replace").strip(), *answer.decode("utf-8", "replace").split()):
        if len(part) >= 4:
            words = words.replace(" ".join(part.split()), "[its answer]")
    return words[-300:]
