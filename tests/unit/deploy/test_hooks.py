"""Hooks: programs with the run on standard input, bounded in time and output."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from canaryctl.config.project import load_project
from canaryctl.deploy.hooks import MOST_OUTPUT, Ended, execute
from canaryctl.errors import ConfigError


def script(folder: Path, text: str, mode: int = 0o755) -> Path:
    path = folder / "pre-deploy"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return path


def run(path: Path, given: bytes = b"{}", timeout: float = 20) -> Ended:
    return execute(path, given, folder=path.parent, variables={"CANARYCTL_RUN": "r1"}, timeout=timeout)


def test_a_hook_gets_its_input_its_folder_and_its_variables_and_its_output_is_kept(tmp_path: Path) -> None:
    ended = run(script(tmp_path, 'cat; pwd; echo "$CANARYCTL_RUN" >&2; exit 3'), b'{"a": 1}\n')
    assert ended.code == 3
    assert ended.output.decode() == f'{{"a": 1}}\n{tmp_path}\nr1\n'


def test_a_hook_need_not_read_what_it_is_given(tmp_path: Path) -> None:
    assert run(script(tmp_path, "exit 0"), b"x" * (1 << 20)).code == 0


def test_a_late_hook_is_ended_with_what_it_started(tmp_path: Path) -> None:
    began = time.monotonic()
    ended = run(script(tmp_path, f"echo before; (sleep 5; touch {tmp_path}/survived) & sleep 60"), timeout=1.5)
    assert ended.code is None and ended.output == b"before\n"
    assert time.monotonic() - began < 30
    time.sleep(5)
    assert not (tmp_path / "survived").exists()


def test_only_the_end_of_much_output_is_kept(tmp_path: Path) -> None:
    ended = run(script(tmp_path, "head -c 300000 /dev/zero | tr '\\0' x; echo end"))
    assert ended.code == 0 and len(ended.output) == MOST_OUTPUT and ended.output.endswith(b"xend\n")


def test_a_background_process_that_holds_the_output_is_not_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()
    assert run(script(tmp_path, "sleep 30 & echo done")).output == b"done\n"
    assert time.monotonic() - began < 15


def test_what_cannot_be_executed_is_said_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        run(script(tmp_path, "exit 0", mode=0o644))
    assert "pre-deploy" in refused.value.what and "chmod +x" in refused.value.hint


def test_hooks_lie_beside_the_project_file_or_where_it_says(tmp_path: Path) -> None:
    (tmp_path / "canaryctl.yml").write_text("stack: stack.yml\n")
    assert load_project(start=tmp_path).hooks == tmp_path / "hooks"
    (tmp_path / "canaryctl.yml").write_text("hooks: ops/hooks\n")
    with pytest.raises(ConfigError, match="no folder ops/hooks"):
        load_project(start=tmp_path)
    (tmp_path / "ops/hooks").mkdir(parents=True)
    assert load_project(start=tmp_path).hooks == tmp_path / "ops/hooks"
