"""Secrets in probes: by reference, resolved in memory, hidden wherever they come out again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from faultyapp import App, Run, prober, serving

from canaryctl.config.scrub import Scrubber
from canaryctl.errors import ConfigError

SECRETS = {"API_TOKEN": "correct horse battery", "DB_PASSWORD": "postgres"}


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    with serving() as server:
        yield server


@pytest.fixture
def run(app: App, tmp_path: Path) -> Run:
    return prober(app, tmp_path, secrets=SECRETS, scrub=Scrubber(SECRETS))


def probe(more: str) -> str:
    return f'- {{name: p, kind: http, on: core, url: "{{{{ base }}}}/secret", {more}}}\n'


BEARER = """headers: {authorization: "Bearer {{ secrets.API_TOKEN }}"}"""


def test_a_secret_reaches_the_system_and_nothing_else(run: Run) -> None:
    password = """method: POST, json: {password: "{{ secrets['DB_PASSWORD'] }}"}"""
    expected = """{jmespath: "given == 'Bearer {{ secrets.API_TOKEN }} {{ secrets.DB_PASSWORD }}'"}"""
    (row,) = run(probe(f"{BEARER}, {password}, expect: {expected}"))
    assert row.verdict == "passed", row.reason
    (exchange,) = row.as_dict()["exchanges"]
    assert exchange["sent"] == '{"password": "[secret DB_PASSWORD]"}'
    assert exchange["body"] == '{"given": "Bearer [secret API_TOKEN] [secret DB_PASSWORD]"}'


def test_a_reason_that_quotes_the_answer_quotes_no_secret(run: Run) -> None:
    (row,) = run(probe(BEARER + """, expect: {jmespath: "given == 'x'"}"""))
    assert row.verdict == "failed" and "[secret API_TOKEN]" in row.reason
    assert "correct horse" not in json.dumps(row.as_dict())


@pytest.mark.parametrize(
    "more, said, hint",
    [
        ('headers: {a: "{{ secrets.API_TOKN }}"}', "the secret 'API_TOKN', which is not defined", "'API_TOKEN'"),
        ('headers: {a: "{{ secrets }}"}', "uses 'secrets' as a whole", "secrets.NAME"),
        ('headers: {a: "{{ secrets[host] }}"}', "uses 'secrets' as a whole", "secrets.NAME"),
        (
            'headers: {a: "Bearer correct horse battery"}',
            "the value of the secret API_TOKEN",
            "secrets.API_TOKEN",
        ),
        ("vars: {word: postgres}", "the value of the secret DB_PASSWORD", "secrets.DB_PASSWORD"),
        ("vars: {secrets: x}", "gives 'secrets' a second meaning", "another name"),
    ],
)
def test_what_is_refused_and_where(run: Run, more: str, said: str, hint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        run(probe(more))
    error = refused.value
    assert said in str(error) and hint in error.hint and error.where.endswith("probes.yml:1")
    assert "correct horse battery" not in f"{error.what} {error.hint}"


def test_a_weak_secret_refuses_no_text_that_only_holds_it(run: Run) -> None:
    (row,) = run(probe('headers: {authorization: "postgresql"}'))
    assert row.verdict == "failed" and "status 401" in row.reason


def test_a_command_line_may_not_hold_a_secret(run: Run) -> None:
    with pytest.raises(ConfigError, match="puts a secret into a command"):
        run('- {name: p, kind: exec, on: backend, command: "login {{ secrets.API_TOKEN }}"}')
