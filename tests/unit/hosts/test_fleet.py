"""Hosts asked all at once: this machine under two names, and one that nobody answers for."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from droppers import dropping
from local import local_host
from projects import LOST, make_project

from canaryctl.commands.request import Request, load_project
from canaryctl.errors import ApplyError, HostError
from canaryctl.hosts import Fleet, LocalConnection, observe
from canaryctl.hosts import fleet as module
from canaryctl.hosts.target import Dropped
from canaryctl.plan.deployment import Deployment, load_deployment


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    monkeypatch.chdir(make_project(tmp_path, one={}, lost=LOST, two={}))
    return load_deployment(Request(load_project(), "canary"))


def test_each_host_has_its_answer_and_the_lost_ones_are_told_apart(deployment: Deployment) -> None:
    with Fleet(deployment.hosts) as fleet:
        found, lost = fleet.each(
            fleet.hosts, lambda connection: (connection.inventory.name, connection.run("echo hello").stdout)
        )
    assert found == {"one": ("one", b"hello\n"), "two": ("two", b"hello\n")}
    assert [(name, failure.where) for name, failure in lost.items()] == [("lost", "lost")]


def test_where_every_host_counts_a_lost_one_is_raised(deployment: Deployment) -> None:
    with Fleet(deployment.hosts) as fleet, pytest.raises(HostError) as raised:
        fleet.all(fleet.hosts, lambda connection: connection.host)
    assert raised.value.where == "lost"


def test_some_of_the_hosts_are_asked_what_they_serve(deployment: Deployment) -> None:
    hosts = [host for host in deployment.hosts if host.name != "lost"]
    with Fleet(hosts) as fleet:
        seen = observe(fleet, fleet.hosts, stack="shop")
        assert fleet.all(fleet.hosts, lambda connection: connection.host) == {"one": "one", "two": "two"}
    assert list(seen.facts) == ["one", "two"] and not seen.failures


def test_a_connection_knows_its_host_and_its_password() -> None:
    own = local_host("own")
    own.vars["ansible_become_password"] = "theirs"
    with Fleet([local_host("plain"), own], "typed") as fleet, Fleet([own]) as without:
        assert fleet.get("plain").inventory is fleet.hosts["plain"]
        assert [fleet.get(name).sudo_password for name in ("plain", "own")] == ["typed", "typed"]
        assert without.get("own").sudo_password == "theirs"
        with fleet.anew(["plain"]) as anew:
            assert list(anew.hosts) == ["plain"] and anew.get("plain").sudo_password == "typed"


def test_a_connection_is_kept_and_closed_with_the_fleet() -> None:
    fleet = Fleet({"here": local_host()})
    kept = fleet.get("here")
    assert fleet.get("here") is kept
    fleet.close()
    with pytest.raises(HostError):
        fleet.get("here")


@pytest.mark.parametrize("transport", ["auto", "openssh"])
def test_a_connection_that_sshd_drops_is_tried_again_and_not_for_long(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_DROPPED_PAUSES", (0.05, 0.1))
    host = local_host("dropped")
    with dropping(b"Exceeded MaxStartups\r\n") as server:
        host.vars.update(ansible_connection="ssh", ansible_host="127.0.0.1", ansible_port=server.port)
        host.vars["canary_transport"] = transport
        with Fleet([host]) as fleet:
            for tries in (3, 1, 1):  # again at once: it is known to be of no use
                before = server.came
                with pytest.raises(Dropped, match="handshake") as caught:
                    fleet.get("dropped")
                assert (server.came - before, caught.value.exit_code) == (tries, 3)


def test_one_that_comes_up_at_last_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_DROPPED_PAUSES", (0.01, 0.01))
    faults = [Dropped("dropped", "here"), Dropped("dropped", "here")]

    def opening(*_: object) -> LocalConnection:
        if faults:
            raise faults.pop()
        return LocalConnection("here")

    monkeypatch.setattr(module, "connect", opening)
    with Fleet([local_host()]) as fleet:
        assert fleet.get("here").run("echo hello").stdout == b"hello\n"


def test_a_jump_host_that_drops_is_not_insisted_on_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_DROPPED_PAUSES", (0.01, 0.01))
    tries = []

    def jumping(*_: object) -> LocalConnection:
        tries.append(1)
        raise Dropped("dropped", "jump")

    with Fleet([local_host()]) as fleet:
        monkeypatch.setattr(module, "connect", lambda host, jump: fleet._kept(("jump", "j"), jumping))
        with pytest.raises(Dropped):
            fleet.get("here")
    assert len(tries) == 3


def test_no_more_than_the_bound_are_worked_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 3)
    guard, busy = threading.Lock(), [0, 0]

    def work(_name: str) -> None:
        with guard:
            busy[0] += 1
            busy[1] = max(busy)
        time.sleep(0.01)
        with guard:
            busy[0] -= 1

    names = [str(number) for number in range(12)]
    results, errors = module.at_once(names, work)
    assert (list(results), errors, busy) == (names, {}, [0, 3])


def test_errors_are_told_by_name_in_the_order_given() -> None:
    def work(name: str) -> str:
        if name == "odd":
            raise KeyError("x")
        if name == "full":
            raise ApplyError("no room", host=name)
        return name.upper()

    results, errors = module.at_once(["odd", "well", "full"], work)
    assert results == {"well": "WELL"}
    assert [(name, type(error), error.where) for name, error in errors.items()] == [
        ("odd", HostError, "odd"),
        ("full", ApplyError, "full"),
    ]


def test_an_interruption_leaves_at_once_and_closes() -> None:
    def stop(_name: str) -> None:
        raise KeyboardInterrupt

    fleet = Fleet([local_host()])
    with pytest.raises(KeyboardInterrupt):
        fleet.at_once(["here"], stop)
    with pytest.raises(HostError):
        fleet.get("here")


def test_a_host_that_let_others_wait_is_not_asked_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def connect(*_: object) -> None:
        asked.append(time.monotonic())
        time.sleep(0.05)
        raise HostError("no answer", "here", "wait")

    monkeypatch.setattr(module, "connect", connect)
    monkeypatch.setattr(module, "_WORTH_SPARING", 0.01)
    monkeypatch.setattr(module, "_LOST_FOR", 0.5)
    with Fleet([local_host("here")]) as fleet:
        for _ in range(5):
            with pytest.raises(HostError, match="no answer"):
                fleet.get("here")
        assert len(asked) == 1
        time.sleep(0.6)
        with pytest.raises(HostError):
            fleet.get("here")
        assert len(asked) == 2


def test_a_host_that_refuses_at_once_may_be_coming_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([HostError("refused", "here", ""), module.connect])

    def connect(*given: Any) -> Any:
        if isinstance(answer := next(answers), HostError):
            raise answer
        return answer(*given)

    monkeypatch.setattr(module, "connect", connect)
    with Fleet([local_host("here")]) as fleet:
        with pytest.raises(HostError):
            fleet.get("here")
        assert fleet.get("here").run("true").ok


def test_a_host_that_was_just_given_up_is_not_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(LocalConnection):
        alive = False  # type: ignore[assignment]
        silent_at = time.monotonic()  # type: ignore[assignment]

    opened = [Silent("here"), LocalConnection("here")]
    monkeypatch.setattr(module, "connect", lambda *_: opened.pop(0))
    monkeypatch.setattr(module, "_LOST_FOR", 0.5)
    with Fleet([local_host("here")]) as fleet:
        fleet.get("here")
        with pytest.raises(HostError, match="nothing was heard"):
            fleet.get("here")
        time.sleep(0.6)
        assert fleet.get("here").run("true").ok
