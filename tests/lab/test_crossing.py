"""A training that is under way while the deploy replaces its worker is checkpointed, resumed and completed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Box, Ctl, Result

pytestmark = pytest.mark.lab

HOST = "canary-1"
EPOCHS = 1500  # half a minute to two: more than the services take to be back
PROBES = """\
- name: Training Survives
  kind: lifecycle
  on: core
  across: deploy
  start:
    url: "http://{{ address }}:18000/api/v1/trainings/start"
    json: {symbols: [EURUSD], timeframes: [1h], strategy_name: v3_minimal, epochs: MANY, tag: "{{ tag }}"}
    save: {task_id: task_id}
  status:
    url: "http://{{ address }}:18000/api/v1/operations/{{ task_id }}"
    until: "data.status == 'completed'"
    fail: "contains(['failed', 'cancelled'], data.status)"
    every: 1s
    timeout: 5m
  cancel: {url: "http://{{ address }}:18000/api/v1/operations/{{ task_id }}"}
  confirm: {url: "http://{{ address }}:18000/api/v1/operations/{{ task_id }}", expect: {jmespath: CONFIRM}}
"""


def deploy(ctl: Ctl, folder: Path, variant: str, epochs: int, confirm: str = "success") -> dict[str, Any]:
    """Deploy with that probe alone; its row, which must be the only one."""
    probes = folder / "probes.yml"
    probes.write_text(PROBES.replace("MANY", str(epochs)).replace("CONFIRM", confirm))
    argv = ("deploy", "canary", "--variant", variant, "--probes", str(probes), "--yes", "--output", "json")
    done = ctl(*argv, timeout=900)
    (row,) = done.document["probes"] or [{"verdict": "none", "reason": done.text[-2000:]}]
    return dict(row)


def test_one_that_ends_before_the_new_release_is_up_has_proven_nothing(
    ctl: Ctl, tmp_path: Path, canary: Result
) -> None:
    row = deploy(ctl, tmp_path, "monolithic", 1)
    assert row["verdict"] == "inconclusive" and "give it more to do" in row["reason"], row["reason"]
    row = deploy(ctl, tmp_path, "monolithic", 1)
    assert row["reason"].startswith("completed in"), "where nothing changes there is nothing to cross"


def test_a_training_survives_the_change_of_its_worker(
    ctl: Ctl, box: Callable[[str], Box], tmp_path: Path, canary: Result
) -> None:
    assert deploy(ctl, tmp_path, "monolithic", 1)["verdict"] in ("passed", "inconclusive")
    before = box(HOST).services()
    row = deploy(ctl, tmp_path, "split", EPOCHS, "data.result.resumed")
    assert row["verdict"] == "passed", row["reason"]
    after = box(HOST).services()
    replaced = {service for service in after if after[service] != before.get(service)}
    assert "training-worker" in replaced
    assert row["reason"].startswith("survived the deploy: completed ")
    assert f"{len(replaced)} containers started meanwhile" in row["reason"]
    assert row["exchanges"][0]["what"] == "start"
