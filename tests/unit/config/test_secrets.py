"""Where secrets come from, and the env file they become."""

from __future__ import annotations

import os
import pty
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from canaryctl.agent.read import secrets as on_host
from canaryctl.config import secretanswers
from canaryctl.config.secrets import env_file, env_lines, find_secrets, resolve_secrets
from canaryctl.errors import ConfigError
from canaryctl.facts.fingerprints import fingerprint, salt_of


@pytest.fixture(autouse=True)
def _asked_afresh() -> Iterator[None]:
    secretanswers.forget_answers()
    yield
    secretanswers.forget_answers()


def only(source: Any) -> str:
    return resolve_secrets(["A"], {"A": source}, "prod")["A"]


def why_missing(source: Any) -> str:
    (found,) = find_secrets(["A"], {"A": source}, "prod")
    assert found.problem and not found.value
    return found.problem


def test_every_source_is_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("from-file\n")
    monkeypatch.setenv("B_SOURCE", "from-env")
    sources = {"A": {"file": str(tmp_path / "a")}, "B": {"env": "B_SOURCE"}, "C": "vaulted", "D": {"env": "B_SOURCE"}}
    assert resolve_secrets(["A", "B", "C", "D"], sources, "prod") == {
        "A": "from-file",
        "B": "from-env",
        "C": "vaulted",
        "D": "from-env",
    }


def test_missing_ones_are_listed_together(tmp_path: Path) -> None:
    sources = {"A": {"file": str(tmp_path / "none")}, "B": {"env": "SURELY_NOT_SET"}, "C": {"oops": 1}, "D": ""}
    with pytest.raises(ConfigError) as caught:
        resolve_secrets(["A", "B", "C", "D"], sources, "prod")
    assert all(name in caught.value.what for name in ("A (", "B (", "C (", "D ("))


def test_what_only_the_stack_names_is_not_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPERATORS_TOKEN", "mine")
    with pytest.raises(ConfigError) as caught:
        resolve_secrets(["OPERATORS_TOKEN"], {}, "prod")
    assert "OPERATORS_TOKEN" in caught.value.what and "{env: OPERATORS_TOKEN}" in caught.value.what
    assert "mine" not in repr(caught.value.as_dict()) and "--secret-env" in caught.value.hint


def test_a_file_too_big_for_a_secret_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(1 << 40)
    assert "more than" in why_missing({"file": str(tmp_path / "big")})


def test_env_file_escapes_what_compose_would_interpret() -> None:
    assert env_file({"B": 'a"b\\c$d', "A": "x\ny"}) == 'A="x\\ny"\nB="a\\"b\\\\c\\$d"\n'


class TestCommands:
    def test_a_text_runs_in_a_shell_and_a_list_without_one(self) -> None:
        assert only({"command": "printf '%s\\n\\n' one | tr o O"}) == "One"
        assert only({"command": ["printf", "%s", "a | $b"]}) == "a | $b"

    def test_it_runs_once_in_a_process(self, tmp_path: Path) -> None:
        source = {"command": f"echo x >>{tmp_path}/count; wc -l <{tmp_path}/count"}
        assert only(source) == only(source)
        assert (tmp_path / "count").read_text() == "x\n"

    def test_a_failure_tells_its_complaint_and_never_its_answer(self) -> None:
        said = why_missing({"command": "echo s3cret-value; echo locked, got s3cret-value >&2; exit 4"})
        assert "code 4" in said and "locked" in said and "s3cret-value" not in said

    def test_a_program_that_is_not_there_is_named(self) -> None:
        assert "surely-no-such-program" in why_missing({"command": ["surely-no-such-program", "read"]})

    def test_one_that_never_answers_is_ended_with_all_that_it_started(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(secretanswers, "COMMAND_TIMEOUT", 0.3)
        began = time.monotonic()
        assert "0.3 s" in why_missing({"command": "sleep 30 & sleep 30; echo late"})
        assert time.monotonic() - began < 15

    @pytest.mark.parametrize("answer", ["", "printf '\\377'", "printf 'a\\0b'"])
    def test_an_answer_that_is_no_value_is_a_missing_secret(self, answer: str) -> None:
        (found,) = find_secrets(["A"], {"A": {"command": answer or "true"}}, "prod")
        assert found.problem

    def test_only_its_program_is_shown(self) -> None:
        (found,) = find_secrets(["A"], {"A": {"command": "TOKEN=t0ken echo --key k3y"}}, "prod")
        assert (found.kind, found.place) == ("command", "echo ...")


class TestPrompts:
    def test_without_a_terminal_it_is_missing_and_says_why(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", None)
        assert "terminal" in why_missing({"prompt": True})

    def test_on_a_terminal_it_is_asked_once_without_echo(self) -> None:
        program = (
            "from canaryctl.config.secrets import resolve_secrets\n"
            "found = [resolve_secrets(['A'], {'A': {'prompt': 'the vault key'}}, 'prod')['A'] for _ in range(2)]\n"
            "print(found == ['typed it'] * 2)\n"
        )
        child, terminal = pty.fork()
        if child == 0:
            os.execv(sys.executable, [sys.executable, "-c", program])  # noqa: S606
        seen = b""
        while b"the vault key:" not in seen:
            seen += os.read(terminal, 1000)
        time.sleep(0.2)  # echo is off by the time that the question is asked, but not before
        os.write(terminal, b"typed it\n")
        try:
            while data := os.read(terminal, 1000):
                seen += data
        except OSError:
            pass  # how a terminal says that nobody has its other end
        os.waitpid(child, 0)
        os.close(terminal)
        assert seen.count(b"the vault key:") == 1 and b"True" in seen and b"typed it" not in seen


@pytest.mark.parametrize(
    "source", [{"file": "x", "env": "y"}, {"vault": "x"}, {"command": {}}, {"prompt": False}, None]
)
def test_what_is_no_source_is_a_missing_secret(source: Any) -> None:
    assert why_missing(source)


def test_a_host_and_the_operator_agree_on_a_fingerprint_and_on_little_else() -> None:
    value = 'a"b\\c$d\ne\u00e9'
    line = env_lines({"DB": value})["DB"].encode()
    here = fingerprint("shop", "prod", "DB", value)
    assert on_host.plain_value(line) == value
    assert on_host.fingerprint_of(salt_of("shop", "prod"), "DB", on_host.plain_value(line)) == here
    assert len(here) == 8
    assert here not in {fingerprint("shop", "canary", "DB", value), fingerprint("shop", "prod", "JWT", value)}
