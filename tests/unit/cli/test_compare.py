"""Two runs side by side, as text."""

from __future__ import annotations

import io
from typing import Any

from documents import deployed

from canaryctl.cli.compare import print_comparison
from canaryctl.cli.output import Printer
from canaryctl.evidence.compare import compare
from canaryctl.evidence.document import new_document


class Ascii(io.StringIO):
    encoding = "ascii"


def printed(to: io.StringIO, **more: Any) -> list[str]:
    a, b = (new_document(**deployed(variant)) | more for variant in ("monolithic", "split"))
    print_comparison(compare(a, b), Printer(to))
    return to.getvalue().splitlines()


def test_the_columns_of_all_tables_are_in_line() -> None:
    left, right, empty, heading, *rows = printed(io.StringIO())
    assert left.startswith("left   2026") and right.startswith("right  2026") and empty == ""
    assert heading.split() == ["Tests", "monolithic", "split"]
    place = heading.index("monolithic")
    tests = rows[: rows.index("")]
    assert tests and all(row[place - 2 : place] == "  " and row[place] != " " for row in tests)
    others = [row for row in rows if row.endswith("split")]
    assert others and all(row.index("monolithic") == place for row in others)


def test_a_name_that_is_too_long_stands_above_its_figures() -> None:
    long = "x" * 60
    probes = [{**deployed("split")["probes"][0], "name": long}]
    lines = printed(io.StringIO(), probes=probes)
    assert long in lines and lines[lines.index(long) + 1].startswith(" ")
    assert max(map(len, lines)) < 120


def test_a_terminal_without_arrows_gets_none() -> None:
    "\n".join(printed(Ascii())).encode("ascii")
