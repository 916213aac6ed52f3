"""How commands get sudo's password: tried with a sudo that is a script, since what counts is who reads which line."""

from __future__ import annotations

from pathlib import Path

import pytest

from canaryctl.config.environment import Host
from canaryctl.hosts.process import LocalConnection
from canaryctl.hosts.sudo import as_root, password_of, with_password

# -n fails unless `free` or root already; with -S the first line of input must be the password, the rest is the
# command's.
SUDO = """#!/bin/sh
echo "$@" >>{folder}/said
while :; do case "$1" in
  -n) [ -e {folder}/free ] || [ "$ROOT" ] || { echo "a password is required" >&2; exit 1; }; shift;;
  -k) shift;;
  -S) IFS= read -r given; [ "$given" = "p w'd" ] || { echo "wrong password" >&2; exit 1; }; shift;;
  -p) shift 2;;
  *) break;;
esac; done
ROOT=yes exec "$@"
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalConnection:
    sudo = tmp_path / "sudo"
    sudo.write_text(SUDO.replace("{folder}", str(tmp_path)))
    sudo.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    connection = LocalConnection("here")
    connection.sudo_password = "p w'd"
    return connection


@pytest.mark.parametrize("free", [False, True], ids=["asked", "not asked"])
def test_the_command_gets_its_own_input_and_nothing_of_the_password(
    host: LocalConnection, tmp_path: Path, free: bool
) -> None:
    if free:
        (tmp_path / "free").touch()
    done = host.run("sudo -n sh -c 'cat; echo aside >&2; exit 3'", stdin=b"line\n")
    assert (done.code, done.stdout, done.stderr.splitlines()[-1]) == (3, b"line\n", b"aside")
    assert "p w'd" not in (tmp_path / "said").read_text()


def test_what_the_shell_does_with_the_output_stays(host: LocalConnection) -> None:
    assert host.run("sudo -n sh -c 'echo a; echo b >&2' 2>/dev/null | tr a A || true").text == "A\n"


def test_a_script_runs_as_root_as_a_whole_and_keeps_its_input(host: LocalConnection) -> None:
    script = 'word=$(sudo -n echo word </dev/null); sudo -n cat; echo "$word"'
    done = host.run(f"exec sh -c '{script}'", stdin=b"line\n")
    assert (done.code, done.text) == (0, "line\nword\n")


def test_a_wrong_password_is_sudos_complaint(host: LocalConnection) -> None:
    host.sudo_password = "another"
    done = host.run("sudo -n cat", stdin=b"line\n")
    assert done.code and b"wrong password" in done.stderr and b"line" not in done.stdout


def test_other_commands_and_hosts_without_a_password_are_left_alone() -> None:
    assert with_password("docker ps", (b"x",), "secret") == ("docker ps", (b"x",))
    assert with_password("sudo -n true", (b"x",), "") == ("sudo -n true", (b"x",))


def test_the_operators_password_wins_over_the_inventorys() -> None:
    host = Host("h", (), {"ansible_become_password": "theirs"})
    assert password_of(host, "mine") == "mine" and password_of(host, None) == "theirs"
    assert password_of(Host("h", (), {}), None) == ""


@pytest.mark.parametrize(("sudo", "line"), [(True, "sudo -n docker ps | head"), (False, "docker ps | head")])
def test_a_line_asks_for_root_only_where_it_must(sudo: bool, line: str) -> None:
    assert as_root("docker ps | head", sudo) == line
