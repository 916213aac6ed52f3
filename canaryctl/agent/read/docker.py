"""Docker's own API over its socket: a fraction of the time its command line takes."""

from __future__ import annotations

import json
import os
import socket
from typing import Any
from urllib.parse import quote

from canaryctl.agent.read.processes import Program, find_program

PATIENCE = 10  # seconds for the first answer
NEWEST_API = (1, 44)  # the newest this program was written for; newer servers still speak it


class DockerError(Exception):
    """Docker is there but does not answer us, or refuses; the text says why.

    `status` is the code of its answer, 0 where there is none; `silent`: it takes questions and answers none.
    """

    def __init__(self, text: str, status: int = 0, silent: bool = False) -> None:
        super().__init__(text)
        self.status, self.silent = status, silent


def trouble_words(error: Exception) -> str:
    """What a call of Docker's failed for; the system says no more than `timed out` where there was no answer."""
    return "Docker does not answer in time" if isinstance(error, socket.timeout) else str(error) or type(error).__name__


class Docker:
    """The daemon behind one socket."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.prefix = ""
        headers, _ = self._ask("/_ping", PATIENCE)
        spoken = tuple(int(n) for n in headers.get("api-version", "1.40").split("."))
        self.version = min(spoken, NEWEST_API)
        self.prefix = "/v" + ".".join(map(str, self.version))

    def raw(self, path: str, timeout: float = 30) -> bytes:
        """The body of an answer. Raises DockerError, OSError."""
        return self._ask(path, timeout)[1]

    def get(self, path: str, timeout: float = 30) -> Any:
        """The document of an answer. Raises as `raw`."""
        return json.loads(self.raw(path, timeout))

    def post(self, path: str, timeout: float = 60, document: Any = None) -> bytes:
        """An order, with a document where it needs one."""
        return self._ask(path, timeout, "POST", b"" if document is None else json.dumps(document).encode())[1]

    def delete(self, path: str, timeout: float = 60) -> bytes:
        """Remove a thing by its name, never by force."""
        return self._ask(path, timeout, "DELETE")[1]

    def _ask(self, path: str, timeout: float, method: str = "GET", body: bytes = b"") -> tuple[dict[str, str], bytes]:
        # HTTP/1.0 has the daemon send the body whole and close: no chunks to put together.
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(timeout)
            link.connect(self.path)
            more = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
            link.sendall(f"{method} {self.prefix}{path} HTTP/1.0\r\nHost: docker\r\n{more}\r\n".encode() + body)
            received = []
            while True:
                data = link.recv(1 << 18)
                if not data:
                    break
                received.append(data)
        head, _, answer = b"".join(received).partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
        code = lines[0].partition(" ")[2].partition(" ")[0]
        if code not in ("200", "201", "204"):
            text = answer[:300].decode("utf-8", "replace").strip()
            raise DockerError(f"Docker answered {code} to {path}: {text}", int(code) if code.isdigit() else 0)
        return headers, answer


def docker_sockets() -> list[str]:
    """Where a daemon may listen, the user's own choice first."""
    chosen = os.environ.get("DOCKER_HOST", "")
    places = [chosen[len("unix://") :]] if chosen.startswith("unix://") else []
    places.append("/var/run/docker.sock")
    if os.environ.get("XDG_RUNTIME_DIR"):
        places.append(os.environ["XDG_RUNTIME_DIR"] + "/docker.sock")
    places.append(f"/run/user/{os.getuid()}/docker.sock")
    return [place for place in places if os.path.exists(place)]


def open_docker() -> Docker | None:
    """The daemon, or None where Docker is not installed. Raises DockerError where it is, and does not answer."""
    troubles, silent = [], False
    for place in docker_sockets():
        try:
            return Docker(place)
        except socket.timeout:
            troubles.append(f"{place}: no answer within {PATIENCE} s")
            silent = True
        except (OSError, DockerError) as error:
            troubles.append(f"{place}: {error}")
    if silent:
        raise DockerError("; ".join(troubles), silent=True)
    binary = find_program("docker")
    if not binary:
        return None
    # The command line knows contexts and remote daemons that we don't, and says best what is wrong.
    try:
        reason = "it runs elsewhere: " + Program(binary, "version", "--format", "{{.Server.Version}}").answer(5)
    except OSError as error:
        reason = str(error)
    raise DockerError("; ".join(troubles) or reason)


def ours(project: str, stack: str) -> bool:
    """Whether a compose project is one of the stack's: `<stack>-<environment>`."""
    return bool(stack) and project.startswith(stack + "-")


def quoted_filter(**filters: list[str]) -> str:
    """Filters as the API takes them in an address."""
    return quote(json.dumps(filters))
