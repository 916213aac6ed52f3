"""`canaryctl secrets`, with this machine as the host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from projects import LOST, ctl, make_project

VALUE = "hunter-of-secrets"


def given(tmp_path: Path, **more: Any) -> None:
    sources = {"TOKEN": {"env": "SHOP_TOKEN"}, **more}
    make_project(tmp_path, here={"canary_secrets": sources}, lost={**LOST, "canary_secrets": sources})


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOP_TOKEN", VALUE)


def test_where_secrets_come_from_is_said_without_values(tmp_path: Path) -> None:
    given(tmp_path, ODD={"env": "ODD"})
    done = ctl("secrets", "check", "canary")
    first, second = done.out.splitlines()
    assert done.code == 0 and first.split()[:4] == ["TOKEN", "env", "SHOP_TOKEN", "present"] and "ODD" in second
    document = ctl("secrets", "check", "canary", "--output", "json").document
    assert document["unasked"] == ["ODD"] and document["secrets"][0]["present"] is True
    assert VALUE not in done.out and VALUE not in str(document)


def test_a_secret_that_is_not_there_is_wrong_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given(tmp_path)
    monkeypatch.delenv("SHOP_TOKEN")
    done = ctl("secrets", "check", "canary", "--output", "json")
    (row,) = done.document["secrets"]
    assert done.code == 2 and not row["present"] and row["problem"] and row["fingerprint"] == ""
    assert "missing: " in ctl("secrets", "check", "canary").out


def test_a_stack_without_secrets_says_so(tmp_path: Path) -> None:
    make_project(tmp_path)
    stack = tmp_path / "stack.yml"
    stack.write_text(stack.read_text().replace("secrets: [TOKEN]\n", ""))
    assert ctl("secrets", "check", "canary").out == "shop asks for no secrets\n"
    assert ctl("secrets", "diff", "canary").out == "here: no secrets, here or there\n"


def test_hosts_are_compared_by_fingerprint(tmp_path: Path) -> None:
    given(tmp_path)
    done = ctl("secrets", "diff", "canary")
    assert done.code == 3 and "where: lost" in done.err
    title, row = done.out.splitlines()
    assert title == "here:" and row.startswith(f"  {'TOKEN':<24} missing on the host  here ") and VALUE not in done.out


def test_what_is_missing_here_counts_more_than_a_lost_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given(tmp_path)
    monkeypatch.delenv("SHOP_TOKEN")
    done = ctl("secrets", "diff", "canary", "--output", "json")
    assert done.code == 2 and done.document["missing"][0]["name"] == "TOKEN"
    assert [row["status"] for row in done.document["hosts"]["here"]] == ["unknown"]
