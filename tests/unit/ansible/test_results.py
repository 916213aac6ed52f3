"""A stage's results, folded from Ansible's events."""

from __future__ import annotations

from typing import Any

from canaryctl.ansible.results import Tally, unified


def event(outcome: str, host: str, task: str = "Do it", seconds: float = 1.0, **data: Any) -> dict[str, Any]:
    result = data.pop("res", {})
    return {
        "event": f"runner_on_{outcome}",
        "event_data": {"host": host, "task": task, "duration": seconds, "res": result, **data},
    }


def stats(**counts: Any) -> dict[str, Any]:
    return {"event": "playbook_on_stats", "event_data": counts}


def test_a_host_is_changed_as_soon_as_one_task_changed_it() -> None:
    tally = Tally("render", ["a", "b"])
    for each in (
        event("ok", "a", res={"changed": True}),
        event("ok", "a", seconds=0.5),
        event("ok", "b"),
        event("skipped", "b"),
        stats(changed={"a": 1}),
    ):
        tally.add(each)
    found = tally.results()
    assert (found["a"].status, found["a"].seconds, found["b"].status) == ("changed", 1.5, "ok")


def test_progress_names_stage_host_task_status_and_seconds() -> None:
    shown = Tally("start", ["a"]).add(event("ok", "a", "Start", 0.25, res={"changed": True}))
    assert shown == {
        "type": "task",
        "stage": "start",
        "host": "a",
        "task": "Start",
        "status": "changed",
        "seconds": 0.25,
    }


def test_what_concerns_no_host_is_no_progress() -> None:
    tally = Tally("start", ["a"])
    assert tally.add({"event": "playbook_on_start", "event_data": {}}) is None
    assert tally.add(event("ok", "a", task_action="ansible.builtin.validate_argument_spec")) is None
    assert tally.add({"event": "verbose", "stdout": "x"}) is None


def test_a_failure_keeps_its_structured_part_and_others_say_they_were_left_out() -> None:
    tally = Tally("start", ["a", "b"])
    broken = {"msg": "web is unhealthy: 503", "canary_failure": {"services": {"web": {"health": "unhealthy"}}}}
    tally.add(event("failed", "a", "Start", res=broken))
    tally.add(stats(failures={"a": 1}))
    found = tally.results()
    assert found["a"].status == "failed"
    assert found["a"].message == "Start: web is unhealthy: 503"
    assert found["a"].detail == {"services": {"web": {"health": "unhealthy"}}}
    assert (found["b"].status, found["b"].message) == ("skipped", "not started: another host failed first")


def test_an_unreachable_host_and_a_refused_sudo_are_both_without_access() -> None:
    tally = Tally("provision", ["a", "b"])
    tally.add(event("unreachable", "a", res={"msg": "Connection refused"}))
    tally.add(event("failed", "b", res={"msg": "Missing sudo password"}))
    tally.add(stats(dark={"a": 1}, failures={"b": 1}))
    found = tally.results()
    assert found["a"].status == found["b"].status == "unreachable"
    assert "sudo" in found["b"].message


def test_a_rescued_failure_is_none() -> None:
    tally = Tally("migrate", ["a"])
    tally.add(event("failed", "a", res={"msg": "no"}))
    tally.add(event("ok", "a"))
    tally.add(stats(changed={}, rescued={"a": 1}))
    assert tally.results()["a"].status == "ok"
    assert tally.results()["a"].message == ""


def test_a_failure_that_the_play_ignores_is_none() -> None:
    tally = Tally("migrate", ["a"])
    tally.add(event("failed", "a", res={"msg": "no"}, ignore_errors=True))
    assert not tally.troubled


def test_what_the_plays_report_arrives() -> None:
    tally = Tally("migrate", ["a"])
    tally.add(stats(artifact_data={"canary_migration_result": {"before": "", "after": "0002"}}))
    assert tally.stats == {"canary_migration_result": {"before": "", "after": "0002"}}


def test_a_diff_is_unified_and_file_attributes_are_left_out() -> None:
    pairs = [
        {"before": "a\nb\n", "after": "a\nc\n", "before_header": "old", "after_header": "new"},
        {"before": {"state": "absent"}, "after": {"state": "link"}},
    ]
    assert unified(pairs) == "--- old\n+++ new\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
    assert unified(None) == ""
