"""What a real deploy leaves for its reports, two real runs side by side, and what an audit says of it: nothing."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import FOUR_ROWS, ROOT, Ctl, Result

LIMIT = 150_000  # bytes of report.html for the example's run


def test_a_deploy_brings_home_what_reports_are_made_of(ctl: Ctl, canary: Result) -> None:
    done = ctl("collect", "canary", "--output", "json")
    assert done.code == 0, done.text[-2000:]
    containers = {row["service"]: row for row in done.document["containers"]}
    assert {"db", "backend", "backtest-worker", "training-worker"} <= set(containers)
    for row in containers.values():
        assert (row["host"], row["state"], row["health"]) == ("canary-1", "running", "healthy")
        assert 1_000_000 < row["memory_bytes"] < 4_000_000_000 and row["started"]
        assert row["healthy_seconds"] is None or row["healthy_seconds"] < 120
    backend = done.document["logs"]["canary-1"]["backend"]
    assert any("Uvicorn running on http://#" in row["pattern"] for row in backend["patterns"])
    assert backend["lines"]


def test_nobody_else_reads_the_evidence_of_a_real_deploy(canary: Result) -> None:
    run = Path(ROOT, canary.document["directory"])
    files = [run, *run.rglob("*")]
    assert any("ansible" in path.parts for path in files) and any("logs" in path.parts for path in files)
    assert not [path for path in files if path.lstat().st_mode & 0o077]


def test_the_report_of_a_real_deploy_stays_small_and_says_all_of_it(ctl: Ctl, canary: Result) -> None:
    page = ctl("runs", "export", canary.document["id"], "--format", "html").out
    assert len(page.encode()) < LIMIT
    for needed in (*FOUR_ROWS, "Start to healthy", "Content-Security-Policy", canary.document["release"]["id"]):
        assert needed in page
    report = Path(ROOT, ctl("runs", "open", canary.document["id"], "--print").out.strip())
    assert report.name == "report.html" and report.is_file()


def test_two_real_runs_are_put_side_by_side(ctl: Ctl, canary: Result) -> None:
    again = ctl("deploy", "canary", "--yes", "--output", "json")
    assert again.code == 0, again.text[-2000:]
    done = ctl("runs", "compare", "--output", "json")
    assert done.code == 0, done.text
    assert done.document["b"]["id"] == again.document["id"]
    assert [row["name"] for row in done.document["probes"]][:4] == FOUR_ROWS
    both = ctl("runs", "compare", canary.document["id"], again.document["id"]).out
    for needed in (*FOUR_ROWS, canary.document["id"], again.document["id"], "Memory", "Latency, median"):
        assert needed in both


def test_a_deployed_environment_is_clean(ctl: Ctl, canary: Result) -> None:
    done = ctl("audit", "canary", "--fail-on", "warning", "--output", "json")
    serious = [row for row in done.document["findings"] if row["severity"] != "info"]
    assert done.code == 0 and serious == [], done.text[-3000:]
    assert done.document["verdict"] == "passed"
    directory = Path(done.document["directory"])
    assert json.loads((directory / "hosts/canary-1/facts.before.json").read_text())["audit"]["sshd"]
    assert ctl("runs", "verify", done.document["id"]).code == 0
    assert "audit" in ctl("runs", "list", "canary").out
