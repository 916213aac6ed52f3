"""Records of runs that were killed verify too, once the next run has completed them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from canaryctl.evidence.document import RunIdentity
from canaryctl.evidence.run import Run
from canaryctl.evidence.store import list_runs, load_run, verify

KILLED = (
    "import os, signal, sys; from pathlib import Path; from canaryctl.evidence.run import Run; "
    "from canaryctl.evidence.document import RunIdentity\n"
    "run = Run.start(Path(sys.argv[1]), RunIdentity('deploy', 'canary'))\n"
    "run.host_file('h1', 'facts.json', {}); (run.path / '.run.json.abcdefgh').write_text('half')\n"
    "print(run.path, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
)


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    argv = [sys.executable, "-c", KILLED, str(tmp_path)]
    return Path(subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip())


def begin(runs: Path, environment: str = "canary") -> Run:
    return Run.start(runs, RunIdentity("deploy", environment))


def test_the_next_run_completes_the_record_of_a_killed_one(tmp_path: Path, killed: Path) -> None:
    assert "MANIFEST.sha256 is missing" in verify(killed)[0]
    begin(tmp_path).finish("passed", 0)
    assert verify(killed) == [] and not list(killed.glob(".*"))
    stored = load_run(tmp_path, killed.name).document
    assert (stored["verdict"], stored["exit_code"]) == ("interrupted", None)
    assert stored["started"] <= stored["finished"] and "killed" in stored["error"]["what"]
    (killed / "hosts/h1/facts.json").write_text("{ }")
    begin(tmp_path).finish("passed", 0)
    assert verify(killed) == ["hosts/h1/facts.json: changed"]


def test_a_run_that_goes_on_is_left_alone(tmp_path: Path) -> None:
    first = begin(tmp_path)
    second = begin(tmp_path)
    assert {run["verdict"] for run in list_runs(tmp_path)} == {"running"}
    second.finish("passed", 0)
    first.finish("failed", 1)
    assert verify(first.path) == verify(second.path) == []


def test_a_finished_record_that_lost_its_manifest_gets_no_new_one(tmp_path: Path) -> None:
    run = begin(tmp_path)
    run.finish("passed", 0)
    (run.path / "MANIFEST.sha256").unlink()
    begin(tmp_path).finish("passed", 0)
    assert "MANIFEST.sha256 is missing" in verify(run.path)[0]


@pytest.mark.parametrize("content", ["", "{ torn", "[]", None])
def test_a_record_that_cannot_be_read_stops_no_run(tmp_path: Path, killed: Path, content: str | None) -> None:
    (killed / "run.json").unlink()
    if content is not None:
        (killed / "run.json").write_text(content)
    run = begin(tmp_path)
    run.finish("passed", 0)
    assert verify(run.path) == [] and json.loads((run.path / "run.json").read_text())["verdict"] == "passed"
