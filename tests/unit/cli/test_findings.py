"""An audit's findings as text."""

from __future__ import annotations

import io
from typing import Any

from canaryctl.cli.findings import print_findings
from canaryctl.cli.output import Printer
from canaryctl.evidence.document import new_document


def row(identity: str, severity: str = "error", **more: Any) -> dict[str, Any]:
    known = {"id": identity, "severity": severity, "what": "it is off", "where": "one", "fix": "", "diff": None}
    return {**known, "ignored": None, **more}


def shown(*findings: dict[str, Any], **more: Any) -> str:
    audit = {"counts": {"error": 1, "warning": 0}, "compared": None}
    to = io.StringIO()
    known = {"id": "r", "verdict": "failed", "directory": "runs/r", "seconds": 1.0, "audit": audit}
    print_findings(new_document(**known, findings=list(findings)) | more, Printer(to))
    return to.getvalue()


def test_a_finding_has_its_place_its_fix_and_its_difference() -> None:
    lines = shown(row("docker-live-restore", fix="turn it on", diff="-a\n+b\n")).splitlines()
    assert "docker-live-restore  one" in lines[0] and [line.strip() for line in lines[1:5]] == [
        "it is off",
        "fix: turn it on",
        "-a",
        "+b",
    ]


def test_what_is_ignored_comes_last_with_its_reason_and_in_the_count() -> None:
    text = shown(row("a", ignored="it is a test"), row("b"))
    assert text.index(" b  one") < text.index("ignored a") < text.index("because: it is a test")
    assert "1 error, 1 ignored" in text


def test_what_changed_is_told_by_what_is_new_and_gone() -> None:
    compared = {"run": "earlier", "new": [row("a")], "gone": [row("b")], "same": []}
    text = shown(audit={"counts": {}, "compared": compared})
    assert "since earlier" in text and "new   error    a  one" in text and "gone  error    b  one" in text
    assert "1 new, 1 gone, 0 the same" in text and "findings   none" in text


def test_warnings_and_simulated_gpus_are_told() -> None:
    text = shown(warnings=[{"what": "old", "where": "", "hint": ""}], simulated=True)
    assert "warning: old" in text and "simulation" in text


def test_a_name_with_a_line_break_adds_no_row() -> None:
    assert shown(row("a\nverdict passed")).splitlines()[0].count("verdict") == 1
