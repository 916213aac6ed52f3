"""A server that drops who comes before it has said a word, as an sshd does that has too many to attend to."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class Dropper:
    """Listens on `port` of loopback; `came` says how many it has dropped."""

    def __init__(self, words: bytes = b"") -> None:
        self.came, self._words = 0, words
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = self._server.accept()
                self.came += 1
                with link:
                    link.sendall(self._words)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


@contextlib.contextmanager
def dropping(words: bytes = b"") -> Iterator[Dropper]:
    server = Dropper(words)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join(2)
