"""The environment that Ansible runs in."""

from __future__ import annotations

import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from droppers import dropping

from canaryctl.ansible import Session
from canaryctl.ansible.content import content_root, playbook
from canaryctl.errors import ApplyError


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Session]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with Session() as session:
        yield session


def test_a_configuration_in_the_working_directory_is_not_picked_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, session: Session
) -> None:
    monkeypatch.delenv("ANSIBLE_CONFIG", raising=False)
    (tmp_path / "ansible.cfg").write_text("[defaults]\nhost_key_checking = False\n")
    monkeypatch.chdir(tmp_path)
    assert Path(session.environment()["ANSIBLE_CONFIG"]) != tmp_path / "ansible.cfg"


def test_the_users_own_choice_of_configuration_stays(monkeypatch: pytest.MonkeyPatch, session: Session) -> None:
    monkeypatch.setenv("ANSIBLE_CONFIG", "/somewhere/ansible.cfg")
    assert session.environment()["ANSIBLE_CONFIG"] == "/somewhere/ansible.cfg"


def test_host_keys_are_always_checked(monkeypatch: pytest.MonkeyPatch, session: Session) -> None:
    monkeypatch.setenv("ANSIBLE_HOST_KEY_CHECKING", "False")
    assert session.environment()["ANSIBLE_HOST_KEY_CHECKING"] == "True"


def test_our_roles_come_first_and_the_users_are_still_found(monkeypatch: pytest.MonkeyPatch, session: Session) -> None:
    monkeypatch.setenv("ANSIBLE_ROLES_PATH", "/mine")
    assert session.environment()["ANSIBLE_ROLES_PATH"] == f"{content_root() / 'roles'}:/mine"


def test_the_private_directory_is_private_short_enough_for_sockets_and_goes_away(session: Session) -> None:
    path = session.directory
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert session.directory == path
    session.close()
    assert not path.exists()


def test_a_session_that_ends_leaves_the_others_alone(session: Session) -> None:
    path = session.directory
    with Session() as inner:  # as of a rollback within a deploy
        own = inner.directory
        assert own != path
    assert path.exists() and not own.exists()
    inner.close()


def test_one_that_nothing_was_run_in_makes_no_directory(session: Session, tmp_path: Path) -> None:
    session.close()
    assert list(tmp_path.iterdir()) == []


def test_a_stage_without_a_playbook_is_an_error() -> None:
    with pytest.raises(ApplyError, match="no playbook for the stage 'nowhere'"):
        playbook("nowhere")


def patiently(session: Session, port: int) -> tuple[int, str, float]:
    """Ansible's ssh to a port of loopback: its code, its words, and seconds."""
    environment = session.environment()
    argv = [environment["ANSIBLE_SSH_EXECUTABLE"], "-F", "none", "-o", "BatchMode=yes", "-p", str(port)]
    began = time.monotonic()
    done = subprocess.run(
        [*argv, "nobody@127.0.0.1", "true"], input="kept", env=environment, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stderr, time.monotonic() - began


@pytest.mark.parametrize("words", [b"", b"Exceeded MaxStartups\r\n", b"Not allowed at this time\r\n"])
def test_a_connection_that_sshd_drops_is_tried_again(words: bytes, session: Session) -> None:
    with dropping(words) as server:
        code, said, seconds = patiently(session, server.port)
    assert (code, server.came) == (255, 5) and "kex_exchange_identification" in said and seconds < 12


def test_a_host_that_refuses_is_asked_once(session: Session) -> None:
    with dropping() as server:
        pass
    code, said, seconds = patiently(session, server.port)
    assert code == 255 and "refused" in said and seconds < 3  # five attempts wait for that long


def test_the_users_own_ssh_is_the_one_that_is_called(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own-ssh"
    own.write_text('#!/bin/sh\necho "$*" >&2\ncat\nexit 3\n')
    own.chmod(0o755)
    monkeypatch.delenv("ANSIBLE_CONFIG", raising=False)
    (tmp_path / "home").mkdir()
    (tmp_path / "home/.ansible.cfg").write_text(f"[ssh_connection]\nssh_executable = {own}\n")
    code, said, _ = patiently(session, 22)
    assert code == 3 and said.endswith("nobody@127.0.0.1 true\n")
    monkeypatch.setenv("ANSIBLE_SSH_EXECUTABLE", "/somewhere/ssh")
    assert session.environment()["CANARYCTL_SSH"] == "/somewhere/ssh"
