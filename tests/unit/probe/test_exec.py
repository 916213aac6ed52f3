"""Kind `exec`: what a command in a container must do, from recorded answers of a host."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from probed import scope_on
from recorded import Answering

from canaryctl.config.probes.exec import Exec
from canaryctl.errors import HostError
from canaryctl.hosts import CommandTimeout
from canaryctl.probe import exec as exec_
from canaryctl.probe.expect import MAX_READ
from canaryctl.probe.results import Unusable
from canaryctl.probe.service import NO_CONTAINER, in_container


def probe(command: Any = "check", **more: Any) -> Exec:
    return Exec.model_validate({"kind": "exec", "name": "Works", "on": "web", "command": command, **more})


@pytest.mark.parametrize(
    ("answer", "expect", "verdict"),
    [
        ((0, "ready"), {}, "passed"),
        ((3, ""), {}, "failed"),
        ((3, ""), {"exit": 3}, "passed"),
        ((0, "ready"), {"stdout": "ready"}, "passed"),
        ((0, "not yet"), {"stdout": {"regex": "^ready"}}, "failed"),
        ((0, '{"rows": 2}'), {"jmespath": ["rows == `2`"]}, "passed"),
        ((0, "no json"), {"jmespath": ["rows == `2`"]}, "failed"),
    ],
)
def test_a_command_is_held_against_what_is_expected(
    answer: tuple[int, str], expect: dict[str, Any], verdict: str
) -> None:
    scope = scope_on(Answering(lambda command: answer))
    assert exec_.run(probe(expect=expect), scope).verdict == verdict
    (exchange,) = scope.exchanges
    assert (exchange.method, exchange.url, exchange.status) == ("EXEC", "web: check", answer[0])


@pytest.mark.parametrize(
    ("save", "verdict", "saved"),
    [({"id": "id"}, "passed", {"id": 7}), ({"id": "missing"}, "failed", {}), ({"id": "id", "x": "gone"}, "failed", {})],
)
def test_what_is_saved_must_be_there(save: dict[str, str], verdict: str, saved: dict[str, Any]) -> None:
    scope = scope_on(Answering(lambda command: (0, '{"id": 7}')))
    assert exec_.run(probe(save=save), scope).verdict == verdict
    assert scope.saved == saved


def test_a_container_that_is_not_there_and_a_host_that_is_lost_fail_and_only_the_host_is_lost() -> None:
    def gone(command: str) -> tuple[int, str]:
        raise HostError("no route", "h1")

    scope = scope_on(Answering(gone))
    assert exec_.run(probe(), scope).verdict == "failed" and scope.lost

    def late(command: str) -> tuple[int, str]:
        raise CommandTimeout("`docker ps` did not finish within 15 s", "h1")

    slow = scope_on(Answering(late))
    outcome = exec_.run(probe(), slow)
    assert outcome.verdict == "failed" and not slow.lost and "did not finish" in outcome.reason
    none = scope_on(_Complaining(125, NO_CONTAINER))
    outcome = exec_.run(probe(), none)
    assert outcome.verdict == "failed" and not none.lost and "no running container on h1" in outcome.reason


def test_secrets_are_in_no_reason_and_in_no_exchange() -> None:
    scope = scope_on(_Complaining(1, "password s3cret refused"))
    outcome = exec_.run(probe("login"), scope)
    assert "[secret]" in outcome.reason and "s3cret" not in outcome.reason + str(scope.exchanges)


@pytest.mark.parametrize(("sudo", "begins"), [(False, "docker ps"), (True, "sudo -n docker ps")])
def test_a_command_is_rendered_quoted_and_run_with_what_docker_needs(sudo: bool, begins: str) -> None:
    connection = Answering(lambda command: (0, ""))
    scope = scope_on(connection, names={"user": "o'neill"}, sudo={"h1": sudo})
    exec_.run(probe(["find", "{{ user }}"]), scope)
    (command,) = connection.commands
    script = subprocess.run(["sh", "-c", command.replace("exec sh -c", "printf %s")], capture_output=True, text=True)
    assert f"$({begins} -q" in script.stdout
    assert scope.exchanges[0].url == """web: find 'o'"'"'neill'"""
    with pytest.raises(Unusable):
        exec_.run(probe("{{ nobody }}"), scope)


@pytest.mark.parametrize(
    ("inside", "feed", "code", "output"),
    [
        (["sh", "-c", "echo out; echo err >&2; exit 3"], False, 3, b"out\n"),
        (["sh", "-c", "cat"], False, 0, b""),  # nothing of the script's own input
        (["sh", "-c", "cat"], True, 0, b"fed"),
        (["sh", "-c", "sleep 9"], False, 124, b""),
        (["sh", "-c", "head -c 9000000 /dev/zero"], False, 0, b"\0" * (MAX_READ + 1)),
    ],
)
def test_the_script_bounds_what_runs_and_keeps_its_exit_code(
    inside: list[str], feed: bool, code: int, output: bytes
) -> None:
    """Docker's part is played by a program that runs the command here."""
    script = in_container(inside, sudo=False, timeout=1.0, feed=feed)
    assert " docker exec " in script
    plain = script.replace(f'docker exec {"-i " if feed else ""}"$id" ', "env ")
    done = subprocess.run(["sh", "-c", plain], input=b"fed", capture_output=True, timeout=20)
    assert (done.returncode, done.stdout) == (code, output)


class _Complaining(Answering):
    """Says what it has to say on standard error."""

    def __init__(self, code: int, complaint: str) -> None:
        super().__init__(lambda command: (code, ""))
        self._complaint = complaint.encode()

    def execute(self, *args: Any, **more: Any) -> Any:
        done = super().execute(*args, **more)
        return type(done)(done.code, b"", self._complaint)
