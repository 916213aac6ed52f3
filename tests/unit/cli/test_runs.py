"""`canaryctl runs` over two stored runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from documents import deployed
from projects import Done, ctl, make_project

from canaryctl.evidence.document import new_document


@pytest.fixture(autouse=True)
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
