"""Stored runs as commands find them."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from documents import deployed

from canaryctl.commands import runs
from canaryctl.errors import ConfigError
from canaryctl.evidence.document import new_document


def stored(tmp_path: Path, minute: int = 15) -> Path:
    document = new_document(**deployed("split", minute))
    path = tmp_path / "canary" / str(document["id"])
    path.mkdir(parents=True)
    (path / "run.json").write_text(json.dumps(document))
    return path


def test_the_option_counts_more_than_the_environment_and_that_more_than_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError):
        runs.runs_directory(None)
    (tmp_path / "canaryctl.yml").touch()
    assert runs.runs_directory(None) == tmp_path / "runs"
    monkeypatch.setenv("CANARYCTL_RUNS", "shared")
    assert runs.runs_directory(None) == Path("shared") and runs.runs_directory(Path("own")) == Path("own")


def test_what_cannot_be_shown_of_a_run_is_its_records_fault(tmp_path: Path) -> None:
    path = stored(tmp_path)
    with pytest.raises(ConfigError) as caught, runs.opened_run(tmp_path, path.name) as run:
        raise KeyError(run.document["id"])
    assert caught.value.where == str(path / "run.json")


def test_what_two_runs_have_apart_is_either_records_fault(tmp_path: Path) -> None:
    stored(tmp_path), stored(tmp_path, 25)
    with runs.opened_comparison(tmp_path, None, None) as comparison:
        assert runs.rendered_comparison(comparison, "md").startswith(b"#")
    with pytest.raises(ConfigError), runs.opened_comparison(tmp_path, None, None):
        raise TypeError


@pytest.mark.parametrize("form", ["md", "html", "junit"])
def test_a_report_is_utf_8_whatever_is_in_it(tmp_path: Path, form: str) -> None:
    stored(tmp_path)
    with runs.opened_run(tmp_path, None) as run:
        run.document["notes"] = ["\u2713 \ud800"]
        assert "\u2713" in runs.rendered(run.document, form).decode() or form == "junit"


def test_a_report_that_was_never_written_is_made_beside_the_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = stored(tmp_path)
    made = runs.report_file(tmp_path, None)
    assert path not in made.parents and stat.S_IMODE(made.stat().st_mode) == 0o600
    (path / "report.html").touch()
    assert runs.report_file(tmp_path, None) == path / "report.html"


def test_a_run_and_its_manifest_are_compared(tmp_path: Path) -> None:
    path = stored(tmp_path)
    found, problems = runs.differences(tmp_path, path.name)
    assert found == path and len(problems) == 1


def test_what_may_go_is_removed(tmp_path: Path) -> None:
    old, new = stored(tmp_path), stored(tmp_path, 25)
    assert runs.prune(runs.plan_prune(tmp_path, keep=1)) == [] and new.exists() and not old.exists()
