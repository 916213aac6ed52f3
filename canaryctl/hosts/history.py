"""The history that operators share: one line a change and one a verdict, in `history.jsonl` on each host."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from canaryctl.errors import HostError, LockedError
from canaryctl.evidence.files import now
from canaryctl.hosts.sudo import as_root

_LOCK_LOST = 75  # exit code of the appending command


class Completed(Protocol):
    """How a remote command ended."""

    @property
    def code(self) -> int: ...
    @property
    def stdout(self) -> bytes: ...
    @property
    def stderr(self) -> bytes: ...


class Connection(Protocol):
    """What this module needs of a connection to a host."""

    @property
    def host(self) -> str: ...
    def run(self, command: str, *, stdin: bytes = b"", timeout: float | None = 60) -> Completed: ...


def history_line(
    *,
    who: str,
    environment: str,
    what: str,
    before: str | None,
    after: str | None,
    verdict: str | None,
    run: str,
    role: str | None = None,
    time: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A line of the history; `before` and `after` are release ids and become its `from` and `to`.

    `role` is in the line where there is one: what passed as a baseline is neither promoted nor rolled back to.
    `extra` are further keys: what a verdict proves (deploy/proof.py).
    """
    line = {
        "time": time or now(),
        "who": who,
        "environment": environment,
        "what": what,
        "from": before,
        "to": after,
        "verdict": verdict,
        "run": run,
    }
    return {**line, **({} if role is None else {"role": role}), **(extra or {})}


def append_command(root: str, stack: str, sudo: bool, locks: Sequence[Mapping[str, str]] = ()) -> str:
    """The command that appends its standard input to a host's history in one write; code 75 where a lock is lost."""
    directory = shlex.quote(f"{root}/{stack}")
    # dd gathers the whole line before its only write, so two operators' lines never mix.
    script = "".join(
        f"grep -qsF {shlex.quote(lock['owner'])} {shlex.quote(lock['path'])}/holder.json || exit {_LOCK_LOST}; "
        for lock in locks
    )
    script += (
        f"umask 022 && mkdir -p {directory} && "
        f"dd of={directory}/history.jsonl bs=64k iflag=fullblock oflag=append conv=notrunc status=none"
    )
    return as_root(f"sh -c {shlex.quote(script)}", sudo)


def append(
    connection: Connection,
    root: str,
    stack: str,
    line: dict[str, Any],
    sudo: bool,
    locks: Sequence[Mapping[str, str]] = (),
) -> None:
    """Append a line to the history of a stack on a host.

    Args:
        locks: `path` and `owner` of the locks that must still be there.

    Raises:
        LockedError: a lock is lost.
        HostError: the host refused, with its own words.
    """
    content = json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
    done = connection.run(append_command(root, stack, sudo, locks), stdin=content, timeout=30)
    if locks and done.code == _LOCK_LOST:
        hint = "look with canaryctl lock status ENV, then run this again"
        raise LockedError("this run has lost its lock, and changes nothing more", connection.host, hint)
    if done.code:
        said = done.stderr.decode("utf-8", "replace").strip() or f"exit code {done.code}"
        raise HostError(
            f"the history could not be written: {said}", connection.host, f"check who may write {root}/{stack} there"
        )
