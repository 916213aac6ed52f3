"""A log's excerpt is small, says the worst first, and counts lines that differ only in their figures as one."""

from __future__ import annotations

from canaryctl.evidence.excerpts import LINE, LINES, PATTERNS, excerpt

STAMP = "2026-11-24T09:30:45.694664902Z "


def log(*lines: str) -> str:
    return "".join(STAMP + line + "\n" for line in lines)


def test_lines_that_differ_in_figures_are_one_pattern() -> None:
    found = excerpt(
        log(
            '2026-11-24 09:30:45,694 INFO 10.87.0.10:51234 "GET /api/v1/operations/op_63b6a8178bc739a8" 200 in 12.5 ms',
            '2026-11-24 09:31:02,001 INFO 10.87.0.11:40001 "GET /api/v1/operations/op_00ff34178bc70000" 200 in 3 ms',
            '2026-11-24 09:31:03,001 INFO 10.87.0.11:40001 "DELETE /api/v1/operations/op_00ff34178bc70000" 200 in 3 ms',
        )
    )
    assert [(row["count"], row["pattern"]) for row in found["patterns"]] == [
        (2, 'INFO # "GET /api/v#/operations/op_#" # in # ms'),
        (1, 'INFO # "DELETE /api/v#/operations/op_#" # in # ms'),
    ]
    assert found["lines"][0].startswith("09:30:45.694 2026-11-24 09:30:45,694 INFO")


def test_quoted_words_do_not_make_new_patterns_and_apostrophes_are_no_quotes() -> None:
    found = excerpt(log("strategy 'a_b' doesn't exist, isn't valid", "strategy 'c_d' doesn't exist, isn't valid"))
    assert [row["pattern"] for row in found["patterns"]] == ["strategy '…' doesn't exist, isn't valid"]


def test_the_worst_comes_first_and_a_traceback_is_one_message() -> None:
    found = excerpt(
        log(
            *["INFO all is well"] * 30,
            "WARNING worker unreachable",
            "Traceback (most recent call last):",
            '  File "/app/main.py", line 3, in <module>',
            "    import torch",
            "ModuleNotFoundError: No module named 'torch'",
            "ERROR cannot start",
            '{"level":"error","msg":"x"}',
        )
    )
    assert [(row["level"], row["count"]) for row in found["patterns"]] == [
        ("traceback", 1),
        ("error", 1),
        ("error", 1),
        ("warning", 1),
        ("info", 30),
    ]
    first = found["patterns"][0]
    assert first["pattern"] == "ModuleNotFoundError: No module named '…'"
    assert first["example"].splitlines()[0] == "Traceback (most recent call last):"
    assert first["example"].splitlines()[-1] == "ModuleNotFoundError: No module named 'torch'"


def test_an_excerpt_is_bounded_whatever_the_log_holds() -> None:
    found = excerpt(log(*[f"{chr(97 + n % 26)}{chr(97 + n // 26)} " + "long " * 5000 for n in range(600)]))
    assert len(found["lines"]) == LINES and len(found["patterns"]) == PATTERNS
    assert max(len(line) for line in found["lines"]) <= LINE
    assert excerpt("") == {"lines": [], "patterns": []}


def test_what_a_terminal_would_obey_is_left_out() -> None:
    assert excerpt(log("\x1b[32mINFO\x1b[0m ready\x07\x00"))["lines"] == ["09:30:45.694 INFO ready"]
