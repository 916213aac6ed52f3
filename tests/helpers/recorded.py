"""A host that was recorded: what the agent's programs answered, one conversation after the other."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from local import local_host

from canaryctl.hosts import Completed, Connection


class Recorded(Connection):
    """Answers each command with the next of `conversations`, whatever it is asked; `asked` has what it was."""

    def __init__(self, *conversations: Sequence[dict[str, Any]], code: int = 0, complaint: str = "") -> None:
        self.host, self.inventory = "alpha", local_host("alpha")
        self._conversations = list(conversations)
        self._ending = Completed(code, b"", complaint.encode())
        self.asked: list[bytearray] = []

    def execute(
        self,
        command: str,
        chunks: Iterable[bytes],
        sink: Callable[[bytes], None],
        *,
        timeout: float | None,
        tty: bool = False,
        aside: Callable[[bytes], None] | None = None,
        idle: float | None = None,
    ) -> Completed:
        heard = bytearray(command.encode())
        self.asked.append(heard)
        rest = iter(chunks)
        heard.extend(next(rest, b""))  # the program, in one piece
        threading.Thread(target=lambda: [heard.extend(chunk) for chunk in rest], daemon=True).start()
        for answer in self._conversations.pop(0):
            sink(json.dumps(answer).encode() + b"\n")
        return self._ending

    def lend_terminal(self, command: str) -> int:
        raise NotImplementedError

    def dial(self, address: str, port: int, timeout: float = 10) -> Any:
        raise NotImplementedError

    @property
    def alive(self) -> bool:
        return True

    def close(self) -> None:
        pass


class Answering(Recorded):
    """Answers each command with the exit code and output that `answer` has for it; `commands` has what it was asked."""

    def __init__(self, answer: Callable[[str], tuple[int, str]], host: str = "alpha") -> None:
        super().__init__()
        self.host, self._answer, self.commands = host, answer, list[str]()

    def execute(
        self,
        command: str,
        chunks: Iterable[bytes],
        sink: Callable[[bytes], None],
        *,
        timeout: float | None,
        tty: bool = False,
        aside: Callable[[bytes], None] | None = None,
        idle: float | None = None,
    ) -> Completed:
        self.commands.append(command)
        threading.Thread(target=lambda: list(chunks), daemon=True).start()  # may end only when the command has
        code, output = self._answer(command)
        sink(output.encode())
        return Completed(code, b"", b"")
