"""The pure parts of the kinds that look at containers: logs, state, image, SQL."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from canaryctl.config.probes import load_probes
from canaryctl.config.probes.logs import ERRORS, Logs
from canaryctl.errors import ConfigError
from canaryctl.probe.container import container_faults, image_faults
from canaryctl.probe.logs import log_faults
from canaryctl.probe.logscan import FOLLOWING, KEPT, LONGEST, scan
from canaryctl.probe.results import Unusable
from canaryctl.probe.sql import feed, parse_rows

TRACEBACK = """INFO begins
Traceback (most recent call last):
  File "/app/ktrdr/__main__.py", line 3, in <module>
    import alembic
ModuleNotFoundError: No module named 'alembic'
INFO goes on
"""


def log(text: str) -> io.BytesIO:
    return io.BytesIO("".join(f"2026-01-02T03:04:05Z {line}\n" for line in text.splitlines()).encode())


def test_a_traceback_is_found_with_the_line_that_says_what_happened() -> None:
    found = scan(log(TRACEBACK), [ERRORS[0]])
    (entry,) = found["found"]
    assert entry["count"] == 1 and found["lines"] == 6
    assert entry["excerpts"] == [["2026-01-02T03:04:05Z", *TRACEBACK.splitlines()[1:5]]]


def test_of_a_long_traceback_the_last_line_is_kept() -> None:
    deep = "Traceback (most recent call last):\n" + "  File x\n" * 500 + "KeyError: 'x'\n"
    (entry,) = scan(log(deep), [ERRORS[0]])["found"]
    assert entry["excerpts"][0][-1] == "KeyError: 'x'" and len(entry["excerpts"][0]) == FOLLOWING + 1


def test_patterns_see_the_line_without_its_time() -> None:
    assert scan(log("ERROR one\nan ERROR"), ["^ERROR"])["found"][0]["count"] == 1


def test_a_long_log_is_counted_and_not_kept() -> None:
    class Endless(io.RawIOBase):
        left = 200_000

        def readline(self, size: int | None = -1, /) -> bytes:
            self.left -= 1
            return b"2026-01-02T03:04:05Z ERROR " + b"x" * 400 + b"\n" if self.left >= 0 else b""

    found = scan(Endless(), ["ERROR"])
    assert found["found"][0]["count"] == 200_000 and len(str(found)) < 4000
    assert len(found["found"][0]["excerpts"]) == KEPT


def test_a_line_without_end_is_read_in_pieces() -> None:
    assert scan(io.BytesIO(b"t " + b"x" * LONGEST * 3), ["y"])["lines"] == 4


def logs(tmp_path: Path, expect: str = "") -> Logs:
    path = tmp_path / "probes.yml"
    path.write_text(f"- {{name: l, kind: logs, on: web{expect}}}")
    (probe,) = load_probes(path)
    assert isinstance(probe, Logs)
    return probe


def test_by_default_no_traceback_and_no_failed_import_may_be_logged(tmp_path: Path) -> None:
    probe = logs(tmp_path)
    first, *_ = log_faults(probe, scan(log(TRACEBACK), list(probe.expect.absent))["found"])
    assert first.startswith("the log holds /^Traceback")
    assert "Traceback (most recent call last): ... ModuleNotFoundError: No module named 'alembic'" in first
    assert log_faults(probe, scan(log("INFO all well"), list(probe.expect.absent))["found"]) == []


def test_what_must_be_logged_and_was_not_is_said(tmp_path: Path) -> None:
    probe = logs(tmp_path, ", expect: {present: [listening, ready], absent: [panic]}")
    found = scan(log("now ready\npanic: no disk\npanic: still none"), ["panic", "listening", "ready"])["found"]
    assert log_faults(probe, found) == [
        "the log holds /panic/ 2 times: 'panic: no disk'",
        "no line of the log matches /listening/",
    ]


@pytest.mark.parametrize("since", ["yesterday", "10", "'10 weeks'"])
def test_since_is_a_word_or_a_duration(tmp_path: Path, since: str) -> None:
    with pytest.raises(ConfigError, match="neither 'deploy', 'start' nor a duration"):
        logs(tmp_path, f", since: {since}")


def state(**changes: Any) -> dict[str, Any]:
    restarts = changes.pop("restarts", 0)
    return {"restarts": restarts, "state": {"Status": "running", "OOMKilled": False, "ExitCode": 0, **changes}}


@pytest.mark.parametrize(
    "container, allowed, said",
    [
        (state(), 0, ""),
        (state(Health={"Status": "healthy"}), 0, ""),
        (state(restarts=2), 2, ""),
        (state(restarts=3), 2, "was restarted 3 times since it was made, at most 2 allowed"),
        (state(restarts=1), 0, "was restarted once since it was made, none allowed"),
        (state(Status="exited", ExitCode=1), 0, "is exited, exit code 1"),
        (state(Status="exited", ExitCode=137, OOMKilled=True), 0, "exit code 137, killed for lack of memory (OOM)"),
        (state(OOMKilled=True), 0, "runs, but a process of it was killed for lack of memory (OOM)"),
        (
            state(Health={"Status": "unhealthy", "Log": [{"Output": "old"}, {"Output": "status 503: no database"}]}),
            0,
            "is unhealthy: its health check says 'status 503: no database'",
        ),
        (state(Health={"Status": "starting", "Log": []}), 0, "is starting: its health check says empty"),
    ],
)
def test_a_container_state_in_words(container: dict[str, Any], allowed: int, said: str) -> None:
    faults = "; ".join(container_faults(container, allowed))
    assert said in faults and bool(said) == bool(faults)


ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64


@pytest.mark.parametrize(
    "image, identity, tagged, said",
    [
        (ONE, ONE, "", ""),
        (ONE, TWO, "", "runs image 111111111111, the release has 222222222222"),
        (ONE, TWO, TWO, "runs image 111111111111"),
        (ONE, "", "", "no known release"),
        (TWO, ONE, TWO, ""),
    ],
)
def test_a_container_has_the_image_of_the_release(image: str, identity: str, tagged: str, said: str) -> None:
    faults = "; ".join(image_faults({"image": image}, identity, tagged))
    assert said in faults and bool(said) == bool(faults)


def test_sql_settings_and_query_go_in_by_standard_input() -> None:
    given = feed({"PGUSER": "ktrdr", "PGPASSWORD": "s3cret"}, "select 1;  ", 2.5).decode()
    settings, statements = given.split("\n\n", 1)
    assert "PGPASSWORD=s3cret" in settings.splitlines()
    assert "PGOPTIONS=-c default_transaction_read_only=on -c statement_timeout=2500" in settings.splitlines()
    assert statements == "BEGIN READ ONLY;\nselect 1\n;ROLLBACK;\n"


@pytest.mark.parametrize("query", ["select 1; drop table x", "\\! id", "", " ; ", "-- nothing"])
def test_a_query_is_one_statement(query: str) -> None:
    with pytest.raises(Unusable):
        feed({}, query, 1)


@pytest.mark.parametrize("query", ["select ';' -- a; b", 'select "a;b" from t;', "select 'it''s; so'"])
def test_a_semicolon_in_a_text_or_a_comment_is_none(query: str) -> None:
    assert feed({}, query, 1)


def test_a_setting_of_two_lines_is_refused() -> None:
    with pytest.raises(Unusable, match="PGPASSWORD has more than one line"):
        feed({"PGPASSWORD": "a\nPGUSER=postgres"}, "select 1", 1)


def test_rows_are_objects_of_text_or_null() -> None:
    assert parse_rows('id,name\n1,"a, ""b"""\n2,\\N\n3,\n') == [
        {"id": "1", "name": 'a, "b"'},
        {"id": "2", "name": None},
        {"id": "3", "name": ""},
    ]
    assert parse_rows("id\n") == [] == parse_rows("")
