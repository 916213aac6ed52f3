"""Looking at hosts: this machine by the agent's own programs, and answers as other hosts may give them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from local import local, local_host
from recorded import Recorded

from canaryctl.errors import HostError
from canaryctl.hosts import Fleet, collect, look_at_mounts, observe, read_history, watch_gpus

GPU = {"agent": 1, "containers": ["c" * 64], "cgroup_driver": "systemd", "xids": [], "kernel_log": "journalctl"}


def test_all_hosts_are_looked_at(tmp_path: Path) -> None:
    with Fleet([local_host(name, tmp_path / name) for name in ("a", "b")]) as fleet:
        seen = observe(fleet, fleet.hosts, stack="shop")
    assert list(seen.facts) == ["a", "b"] and not seen.failures
    assert all(facts.clock_skew == 0 and abs(facts.time - time.time()) < 60 for facts in seen.facts.values())


@pytest.mark.parametrize("change", [{"time": None}, {"time": "soon"}, {"mounts": 5}])
def test_facts_that_cannot_be_are_that_hosts_failure(change: dict[str, object], tmp_path: Path) -> None:
    with Fleet([local_host(root=tmp_path)]) as fleet:
        good = observe(fleet, fleet.hosts, stack="shop").facts["here"].raw
        recorded = Recorded([{**good, **change}])
        fleet.get = lambda name: recorded  # type: ignore[method-assign]
        failure = observe(fleet, fleet.hosts, stack="shop").failures["here"]
    assert failure.reason == "agent"


@pytest.mark.parametrize(("ahead", "skew"), [(100, 100), (-100, -100), (0, 0)])
def test_a_clock_that_goes_wrong_is_told(ahead: float, skew: float, tmp_path: Path) -> None:
    with Fleet([local_host(root=tmp_path)]) as fleet:
        good = observe(fleet, fleet.hosts, stack="shop").facts["here"].raw
        recorded = Recorded([{**good, "time": time.time() + ahead}])
        fleet.get = lambda name: recorded  # type: ignore[method-assign]
        facts = observe(fleet, fleet.hosts, stack="shop").facts["here"]
    assert facts.clock_skew == pytest.approx(skew, abs=5)


def test_mounts_are_looked_at_now(tmp_path: Path) -> None:
    (tmp_path / "mark").write_text("")
    asked = [{"path": str(tmp_path), "sentinel": "mark"}, {"path": str(tmp_path / "none"), "sentinel": ""}]
    found = look_at_mounts(local(root=tmp_path), asked)
    assert list(found) == [str(tmp_path), str(tmp_path / "none")]
    assert found[str(tmp_path)].sentinel is True and found[str(tmp_path)].point


def test_the_newest_lines_of_the_history_are_read(tmp_path: Path) -> None:
    lines = [{"time": f"2026-01-0{day}T00:00:00Z", "who": "a@b", "what": "start", "to": "x" * 64} for day in (1, 2, 3)]
    assert read_history(local(root=tmp_path), "shop", 2) == []
    file = tmp_path / "shop" / "history.jsonl"
    file.parent.mkdir()
    file.write_text("".join(json.dumps(line) + "\n" for line in lines) + "[odd]\n")
    assert [line["time"] for line in read_history(local(root=tmp_path), "shop", 3)] == [
        line["time"] for line in lines[1:]
    ]


def test_a_history_that_cannot_be_read_is_the_hosts_failure() -> None:
    with pytest.raises(HostError) as caught:
        read_history(Recorded([{"agent": 1, "error": "\x1b[1mdenied"}]), "shop", 2)
    assert caught.value.where == "alpha" and "\x1b" not in caught.value.what


def test_evidence_of_another_form_is_not_believed() -> None:
    with pytest.raises(HostError):
        collect(Recorded([{"agent": 1, "logs": 5}]), "shop")


def test_gpus_are_looked_at_after_the_units_are_reloaded() -> None:
    host = Recorded([{"agent": 1, "error": "no systemd"}], [GPU])
    found = watch_gpus(host, "shop", "web", reload=True)
    assert (found["reloaded"], found["containers"], found["gpus"], found["gpu"]) == ("no systemd", ["c" * 64], [], {})
    assert len(host.asked) == 2
    host = Recorded([GPU])
    assert watch_gpus(host, "shop", "web")["reloaded"] == "" and len(host.asked) == 1
