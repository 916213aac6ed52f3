"""What has become of a run, as its record has it."""

from __future__ import annotations

import pytest

from canaryctl.deploy.state import Downtime, Migration, RunState, Served


def test_a_run_begins_with_nothing_done_and_shares_nothing_with_others() -> None:
    one, other = RunState(), RunState()
    one.failures["a"] = one.start_failures["a"] = None  # type: ignore[assignment]
    one.touched["a"] = {"start"}
    one.contracts.append(None)  # type: ignore[arg-type]
    assert other == RunState() and not (other.touched or other.failures or other.contracts)
    assert (other.verdict, other.changed, other.judged, other.policy_acted) == ("passed", False, False, False)


@pytest.mark.parametrize(
    ("before", "after", "moved"),
    [("1", "2", True), ("1", "1", False), (None, "1", True), ("1", None, True), (None, None, False)],
)
def test_a_migration_has_moved_what_it_cannot_tell_the_same(before: str | None, after: str | None, moved: bool) -> None:
    assert Migration(before, after).moved is moved


@pytest.mark.parametrize(("until", "seconds"), [(12.345, 2.35), (None, None), (10.0, 0.0)])
def test_downtime_lasts_until_the_service_serves_again(until: float | None, seconds: float | None) -> None:
    assert Downtime("a", "web", 10.0, until).as_dict() == {
        "host": "a", "service": "web", "from": 10.0, "until": until, "seconds": seconds, "foretold": None,
    }  # fmt: skip


def test_what_hosts_serve_names_the_tag_of_every_service_as_far_as_it_is_known() -> None:
    served = Served("r", "only", {"web": {"id": "sha256:1", "tag": "t"}}, {"web": "web", "jobs": "gone"})
    assert served.tags == {"web": "t", "jobs": ""}
    assert served.as_dict()["services"] == {"web": "web", "jobs": "gone"} and served.as_dict()["migration"] is None
    assert Served().tags == {} and Served().as_dict()["id"] is None
