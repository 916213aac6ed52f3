"""Dataclasses from a host's JSON: what is taken, and what is refused by its field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from canaryctl.errors import HostError
from canaryctl.facts.typed import LONGEST, MOST, Unbelievable, believing, is_time, longest, many, one, printable


@dataclass(frozen=True)
class Inner:
    name: str = ""


@dataclass(frozen=True)
class Outer:
    count: int = 7
    text: str = ""
    long: str = field(default="", metadata=longest(LONGEST + 1))
    flag: bool = False
    when: float = 0
    state: Literal["up", "down"] = "up"
    maybe: int | None = None
    inner: Inner | None = None
    several: tuple[Inner, ...] = ()
    named: dict[str, Inner] = field(default_factory=dict)
    anything: Any = None


@pytest.mark.parametrize(
    ("values", "read"),
    [
        (None, Outer()),
        ({}, Outer()),
        ({"count": None, "text": None, "several": None, "named": None}, Outer()),
        ({"of a later version": 1}, Outer()),
        ({"count": -1, "maybe": 0, "flag": True, "when": 1.5}, Outer(count=-1, maybe=0, flag=True, when=1.5)),
        ({"long": "x" * (LONGEST + 1)}, Outer(long="x" * (LONGEST + 1))),
        (
            {"inner": {"name": "a"}, "several": [{}, {"name": "b"}]},
            Outer(inner=Inner("a"), several=(Inner(), Inner("b"))),
        ),
        ({"named": {"a": {"name": "b"}}, "anything": [1]}, Outer(named={"a": Inner("b")}, anything=[1])),
    ],
)
def test_what_is_taken(values: Any, read: Outer) -> None:
    assert one(Outer, values) == read
    assert one(Outer, read) is read


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ([], ""),
        ({"count": "7"}, "count"),
        ({"count": True}, "count"),
        ({"count": 1.5}, "count"),
        ({"count": 2**64}, "count"),
        ({"text": 7}, "text"),
        ({"text": "x" * (LONGEST + 1)}, "text"),
        ({"flag": 1}, "flag"),
        ({"when": float("nan")}, "when"),
        ({"when": 1e18}, "when"),
        ({"state": "sideways"}, "state"),
        ({"maybe": "0"}, "maybe"),
        ({"inner": "a"}, "inner"),
        ({"inner": {"name": 1}}, "inner.name"),
        ({"several": {}}, "several"),
        ({"several": [{}, {"name": 1}]}, "several[1].name"),
        ({"several": [{}] * (MOST + 1)}, "several"),
        ({"named": []}, "named"),
        ({"named": {"a": 1}}, "named.a"),
        ({"named": {"x" * (LONGEST + 1): {}}}, "named"),
    ],
)
def test_what_is_refused_names_its_field(values: Any, where: str) -> None:
    with pytest.raises(Unbelievable) as caught:
        one(Outer, values)
    assert caught.value.where == where


def test_entries_are_named_by_their_place() -> None:
    assert many(Inner, None) == () and many(Inner, [{"name": "a"}]) == (Inner("a"),)
    with pytest.raises(Unbelievable) as caught:
        many(Inner, [{}, 5], "disks")
    assert caught.value.where == "disks[1]"


def test_what_cannot_be_believed_is_the_hosts_failure_on_one_safe_line() -> None:
    with pytest.raises(HostError) as caught, believing("alpha"):
        one(Outer, {"named": {"\x1b[2J\n" * 100: 1}})
    assert (caught.value.where, caught.value.reason, caught.value.exit_code) == ("alpha", "agent", 3)
    assert caught.value.what.isprintable() and len(caught.value.what) < 300


@pytest.mark.parametrize(
    ("value", "shown"), [("plain", "plain"), ("a\nb\x1b", "a?b?"), ("x" * 61, "x" * 57 + "..."), (None, "None")]
)
def test_a_value_is_shown_short_and_without_what_a_terminal_obeys(value: object, shown: str) -> None:
    assert printable(value) == shown


@pytest.mark.parametrize(
    ("value", "good"),
    [(0, True), (1.5, True), (-62_135_596_800.0, True), (253_402_300_800, False), (True, False), ("1", False)],
)
def test_times_are_numbers_of_years_that_have_a_name(value: Any, good: bool) -> None:
    assert is_time(value) is good
