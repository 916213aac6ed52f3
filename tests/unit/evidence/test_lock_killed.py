"""A lock left by a run of this machine that has ended needs no patience."""

from __future__ import annotations

from pathlib import Path

from canaryctl.evidence.document import RunIdentity
from canaryctl.evidence.events import has_ended
from canaryctl.evidence.run import Run


def test_a_run_has_ended_when_nobody_writes_it_any_more(tmp_path: Path) -> None:
    run = Run.start(tmp_path, RunIdentity("deploy", "canary"))
    assert not has_ended(run.path)  # it goes on
    run._events.close()  # as the kernel does for a killed process
    assert has_ended(run.path)
    assert not has_ended(run.path.with_name("somebody-else's"))


def test_a_finished_run_has_ended_too(tmp_path: Path) -> None:
    """It may have lost the host that keeps its lock."""
    run = Run.start(tmp_path, RunIdentity("deploy", "canary"))
    run.finish("passed", 0)
    assert has_ended(run.path)
