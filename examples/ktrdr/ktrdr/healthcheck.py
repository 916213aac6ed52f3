"""The containers' health check: prints what the service says, fails unless it answers 200.

Usage: python3 -m ktrdr.healthcheck PORT PATH
"""

from __future__ import annotations

import socket
import sys


def main(port: str, path: str) -> int:
    """A bare request over a socket: this runs often, and an HTTP client costs more to import than the check itself."""
    try:
        with socket.create_connection(("127.0.0.1", int(port)), timeout=4) as link:
            link.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while len(answer) < 4096 and (more := link.recv(4096)):
                answer += more
    except OSError as failed:
        print(f"port {port}: {failed}")  # noqa: T201
        return 1
    head, _, body = answer.decode(errors="replace").partition("\r\n\r\n")
    status = head.partition("\r\n")[0]
    print(status, body[:400])  # noqa: T201
    return 0 if status.split(" ")[1:2] == ["200"] else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
