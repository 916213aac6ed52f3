"""What ssh says in its own words becomes a cause and a hint; local processes stand in for a connection's commands."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from canaryctl.config.environment import Host
from canaryctl.errors import ConfigError, HostError
from canaryctl.hosts import Fleet
from canaryctl.hosts.connection import CommandTimeout, Connection
from canaryctl.hosts.identities import kind_of, public_part
from canaryctl.hosts.openssh import explain
from canaryctl.hosts.process import LocalConnection


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("ssh: connect to host h port 1: Connection refused", "refuses connections"),
        ("ssh: connect to host h port 22: Connection timed out", "does not answer"),
        ("ssh: Could not resolve hostname h: Name or service not known", "cannot be resolved"),
        ("ops@h: Permission denied (publickey).", "refuses this user"),
        ("No ED25519 host key is known for h and you have requested strict checking.\nHost key verification failed.",
         "is not known"),
        ("@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n@@@\nHost key verification failed.", "is changed"),
        ("Received disconnect from h: 2: Too many authentication failures", "too many keys"),
        ("something new", "something new"),
        ("", "without a word"),
    ],
)  # fmt: skip
def test_ssh_words(said: str, means: str) -> None:
    what, hint = explain(said)
    assert means in what and hint


@pytest.fixture
def here() -> Iterator[Connection]:
    connection = LocalConnection("here")
    yield connection
    connection.close()


def test_a_command_is_fed_and_heard(here: Connection) -> None:
    done = here.run("cat; echo aside >&2; exit 3", stdin=b"hello")
    assert (done.code, done.stdout, done.stderr, done.ok) == (3, b"hello", b"aside\n", False)


def test_both_ways_at_once_never_block(here: Connection) -> None:
    block = bytes(1 << 20)
    done = here.stream("tee /dev/stderr", (block for _ in range(8)), limit=8 << 20)
    assert (len(done.stdout), len(done.stderr)) == (8 << 20, 8 << 20)


def test_a_deadline_ends_the_command(here: Connection) -> None:
    began = time.monotonic()
    with pytest.raises(CommandTimeout, match="sleep 30"):
        here.run("sleep 30", timeout=0.2)
    assert time.monotonic() - began < 15


def test_a_command_that_stops_reading_tells_its_own_failure(here: Connection) -> None:
    done = here.stream("echo no space >&2; exit 1", (bytes(1 << 20) for _ in range(64)))
    assert (done.code, done.complaint) == (1, "no space")


def test_the_errors_of_the_chunks_are_the_callers(here: Connection) -> None:
    def broken() -> Iterator[bytes]:
        yield b"one"
        raise ValueError("local trouble")

    with pytest.raises(ValueError, match="local trouble"):
        here.stream("cat", broken())


def test_output_is_handed_on_as_it_comes(here: Connection) -> None:
    pieces: list[bytes] = []
    assert here.read("echo one; sleep 0.2; echo two", pieces.append).code == 0
    assert pieces == [b"one\n", b"two\n"]


def test_every_host_is_asked_and_every_failure_kept() -> None:
    hosts = [Host(name, (), {"ansible_connection": "local"}) for name in ("a", "b", "c")]

    def ask(connection: Connection) -> str:
        if connection.host == "b":
            raise HostError("is down", "b")
        return connection.run(f"echo {connection.host}").text.strip()

    with Fleet(hosts) as fleet:
        results, failures = fleet.each(fleet.hosts, ask)
        assert (results, list(failures)) == ({"a": "a", "c": "c"}, ["b"])
        _, odd = fleet.each(["a"], lambda connection: 1 / 0)
        assert isinstance(odd["a"].__cause__, ZeroDivisionError)


def test_other_connections_are_refused() -> None:
    with Fleet([Host("a", (), {"ansible_connection": "winrm"})]) as fleet, pytest.raises(ConfigError):
        fleet.get("a")


@pytest.mark.parametrize("passphrase", ["", "secret phrase"])
def test_the_public_part_of_a_key_needs_no_passphrase(tmp_path: Path, passphrase: str) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", key], check=True)
    beside = public_part(key)
    key.with_name("key.pub").unlink()
    assert kind_of(beside) == "ssh-ed25519" and public_part(key) == beside
