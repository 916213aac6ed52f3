"""An application on loopback with every fault a canary may show, and this machine as the host that asks it."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from canaryctl.config.probes import load_probes
from canaryctl.errors import HostError
from canaryctl.probe.context import ProbeContext
from canaryctl.probe.results import ProbeResult
from canaryctl.probe.runner import run_probes

COOKIE = "session=own"
Run = Callable[..., list[ProbeResult]]


class App(ThreadingHTTPServer):
    """A small application with every fault a canary may show."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.calls: list[str] = []
        self.operations: dict[str, dict[str, Any]] = {}
        self.lock = threading.Lock()
        self.six = threading.Barrier(6)
        self.location = self.told = ""
        self.status = 302
        self.noted: list[tuple[str, dict[str, str], Any]] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are what is being tested."""


class Handler(BaseHTTPRequestHandler):
    server: App

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self.sent = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
        with self.server.lock:
            self.server.calls.append(f"{self.command} {self.path}")
            count = self.server.calls.count(f"{self.command} {self.path}")
        head, _, tail = self.path.strip("/").partition("/")
        if head == "operations":
            return self.operation(tail)
        getattr(self, f"on_{head}")(tail, count)

    do_POST = do_DELETE = do_GET  # noqa: N815  the names http.server looks for

    def say(self, data: Any, status: int = 200, kind: str = "application/json", **headers: str) -> None:
        body = data.encode() if isinstance(data, str) else json.dumps(data).encode()
        self.send_response(status)
        for key, value in {"content-type": kind, "content-length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def on_health(self, tail: str, count: int) -> None:
        self.say({"status": "healthy", "token": "s3cret"})

    def on_broken(self, tail: str, count: int) -> None:
        self.say({"detail": "no database"}, 500)

    def on_html(self, tail: str, count: int) -> None:
        self.say("<!doctype html><title>docs</title>", kind="text/html")

    def on_slow(self, tail: str, count: int) -> None:
        time.sleep(float(tail))
        self.say({})

    def on_together(self, tail: str, count: int) -> None:
        self.server.six.wait(timeout=15)  # none is answered before all have come
        self.say({})

    def on_drip(self, tail: str, count: int) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(600):
            self.wfile.write(b".")
            self.wfile.flush()
            time.sleep(0.05)

    def on_close(self, tail: str, count: int) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)

    def on_short(self, tail: str, count: int) -> None:
        self.send_response(200)
        self.send_header("content-length", "100")
        self.end_headers()
        self.wfile.write(b"{}")

    def on_loop(self, tail: str, count: int) -> None:
        self.say({}, 302, location="/loop")

    def on_sent(self, tail: str, count: int) -> None:
        """Redirects to what the server was told."""
        self.say({}, self.server.status, location=self.server.location, **{"set-cookie": COOKIE})

    def on_told(self, tail: str, count: int) -> None:
        """Answers what the server was told, byte by byte."""
        self.say(self.server.told)

    def on_moved(self, tail: str, count: int) -> None:
        self.say({}, 307, location="/health")

    def on_huge(self, tail: str, count: int) -> None:
        self.send_response(200)
        self.send_header("content-length", str(100 * 2**20))
        self.end_headers()
        for _ in range(100):
            self.wfile.write(b"x" * 2**20)

    def on_third(self, tail: str, count: int) -> None:
        self.say({"count": count}, 200 if count >= 3 else 503)

    def on_workers(self, tail: str, count: int) -> None:
        base = f"http://127.0.0.1:{self.server.server_port}"
        rows = [("a", f"{base}/worker1", "up"), ("b", f"{base}/worker2", "up"), ("b", "http://127.0.0.1:1", "down")]
        dead = [("a", "http://127.0.0.1:1", "up")]
        rows += {"twice": [("a", f"{base}/worker1", "up")], "dead": dead, "guarded": dead}.get(tail, [])
        self.say([{"type": t, "endpoint": e, "status": s, "seen": time.time() - 1} for t, e, s in rows])

    def on_worker1(self, tail: str, count: int) -> None:
        self.say({})

    on_worker2 = on_worker1

    def on_noted(self, tail: str, count: int) -> None:
        """Says that it was asked, and with which headers and body."""
        self.server.noted.append((self.command, dict(self.headers), self.sent))
        self.say({"private": "inner"})

    def on_strategies(self, tail: str, count: int) -> None:
        self.say({"strategies": [{"name": "v3_minimal"}, {"name": "v3_single"}]})

    def on_start(self, tail: str, count: int) -> None:
        if tail == "refused":
            return self.say({"detail": "no"}, 400)
        identity = f"{tail}{count}"
        self.server.operations[identity] = {"asked": 0, "status": "pending", "tag": self.sent.get("tag")}
        if tail == "silent":
            time.sleep(30)
        self.say({"success": True, "id": identity})

    def on_unfinished(self, tail: str, count: int) -> None:
        if tail:
            return self.say({"detail": "no such thing"}, 404)
        rows = [{"id": key, **row} for key, row in list(self.server.operations.items()) if row["status"] == "pending"]
        self.say({"data": rows})

    def on_secret(self, tail: str, count: int) -> None:
        given = f"{self.headers.get('authorization')} {self.sent.get('password')}"
        self.say({"given": given}, 200 if "Bearer correct horse" in given else 401)

    def operation(self, identity: str) -> None:
        row = self.server.operations[identity]
        if self.command == "DELETE":
            if identity.startswith("stubborn"):
                return self.say({"detail": "busy"}, 409)
            row["status"] = "cancelled"
            return self.say({"success": True})
        row["asked"] += 1
        if identity.startswith("good") and row["asked"] >= 3:
            row["status"] = "completed"
        if identity.startswith("bad"):
            row["status"] = "failed"
        if identity.startswith("gone"):
            return self.say({"detail": "unknown"}, 404)
        if identity.startswith("flaky") and row["asked"] < 3:
            return self.say({}, 502)
        if identity.startswith("flaky"):
            row["status"] = "completed"
        self.say({"data": {"status": row["status"]}})


class Loopback:
    """This machine as the host: what it dials is dialled from here."""

    def run(self, command: str, *, stdin: bytes = b"", timeout: float | None = 60) -> Any:
        done = subprocess.run(["sh", "-c", command], input=stdin, capture_output=True, timeout=timeout)
        return SimpleNamespace(code=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def dial(self, address: str, port: int, timeout: float) -> socket.socket:
        return socket.create_connection((address, port), timeout)


class Pool:
    def get(self, name: str) -> Loopback:
        if name == "lost":
            raise HostError("no route to host", "lost")
        return Loopback()


@contextmanager
def serving() -> Iterator[App]:
    """The application, up for a while."""
    server = App()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def prober(app: App, folder: Path, **more: Any) -> Run:
    """Runs the text of a probe file against the application; `more` is of the context."""
    hosts = {name: {"address": "127.0.0.1", "groups": [], "services": []} for name in ("h1", "h2", "lost")}
    variables = {
        "base": f"http://127.0.0.1:{app.server_port}",
        "stack": "toy",
        "groups": {"core": ["h1"], "both": ["h1", "h2"], "mixed": ["h1", "lost"], "empty": []},
        "service_hosts": {"backend": ["h1"], "gpu": []},
        "hosts": hosts,
    }
    scrubbed = {"scrub": lambda text: text.replace("s3cret", "[secret]"), **more}
    context = ProbeContext("test", variables, Pool(), **scrubbed)

    def run(
        text: str, deadline: float = 20, events: list[tuple[str, dict[str, Any]]] | None = None
    ) -> list[ProbeResult]:
        path = folder / "probes.yml"
        path.write_text(text)
        noted = events if events is not None else []
        return run_probes(
            load_probes(path), context, deadline=deadline, on_event=lambda type, **data: noted.append((type, data))
        )

    return run
