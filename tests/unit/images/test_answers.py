"""What is believed of the lines that a host's program writes while it takes or pulls images."""

from __future__ import annotations

from typing import Any

import pytest

from canaryctl.errors import HostError
from canaryctl.images.answers import Lines, counts, faults, holder, opening, text_of

A, B = (f"sha256:{letter * 64}" for letter in "ab")
FIRST: dict[str, Any] = {"missing": [A], "staged": {A: [3, "ff"]}, "disks": {"/root": [10, 1], "/docker": [20, 1]}}


def test_lines_are_put_together_and_a_greeting_is_left_out() -> None:
    lines = Lines("alpha")
    assert lines.hear(b'Welcome\n{"a": ') == []
    assert lines.hear(b'1}\n\n{"b": 2}\n{"c"') == [{"a": 1}, {"b": 2}]
    assert lines.hear(b": 3}\n") == [{"c": 3}]


@pytest.mark.parametrize(
    "pieces",
    [
        [b"{not json}\n"],
        [b"{" + b"x" * (5 << 20)],
        [b"x" * (3 << 20), b"x" * (3 << 20)],
        [b'{"a": 1}\n{"b": 2}\n{"c": 3}\n'],  # one more than there can be
    ],
)
def test_what_is_too_much_or_no_json_is_the_hosts_failure(pieces: list[bytes]) -> None:
    lines = Lines("alpha", most=2)
    with pytest.raises(HostError) as caught:
        for piece in pieces:
            lines.hear(piece)
    assert (caught.value.where, caught.value.reason, caught.value.exit_code) == ("alpha", "agent", 3)


def test_the_first_answer_is_typed_and_dockers_disk_is_last() -> None:
    found = opening("alpha", FIRST, [A, B])
    assert found.missing == (A,) and found.staged == {A: (3, "ff")}
    assert list(found.disks.items()) == [("/root", (10, 1)), ("/docker", (20, 1))]


@pytest.mark.parametrize(
    "change",
    [
        {"missing": None},
        {"missing": [5]},
        {"missing": [A, A]},
        {"missing": ["/etc/shadow"]},
        {"staged": None},
        {"staged": {}},
        {"staged": {A: [3]}},
        {"staged": {A: [-1, "ff"]}},
        {"staged": {A: [3, 5]}},
        {"disks": {}},
        {"disks": {"/": [1]}},
        {"disks": {"/": [True, 1]}},
        {"disks": {"/": [1 << 63, 1]}},
    ],
)
def test_a_first_answer_of_another_form_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(HostError):
        opening("alpha", {**FIRST, **change}, [A, B])


def test_every_image_must_be_spoken_of_unless_it_all_failed() -> None:
    assert faults("alpha", {"images": {A: "", B: "no room", "other": "x"}}, [A, B]) == {A: "", B: "no room"}
    assert faults("alpha", {"images": {A: "x" * 9000}}, [A])[A] == "x" * 2000
    assert faults("alpha", {"images": {}}, [A], all_of_them=False) == {}
    for wrong in ({}, {"images": []}, {"images": {A: None, B: ""}}, {"images": {A: ""}}):
        with pytest.raises(HostError):
            faults("alpha", wrong, [A, B])


def test_texts_counts_and_holders_are_of_their_types() -> None:
    assert text_of("alpha", {}, "error") == "" and text_of("alpha", {"error": "x" * 9000}, "error") == "x" * 2000
    assert counts("alpha", {"bytes": 1, "total": 2}, "bytes", "total") == (1, 2)
    assert holder("alpha", {}) is None and holder("alpha", {"lost": {"holder": "eve"}}) == {"holder": "eve"}
    for wrong in (
        lambda: text_of("alpha", {"error": 5}, "error"),
        lambda: counts("alpha", {"bytes": -1}, "bytes"),
        lambda: counts("alpha", {}, "bytes"),
        lambda: holder("alpha", {"lost": "eve"}),
    ):
        with pytest.raises(HostError):
            wrong()
