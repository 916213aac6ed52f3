"""The command `audit`: forms of its answer and exit codes, with no host."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from projects import Done, ctl, make_project


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One finding, a warning: a secret has no value."""
    monkeypatch.chdir(tmp_path)
    return make_project(tmp_path)


def audit(*argv: str) -> Done:
    return ctl("audit", "canary", "--offline", *argv)


def test_findings_are_told_worst_first_with_their_fix() -> None:
    done = audit()
    assert done.code == 0 and "secret-missing  canary" in done.out and "fix: " in done.out
    assert "findings   1 warning" in done.out and "verdict    passed" in done.out


@pytest.mark.parametrize(("fail_on", "code"), [("warning", 1), ("info", 1), ("error", 0), ("critical", 0), ("bad", 2)])
def test_the_worst_that_is_allowed_decides(fail_on: str, code: int) -> None:
    assert audit("--fail-on", fail_on).code == code


def test_a_rule_that_is_ignored_does_not_count_and_an_unknown_one_is_refused() -> None:
    done = audit("--fail-on", "warning", "--ignore", "secret-missing")
    assert done.code == 0 and "ignored secret-missing" in done.out and "findings   1 ignored" in done.out
    assert audit("--ignore", "secret-mising").code == 2


def test_each_form_holds_the_same_finding() -> None:
    document = audit("--output", "json").document
    assert [row["id"] for row in document["findings"]] == ["secret-missing"] and document["exit_code"] == 0
    assert json.loads(audit("--output", "ndjson").out.splitlines()[-1])["document"]["verdict"] == "passed"
    sarif = audit("--output", "sarif").document
    assert [result["ruleId"] for result in sarif["runs"][0]["results"]] == ["secret-missing"]
    assert "secret-missing" in audit("--output", "markdown").out


def test_it_is_compared_with_an_earlier_audit(project: Path) -> None:
    first = audit("--output", "json").document["id"]
    (project / "inventories/canary/hosts.yml").write_text(
        (project / "inventories/canary/hosts.yml").read_text().replace("local", "no-such-connection")
    )
    done = audit("--compare", first)
    assert f"since {first}" in done.out and "1 the same" in done.out
    assert audit("--compare", "nothing").code == 2
