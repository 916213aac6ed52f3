"""A lock left by a run of this machine that was killed needs no patience."""

from __future__ import annotations

from pathlib import Path

from canaryctl.record.run import Run
from canaryctl.record.store import was_killed


def test_a_run_is_killed_when_nobody_writes_it_and_it_has_no_end(tmp_path: Path) -> None:
    run = Run.start(tmp_path, command="deploy", environment="canary")
    assert not was_killed(run.path)  # it goes on
    run._events.close()  # as the kernel does for a killed process
    assert was_killed(run.path)
    assert not was_killed(run.path.with_name("somebody-else's"))


def test_a_finished_run_was_not_killed(tmp_path: Path) -> None:
    run = Run.start(tmp_path, command="deploy", environment="canary")
    run.finish("passed", 0)
    assert not was_killed(run.path)
