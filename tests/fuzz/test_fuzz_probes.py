"""What applications, images, databases and hosts answer to probes, contracts and metrics."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fuzzing import ODD, fuzzed, mutations, texts
from hypothesis import strategies as st

from canaryctl.agent.read import gpuxml
from canaryctl.commands.logs import Lines, parse
from canaryctl.config.contract import Contract
from canaryctl.config.metrics import Metric, load_metrics, parse_selector
from canaryctl.config.probes import HttpExpect
from canaryctl.config.probes.exec import ExecExpect
from canaryctl.config.probes.http import Http
from canaryctl.config.probes.lifecycle import Lifecycle
from canaryctl.config.probes.logs import Logs
from canaryctl.config.probes.registered import Fresh, Reachable, Registered
from canaryctl.config.webhook import load_webhook
from canaryctl.contract.credentials import carried, redacted
from canaryctl.contract.inside.imports import MARK
from canaryctl.contract.layers import parse_history, picture
from canaryctl.contract.modules import check_absent, check_present, misfit, parse_answer
from canaryctl.contract.rules import check_inspection, read_inspection
from canaryctl.facts.jsontext import parse_json
from canaryctl.probe.context import ProbeContext
from canaryctl.probe.expect import Answer, Shapeless, exec_faults, http_faults, saved_from, show
from canaryctl.probe.incontainer.gpu_rules import in_words, judge_gpu, lost_devices
from canaryctl.probe.incontainer.gpu_shape import read_gpu_answer
from canaryctl.probe.logs import log_faults, read_scan
from canaryctl.probe.logscan import scan
from canaryctl.probe.measure import _number
from canaryctl.probe.precondition import judge_precondition
from canaryctl.probe.prometheus import read_value
from canaryctl.probe.reach import Refused, is_guarded, is_host_name, literal
from canaryctl.probe.redirect import usable_url
from canaryctl.probe.registered import answer_time, fresh_faults
from canaryctl.probe.results import Unanswered
from canaryctl.probe.runner import _judge
from canaryctl.probe.scope import Scope
from canaryctl.probe.sql import parse_rows

FIXTURES = Path(__file__).parents[1] / "fixtures/gpu"

# ---- JSON, and what is asked of it

ANSWER = {"status": "healthy", "data": {"items": [{"id": 1, "ok": True, "name": "a"}], "count": 1.5, "none": None}}
EXPRESSIONS = (
    "status == 'healthy'",
    "data.items[?ok].id | [0]",
    "length(data.items) > `0`",
    "max_by(data.items, &id).name",
    "sum(data.items[].id)",
    "to_number(status)",
    "sort(data.items[].name)",
    "join(',', keys(data))",
    "contains(data.items[].name, 'a')",
)


@fuzzed(texts(json.dumps(ANSWER), "[1e5, -0.0, 12345678901234567890]"), allowed=(ValueError,))
def test_json(text: str) -> None:
    found = parse_json(text)
    json.dumps(found, allow_nan=False)
    show(found)


@fuzzed(mutations(ANSWER), allowed=(Shapeless,))
def test_expectations(document: Any) -> None:
    answer = Answer(200, _json(document), {"content-type": "application/json", "location": "x"})
    http_faults(HttpExpect(jmespath=EXPRESSIONS, body="x", headers={"content-type": "json"}), answer)
    exec_faults(ExecExpect(jmespath=EXPRESSIONS, stdout="x"), answer, "")
    saved_from({"a": "data.items[0].id"}, answer)


@fuzzed(mutations(ANSWER))
def test_metric_by_jmespath(document: Any) -> None:
    for expression in ("data.count", "to_number(status)", "sum(data.items[].id)", "@"):
        found = _number(metric(jmespath=expression), Answer(200, _json(document)))
        assert isinstance(found, str) or abs(found) < float("inf")


PAGE = """# HELP errors_total how many
# TYPE errors_total counter
errors_total{code="500",path="/a\\"b"} 1.5 1700000000000
errors_total{code="404"} 2 # {trace="x"} 1
up 1
"""


@fuzzed(texts(PAGE))
def test_prometheus_page(text: str) -> None:
    read_value(text, parse_selector('errors_total{code="500"}'))
    found = _number(metric(prometheus="errors_total"), Answer(200, text.encode("utf-8", "replace")))
    assert isinstance(found, str) or abs(found) < float("inf")


@fuzzed(texts('errors_total{code="500",path="/a\\"b"}', "up"), allowed=(ValueError,))
def test_prometheus_selector(text: str) -> None:
    parse_selector(text)


def metric(**reads: str) -> Metric:
    return Metric(name="m", statistic="last", url="http://x", on="core", at_most=1, **reads)


METRICS = [
    {"name": "m", "statistic": "p95", "probe": "p", "at_most": 5.0},
    {"name": "n", "statistic": "rate", "url": "x", "on": "core", "jmespath": "a", "at_least": 1},
]


@fuzzed(mutations(METRICS))
def test_metrics_config(given: Any) -> None:
    load_metrics(given, "inventories/lab/group_vars/all.yml")


HOOK = {"url": "https://hooks.example/x", "format": "slack", "on": ["failed", "error"]}


@fuzzed(mutations(HOOK))
def test_webhook_config(given: Any) -> None:
    load_webhook(given, "inventories/lab/group_vars/all.yml")


# ---- whole probes against raw bytes

HEAD = "HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/a?b#c\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\n\r\n"
BODY = "HTTP/1.1 200 OK\r\nDate: Mon, 30 Nov 2026 00:00:00 GMT\r\nContent-Type: application/json\r\n\r\n"


class Answering:
    """A host from which every connection gets the next answer."""

    def __init__(self, answers: list[bytes]) -> None:
        self.answers = answers

    def run(self, command: str, **_: Any) -> Any:
        return SimpleNamespace(code=0, stdout=b'["10.0.0.1"]', stderr=b"")

    def dial(self, address: str, port: int, timeout: float) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.sendall(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
            theirs.shutdown(socket.SHUT_WR)
        return ours

    def get(self, name: str) -> Answering:
        return self


def judged(probe: Any, answers: list[bytes]) -> None:
    """No answer may come to what only the last net catches."""
    context = ProbeContext("lab", {"hosts": {}}, Answering(answers))
    outcome = _judge(probe, Scope(context, "h1", {"base": "http://10.0.0.1"}, time.monotonic() + 10, threading.Event()))
    assert outcome.verdict in ("passed", "failed", "inconclusive")
    assert "cannot be judged" not in outcome.reason, outcome.reason
    assert outcome.verdict != "inconclusive", outcome.reason


@fuzzed(texts(HEAD, BODY + "{}"))
def test_http_answer(text: str) -> None:
    probe = Http(name="p", kind="http", on="core", url="{{ base }}/", redirects=2, redirects_to="any", timeout=2.0)
    judged(probe, [text.encode("utf-8", "replace")])


@fuzzed(texts("http://10.0.0.1/a", "//b.example/", "/a", "https://a.example:8443/x?y#z", "data:,x", "ftp://x/"))
def test_location(text: str) -> None:
    place = "".join(text.splitlines())[:2000].replace("\x00", "")
    answer = f"HTTP/1.1 302 F\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode("utf-8", "replace")
    judged(Http(name="p", kind="http", on="core", url="{{ base }}/", redirects=3, timeout=2.0), [answer])


WORKERS = {
    "workers": [{"type": "a", "endpoint": "http://10.0.0.1:5003", "last_seen": "2026-11-30T00:00:00Z", "up": True}]
}
REGISTERED = Registered(
    name="p",
    kind="registered",
    on="core",
    url="{{ base }}/",
    at="workers",
    kind_field="type",
    kinds={"a": 1},
    only="up",
    fresh=Fresh(field="last_seen", within=60.0),
    reachable=Reachable(endpoint_field="endpoint"),
    timeout=2.0,
)


@fuzzed(mutations(WORKERS))
def test_registered_answer(document: Any) -> None:
    judged(REGISTERED, [BODY.encode() + _json(document)])


@fuzzed(st.one_of(st.sampled_from(ODD), texts("2026-11-30T00:00:00Z", "2026-11-30T00:00:00.5+14:00", "1.5e9")))
def test_time_of_an_entry(value: Any) -> None:
    fresh_faults(Fresh(field="t", within=5.0), [{"t": value}], 1.8e9, 1.8e9)


@fuzzed(texts("Mon, 30 Nov 2026 00:00:00 GMT", "Mon, 01 Jan 0001 00:00:00 +1400"))
def test_date_header(text: str) -> None:
    answer_time(Answer(200, b"", {"date": text}))


LIFECYCLE = Lifecycle.model_validate(
    {
        "name": "p",
        "kind": "lifecycle",
        "on": "core",
        "timeout": 2.0,
        "start": {"url": "{{ base }}/", "save": {"op": "id"}},
        "status": {
            "url": "{{ base }}/{{ op }}",
            "until": "data.status == 'done'",
            "fail": "data.status == 'failed'",
            "every": 0.001,
            "timeout": 0.01,
        },
        "cancel": {"url": "{{ base }}/{{ op }}"},
        "confirm": {"url": "{{ base }}/{{ op }}", "expect": {"jmespath": "data.result.ok"}},
        "reap": {"url": "{{ base }}/", "at": "unfinished", "save": {"op": "id"}},
    }
    | {"start": {"url": "{{ base }}/", "json": {"tag": "{{ tag }}"}, "save": {"op": "id"}}}
)
OPERATION = {"id": "op-1", "data": {"status": "done", "result": {"ok": True}}, "unfinished": [{"id": "x", "tag": "y"}]}


@fuzzed(mutations(OPERATION))
def test_lifecycle_answer(document: Any) -> None:
    context = ProbeContext("lab", {"hosts": {}}, Answering([BODY.encode() + _json(document)]))
    names = {"base": "http://10.0.0.1", "tag": "canaryctl-lab-x"}
    outcome = _judge(LIFECYCLE, Scope(context, "h1", names, time.monotonic() + 10, threading.Event()))
    assert "cannot be judged" not in outcome.reason, outcome.reason


@fuzzed(mutations({"status": 200, "body": ANSWER}))
def test_precondition_answer(document: Any) -> None:
    from canaryctl.config.probes import Precondition

    asked = Precondition(url="http://x", expect=HttpExpect(jmespath=("data.items[0].ok",)), valid="data.items[].name")
    judge_precondition(asked, Answer(200, _json(document)))


@fuzzed(texts("http://10.0.0.1:80/a?b#c", "https://user:pw@[::1]:8443/", "http://0x7f.1/"), allowed=(Refused,))
def test_a_url_of_an_application(text: str) -> None:
    url = usable_url(None, text)
    host = url.raw_host.decode("ascii")
    assert is_host_name(host)
    if address := literal(host):
        is_guarded(address)


# ---- tables, logs, containers


@fuzzed(texts('a,b\n1,"x\ny"\n\\N,""\n'), allowed=(Unanswered,))
def test_table_of_psql(text: str) -> None:
    json.dumps(parse_rows(text))


LINE = "web-1  | 2026-11-24T10:00:00.000000000Z hello | there\n"


@fuzzed(texts(LINE, "\x1b[2K" + LINE, "web-1 exited with code 0\r\n"))
def test_line_of_compose(text: str) -> None:
    lines = Lines()
    data = text.encode("utf-8", "replace")
    for chunk in (data[:7], data[7:]):
        for line in lines.feed(chunk):
            parse("h1", line.decode(errors="replace"))


@fuzzed(texts("2026-01-02T03:04:05Z Traceback (most recent call last):\n2026-01-02T03:04:05Z  x\n2026 KeyError: 'x'\n"))
def test_log_of_docker(text: str) -> None:
    patterns = ["Traceback", "^ERROR"]
    found = scan(io.BytesIO(text.encode("utf-8", "replace")), patterns) | {"code": 0}
    log_faults(LOGS, read_scan(json.dumps(found).encode(), 2)["found"])


LOGS = Logs.model_validate(
    {"name": "l", "kind": "logs", "on": "web", "expect": {"absent": ["Traceback"], "present": ["x"]}}
)
FOUND = {"count": 1, "excerpts": [["2026", "Traceback", " x"]]}
SCAN = {"lines": 3, "bytes": 5, "last": "", "code": 0, "found": [FOUND, {"count": 0, "excerpts": []}]}


@fuzzed(mutations(SCAN), allowed=(ValueError,))
def test_search_of_a_log(document: Any) -> None:
    log_faults(LOGS, read_scan(_json(document), 2)["found"])


# ---- images

DEVICE = {"index": 0, "name": "H100", "address": "0000:17:00.0", "equal": True, "copy_gb_s": 24.0}
GPU = {
    "python": "3.12",
    "nodes": ["nvidia0"],
    "environment": {"NVIDIA_DRIVER_CAPABILITIES": "compute,utility"},
    "libcuda": {"version": "12.4", "devices": [DEVICE]},
    "smi": {"gpus": [{"name": "H100", "uuid": "GPU-5ab1c2d3-0000-4000-8000-000000000001"}]},
    "torch": {
        "version": "2.6",
        "cuda": "12.4",
        "devices": [{"device": "cuda:0", "equal": True, "error": 0.0, "product_gflop_s": 5e4}],
    },
    "cpu": {"equal": True},
}
HOST: dict[str, Any] = {
    "gpus": gpuxml.parse_smi_xml((FIXTURES / "two-gpus.xml").read_text())["gpus"],
    "gpu": {"simulated": False, "state": "ok", "says": ""},
    "xids": [],
    "kernel_log": "dmesg",
}


@fuzzed(mutations(GPU), allowed=(ValueError,))
def test_gpu_answer(document: Any) -> None:
    found = read_gpu_answer(json.dumps(document))
    for simulated in (False, True):
        host = HOST | {"gpu": {**HOST["gpu"], "simulated": simulated}}
        verdict = judge_gpu(found, host, 1, {"gpus": ["x"], "figures": {}}, 0.7)
        in_words(verdict, found, host)
        lost_devices(GPU, found, "systemd")
        json.dumps(verdict, allow_nan=False)


@fuzzed(texts(json.dumps(GPU)), allowed=(ValueError,))
def test_gpu_answer_as_text(text: str) -> None:
    read_gpu_answer(text)


IMPORTED = {
    "uid": 1000,
    "python": "3.12",
    "bare": "",
    "dangling": ["/x"],
    "modules": {
        "a": {"fault": "", "version": "1", "seconds": 0.1},
        "b.c": {"fault": "missing", "name": "b", "text": "no b", "hollow": ""},
        "d": {"fault": "died", "signal": 9},
    },
}


@fuzzed(mutations(IMPORTED))
def test_contract_answer(document: Any) -> None:
    found = parse_answer(f"WARNING\n{MARK}{json.dumps(document)}\n")
    if not found or misfit(found, IMPORTED["modules"]):  # type: ignore[arg-type]
        return
    for name in IMPORTED["modules"]:  # type: ignore[attr-defined]
        check_present("web", name, found, timeout=5, memory=10**9, where="here")
        check_absent("web", name, found, where="here")


INSPECTION = {
    "Id": "sha256:9de3",
    "RootFS": {"Layers": ["sha256:1"]},
    "Config": {"User": "shop:shop", "ExposedPorts": {"80/tcp": {}}, "Env": ["A=b", "TOKEN=x"], "Labels": {"l": "v"}},
    "Architecture": "amd64",
    "Os": "linux",
    "Size": 1000,
}
CONTRACT = Contract.model_validate(
    {
        "platform": "linux/amd64",
        "user": "nonroot",
        "max_size": "1kB",
        "ports": ["80/tcp"],
        "labels": {"l": {"regex": "v"}},
    }
)


@fuzzed(mutations([INSPECTION]))
def test_inspection_of_an_image(document: Any) -> None:
    found = read_inspection(json.dumps(document), "canary-1")
    check_inspection("web", CONTRACT, found, parse_history(""), ["TOKEN"])


HISTORY = '{"Size": "5", "CreatedBy": "RUN |1 TOKEN=abc /bin/sh -c make # buildkit"}\n{"Size": "0", "CreatedBy": ""}\n'


@fuzzed(texts(HISTORY, "A=ghp_" + "a" * 36 + " x://u:pw@h/"))
def test_history_of_an_image(text: str) -> None:
    steps = parse_history(text)
    picture(steps, ["TOKEN"])
    carried([text], (step.created_by for step in steps), ["TOKEN"], [])
    redacted(text, ["TOKEN"])


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()
