"""Ansible's words become an operator's."""

from __future__ import annotations

import pytest

from canaryctl.ansible import reasons

SSH = "Task failed: Failed to connect to the host via ssh: "


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (SSH + "ssh: connect to host 10.0.0.9 port 22: Connection refused", "the connection was refused"),
        (SSH + "ssh: connect to host 10.0.0.9 port 22: Connection timed out", "the connection timed out"),
        (SSH + "ssh: connect to host 10.0.0.9 port 22: No route to host", "there is no route to it"),
        (SSH + "ssh: Could not resolve hostname nowhere: Name or service not known", "its name does not resolve"),
        (SSH + "ops@10.0.0.9: Permission denied (publickey).", "SSH refused the login"),
        (SSH + "No ED25519 host key is known for h.\nHost key verification failed.", "its SSH host key is unknown"),
        (
            SSH + "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
            "its SSH host key differs from the pinned one",
        ),
        (SSH + "Shared connection to 10.0.0.9 closed.", "the connection broke"),
    ],
)
def test_an_unreachable_host_says_why_and_what_ssh_said(said: str, words: str) -> None:
    assert reasons.no_access({"msg": said}).startswith(f"{words}: ")
    assert reasons.no_access({"msg": said}).endswith(said.splitlines()[-1].removeprefix(SSH))


@pytest.mark.parametrize(
    "result",
    [
        {"msg": "Missing sudo password"},
        {"msg": "Task failed: Incorrect sudo password"},
        {"msg": "Module failed", "module_stderr": "sudo: a password is required\n"},
        {"msg": "x", "module_stderr": "ops is not in the sudoers file."},
        {"msg": "Sorry, user ops is not allowed to execute '/bin/sh' as root on h."},
    ],
)
def test_a_refused_sudo_is_recognised(result: dict[str, str]) -> None:
    assert reasons.sudo_refused(result)
    assert reasons.no_access(result).startswith("sudo was refused: ")


def test_an_ordinary_failure_is_no_refused_sudo() -> None:
    assert not reasons.sudo_refused({"msg": "compose rejects the rendered compose.yml", "stderr": "no such image"})


def test_a_failure_names_task_message_and_the_end_of_its_errors() -> None:
    said = reasons.failure("Install Docker", {"msg": "apt failed", "stderr": "E: Unable to fetch\n\nE: disk full\n"})
    assert said == "Install Docker: apt failed\nE: Unable to fetch\nE: disk full"


def test_errors_that_the_message_already_holds_are_not_repeated() -> None:
    assert reasons.failure("Migrate", {"msg": "failed:\nboom", "stderr": "boom\n"}) == "Migrate: failed:\nboom"


def test_a_missing_python_is_said_in_words() -> None:
    said = reasons.failure("Render", {"msg": "Module failed", "module_stderr": "/bin/sh: 1: python3: not found"})
    assert "there is no Python on the host" in said


def test_a_python_that_a_service_lacks_is_not_the_hosts() -> None:
    result = {"msg": "web is exited (exit code 127): sh: 1: python3: not found", "canary_failure": {"services": {}}}
    assert "on the host" not in reasons.failure("Start", result)


def test_the_last_error_before_any_host_is_the_one_to_show() -> None:
    output = "[WARNING]: something\n[ERROR]: Attempting to decrypt but no vault secrets found.\nOrigin: all.yml:2:1\n"
    assert reasons.playbook_error(output).startswith("Attempting to decrypt but no vault secrets found.")
    assert reasons.playbook_error("usage: ansible-playbook\nnot an option\n").endswith("not an option")


def test_a_lost_connection_is_told_without_ansibles_advice() -> None:
    advice = 'Data could not be sent to remote host "192.0.2.1". Make sure this host can be reached over ssh: '
    assert reasons.no_access({"msg": advice}) == "the connection broke"
    silent = "Timeout, server 192.0.2.1 not responding."
    assert reasons.no_access({"msg": advice + silent + "\n"}) == f"the connection timed out: {silent}"
