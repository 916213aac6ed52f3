"""What opens hosts, registries and webhooks is in no evidence and in no error."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from canaryctl.cli import main
from canaryctl.config.environment import Host
from canaryctl.config.passwords import connection_passwords
from canaryctl.config.scrub import Scrubber
from canaryctl.config.webhook import Webhook
from canaryctl.evidence.document import RunIdentity
from canaryctl.evidence.run import Run
from canaryctl.images.credentials import Credential
from canaryctl.images.registry import Registries


def test_passwords_of_an_inventory() -> None:
    given = {
        "ansible_password": "ssh-hunter",
        "ansible_become_pass": "become-hunter",
        "ansible_ssh_private_key_passphrase": 12345678,
        "ansible_user": "deploy",
        "ansible_become_password_file": "/etc/pass",
        "canary_root": "/opt/x",
    }
    hosts = {name: Host(name, (), given) for name in ("a", "b")}
    assert connection_passwords(hosts, "typed-hunter") == {
        "become password": "typed-hunter",
        "ansible_password of a": "ssh-hunter",
        "ansible_become_pass of a": "become-hunter",
        "ansible_ssh_private_key_passphrase of a": "12345678",
    }


def test_the_parts_of_a_webhook_that_carry_its_token() -> None:
    hook = Webhook("https://hooks.example/services/T01/B02/abcdefghijklmnopqrstuvwx?token=0123456789abcdef0")
    scrub = Scrubber(hook.secrets)
    for told in (hook.url, "GET /services/T01/B02/abcdefghijklmnopqrstuvwx", "token is 0123456789abcdef0"):
        assert "abcdefghijklmnopqrstuvwx" not in scrub(told) and "0123456789abcdef0" not in scrub(told)
    assert set(Webhook("https://ci.example/hook").secrets) == {"canary_webhook"}


def test_a_password_and_an_identity_token_of_one_registry_are_both_known() -> None:
    registries = Registries()
    registries.credentials["r.example"] = Credential("me", "the-password", "the-token")
    assert set(registries.secrets.values()) == {"the-password", "the-token"}


@pytest.mark.parametrize("flags", [[], ["-vv"]])
def test_a_fault_is_printed_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    Run.start(tmp_path, RunIdentity("deploy", "canary"), scrub=Scrubber({"DB": "hunter-of-faults"}))

    def fail() -> None:
        raise KeyError("no \x1b[31mhunter-of-faults here")

    monkeypatch.setattr(main, "app", fail)
    monkeypatch.setattr(sys, "argv", ["canaryctl", "deploy", *flags])
    with pytest.raises(SystemExit) as left:
        main.run()
    said = capsys.readouterr().err
    assert left.value.code == 1 and "[secret DB]" in said and "hunter-of-faults" not in said
    assert ("Traceback" in said) == bool(flags)
