"""Evidence that is kept on this machine: find it, show it, compare it, check it, and make room."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from canaryctl.agent.write.atomic import write_atomic
from canaryctl.config.caches import cache_home
from canaryctl.config.project import load_project
from canaryctl.evidence.prune import NotRemoved, Pruning, plan_prune, remove
from canaryctl.evidence.reading import damage_told
from canaryctl.evidence.sidebyside import Line, tables
from canaryctl.evidence.store import StoredRun, list_runs, load_run, two_runs, verify

__all__ = ["Line", "list_runs", "plan_prune", "tables"]


def runs_directory(given: Path | None) -> Path:
    """--runs, else CANARYCTL_RUNS, else the project's; the first two need no project."""
    chosen = given or os.environ.get("CANARYCTL_RUNS")
    return Path(chosen) if chosen else load_project().runs


@contextmanager
def opened_run(given: Path | None, wanted: str | None) -> Iterator[StoredRun]:
    """A run to be shown: what of its record cannot be shown is said to be the record's fault.

    Raises:
        ConfigError: there is no such run, or its record is damaged.
    """
    stored = load_run(runs_directory(given), wanted)
    with damage_told(stored.path):
        yield stored


@contextmanager
def opened_comparison(given: Path | None, a: str | None, b: str | None) -> Iterator[dict[str, Any]]:
    """Two runs side by side, as `two_runs` finds them, to be shown. Raises as `opened_run`."""
    from canaryctl.evidence.compare import compare

    first, second = two_runs(runs_directory(given), a, b)
    with damage_told(second.path), damage_told(first.path):
        yield compare(first.document, second.document)


def rendered(document: Mapping[str, Any], form: str) -> bytes:
    """A run as a report in the form md, html or junit. Each says UTF-8 of itself, or is taken for it."""
    from canaryctl.evidence.page import render_html
    from canaryctl.evidence.report import render_junit, render_markdown

    render = {"md": render_markdown, "html": render_html, "junit": render_junit}[form]
    return _encoded(render(document))


def rendered_comparison(comparison: Mapping[str, Any], form: str) -> bytes:
    """A comparison in the form md or html."""
    from canaryctl.evidence.page import render_comparison_html
    from canaryctl.evidence.report import render_comparison_markdown

    return _encoded((render_comparison_html if form == "html" else render_comparison_markdown)(comparison))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def report_file(given: Path | None, wanted: str | None) -> Path:
    """A run's report.html; of a run that never wrote one, a page made now beside, not in, its evidence."""
    with opened_run(given, wanted) as stored:
        path = stored.path.absolute() / "report.html"
        if path.is_file():
            return path
        pages = cache_home("pages")
        pages.mkdir(mode=0o700, parents=True, exist_ok=True)
        for earlier in pages.glob("*.html"):  # which a browser has long shown
            earlier.unlink(missing_ok=True)
        path = pages / f"{stored.path.name}.html"
        write_atomic(path, rendered(stored.document, "html"))
        return path


def differences(given: Path | None, wanted: str | None) -> tuple[Path, list[str]]:
    """A run's directory, and what its files and its manifest disagree about."""
    path = load_run(runs_directory(given), wanted).path
    return path, verify(path)


def prune(pruning: Pruning) -> list[NotRemoved]:
    """Remove runs. Returns what could not be removed; the others are gone."""
    failures = []
    for run in pruning.going:
        try:
            remove(run)
        except NotRemoved as error:
            failures.append(error)
    return failures
