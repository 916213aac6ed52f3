"""The webhook: what is posted, and that a server that is slow, broken or not there costs nothing but a warning."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from canaryctl.config.webhook import VERDICTS, Webhook, load_webhook
from canaryctl.deploy.notify import payload_of, send
from canaryctl.errors import ConfigError
from canaryctl.evidence.document import new_document


@dataclass
class Server:
    """A webhook's other end: it answers with `statuses` in turn, the last one over and over."""

    url: str = ""
    statuses: list[int] = field(default_factory=lambda: [200])
    pause: float = 0.0
    got: list[Any] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.got.append(json.loads(body))
            time.sleep(made.pause)
            self.send_response(made.statuses.pop(0) if len(made.statuses) > 1 else made.statuses[0])
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{listening.server_port}/hook/s3cret"
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    yield made
    listening.shutdown()
    listening.server_close()


def run_document(**more: Any) -> dict[str, Any]:
    known = {"id": "r1", "command": "deploy", "environment": "canary", "stack": "shop", "operator": "ann@desk"}
    return new_document(
        **known, **{"verdict": "passed", "exit_code": 0, "seconds": 12.3, "directory": "runs/r1", **more}
    )


def test_a_run_arrives_as_json(server: Server) -> None:
    probes = [{"name": "Front", "kind": "http", "verdict": "failed", "reason": "500", "exchanges": ["long"]}]
    document = run_document(probes=probes, release={"id": "a" * 64, "images": {}}, error={"what": "it broke"})
    assert send(Webhook(server.url), payload_of(document, "generic")) == ""
    (got,) = server.got
    assert got["id"] == "r1" and got["release"] == "a" * 64 and got["error"] == "it broke"
    assert got["probes"] == [{"name": "Front", "verdict": "failed"}]
    assert "promotion" not in got


def test_a_promotion_is_told() -> None:
    assert payload_of(run_document(promotion={"from": "canary"}), "generic")["promotion"] == {"from": "canary"}


def test_slack_gets_one_text_with_what_failed() -> None:
    probes = [{"name": "Front", "verdict": "failed"}, {"name": "Back", "verdict": "passed"}]
    document = run_document(verdict="failed", probes=probes, release={"id": "a" * 64}, error={"what": "one\ntwo"})
    payload = payload_of(document, "slack")
    assert list(payload) == ["text"]
    said = payload["text"]
    assert said.startswith(f"❌ deploy of shop {'a' * 12} on canary: failed (ann@desk, 12 s)\none\n")
    assert "Front: failed" in said and "Back" not in said and "two" not in said and "runs/r1" in said


def test_an_error_of_the_server_is_tried_once_more(server: Server) -> None:
    server.statuses = [503, 200]
    assert send(Webhook(server.url), {"a": 1}) == ""
    assert server.got == [{"a": 1}, {"a": 1}]


def test_a_server_that_stays_broken_is_told_of_after_two_tries(server: Server) -> None:
    server.statuses = [500]
    assert send(Webhook(server.url), {}) == "it answered 500"
    assert len(server.got) == 2


def test_a_refusal_is_not_tried_again(server: Server) -> None:
    server.statuses = [404]
    assert send(Webhook(server.url), {}) == "it answered 404"
    assert len(server.got) == 1


def test_a_server_that_is_not_there_is_told_of_without_the_url() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = send(Webhook(f"http://127.0.0.1:{port}/hook/s3cret"), {})
    assert said.startswith("ConnectError") and "s3cret" not in said


def test_nobody_waits_for_a_slow_server_longer_than_the_deadline(server: Server) -> None:
    server.pause = 30
    began = time.monotonic()
    assert send(Webhook(server.url), {}, deadline=0.3) == "no answer in 0.3 s"
    assert time.monotonic() - began < 15


def test_a_url_alone_is_told_of_every_verdict() -> None:
    webhook = load_webhook("https://hooks.test/x", "inventories/a")
    assert webhook == Webhook("https://hooks.test/x", "generic", VERDICTS)
    assert "hooks.test" not in repr(webhook)
    assert load_webhook(None, "inventories/a") is None


def test_the_url_may_come_from_where_secrets_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "https://hooks.test/x")
    expected = Webhook("https://hooks.test/x", "slack", ("failed", "error"))
    assert load_webhook({"url": {"env": "HOOK"}, "format": "slack", "on": ["failed", "error"]}, "here") == expected
    assert load_webhook({"env": "HOOK"}, "here") == Webhook("https://hooks.test/x")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("hooks.test/x", "no http or https URL"),
        ("http://[", "no http or https URL"),
        ({"url": "https://h.test", "format": "teams"}, "'teams'"),
        ({"url": "https://h.test", "on": ["fine"]}, "verdicts"),
        ({"url": {"env": "NOT_SET_ANYWHERE"}}, "NOT_SET_ANYWHERE"),
    ],
)
def test_a_faulty_webhook_is_refused_in_words(given: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_webhook(given, "inventories/a")


def test_the_key_on_is_understood_though_yaml_reads_it_as_true() -> None:
    webhook = load_webhook({"url": "https://hooks.test/x", True: ["failed"]}, "inventories/a")
    assert webhook is not None and webhook.on == ("failed",)
