"""Which images of this machine a rollback may send to a host that says it lacks them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from canaryctl.deploy import rollback
from canaryctl.deploy.rollback import _deployed_from_here
from canaryctl.evidence.document import new_document
from canaryctl.evidence.store import StoredRun, stored_runs
from canaryctl.plan.release import ImageFact

OURS, OTHERS = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def record(runs: Path, number: int, command: str, stack: str, identity: str) -> None:
    folder = runs / "prod" / f"20261130T08{number:02}00Z-{command}-0000"
    folder.mkdir(parents=True)
    release: dict[str, Any] = {"id": "c" * 64, "images": {"web": {"id": identity}}, "services": {}, "migration": None}
    known = {"id": folder.name, "command": command, "environment": "prod", "stack": stack, "release": release}
    document = new_document(**known, verdict="passed", finished="2026-11-30T08:00:00Z")
    (folder / "run.json").write_text(json.dumps(document))


def sent(runs: Path) -> set[str]:
    images = {
        name: ImageFact(name=name, id=identity, reference="", size=1, layers=(), platform="linux/amd64")
        for name, identity in {"web": OURS, "other": OTHERS}.items()
    }
    return set(_deployed_from_here(runs, "shop", images))


def test_what_a_deploy_from_here_had_may_be_sent_again(tmp_path: Path) -> None:
    record(tmp_path, 1, "deploy", "shop", OURS)
    assert sent(tmp_path) == {"web"}


def test_no_image_of_another_stack_and_none_that_only_hosts_named(tmp_path: Path) -> None:
    record(tmp_path, 1, "deploy", "shop", OURS)
    record(tmp_path, 2, "deploy", "payroll", OTHERS)
    record(tmp_path, 3, "rollback", "shop", OTHERS)
    record(tmp_path, 4, "probe", "shop", OTHERS)
    assert sent(tmp_path) == {"web"}


def test_nothing_without_a_record(tmp_path: Path) -> None:
    assert sent(tmp_path / "none") == set()


def test_evidence_that_may_not_be_read_keeps_nobody_from_going_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(runs: Path, environment: str | None = None) -> Iterator[StoredRun]:
        if environment != "prod":
            raise PermissionError(13, "Permission denied", str(runs))
        return stored_runs(runs, environment)

    (tmp_path / "canary").mkdir()
    record(tmp_path, 1, "deploy", "shop", OURS)
    monkeypatch.setattr(rollback, "stored_runs", read)
    assert sent(tmp_path) == {"web"}
