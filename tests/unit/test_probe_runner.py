"""Probes against real servers on loopback: good answers, bad ones, late ones, none."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from canaryctl.config.probes import load_probes
from canaryctl.errors import ConfigError, HostError
from canaryctl.probe.context import ProbeContext
from canaryctl.probe.results import ProbeResult
from canaryctl.probe.runner import run_probes


class App(ThreadingHTTPServer):
    """A small application with every fault a canary may show."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.calls: list[str] = []
        self.operations: dict[str, dict[str, Any]] = {}
        self.lock = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are what is being tested."""


class Handler(BaseHTTPRequestHandler):
    server: App

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
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

    def on_drip(self, tail: str, count: int) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(60):
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
        rows += {"twice": [("a", f"{base}/worker1", "up")], "dead": [("a", "http://127.0.0.1:1", "up")]}.get(tail, [])
        self.say([{"type": t, "endpoint": e, "status": s, "seen": time.time() - 1} for t, e, s in rows])

    def on_worker1(self, tail: str, count: int) -> None:
        self.say({})

    on_worker2 = on_worker1

    def on_strategies(self, tail: str, count: int) -> None:
        self.say({"strategies": [{"name": "v3_minimal"}, {"name": "v3_single"}]})

    def on_start(self, tail: str, count: int) -> None:
        if tail == "refused":
            return self.say({"detail": "no"}, 400)
        identity = f"{tail}{count}"
        self.server.operations[identity] = {"asked": 0, "status": "pending"}
        self.say({"success": True, "id": identity})

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
        raise NotImplementedError

    def dial(self, address: str, port: int, timeout: float) -> socket.socket:
        return socket.create_connection((address, port), timeout)


class Pool:
    def get(self, name: str) -> Loopback:
        if name == "lost":
            raise HostError("no route to host", "lost")
        return Loopback()


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    server = App()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(app: App, tmp_path: Path) -> Any:
    hosts = {name: {"address": "127.0.0.1", "groups": [], "services": []} for name in ("h1", "h2", "lost")}
    variables = {
        "base": f"http://127.0.0.1:{app.server_port}",
        "groups": {"core": ["h1"], "both": ["h1", "h2"], "mixed": ["h1", "lost"], "empty": []},
        "service_hosts": {"backend": ["h1"], "gpu": []},
        "hosts": hosts,
    }
    context = ProbeContext("test", variables, Pool(), scrub=lambda text: text.replace("s3cret", "[secret]"))

    def run(
        text: str, deadline: float = 20, events: list[tuple[str, dict[str, Any]]] | None = None
    ) -> list[ProbeResult]:
        path = tmp_path / "probes.yml"
        path.write_text(text)
        noted = events if events is not None else []
        return run_probes(
            load_probes(path), context, deadline=deadline, on_event=lambda type, **data: noted.append((type, data))
        )

    return run


def http(path: str, more: str = "") -> str:
    return f'- {{name: p, kind: http, on: core, url: "{{{{ base }}}}/{path}", timeout: 900ms{more}}}\n'


@pytest.mark.parametrize(
    "path, more, verdict, said",
    [
        ("health", ", expect: {status: 200, jmespath: \"status == 'healthy'\"}", "passed", "status 200 in"),
        ("broken", "", "failed", 'status 500, expected 2xx: \'{"detail": "no database"}\''),
        ("html", ", expect: {jmespath: \"status == 'healthy'\"}", "failed", "answer is not JSON: text/html"),
        ("slow/2", "", "failed", "within 900 ms"),
        ("drip", "", "failed", "within 900 ms"),
        ("close", "", "failed", "closed the connection"),
        ("short", "", "failed", "closed the connection"),
        ("loop", "", "failed", "status 302, expected 2xx, redirects to /loop"),
        ("loop", ", redirects: 3", "failed", "status 302, expected 2xx, redirects to /loop"),
        ("moved", ", redirects: 1", "passed", "status 200"),
        ("huge", ", expect: {jmespath: a}", "failed", "larger than 1024 KiB"),
        ("huge", "", "passed", "status 200"),
        ("health", ', headers: {"x y": "a"}', "inconclusive", "cannot be"),
    ],
)
def test_one_request(run: Any, path: str, more: str, verdict: str, said: str) -> None:
    began = time.monotonic()
    (row,) = run(http(path, more))
    assert row.verdict == verdict, row.reason
    assert said in row.reason
    assert row.blame == {"passed": None, "failed": "system", "inconclusive": "probe"}[verdict]
    assert time.monotonic() - began < 1.9


def test_evidence_is_bounded_and_scrubbed(run: Any) -> None:
    (row,) = run(http("huge"))
    (exchange,) = row.as_dict()["exchanges"]
    assert len(exchange["body"]) == 64 * 1024 and exchange["truncated"]
    (row,) = run(http("health", ", expect: {jmespath: \"token == 'other'\"}"))
    assert "s3cret" not in json.dumps(row.as_dict()) and "[secret]" in row.reason


def test_refused_says_where_from(run: Any) -> None:
    (row,) = run('- {name: p, kind: http, on: core, url: "http://127.0.0.1:1/x", timeout: 3s}')
    assert row.reason == "connection refused: http://127.0.0.1:1/x from h1"
    (row,) = run("- {name: p, kind: tcp, on: core, port: 1}")
    assert row.reason == "connection refused: 127.0.0.1:1 from h1"


def test_eventually_tries_again_and_records_each_attempt(run: Any) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    (row,) = run(http("third/a", ", eventually: 5s, every: 20ms, expect: {jmespath: 'count == `3`'}"), events=events)
    assert (row.verdict, row.attempts) == ("passed", 3)
    assert [e["status"] for e in row.as_dict()["exchanges"]] == [503, 503, 200]
    assert [kind for kind, _ in events] == ["probe.started", "probe.attempt", "probe.attempt", "probe.finished"]


def test_eventually_ends(run: Any) -> None:
    (row,) = run(http("broken", ", eventually: 300ms, every: 50ms"))
    assert row.verdict == "failed" and "attempts in" in row.reason and row.attempts > 2
    (exchange,) = row.as_dict()["exchanges"]
    assert exchange["times"] == row.attempts


def test_what_needs_a_failed_probe_is_skipped_and_what_needs_a_passed_one_sees_its_values(run: Any) -> None:
    rows = run(
        """
- {name: Skipped, kind: tcp, on: core, needs: [Broken], port: 1}
- {name: Broken, kind: http, on: core, url: "{{ base }}/broken"}
- {name: User, kind: http, on: core, needs: Saver, url: "{{ base }}/{{ word }}"}
- {name: Saver, kind: http, on: core, url: "{{ base }}/health", save: {word: "status && 'health'"}}
- {name: Nowhere, kind: tcp, on: empty, port: 1}
- {name: Not placed, kind: exec, on: gpu, command: "true"}
"""
    )
    assert [row.verdict for row in rows] == ["skipped", "failed", "passed", "passed", "skipped", "skipped"]
    assert rows[0].reason == "needs 'Broken', which failed"
    assert rows[4].reason == "'empty' has no hosts"


def test_a_group_is_one_row_and_a_lost_host_is_named(run: Any) -> None:
    both, mixed = run(
        """
- {name: Both, kind: http, on: both, url: "{{ base }}/health"}
- {name: Mixed, kind: http, on: mixed, url: "{{ base }}/health"}
"""
    )
    assert both.verdict == "passed" and set(both.hosts) == {"h1", "h2"}
    assert mixed.verdict == "failed" and mixed.unreachable == ("lost",)
    assert mixed.reason == "lost: lost cannot be reached over SSH: no route to host"


def test_independent_probes_run_at_once(run: Any) -> None:
    began = time.monotonic()
    text = "".join(f'- {{name: p{n}, kind: http, on: core, url: "{{{{ base }}}}/slow/0.4"}}\n' for n in range(6))
    assert {row.verdict for row in run(text)} == {"passed"}
    assert time.monotonic() - began < 1.2


def test_the_deadline_bounds_the_whole_set(run: Any) -> None:
    began = time.monotonic()
    rows = run(
        """
- {name: a, kind: http, on: core, url: "{{ base }}/slow/9", timeout: 1m}
- {name: b, kind: http, on: core, url: "{{ base }}/broken", eventually: 5m, every: 100ms}
- {name: c, kind: http, on: core, needs: a, url: "{{ base }}/health"}
""",
        deadline=0.5,
    )
    assert [row.verdict for row in rows] == ["failed", "failed", "skipped"]
    assert time.monotonic() - began < 1.5


def test_an_undefined_name_stops_everything_before_it_starts(run: Any, app: App) -> None:
    app.calls.clear()
    with pytest.raises(ConfigError, match="'nope', which is not defined"):
        run(http("health") + '- {name: q, kind: http, on: core, url: "{{ nope }}"}')
    assert app.calls == []


def test_an_interrupt_stops_the_probes(run: Any) -> None:
    began = time.monotonic()

    class Stop(list[Any]):
        def append(self, event: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(http("broken", ", eventually: 5m, every: 50ms"), events=Stop())
    assert time.monotonic() - began < 1.5


REGISTERED = """
- name: p
  kind: registered
  on: core
  url: "{{ base }}/workers/%s"
  kind_field: type
  kinds: {a: 1, b: %d}
  only: "status == 'up'"
  fresh: {field: seen, within: 10s}
  reachable: {endpoint_field: endpoint, path: /health}
"""


@pytest.mark.parametrize(
    "which, of_b, verdict, said",
    [
        ("good", 1, "passed", "1 a, 1 b, each reachable where it registered"),
        ("good", 2, "failed", "1 b registered, expected at least 2"),
        ("twice", 1, "failed", "/worker1 is registered twice"),
        ("dead", 1, "failed", "a at http://127.0.0.1:1 is not reachable: connection refused"),
    ],
)
def test_registered(run: Any, which: str, of_b: int, verdict: str, said: str) -> None:
    (row,) = run(REGISTERED % (which, of_b))
    assert row.verdict == verdict, row.reason
    assert said in row.reason


def lifecycle(kind: str, more: str = "", strategy: str = "v3_minimal") -> str:
    return f"""
- name: {kind}
  kind: lifecycle
  on: core
  vars: {{strategy: {strategy}}}
  timeout: 2s
  precondition:
    url: "{{{{ base }}}}/strategies"
    expect: {{jmespath: "contains(strategies[].name, '{{{{ strategy }}}}')"}}
    valid: "strategies[].name"
    reason: "strategy '{{{{ strategy }}}}' does not exist"
  start: {{url: "{{{{ base }}}}/start/{kind}", json: {{s: "{{{{ strategy }}}}"}}, save: {{op: id}}}}
  status:
    url: "{{{{ base }}}}/operations/{{{{ op }}}}"
    until: "data.status == '{"pending" if "mode" in more else "completed"}'"
    fail: "data.status == 'failed'"
    every: 30ms
    timeout: 600ms
  cancel: {{url: "{{{{ base }}}}/operations/{{{{ op }}}}"}}
{more}"""


CONFIRM_CANCELLED = """  mode: cancel
  confirm: {url: "{{ base }}/operations/{{ op }}", expect: {jmespath: "data.status == 'cancelled'"}}
"""


@pytest.mark.parametrize(
    "kind, more, verdict, said",
    [
        ("good", "", "passed", "completed in"),
        ("flaky", "", "passed", "completed in"),
        ("pending", CONFIRM_CANCELLED, "passed", "cancelled in"),
        ("stubborn", CONFIRM_CANCELLED, "failed", "cancel was refused: status 409"),
        ("bad", "", "failed", "the operation ended badly"),
        ("pending", "", "failed", "did not end within"),
        ("stubborn", "", "failed", "could not be cancelled: status 409"),
        ("gone", "", "failed", "status: status 404"),
        ("refused", "", "failed", 'start: status 400, expected 2xx: \'{"detail": "no"}\''),
    ],
)
def test_lifecycles(run: Any, kind: str, more: str, verdict: str, said: str) -> None:
    (row,) = run(lifecycle(kind, more))
    assert row.verdict == verdict, row.reason
    assert said in row.reason


def test_a_lifecycle_that_never_ends_is_cancelled(run: Any, app: App) -> None:
    (row,) = run(lifecycle("pending"))
    assert row.reason.endswith("what it started was cancelled") and "'pending'" not in row.reason.split(";")[-1]
    assert app.operations[row.saved["op"]]["status"] == "cancelled"


def test_also_when_the_deadline_comes_first(run: Any, app: App) -> None:
    (row,) = run(lifecycle("pending"), deadline=0.3)
    assert row.verdict == "failed" and app.operations[row.saved["op"]]["status"] == "cancelled"


def test_the_start_is_sent_once(run: Any, app: App) -> None:
    app.calls.clear()
    run(lifecycle("refused"))
    assert app.calls.count("POST /start/refused") == 1


def test_wrong_test_data_is_inconclusive_and_starts_nothing(run: Any, app: App) -> None:
    app.calls.clear()
    (row,) = run(lifecycle("good", strategy="neuro_mean_reversion"))
    assert (row.verdict, row.blame) == ("inconclusive", "probe")
    assert row.reason == (
        "the probe's data is wrong: strategy 'neuro_mean_reversion' does not exist; valid: v3_minimal, v3_single"
    )
    assert app.calls == ["GET /strategies"]


def test_concurrent_lifecycles_keep_their_ids_apart(run: Any) -> None:
    rows = run("".join(lifecycle("good").replace("name: good", f"name: g{n}") for n in range(5)))
    assert {row.verdict for row in rows} == {"passed"}
    assert len({row.saved["op"] for row in rows}) == 5
    for row in rows:
        asked = [e["url"] for e in row.as_dict()["exchanges"] if e["what"] == "status"]
        assert asked and all(url.endswith("/" + row.saved["op"]) for url in asked)
