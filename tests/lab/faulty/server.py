"""A backend with every fault a canary may show, chosen by the path. Standard library only; runs in a container."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

OPERATIONS: dict[str, dict[str, Any]] = {}
ASKED: dict[str, int] = {}
LOCK = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def log_message(self, format: str, *args: object) -> None:
        """The log is what the logs probes are about."""

    def do_GET(self) -> None:
        self.sent = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
        fault, _, self.rest = self.path.strip("/").partition("/")
        with LOCK:
            ASKED[self.path] = ASKED.get(self.path, 0) + 1
            self.count = ASKED[self.path]
        getattr(self, f"on_{fault or 'health'}")()

    do_POST = do_DELETE = do_GET  # noqa: N815  the names http.server looks for

    def say(self, data: Any, status: int = 200, kind: str = "application/json", **headers: str) -> None:
        body = data.encode() if isinstance(data, str) else json.dumps(data).encode()
        self.send_response(status)
        for key, value in {"content-type": kind, "content-length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def on_health(self) -> None:
        self.say({"status": "healthy"})

    def on_error(self) -> None:
        self.say({"detail": "no database"}, 500)

    def on_html(self) -> None:
        self.say("<!doctype html><title>docs</title>", kind="text/html")

    def on_broken_json(self) -> None:
        self.say('{"status": "healthy"')

    def on_slow(self) -> None:
        time.sleep(20)
        self.say({})

    def on_close(self) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)

    def on_huge(self) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(100):
            self.wfile.write(b"x" * 2**20)

    def on_loop(self) -> None:
        self.say({}, 302, location=self.path)

    def on_sent(self) -> None:
        """Redirects to what the path holds, quoted."""
        self.say({}, 302, location=urllib.parse.unquote(self.rest))

    def on_front(self) -> None:
        """What a good release answers and a bad one, told apart by their environment, redirects."""
        if os.environ.get("RELEASE") == "bad":
            return self.on_sent()
        self.on_health()

    def on_headers(self) -> None:
        self.say({name.lower().replace("-", "_"): value for name, value in self.headers.items()})

    def on_third(self) -> None:
        self.say({"count": self.count}, 200 if self.count % 3 == 0 else 503)

    def on_toggle(self) -> None:
        self.say({"count": self.count}, 200 if self.count % 2 else 500)

    def on_token(self) -> None:
        given = self.headers.get("authorization", "")
        self.say({"given": given}, 200 if given == f"Bearer {os.environ['API_TOKEN']}" else 401)

    def on_workers(self) -> None:
        """`dead` lists one that registered and died, `twice` one that registered twice."""
        base = f"http://{self.headers['host']}"
        listed = {
            "good": [f"{base}/health"],
            "dead": [f"{base}/health", f"{base.rsplit(':', 1)[0]}:18199"],
            "twice": [f"{base}/health", f"{base}/health"],
            "own": ["http://127.0.0.1:2375", "http://169.254.169.254", "http://localhost:2375", "http://0x7f.1:22"],
        }[self.rest]
        self.say([{"type": "training", "endpoint": endpoint} for endpoint in listed])

    def on_start(self) -> None:
        identity = f"{self.rest}-{self.count}"
        OPERATIONS[identity] = {"id": identity, "status": "pending", "asked": 0, "tag": self.sent.get("tag")}
        if self.rest == "silent":
            time.sleep(3)
        self.say({"id": identity})

    def on_operations(self) -> None:
        if not self.rest:
            return self.say([row for row in list(OPERATIONS.values()) if row["status"] == "pending"])
        row = OPERATIONS[self.rest]
        if self.command == "DELETE":
            if row["id"].startswith("stubborn"):
                return self.say({"detail": "it is busy"}, 409)
            row["status"] = "cancelled"
        elif row["id"].startswith("good"):
            row["asked"] += 1
            row["status"] = "completed" if row["asked"] > 2 and row["status"] == "pending" else row["status"]
        self.say(row)

    def on_log(self) -> None:
        """`traceback` logs one, `flood` logs 100 MB, anything else a line of that word."""
        if self.rest == "flood":
            line = "INFO " + "x" * 995 + "\n"
            for _ in range(100):
                sys.stderr.write(line * 1000)
        elif self.rest == "traceback":
            try:
                import no_such_module  # type: ignore[import-not-found]  # noqa: F401
            except ImportError as error:
                sys.excepthook(type(error), error, error.__traceback__)
        else:
            sys.stderr.write(f"{self.rest}\n")
        self.say({})

    def on_crash(self) -> None:
        os._exit(3)

    def on_memory(self) -> None:
        held = [b"x" * 2**20 for _ in range(500)]
        self.say({"held": len(held)})

    def on_sick(self) -> None:
        """From now on the health check fails."""
        Handler.on_health = Handler.on_error  # type: ignore[method-assign]
        self.say({})


class Server(ThreadingHTTPServer):
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are what is being tested."""


Server(("", 8000), Handler).serve_forever()
