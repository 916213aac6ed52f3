"""Evidence is its owner's alone, or one group's besides, whatever the umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from canaryctl.config.environment import Environment, Host
from canaryctl.config.evidencegroup import evidence_group
from canaryctl.errors import ConfigError
from canaryctl.evidence.document import RunIdentity
from canaryctl.evidence.run import Run


@pytest.fixture(params=[0o000, 0o022, 0o277])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def filled(runs: Path, group: int | None = None) -> Run:
    run = Run.start(runs, RunIdentity("deploy", "canary"), group=group)
    run.host_file("h1", "logs/web.log", "what the application said\n")
    run.keep("hooks/before.log", "said\n")
    run.probes([{"name": "Front", "verdict": "passed", "exchanges": [{"ms": 1.0, "body": "x"}]}])
    stray = run.ansible_dir("push") / "deep"
    stray.mkdir(mode=0o777)
    stray.chmod(0o777)
    (stray / "events.jsonl").touch()
    (stray / "events.jsonl").chmod(0o666)
    run.finish("passed", 0)
    return run


@pytest.mark.usefixtures("umask")
def test_nobody_else_may_read_evidence_whatever_the_umask(tmp_path: Path) -> None:
    run = filled(tmp_path / "evidence" / "runs")
    below = [tmp_path / "evidence", *(tmp_path / "evidence").rglob("*")]
    assert {mode(path) for path in below if path.is_dir()} == {0o700}
    assert {mode(path) for path in below if path.is_file()} == {0o600}
    assert len(below) > 12 and run.path in below


@pytest.mark.usefixtures("umask")
def test_a_group_reads_everything_and_writes_nothing(tmp_path: Path) -> None:
    group = os.getgroups()[-1] if os.getgroups() else os.getgid()
    filled(tmp_path / "runs", group)
    below = [tmp_path / "runs", *(tmp_path / "runs").rglob("*")]
    assert {mode(path) for path in below if path.is_dir()} == {0o2750}
    assert {mode(path) for path in below if path.is_file()} == {0o640}
    assert {path.stat().st_gid for path in below} == {group}


def test_what_is_there_is_not_changed(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    (runs / "canary" / "old").mkdir(parents=True)
    for path in (runs, runs / "canary", runs / "canary" / "old"):
        path.chmod(0o755)
    run = filled(runs)
    assert [mode(runs), mode(runs / "canary"), mode(runs / "canary" / "old")] == [0o755] * 3
    assert mode(run.path) == 0o700


def environment(*values: Any) -> Environment:
    hosts = {
        f"h{n}": Host(f"h{n}", (), {} if value is None else {"canary_evidence_group": value})
        for n, value in enumerate(values)
    }
    return Environment("canary", Path("inventories/canary"), hosts, {})


def test_the_group_of_an_environment() -> None:
    import grp

    known = grp.getgrgid(os.getgid())
    assert evidence_group(environment()) is None and evidence_group(environment(None, None)) is None
    assert evidence_group(environment(known.gr_name, known.gr_name)) == known.gr_gid
    assert evidence_group(environment(4711)) == 4711 and evidence_group(environment("4711")) == 4711


@pytest.mark.parametrize(
    "value", [True, "no-such-group", "a\x00b", "\ud800", -1, 2**32 - 1, 1.5, ["x"], {}, "²", "9" * 99]
)
def test_a_group_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="canary_evidence_group") as caught:
        evidence_group(environment(value))
    assert caught.value.where == "inventories/canary" and caught.value.exit_code == 2


def test_hosts_that_differ_in_the_group_are_refused() -> None:
    with pytest.raises(ConfigError, match="differ"):
        evidence_group(environment("root", None))


def test_a_group_of_others_is_refused_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("canaryctl.evidence.private.os", SimpleNamespace(chown=refuse))
    with pytest.raises(ConfigError, match="canary_evidence_group"):
        Run.start(tmp_path / "runs", RunIdentity("deploy", "canary"), group=12)
    assert not (tmp_path / "runs").exists()
