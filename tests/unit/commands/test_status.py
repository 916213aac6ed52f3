"""The command `status`, with this machine as the host."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import LOST, ctl, make_project


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_host_that_serves_nothing_and_one_that_cannot_be_asked(tmp_path: Path) -> None:
    make_project(tmp_path, here={}, lost=LOST)
    done = ctl("status", "canary")
    assert done.code == 3 and done.out.splitlines()[:2] == ["shop on canary: no one release", "  here: no release"]
    assert "  lost: unreachable: " in done.out and "where: lost" in done.err
    document = ctl("status", "canary", "--output", "json").document
    assert document["release"] == {"id": None} and document["variant"] is None and document["drift"] is None
    assert (document["healthy"], document["services"], document["lock"]) == (0, 2, None)
    served, lost = document["hosts"]["here"], document["hosts"]["lost"]
    assert served["reachable"] is True and served["missing"] == ["web"] and served["release"] is None
    assert set(lost) == {"reachable", "why", "missing"} and lost["reachable"] is False and lost["missing"] == ["web"]


def test_without_an_environment_all_are_told_and_a_faulty_one_by_its_fault(tmp_path: Path) -> None:
    make_project(tmp_path)
    make_project(tmp_path, "faulty")
    (tmp_path / "inventories/faulty/hosts.yml").write_text("all: [")
    done = ctl("status")
    canary, faulty = done.out.splitlines()
    assert done.code == 2 and canary.split() == ["canary", "no", "release", "0", "of", "1", "healthy"]
    assert faulty.startswith("faulty  faulty: ")
    environments = ctl("status", "--output", "json").document["environments"]
    assert list(environments) == ["canary", "faulty"] and environments["canary"]["hosts"]["here"]["reachable"]
    assert set(environments["faulty"]) == {"environment", "error"} and environments["faulty"]["error"]["what"]


def test_where_every_environment_is_faulty_each_is_told(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_project(tmp_path, name)
        (tmp_path / "inventories" / name / "hosts.yml").write_text("all: [")
    done = ctl("status")
    assert done.code == 2 and [line.split("  ")[0] for line in done.out.splitlines()] == ["one", "two"]
    assert done.err.count("error:") == 2


def test_a_project_without_environments_says_so(tmp_path: Path) -> None:
    make_project(tmp_path)
    (tmp_path / "inventories/canary/hosts.yml").unlink()
    (tmp_path / "inventories/canary").rmdir()
    assert (ctl("status").code, ctl("status").out) == (0, "there are no environments\n")
