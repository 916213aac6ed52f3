"""Findings as SARIF 2.1.0, for code scanning and its viewers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from canaryctl.audit.rule import Rule

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {"info": "note", "warning": "warning", "error": "error", "critical": "error"}


def to_sarif(rows: Sequence[Mapping[str, Any]], rules: Iterable[Rule], version: str) -> dict[str, Any]:
    """A SARIF log of run.json's `findings`.

    What a file shows is located in that file, relative to the project; what a host shows has the host as its logical
    location, and a file of that host is named in the message alone, for it is none of the repository.
    """
    listed = list(rules)
    index = {rule.id: number for number, rule in enumerate(listed)}
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "canaryctl",
                        "version": version,
                        "semanticVersion": version,
                        "rules": [_rule(rule) for rule in listed],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "originalUriBaseIds": {"PROJECT": {"description": {"text": "The folder canaryctl was run in."}}},
                "results": [_result(row, index[row["id"]]) for row in rows],
            }
        ],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "name": "".join(word.capitalize() for word in rule.id.split("-")),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.fix},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"severity": str(rule.severity)},
    }


def _result(row: Mapping[str, Any], index: int) -> dict[str, Any]:
    text = f"{row['host']}: {row['what']}" if row["host"] else str(row["what"])
    result: dict[str, Any] = {
        "ruleId": row["id"],
        "ruleIndex": index,
        "level": _LEVELS[row["severity"]],
        "message": {"text": f"{text}. {row['fix']}" if row["fix"] else text},
        "locations": [_location(row)],
        "partialFingerprints": {"canaryctl/v1": row["fingerprint"]},
        "properties": {"severity": row["severity"]},
    }
    if row["ignored"] is not None:
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": row["ignored"]}]
    return result


def _location(row: Mapping[str, Any]) -> dict[str, Any]:
    location: dict[str, Any] = {}
    if row["file"] and not str(row["file"]).startswith("/"):
        location["physicalLocation"] = {
            "artifactLocation": {"uri": _uri(row["file"]), "uriBaseId": "PROJECT"},
            "region": {"startLine": row["line"] or 1},
        }
    if row["host"] or not location:
        name = str(row["host"] or row["where"] or "environment")
        location["logicalLocations"] = [{"name": name, "kind": "resource"}]
    return location


def _uri(path: str) -> str:
    from urllib.parse import quote

    return quote(path)
