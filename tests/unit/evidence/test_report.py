"""Reports say the same as run.json, and nothing in a run can break their form."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import documents
import jsonschema
import pytest

from canaryctl.evidence import report
from canaryctl.evidence.document import new_document
from canaryctl.evidence.page import render_html
from canaryctl.evidence.report import gates, render_junit, render_markdown
from canaryctl.evidence.words import human_seconds, human_size


def probe(name: str, verdict: str, reason: str = "") -> dict[str, Any]:
    return {"name": name, "kind": "http", "verdict": verdict, "reason": reason, "blame": None} | {
        "attempts": 1,
        "seconds": 0.25,
    }


def document(**more: Any) -> dict[str, Any]:
    known = {
        "id": "20261124T081530Z-deploy-5c1f",
        "command": "deploy",
        "environment": "canary",
        "stack": "shop",
        "variant": "split",
        "started": "2026-11-24T08:15:30Z",
        "finished": "2026-11-24T08:16:11Z",
        "seconds": 41.2,
        "operator": "me@here",
        "directory": "runs/canary/20261124T081530Z-deploy-5c1f",
        "verdict": "failed",
        "exit_code": 1,
        "probes": [
            probe("Front Page", "passed"),
            probe("Orders", "failed", "HTTP 500 | body: <b>oops</b>\nline two `x`"),
            probe("Training", "inconclusive", "the strategy 'x_y' does not exist; valid: a_b, c_d"),
            probe("After it", "skipped", "Orders did not pass"),
        ],
        "release": {
            "id": "ab" * 32,
            "images": {
                "web": {"id": "sha256:" + "c" * 64, "tag": "canaryctl/shop/web:cccccccccccc", "size": 1350000000}
            },
            "migration": "0002",
        },
        "migrations": {"before": "0001", "after": "0002"},
        "plan": {
            "changes": [
                {"host": "h1", "stage": "push", "what": "web", "reason": "not on the host"},
                {"host": "h1", "stage": "start", "what": "web", "reason": "another release runs"},
                {"host": "h2", "stage": "start", "what": "worker", "reason": "not running"},
            ]
        },
        "stages": [
            {"name": "push", "host": "h1", "status": "changed", "seconds": 12.3},
            {"name": "start", "host": "h1", "status": "failed", "seconds": 65.0, "message": "web | unhealthy"},
        ],
        "contracts": [
            {"image": "web", "check": "torch absent", "verdict": "failed", "found": "torch 2.6"},
            {"image": "web", "check": "user nonroot", "verdict": "passed", "found": "1000"},
        ],
        "left_alone": ["containers of others: postgres-prod"],
    }
    return new_document(**(known | more))


def test_the_results_table_has_the_form_of_the_hand_off_note() -> None:
    text = render_markdown(document())
    table = text[text.index("| Test | Result |") :].split("\n\n")[0].splitlines()
    assert table == [
        "| Test | Result |",
        "|------|--------|",
        "| Front Page | ✅ PASS |",
        "| Orders | ❌ FAIL: HTTP 500 \\| body: &lt;b>oops&lt;/b> line two \\`x\\` |",
        "| Training | ⚠️ the strategy 'x_y' does not exist; valid: a_b, c_d |",
        "| After it | ⏭ skipped: Orders did not pass |",
    ]


def test_a_flaky_pass_is_marked_in_the_table() -> None:
    row = {**probe("Front Page", "passed"), "flaky": True, "attempts": 4}
    assert "| Front Page | ✅ PASS (flaky: passed after 3 failed attempts) |" in render_markdown(document(probes=[row]))


def test_a_part_of_the_probes_opens_no_gate() -> None:
    run = document(verdict="passed", probes=[probe("Front Page", "passed")], contracts=[], error=None, partial=True)
    assert "**Held back by:** only a part of the probes ran" in render_markdown(run)


def test_the_note_says_what_an_operator_needs() -> None:
    text = render_markdown(document(simulated=True, warnings=[{"what": "old", "where": "h1", "hint": "update"}]))
    for needed in (
        "Simulated GPU",
        "Held back by:",
        "sha256:" + "c" * 64,
        "1.35 GB",
        "`0001` → `0002`",
        "| h1 | push | web | not on the host | done |",
        "| h1 | start | web | another release runs | failed |",
        "| h2 | start | worker | not running | not reached |",
        "containers of others: postgres-prod",
        "1 min 05 s",
        "web \\| unhealthy",
        "h1: old (update)",
        "runs/canary/20261124T081530Z-deploy-5c1f",
    ):
        assert needed in text, needed
    assert "\n\n\n" not in text


def test_a_clean_pass_opens_the_gate_and_says_nothing_of_simulation() -> None:
    run = document(verdict="passed", probes=[probe("Front Page", "passed")], contracts=[], plan={"changes": []})
    text = render_markdown(run)
    assert gates(run) == []
    assert "**Gate:** open" in text and "The plan held no change." in text and "imulat" not in text


@pytest.mark.parametrize("render", [render_markdown, render_html, render_junit])
def test_an_early_error_is_reported(render: Any) -> None:
    error = {"what": "unknown key 'imges'", "where": "stack.yml:3", "hint": "did you mean 'images'?"}
    empty = new_document(id="x", command="deploy", environment="canary", verdict="error", exit_code=2, error=error)
    text = render(empty)
    assert "stack.yml:3" in text and "did you mean" in text


FAILED, BACK = "20261124T081530Z-deploy-5c1f", "20261124T081602Z-rollback-0a1b"
WENT_BACK = {"to": "ab" * 32, "verdict": "passed", "error": None, "gaps": []}


@pytest.mark.parametrize(("render", "report"), [(render_html, "report.html"), (render_markdown, "report.md")])
def test_a_failed_run_and_its_rollback_lead_to_each_other(render: Any, report: str) -> None:
    failed, back = f"runs/canary/{FAILED}", f"runs/canary/{BACK}"
    first = document(rollback={"run": BACK, "directory": back, **WENT_BACK})
    then = document(id=BACK, command="rollback", directory=back)
    then["follows"] = {"command": "deploy", "run": FAILED, "directory": failed}
    ways = (f"../{BACK}/{report}", f"../{FAILED}/{report}")
    assert ways[0] in render(first, in_place=True) and ways[1] in render(then, in_place=True)
    assert "../" not in render(first) + render(then)  # exported, it lies elsewhere


@pytest.mark.parametrize("render", [render_html, render_markdown])
@pytest.mark.parametrize(
    ("run", "where"),
    [
        (BACK, f"/dev/shm/canaryctl-abcdefgh/canary/{BACK}"),  # its evidence had no room where the other's is
        ("a b'\"<", "runs/canary/a b'\"<"),
        (BACK, f"runs/canary/{FAILED}"),
        ("..", "runs/canary/.."),
    ],
)
def test_what_is_not_beside_it_is_named_and_not_linked(render: Any, run: str, where: str) -> None:
    text = render(document(rollback={"run": run, "directory": where, **WENT_BACK}), in_place=True)
    assert "olled back" in text and '="../' not in text and "](../" not in text


def test_junit_counts_and_survives_any_text() -> None:
    run = document()
    run["probes"][1]["reason"] = 'bad \x1b[31m \x00 & <tag> "q" \ufffe'
    root = ElementTree.fromstring(render_junit(run))  # noqa: S314  our own text
    assert [case.get("name") for case in root.iter("testcase")] == [
        *("Front Page", "Orders", "Training", "After it"),
        *("web: torch absent", "web: user nonroot"),
    ]
    assert {key: root.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "6",
        "failures": "2",
        "errors": "1",
        "skipped": "1",
    }
    assert len(list(root.iter("failure"))) == 2


def test_metrics_are_cases_and_rows_too() -> None:
    bound = {"statistic": "p95", "unit": "ms", "n": 40, "bound": {"at_most": 50}, "baseline": 12.9}
    row = {"name": "latency", "verdict": "failed", "value": 80.5, "reason": "80.5 ms is above 50", **bound}
    run = document(metrics=[row], probes=[], contracts=[])
    (case,) = ElementTree.fromstring(render_junit(run)).iter("testcase")  # noqa: S314  our own text
    assert case.get("name") == "latency p95" and case.find("failure") is not None
    assert "| latency p95 | ❌ FAIL: 80.5 ms is above 50 | 80.5 ms | 40 | at most 50 | 12.9 |" in render_markdown(run)
    assert "80.5 ms is above 50" in render_html(run)


def test_html_says_first_what_holds_the_release_back() -> None:
    text = render_html(documents.failed())
    top = text[text.index("<main") : text.index('id="probes"')]
    for needed in ("Held back by", 'href="#probe-2"', "nothing has registered", "worker_cpu: module torch present"):
        assert needed in top
    assert "Gate: open" in render_html(documents.deployed("split"))


@pytest.mark.parametrize("run", [documents.deployed("split"), documents.candidate(), documents.failed()])
def test_the_test_data_is_what_runs_leave(run: dict[str, Any]) -> None:
    schema = Path(report.__file__).parent / "schema" / "run.schema.json"
    jsonschema.Draft202012Validator(json.loads(schema.read_text())).validate(run)


def test_html_is_one_file_and_quotes_what_it_shows() -> None:
    run = document(simulated=True)
    attack = '<script>alert(1)</script><img src="https://evil/x">'
    run["probes"][1] |= {"reason": attack, "exchanges": [{"url": "http://h/", "body": attack}, attack]}
    text = render_html(run)
    assert "<script>alert" not in text and "<img" not in text and text.count("<script") == 1
    assert not re.search(r'(src|href)="https?://', text)
    for needed in ("Orders", "sha256:" + "c" * 64, "Simulated GPU", "prefers-color-scheme", "not reached"):
        assert needed in text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "2 kB"), (183_000_000, "183 MB"), (1.35e9, "1.35 GB"), (None, "")],
)
def test_sizes_read_well(size: float | None, text: str) -> None:
    assert human_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.123, "0.12 s"), (4.2, "4.2 s"), (59.97, "1 min 00 s"), (185, "3 min 05 s")]
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert human_seconds(seconds) == text


def test_what_does_not_gate_holds_nothing_back_and_is_no_failure_for_ci() -> None:
    side = probe("Side", "failed", "slow") | {"gates": False}
    run = document(contracts=[], probes=[probe("Front Page", "failed", "down"), side])
    assert gates(run) == ["Front Page (failed)"]
    assert "| Side | ❌ FAIL (does not gate): slow |" in render_markdown(run)
    suite = ElementTree.fromstring(render_junit(run).encode()).find("testsuite")  # noqa: S314  our own
    assert suite is not None and (suite.get("failures"), suite.get("skipped")) == ("1", "1")


def test_an_inconclusive_row_holds_nothing_back_where_the_rules_let_it_pass() -> None:
    unsure = [probe("Down", "failed"), probe("Training", "inconclusive", "its data is wrong")]
    assert gates(document(contracts=[], probes=unsure)) == ["Down (failed)", "Training (inconclusive)"]
    assert gates(document(contracts=[], probes=unsure, rules={"inconclusive": "pass"})) == ["Down (failed)"]


def test_a_metric_that_failed_is_listed_with_its_value_and_holds_back() -> None:
    words = {"reason": "p95 is 312 ms (n=40), above 250 ms", "statistic": "p95", "value": 312, "unit": "ms", "n": 40}
    metric = {
        "name": "latency",
        "verdict": "failed",
        "gates": True,
        "bound": {"at_most": 250},
        "baseline": None,
    } | words
    run = document(contracts=[], probes=[probe("Front Page", "passed")], metrics=[metric])
    assert gates(run) == ["latency (failed)"]
    row = "| latency p95 | ❌ FAIL: p95 is 312 ms (n=40), above 250 ms | 312 ms | 40 | at most 250 |  |"
    assert row in render_markdown(run)


def test_a_soak_is_told_with_its_first_failure() -> None:
    first = {"after": 4.2, "round": 3, "host": "canary-1", "reason": "status 500", "exchange": None}
    soaked = {"samples": 9, "failed": 1, "p50_ms": 3.2, "p95_ms": 9.0, "max_ms": 41.0, "first_failure": first}
    run = document(probes=[{**probe("Front Page", "failed", "status 500"), "soak": soaked}])
    run["soak"] = {"seconds": 4.2, "of": 600.0, "every": 1.0, "rounds": 3}
    page = " ".join(render_html(run).split())
    assert "Soak: 3 rounds in 4.2 s of 10 min 00 s." in page
    assert "9 samples, 1 failed, median 3.2 ms, 95 % within 9.0 ms, longest 41 ms." in page
    assert "First failure after 4.2 s (round 3, canary-1): status 500" in page
    assert "Soak: 3 rounds in 4.2 s of 10 min 00 s." in render_markdown(run)


@pytest.mark.parametrize("render", [render_markdown, render_html])
def test_reports_name_the_backup_and_what_a_restore_cost(render: Any) -> None:
    run = documents.candidate()
    backup = {"host": "core-1", "path": "/opt/canaryctl/shop/backups/one.dump", "bytes": 1500, "sha256": "ab" * 32}
    backup |= {"seconds": 1.25, "taken": "2026-11-24T08:15:40Z", "database": "shop", "from_release": "aa" * 32}
    window = {"from": "2026-11-24T07:00:00Z", "until": "2026-11-24T08:16:00Z"}
    restored = {"from": "/backups/before.dump", "window": window, "before": "/backups/present.dump"}
    run["migrations"] |= {"backup": {**backup, "revision": "0001"}, "restored": restored}
    text = render(run)
    for needed in (backup["path"], "core-1, 2 kB", "in 1.2 s", backup["sha256"], *window.values()):
        assert needed in text, needed
    assert restored["from"] in text and restored["before"] in text
    assert "ackup" not in render(documents.candidate())


def test_reports_show_the_waves_of_a_deploy_that_the_gate_stopped() -> None:
    known = {"failed": [], "probes": [], "started": "2026-11-24T08:15:48Z", "finished": "2026-11-24T08:15:58Z"}
    waves = [
        {"hosts": ["core-1", "cpu-1"], "gate": True, "verdict": "failed", **known, "probes": ["Backend Health"]},
        {"hosts": ["cpu-2"], "gate": False, "verdict": None, **known, "started": None, "finished": None},
    ]
    run = documents.failed() | {"waves": waves}
    markdown = render_markdown(run)
    assert "| 1, gate | core-1, cpu-1 | ❌" in markdown and ": Backend Health |" in markdown
    assert "| 2 | cpu-2 | not started |" in markdown
    page = render_html(run)
    assert 'id="waves"' in page and "not started" in page
    for one in (waves[:1], []):
        assert 'id="waves"' not in render_html(run | {"waves": one}), "all at once is nothing to tell"


def test_an_errors_lines_stay_lines() -> None:
    what = (
        "start failed: web is unhealthy\nweb, last health output:\n  HTTP/1.1 503 " + "x" * 400 + "\n  Booting worker"
    )
    run = document(verdict="failed", probes=[], contracts=[], error={"what": what, "where": "h", "hint": "look"})
    text = render_markdown(run)
    assert "**Error:** start failed: web is unhealthy\n" in text and "\n      Booting worker\n" in text
    assert "**Held back by:** start failed: web is unhealthy\n" in text
    page = render_html(run)
    assert "<strong>start failed: web is unhealthy</strong>" in page
    assert "<pre>web, last health output:\n  HTTP/1.1 503" in page and "\n  Booting worker</pre>" in page


def test_how_long_services_were_away_is_told_in_all() -> None:
    def gap(service: str, seconds: float | None, **more: Any) -> dict[str, Any]:
        return {"host": "h1", "service": service, "from": 1.0, "until": None, "seconds": seconds, **more}

    gaps = [gap("web", 2.25, foretold=1.9), gap("web", 73.2), gap("store", 4.0), gap("jobs", None, foretold=None)]
    text, page = render_markdown(document(gaps=gaps)), render_html(document(gaps=gaps))
    for row in ("h1 | web | 75.5 | 1.9 |", "h1 | store | 4.0 |  |", "h1 | jobs | has not come back |  |"):
        assert row in text, text
    for cell in ("web 75.5 s<small>h1, last time 1.9 s<", "store 4.0 s<small>h1<", "jobs has not come back<"):
        assert cell in page
