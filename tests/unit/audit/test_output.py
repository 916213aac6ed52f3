"""What becomes of findings: which count, what changed since, and SARIF as its schema wants it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import canaryctl.evidence
from canaryctl.audit import rules
from canaryctl.audit.compare import compare_findings
from canaryctl.audit.evaluation import settle
from canaryctl.audit.model import Finding
from canaryctl.audit.reference import BEGIN, render
from canaryctl.audit.registry import all_rules, require_known
from canaryctl.audit.rule import Ignore
from canaryctl.audit.sarif import to_sarif
from canaryctl.audit.severity import Severity
from canaryctl.errors import ConfigError
from canaryctl.evidence.document import new_document
from canaryctl.evidence.report import render_findings_markdown, render_junit, render_markdown

LOW = Finding("disk-low", Severity.WARNING, "1 GB free at /", "why", "free it", host="one", subject="/")
DRIFT = Finding("drift-file", Severity.WARNING, "compose.yml differs", "why", "deploy", host="two", diff="-a\n+b\n")
PLAIN = Finding("secret-in-plain-text", Severity.ERROR, "token is plain", "why", "vault it", file="inv/a b.yml", line=3)
BOTH = replace(PLAIN, id="port-on-all-interfaces", host="one", file="compose.yml.j2", line=0, subject="web:80")


def rows(*findings: Finding) -> list[dict[str, Any]]:
    return [finding.as_dict() for finding in findings]


def test_the_worst_comes_first_and_what_is_ignored_last() -> None:
    ignored = [Ignore("secret-in-plain-text", "a test key")]
    settled = settle([LOW, PLAIN, DRIFT, BOTH], ignored, {})
    assert [finding.id for finding in settled] == [BOTH.id, LOW.id, DRIFT.id, PLAIN.id]
    assert [finding.ignored for finding in settled] == [None, None, None, "a test key"]


def test_a_hosts_own_policy_ignores_on_that_host_alone() -> None:
    other = replace(LOW, host="two")
    settled = settle([LOW, other], [], {"one": [Ignore("disk-low", "it is being replaced")]})
    assert {finding.host: finding.ignored for finding in settled} == {"one": "it is being replaced", "two": None}


def test_one_thing_seen_in_two_ways_is_one_finding() -> None:
    seen_on_host = replace(BOTH, file="")
    assert settle([BOTH, seen_on_host], [], {}) == [BOTH]


def test_what_changed_does_not_depend_on_figures() -> None:
    lower = replace(LOW, what="0.5 GB free at /")
    changed = compare_findings(rows(LOW, DRIFT), rows(lower, PLAIN))
    assert {word: [row["id"] for row in found] for word, found in changed.items()} == {
        "new": ["secret-in-plain-text"],
        "gone": ["drift-file"],
        "same": ["disk-low"],
    }


def test_an_unknown_rule_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="disk-lwo") as caught:
        require_known(["disk-lwo"], "--ignore")
    assert "did you mean 'disk-low'?" in caught.value.hint


def test_sarif_has_what_its_schema_requires() -> None:
    log = to_sarif(rows(LOW, PLAIN, BOTH, replace(DRIFT, ignored="meant")), all_rules().values(), "1.2.3")
    assert log["version"] == "2.1.0" and log["$schema"].startswith("https://")
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "canaryctl"
    known = [rule["id"] for rule in driver["rules"]]
    assert len(known) == len(set(known)) == len(all_rules())
    for rule in driver["rules"]:
        assert all(rule[text]["text"] for text in ("shortDescription", "fullDescription", "help"))
        assert rule["defaultConfiguration"]["level"] in ("note", "warning", "error")
    for result in run["results"]:
        assert known[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in ("none", "note", "warning", "error") and result["message"]["text"]
        assert all(isinstance(value, str) for value in result["partialFingerprints"].values())
        for location in result["locations"]:
            assert set(location) <= {"physicalLocation", "logicalLocations"} and location
            if place := location.get("physicalLocation"):
                assert place["artifactLocation"]["uriBaseId"] in run["originalUriBaseIds"]
                assert place["region"]["startLine"] >= 1
    by_rule = {result["ruleId"]: result for result in run["results"]}
    physical = by_rule["secret-in-plain-text"]["locations"][0]["physicalLocation"]
    assert physical["artifactLocation"]["uri"] == "inv/a%20b.yml" and physical["region"] == {"startLine": 3}
    assert by_rule["disk-low"]["locations"] == [{"logicalLocations": [{"name": "one", "kind": "resource"}]}]
    assert by_rule["drift-file"]["suppressions"] == [
        {"kind": "external", "status": "accepted", "justification": "meant"}
    ]


def audit_document(*findings: Finding, fail_on: str = "error") -> dict[str, Any]:
    told = {"offline": False, "fail_on": fail_on, "counts": {}, "ignored": 0, "compared": None}
    return new_document(
        id="20261124T081530Z-audit-5c1f",
        command="audit",
        environment="prod",
        stack="shop",
        started="2026-11-24T08:15:30Z",
        finished="2026-11-24T08:15:31Z",
        verdict="failed",
        exit_code=1,
        findings=rows(*findings),
        audit=told,
    )


def test_reports_list_findings_with_their_diffs() -> None:
    document = audit_document(PLAIN, DRIFT)
    for text in (render_markdown(document), render_findings_markdown(document)):
        assert "| error | secret-in-plain-text | inv/a b.yml:3 | token is plain | vault it |" in text
        assert "\n    -a\n    +b\n" in text
    assert "**Held back by:** secret-in-plain-text (inv/a b.yml:3)\n" in render_markdown(document)
    assert "Nothing was found." in render_findings_markdown(audit_document())


def test_ci_fails_over_findings_that_count() -> None:
    junit = render_junit(audit_document(PLAIN, DRIFT, replace(LOW, severity=Severity.CRITICAL, ignored="known")))
    assert 'tests="3" failures="1"' in junit and 'skipped="2"' in junit
    assert 'failures="2"' in render_junit(audit_document(PLAIN, DRIFT, fail_on="warning"))


def test_the_document_keeps_its_schema() -> None:
    schema = json.loads((Path(canaryctl.evidence.__file__).parent / "schema" / "run.schema.json").read_text())
    document = audit_document(PLAIN, LOW)
    document["audit"]["compared"] = {"run": "x", "new": rows(LOW), "gone": [], "same": []}
    jsonschema.validate(document, schema)


def test_the_reference_has_every_rule() -> None:
    written = (Path(__file__).parents[3] / "docs" / "audit.md").read_text()
    assert written.partition(BEGIN)[2].strip() == render().strip()
    for rule in all_rules().values():
        assert f"#### {rule.id}\n" in written and rule.why in written and rule.fix in written


def test_every_module_of_rules_is_looked_into_without_being_named_anywhere() -> None:
    modules = {path.stem for path in Path(rules.__path__[0]).glob("*.py")} - {"__init__"}
    assert {rule.part for rule in all_rules().values()} == modules
