"""Pruning makes room, keeps the proof, and touches nothing that a run of ours did not write."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from canaryctl.cli import runs as runs_cli
from canaryctl.errors import ConfigError
from canaryctl.evidence import prune as pruning
from canaryctl.evidence.document import RunIdentity, new_document
from canaryctl.evidence.prune import plan_prune
from canaryctl.evidence.run import Run

NOW = datetime(2026, 11, 30, tzinfo=UTC).timestamp()
DAY = 86400.0
ROW = {"name": "Front", "verdict": "passed"}


def run(runs: Path, day: int, verdict: str = "passed", environment: str = "canary", **more: Any) -> Path:
    """A run of a day in November 2026, with a file in a folder of its evidence."""
    path = runs / environment / f"202611{day:02}T120000Z-deploy-0000"
    (path / "hosts" / "h1").mkdir(parents=True)
    (path / "hosts" / "h1" / "facts.json").write_text("{}")
    started = f"2026-11-{day:02}T12:00:00Z"
    known = {"id": path.name, "command": "deploy", "environment": environment, "probes": [ROW], "finished": started}
    (path / "run.json").write_text(json.dumps(new_document(**known, started=started, verdict=verdict) | more))
    return path


def going(runs: Path, **given: Any) -> list[int]:
    """Days of the runs that would go."""
    return [int(found.path.name[6:8]) for found in plan_prune(runs, now=NOW, **given).going]


def prune(runs: Path, *argv: str) -> Any:
    return CliRunner().invoke(runs_cli.app, ["prune", "--runs", str(runs), *argv])


def test_the_newest_of_each_environment_stay(tmp_path: Path) -> None:
    for day in range(1, 7):
        run(tmp_path, day)
    run(tmp_path, 2, environment="staging")
    assert going(tmp_path, keep=2) == [1, 2, 3, 4]
    assert going(tmp_path, keep=0, environment="staging") == []


def test_age_alone_and_age_with_a_number(tmp_path: Path) -> None:
    for day in (1, 10, 20, 29):
        run(tmp_path, day)
    assert going(tmp_path, older_than=15 * DAY) == [1, 10]
    assert going(tmp_path, older_than=15 * DAY, keep=3) == [1]
    assert going(tmp_path, older_than=1 * DAY, keep=3) == [1]


def test_the_newest_that_passed_and_the_newest_that_was_judged_stay(tmp_path: Path) -> None:
    run(tmp_path, 1)
    run(tmp_path, 2)
    run(tmp_path, 3, role="baseline")
    run(tmp_path, 4, probes=[])
    run(tmp_path, 5, "failed")
    run(tmp_path, 6, "interrupted")
    assert going(tmp_path, keep=0) == [1, 3, 5, 6]


def test_a_run_that_still_goes_on_stays(tmp_path: Path) -> None:
    going_on = Run.start(tmp_path, RunIdentity("deploy", "canary"))
    assert plan_prune(tmp_path, keep=0).going == ()
    going_on.finish("failed", 1)
    assert [found.path for found in plan_prune(tmp_path, keep=0).going] == [going_on.path]


def test_folders_that_no_run_of_ours_wrote_stay(tmp_path: Path) -> None:
    run(tmp_path, 9)
    strangers = [tmp_path / "canary" / f"2026110{n}T120000Z-deploy-0000" for n in (1, 2, 3, 4)]
    for path in strangers[:3]:
        path.mkdir()
    (strangers[1] / "run.json").write_text('{"id": "another"}')
    (strangers[2] / "run.json").write_text("not JSON")
    outside = run(tmp_path / "elsewhere", 4)
    strangers[3].symlink_to(outside)
    found = plan_prune(tmp_path, keep=0, now=NOW)
    assert found.going == () and len(found.refused) == 4
    done = prune(tmp_path, "--keep", "0", "--yes")
    assert done.exit_code == 0 and done.stdout.count("left alone") == 4
    assert all(path.exists() for path in strangers) and (outside / "run.json").exists()


def test_it_says_what_goes_and_asks_first(tmp_path: Path) -> None:
    old, new = run(tmp_path, 1), run(tmp_path, 2)
    told = prune(tmp_path, "--keep", "1")
    assert isinstance(told.exception, ConfigError) and "nothing was removed" in str(told.exception)
    assert old.name in told.stdout and old.exists()
    done = prune(tmp_path, "--keep", "1", "--yes")
    assert done.exit_code == 0 and "1 of 1 runs removed" in done.stdout
    assert not old.exists() and (new / "run.json").exists()


def test_a_run_that_cannot_be_removed_is_an_error_and_the_others_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, loose, _ = (run(tmp_path, day) for day in (1, 2, 3))
    remove = shutil.rmtree

    def refusing(path: Path) -> None:  # root, as which these tests may run, is refused nothing
        if path.is_relative_to(stuck):
            raise PermissionError(1, "Operation not permitted", str(path))
        remove(path)

    monkeypatch.setattr(pruning.shutil, "rmtree", refusing)
    done = prune(tmp_path, "--keep", "1", "--yes")
    assert done.exit_code == 1 and "1 of 2 runs removed" in done.stdout
    assert "Operation not permitted" in done.stderr and str(stuck / "hosts") in done.stderr
    assert not loose.exists() and (stuck / "run.json").exists()


def test_a_prune_without_a_limit_is_refused(tmp_path: Path) -> None:
    assert "--keep" in prune(tmp_path).exception.hint
    assert "not a duration" in str(prune(tmp_path, "--older-than", "monday").exception)
