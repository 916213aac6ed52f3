"""report.html: one file, made from run.json alone, that needs neither network nor JavaScript."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from canaryctl.evidence.files import UNSEEN
from canaryctl.evidence.pictures import image_pictures, shares, timeline
from canaryctl.evidence.report import Document, applied, beside, gates, verdict_sentence
from canaryctl.evidence.sidebyside import tables
from canaryctl.evidence.templating import source, templates

if TYPE_CHECKING:
    from markupsafe import Markup

# Characters that HTML has no place for, or that have it show text in another order, whatever a service wrote.
_FORBIDDEN = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f{UNSEEN}\ufffe\uffff]")
_VERDICTS = ("passed", "failed", "inconclusive", "skipped")


def render_html(document: Document, *, in_place: bool = False) -> str:
    """report.html of a run. One that lies `in_place` links to the reports of other runs."""
    comparison = document.get("comparison")
    return _page(
        "report.html.j2",
        run=document,
        sentence=verdict_sentence(document),
        held=_held(document),
        counts=_counts(document),
        changes=applied(document),
        beside=beside(document, "report.html") if in_place else {},
        timeline=timeline(document),
        images=image_pictures(document),
        contracts=_contracts_by_image(document),
        memory=shares([row.get("memory_bytes") for row in document.get("containers") or []]),
        comparison=comparison,
        tables=tables(comparison) if comparison else [],
    )


def render_comparison_html(comparison: Mapping[str, Any]) -> str:
    """Two runs side by side (`compare`) as a page of its own."""
    return _page("compare.html.j2", comparison=comparison, tables=tables(comparison))


def _page(template: str, **view: Any) -> str:
    """The page with its style and script inside, and a policy that lets nothing else run or load."""
    from markupsafe import Markup

    style, script = (Markup(source(name)) for name in ("report.css", "report.js"))  # noqa: S704  our own files
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    text = templates().get_template(template).render(style=style, script=script, policy=policy, shares=shares, **view)
    return _FORBIDDEN.sub("\ufffd", text)


def _hash(text: Markup) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _held(document: Document) -> list[dict[str, Any]]:
    """What holds the release back: `text`, its `reason`, and the number of the probe's row if it is one.

    The error is left out: the page says it in full beside this.
    """
    error = (document.get("error") or {}).get("what")
    reasons = {f"contract {row['image']}: {row['check']}": (0, row.get("found")) for row in document["contracts"]}
    for number, row in enumerate(document["probes"], 1):
        reasons[f"{row['name']} ({row['verdict']})"] = (number, row.get("reason"))
    found = [(text, *reasons.get(text, (0, ""))) for text in gates(document) if text != error]
    return [{"text": text, "number": number, "reason": reason or ""} for text, number, reason in found]


def _counts(document: Document) -> dict[str, dict[str, int]]:
    """How many rows have which verdict: of probes, contracts and metrics."""
    counts = {}
    for kind in ("probes", "contracts", "metrics"):
        verdicts = [row["verdict"] for row in document.get(kind) or ()]
        counts[kind] = {verdict: verdicts.count(verdict) for verdict in _VERDICTS if verdict in verdicts}
    return counts


def _contracts_by_image(document: Document) -> dict[str, list[Mapping[str, Any]]]:
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for row in document["contracts"]:
        rows.setdefault(row["image"], []).append(row)
    return rows
