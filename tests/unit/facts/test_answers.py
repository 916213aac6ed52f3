"""A host's answer is bounded, and one host's strange answer is that host's failure alone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from canaryctl.agent.read import collect
from canaryctl.config.environment import Host
from canaryctl.errors import ApplyError, HostError, LockedError
from canaryctl.facts.answers import MOST_VALUES, read_answer
from canaryctl.hosts import Connection, Fleet, LocalConnection
from canaryctl.hosts.ask import ask

LOCAL = {"ansible_connection": "local"}


@pytest.fixture
def here() -> Iterator[LocalConnection]:
    connection = LocalConnection("here")
    yield connection
    connection.close()


@pytest.mark.parametrize("command", ["yes", "yes >&2", "while :; do echo 0; done"])
def test_a_command_that_says_too_much_is_ended_and_named(here: LocalConnection, command: str) -> None:
    began = time.monotonic()
    with pytest.raises(HostError, match=rf"`{command[:3]}.*` answers with more than [18] MiB") as caught:
        here.run(command, timeout=30, limit=1 << 20)
    assert (caught.value.where, caught.value.reason) == ("here", "agent")
    assert time.monotonic() - began < 25
    assert not here._running


def test_what_is_within_the_bound_comes_whole(here: LocalConnection) -> None:
    done = here.run("head -c 1048576 /dev/zero; head -c 1048576 /dev/zero >&2", limit=1 << 20)
    assert (len(done.stdout), len(done.stderr)) == (1 << 20, 1 << 20)


def test_what_a_taker_raises_ends_the_command(here: LocalConnection) -> None:
    def refuse(_data: bytes) -> None:
        raise ApplyError("enough", "here")

    with pytest.raises(ApplyError, match="enough"):
        here.execute("yes", (), refuse, timeout=30)
    with pytest.raises(ApplyError, match="enough"):
        here.execute("yes >&2", (), lambda _data: None, timeout=30, aside=refuse)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("NaN", "NaN"),
        ('{"a": -Infinity}', "-Infinity"),
        ("[1e999]", "too large"),
        ("9" * 400, "too large"),
        ("9" * 40_000, "too large"),
        ("-18446744073709551616", "too large"),
        ("[" * 5000 + "]" * 5000, "deep"),
        ("[" * 70 + "]" * 70, "deep"),
        ("[" + "[]," * MOST_VALUES + "[]]", "values"),
        ("{", "Expecting"),
        ("", "Expecting"),
    ],
)
def test_an_answer_that_no_program_of_ours_writes_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_answer(text)


def test_an_answer_may_hold_any_text() -> None:
    said = {"log": '[,{\\"' * 300_000, "half": "\ud800x", "\udfff": "é\U0001f600", "n": [1, 2.5, None, 2**63]}
    assert read_answer(json.dumps(said)) == {"log": said["log"], "half": "?x", "?": "é\U0001f600", "n": said["n"]}


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ('{"agent": 1, "time": NaN}', "its answer cannot be read: it holds NaN"),
        ("[1]", "not ours"),
        ('{"agent": 2}', "not ours"),
        ("", "no output"),
    ],
)
def test_an_unreadable_answer_is_the_hosts_failure(here: LocalConnection, answer: str, why: str) -> None:
    class Liar(LocalConnection):
        def _argv(self, command: str, tty: bool) -> list[str]:
            return ["sh", "-c", f"cat >/dev/null; echo '{answer}'"]

    liar = Liar("here")
    liar.inventory = Host("here", (), LOCAL | {"ansible_become": False})
    with pytest.raises(HostError, match=why) as caught:
        ask(liar, "mounts", {"mounts": []})
    assert (caught.value.where, caught.value.reason) == ("here", "agent")


def hosts(*names: str) -> list[Host]:
    return [Host(name, (), LOCAL) for name in names]


def test_one_hosts_strange_answer_is_its_failure_alone() -> None:
    def read(connection: Connection) -> int:
        return {"good": 1}[connection.host]

    with Fleet(hosts("good", "odd")) as fleet:
        found, lost = fleet.each(["good", "odd"], read)
    assert found == {"good": 1}
    assert lost["odd"].where == "odd" and lost["odd"].reason == "agent" and "KeyError" in lost["odd"].what
    assert isinstance(lost["odd"].__cause__, KeyError)


def test_of_several_refusals_the_one_that_counts_most_is_raised_with_the_words_of_the_others() -> None:
    refusals = {
        "a": ApplyError("no room", host="a"),
        "b": LockedError("the lock is lost", "b"),
        "c": HostError("gone", "c"),
        "d": ApplyError("no room", host="d"),
    }

    def refuse(connection: Connection) -> None:
        raise refusals[connection.host]

    with Fleet(hosts(*refusals)) as fleet, pytest.raises(LockedError) as caught:
        fleet.each(list(refusals), refuse)
    assert caught.value.where == "b"
    assert {"a: no room", "d: no room"} == set(caught.value.what.split("; ")[1:])


def test_an_interruption_is_no_failure_of_a_host() -> None:
    def stop(_connection: Connection) -> None:
        raise KeyboardInterrupt

    with Fleet(hosts("a")) as fleet, pytest.raises(KeyboardInterrupt):
        fleet.each(["a"], stop)


def test_evidence_that_is_too_much_keeps_the_newest_of_each_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = {"loud": "\x1b" * 9000 + "last", "quiet": "first last", "none": ""}
    monkeypatch.setattr(collect, "collect_project", lambda _config: {"agent": 1, "logs": dict(logs)})
    monkeypatch.setattr(collect, "MOST_IN_ALL", 20_000)
    collect.answer_collect({})
    said = json.loads(capsys.readouterr().out)["logs"]
    assert len(json.dumps(said)) < 20_000
    assert said["loud"].endswith("last") and said["quiet"] == "first last"
