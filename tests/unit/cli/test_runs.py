"""`canaryctl runs` over stored runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from documents import deployed
from projects import Done, ctl, make_project
from typer.testing import CliRunner

from canaryctl.cli import runs as runs_cli
from canaryctl.errors import ConfigError
from canaryctl.evidence.document import RunIdentity, new_document
from canaryctl.evidence.run import Run


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of two runs, the newer first."""
    monkeypatch.chdir(make_project(tmp_path))
    ids = []
    for minute, variant in ((25, "split"), (15, "monolithic")):
        document = new_document(**deployed(variant, minute))
        path = tmp_path / "runs/canary" / document["id"]
        path.mkdir(parents=True)
        (path / "run.json").write_text(json.dumps(document))
        ids.append(document["id"])
    return ids


def test_they_are_listed_newest_first_under_their_headings(runs: list[str]) -> None:
    heading, *lines = ctl("runs", "list").out.splitlines()
    assert heading.split() == ["RUN", "ENVIRONMENT", "VERDICT", "SECONDS", "RELEASE"]
    assert [line.split()[:3] for line in lines] == [[one, "canary", "passed"] for one in runs]
    assert all(line.index("canary") == heading.index("ENVIRONMENT") for line in lines)
    document = ctl("runs", "list", "--output", "json").document
    assert [run["id"] for run in document["runs"]] == runs
    events = ctl("runs", "list", "canary", "--output", "ndjson").out.splitlines()
    assert [json.loads(event) for event in events] == document["runs"]
    assert ctl("runs", "list", "--runs", "elsewhere").out.startswith("no runs yet in elsewhere")


@pytest.mark.usefixtures("runs")
def test_the_directory_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CANARYCTL_RUNS", str(tmp_path / "others"))
    assert "others" in ctl("runs", "list").out and ctl("runs", "show").code == 2
    assert ctl("runs", "show", "--runs", "runs").code == 0


def test_one_is_shown_by_the_beginning_of_its_id(runs: list[str]) -> None:
    done = ctl("runs", "show", runs[1][:14])
    assert done.code == 0 and "deploy of ktrdr on canary" in done.out and runs[1] in done.out
    assert ctl("runs", "show", runs[1], "--output", "json").document["id"] == runs[1]
    assert json.loads(ctl("runs", "show", "--output", "ndjson").out)["id"] == runs[0]
    assert ctl("runs", "show", "2026").code == 2


def test_two_are_compared_in_each_form(runs: list[str]) -> None:
    def compared(*argv: str) -> Done:
        return ctl("runs", "compare", runs[1], runs[0], *argv)

    text = compared().out
    assert text.splitlines()[0].startswith(f"left   {runs[1]}") and "Tests" in text
    document = compared("--output", "json").document
    assert [document[side]["id"] for side in ("a", "b")] == [runs[1], runs[0]]
    assert compared("--output", "md").out.startswith("#") and "<html" in compared("--output", "html").out
    assert ctl("runs", "compare").out == text  # the newest with the one before it
    assert ctl("runs", "compare", runs[1]).code == 2


def test_a_report_is_printed_in_each_form(runs: list[str]) -> None:
    assert ctl("runs", "export").out.startswith("#") and "<html" in ctl("runs", "export", "--format", "html").out
    assert "<testsuite" in ctl("runs", "export", "--format", "junit").out
    assert ctl("runs", "export", "--format", "json").document["id"] == runs[0]
    assert ctl("runs", "export", "--format", "pdf").code == 2


def test_a_run_without_a_manifest_does_not_verify(runs: list[str]) -> None:
    done = ctl("runs", "verify")
    assert done.code == 1 and f"{runs[0]} does not verify: 1 differences" in done.out


def test_the_report_of_a_run_is_opened_where_it_is(runs: list[str], tmp_path: Path) -> None:
    report = tmp_path / "runs/canary" / runs[0] / "report.html"
    report.write_text("<html>")
    assert ctl("runs", "open", "--print").out == f"{report}\n"


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    for environment, verdict, code in (("canary", "passed", 0), ("fleet", "failed", 1)):
        run = Run.start(tmp_path / "runs", RunIdentity("deploy", environment, "shop"))
        row = {"kind": "http", "reason": "", "blame": None, "attempts": 1, "seconds": 0.1}
        run.set("probes", [{"name": "Front", "verdict": verdict, **row}])
        run.stage("push", "h1", "ok", 0.2)
        run.finish(verdict, code, ConfigError("broke", "h1", "fix it") if code else None)
    return tmp_path / "runs"


def call(*argv: str) -> Any:
    return CliRunner().invoke(runs_cli.app, list(argv))


def test_runs_list_and_show(runs_dir: Path) -> None:
    listed = json.loads(call("list", "--runs", str(runs_dir), "--output", "json").stdout)["runs"]
    assert [run["verdict"] for run in listed] == ["failed", "passed"]
    assert json.loads(call("list", "canary", "--runs", str(runs_dir), "--output", "json").stdout)["runs"] == listed[1:]
    assert listed[0]["id"] in call("list", "--runs", str(runs_dir)).stdout
    shown = call("show", "--runs", str(runs_dir))
    for needed in ("deploy of shop on fleet", "x Front", "error: broke", "help: fix it", "push"):
        assert needed in shown.stdout.replace("✗", "x")
    document = json.loads(call("show", listed[1]["id"], "--runs", str(runs_dir), "--output", "json").stdout)
    assert document == json.loads((Path(document["directory"]) / "run.json").read_text())
    assert "no runs yet" in call("list", "--runs", str(runs_dir / "none")).stdout


def test_runs_verify_and_export(runs_dir: Path) -> None:
    assert call("verify", "--runs", str(runs_dir)).exit_code == 0
    for format_, needed in {
        "md": "| Front | ❌ FAIL |",
        "html": "<html",
        "junit": "<testcase",
        "json": '"probes"',
    }.items():
        assert needed in call("export", "--runs", str(runs_dir), "--format", format_).stdout
    report = next(runs_dir.glob("fleet/*/report.md"))
    report.write_text("tampered")
    told = call("verify", "--runs", str(runs_dir))
    assert told.exit_code == 1 and "report.md: changed" in told.stdout
    assert isinstance(call("show", "nope", "--runs", str(runs_dir)).exception, ConfigError)


def test_runs_compare_takes_two_one_or_none(runs_dir: Path) -> None:
    older, newer = (json.loads(path.read_text()) for path in sorted(runs_dir.glob("*/*/run.json")))
    two = call("compare", older["id"], newer["id"], "--runs", str(runs_dir), "--output", "json")
    found = json.loads(two.stdout)
    assert (found["a"]["id"], found["b"]["id"]) == (older["id"], newer["id"])
    text = call("compare", older["id"], newer["id"], "--runs", str(runs_dir)).stdout
    for needed in (older["id"], newer["id"], "Front", "canary", "fleet", "failed"):
        assert needed in text
    for format_, needed in {"md": "| Front | ✅ PASS | ❌ FAIL |", "html": "<!doctype html>"}.items():
        assert needed in call("compare", older["id"], newer["id"], "--runs", str(runs_dir), "-o", format_).stdout
    alone = call("compare", "--runs", str(runs_dir))
    assert "none before it" in str(alone.exception)
    third = Run.start(runs_dir, RunIdentity("probe", "fleet", "shop"))
    third.finish("passed", 0)
    found = json.loads(call("compare", "--runs", str(runs_dir), "--output", "json").stdout)
    assert (found["a"]["id"], found["b"]["id"]) == (newer["id"], third.id)


def test_runs_compare_prefers_a_runs_own_baseline(runs_dir: Path) -> None:
    runs = [Run.start(runs_dir, RunIdentity("deploy", "canary")) for _ in range(3)]
    runs[2].set("baseline", runs[0].id)
    for run in runs:
        run.finish("passed", 0)
    found = json.loads(call("compare", runs[2].id, "--runs", str(runs_dir), "--output", "json").stdout)
    assert (found["a"]["id"], found["b"]["id"]) == (runs[0].id, runs[2].id)


def test_runs_open_prints_the_report_where_there_is_no_display(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    path = Path(call("open", "--runs", str(runs_dir)).stdout.strip())
    assert path.name == "report.html" and path.parent.parent.name == "fleet" and path.is_absolute()
    path.unlink()  # a run that was killed wrote none
    path = Path(call("open", "--print", "--runs", str(runs_dir)).stdout.strip())
    assert "<!doctype html>" in path.read_text() and runs_dir not in path.parents
