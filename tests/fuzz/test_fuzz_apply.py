"""Whatever a module on a host answers, its stage has a result, and the others theirs."""

from __future__ import annotations

from typing import Any

from fuzzing import ODD, fuzzed, mutations, texts
from hypothesis import strategies as st

from canaryctl.ansible import reasons
from canaryctl.ansible.results import Tally, unified
from canaryctl.deploy.stages import _faults, last_words

_RESULT: dict[str, Any] = {
    "changed": True,
    "msg": "web is unhealthy: 503",
    "module_stderr": "Traceback\nValueError: x",
    "diff": [{"before": "a\n", "after": "b\n", "before_header": "x", "after_header": "y"}],
    "canary_gaps": {"web": {"from": 1795507200.5, "until": None, "since": 5.5, "earlier": [1.5, 2.5]}},
    "canary_failure": {
        "message": "x",
        "hint": "y",
        "lost": None,
        "services": {"web": {"state": "exited", "exit_code": 1, "health_output": "no", "log": "a\nb"}},
    },
}
_EVENTS = [
    {
        "event": "runner_on_failed",
        "pid": 7,
        "event_data": {"host": "a", "task": "Start", "duration": 0.5, "res": _RESULT, "ignore_errors": None},
    },
    {
        "event": "playbook_on_stats",
        "event_data": {"failures": {"a": 1}, "dark": {}, "changed": {"a": 1}, "artifact_data": {"x": {"before": "1"}}},
    },
]


@fuzzed(mutations(_EVENTS))
def test_events_become_results(value: Any) -> None:
    tally = Tally("start", ["a", "b"])
    for event in value if isinstance(value, list) else []:
        if isinstance(event, dict):
            tally.add(event)
    found = tally.results()
    assert {"a", "b"} <= set(found)
    for result in found.values():
        assert all(set(gap) - {"since"} == {"from", "until", "left", "returned"} for gap in result.gaps.values())
        if result.detail:
            last_words(result.detail)
    _faults("start", found)


@fuzzed(mutations(_RESULT))
def test_a_result_is_put_in_words(value: Any) -> None:
    if isinstance(value, dict):
        assert isinstance(reasons.failure("Start", value), str) and isinstance(reasons.no_access(value), str)
        unified(value.get("diff"))


@fuzzed(st.one_of(texts("[ERROR]: x\nPLAY [all]\n", "ERROR! y\n"), st.sampled_from([str(odd) for odd in ODD])))
def test_what_ansible_says_is_put_in_words(value: str) -> None:
    assert isinstance(reasons.playbook_error(value), str)
