"""Logs of several hosts as one stream, and who gets which colour."""

from __future__ import annotations

import contextlib
import io
import subprocess

import pytest

from canaryctl.cli.logs import LogPrinter
from canaryctl.cli.output import Printer
from canaryctl.commands.logs import LONGEST, KeptLines, Lines, LogLine, by_time, logs_command, parse, while_input_lasts
from canaryctl.errors import HostError

T = "2026-11-24T10:00:0{}.000000000Z"


def line(host: str, second: int | None, text: str = "x", service: str = "web") -> LogLine:
    return LogLine(host, service, "" if second is None else T.format(second), text)


@pytest.mark.parametrize(
    ("said", "service", "text"),
    [
        (f"web-1  | {T.format(1)} hello | there", "web", "hello | there"),
        (f"backtest-worker-2         | {T.format(1)} hello", "backtest-worker", "hello"),
        (f"own_name | {T.format(1)} hello", "own_name", "hello"),
        (f"web-1  | {T.format(1)} ", "web", ""),
        (f"\x1b[2Kweb-1  | {T.format(1)} hello\r", "web", "hello"),
    ],
)
def test_a_line_of_compose_has_its_service_its_time_and_its_text(said: str, service: str, text: str) -> None:
    assert parse("one", said) == LogLine("one", service, T.format(1), text)


def test_what_compose_says_itself_is_kept_whole() -> None:
    assert parse("one", "web-1 exited with code 0") == LogLine("one", "", "", "web-1 exited with code 0")


def test_lines_of_all_hosts_are_in_the_order_of_their_times() -> None:
    merged = by_time({"one": [line("one", 1), line("one", 4)], "two": [line("two", 2), line("two", 3)]})
    assert [entry.time[18] for entry in merged] == ["1", "2", "3", "4"]


def test_a_line_without_a_time_stays_behind_the_one_it_came_after() -> None:
    merged = by_time({"one": [line("one", 2), line("one", None, "exited")], "two": [line("two", 1), line("two", 3)]})
    said = [(entry.host, entry.text) for entry in merged]
    assert said == [("two", "x"), ("one", "x"), ("one", "exited"), ("two", "x")]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(stream: io.StringIO, *lines: LogLine) -> list[str]:
    say = LogPrinter(Printer(stream))
    for entry in lines:
        say(entry)
    return stream.getvalue().splitlines()


def test_a_pipe_gets_no_colour() -> None:
    assert printed(io.StringIO(), line("one", 1, "hello")) == [f"one  web  {T.format(1)} hello"]


def test_on_a_terminal_a_name_keeps_its_colour_and_others_have_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    first, second, again = printed(Terminal(), line("one", 1), line("two", 2), line("one", 3))
    colours = [text.split("m", 1)[0] for text in (first, second, again)]
    assert colours[0] == colours[2] != colours[1] and colours[0].startswith("\x1b[")


def test_no_color_is_kept_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in "".join(printed(Terminal(), line("one", 1)))


def test_a_service_cannot_drive_the_terminal() -> None:
    assert "\x1b" not in "".join(printed(io.StringIO(), line("one", 1, "\x1b]0;title\x07")))


def test_a_line_without_end_comes_in_pieces() -> None:
    lines = Lines()
    said = [piece for _ in range(100) for piece in lines.feed(b"x" * 10_000)]
    assert {len(piece) for piece in said} == {LONGEST} and len(lines.rest) <= LONGEST
    assert b"".join([*said, lines.rest]) == b"x" * 1_000_000
    assert list(lines.feed(b"\nshort\n\n"))[1:] == [b"short", b""] and lines.rest == b""


def watched(command: str) -> subprocess.Popen[bytes]:
    line = while_input_lasts(command)
    pipe = subprocess.PIPE
    return subprocess.Popen(["sh", "-c", line], bufsize=0, stdin=pipe, stdout=pipe, start_new_session=True)


def test_following_ends_with_its_command() -> None:
    child = watched("echo one; sh -c 'echo two' 2>&1")
    assert child.stdin and child.stdout
    with contextlib.suppress(BrokenPipeError):  # it may have ended by now
        child.stdin.write(b"\n")
    assert child.stdout.read() == b"one\ntwo\n"  # which nobody holds open any more
    child.wait(10)
    with contextlib.suppress(BrokenPipeError):
        child.stdin.close()


def test_following_ends_with_its_input() -> None:
    child = watched("sh -c 'echo began; exec sleep 60'")
    assert child.stdin and child.stdout
    assert child.stdout.readline() == b"began\n"
    child.stdin.close()
    child.wait(10)
    assert child.stdout.read() == b""


def test_what_is_asked_of_compose_is_quoted_and_bounded() -> None:
    command = logs_command("shop-a b", "we b", 5, 1.5, True)
    assert (
        command
        == "docker compose -p 'shop-a b' logs --no-color --timestamps --tail 5 --since 1.500s --follow 'we b' 2>&1"
    )
    assert logs_command("shop", None, 0, None, False).endswith("logs --no-color --timestamps --tail 0 2>&1")


def test_one_host_fills_no_more_memory_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("canaryctl.commands.logs.MOST", 2000)
    kept = KeptLines(["one", "two"])
    for number in range(3):
        kept.add(line("one", number))
    with pytest.raises(HostError) as full:
        kept.add(line("one", 4))
    assert full.value.where == "one" and full.value.exit_code == 3
    kept.add(line("two", 1))
    assert [len(lines) for lines in kept.lines.values()] == [3, 1]
