"""The command `history`, with this machine as the host."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from projects import LOST, ctl, make_project

A, B = "a" * 64, "b" * 64


def line(time: str, what: str = "deploy", **more: object) -> str:
    fixed = {"who": "ann@desk", "environment": "canary", "what": what, "from": B, "to": A, "verdict": None, "run": "r1"}
    return json.dumps({"time": f"2026-11-24T{time}Z", **fixed, **more}) + "\n"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path, here={}, lost=LOST)
    history = tmp_path / "hosts/here/shop/history.jsonl"
    history.parent.mkdir(parents=True)
    history.write_text(line("10:00:00") + line("11:00:00", "verdict", verdict="passed", window=[1, 2]))
    return tmp_path


def test_it_is_told_newest_first_in_columns() -> None:
    done = ctl("history", "canary", "--limit", "here")
    assert done.code == 0 and done.out.splitlines() == [
        "2026-11-24 11:00:00  verdict  bbbbbbbbbbbb → aaaaaaaaaaaa   passed        ann@desk  here  r1",
        "    window 1, 2",
        "2026-11-24 10:00:00  deploy   bbbbbbbbbbbb → aaaaaaaaaaaa                 ann@desk  here  r1",
    ]


def test_json_has_every_line_and_ndjson_one_each() -> None:
    document = ctl("history", "canary", "--limit", "here", "--output", "json").document
    assert (document["environment"], document["stack"]) == ("canary", "shop")
    lines = ctl("history", "canary", "--limit", "here", "--output", "ndjson").out.splitlines()
    assert [json.loads(text) for text in lines] == document["lines"]
    assert [(row["what"], row["hosts"]) for row in document["lines"]] == [("verdict", ["here"]), ("deploy", ["here"])]


def test_the_newest_so_many_are_told() -> None:
    assert len(ctl("history", "canary", "--limit", "here", "--limit-lines", "1").out.splitlines()) == 2
    assert ctl("history", "canary", "--limit-lines", "0").code == 2


def test_a_host_that_cannot_be_asked_takes_the_exit_code_and_not_the_answer() -> None:
    done = ctl("history", "canary")
    assert done.code == 3 and len(done.out.splitlines()) == 3 and "where: lost" in done.err
