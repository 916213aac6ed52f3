"""`canaryctl trust`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from projects import LOST, ctl, make_project

from canaryctl.cli.trust import key_lines
from canaryctl.commands.trust import OfferedKeys, Trust
from canaryctl.hosts.hostkeys import HostKey
from canaryctl.hosts.knownhosts import KnownKey


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_project(tmp_path, here={}, lost=LOST)


def test_an_environment_alone_means_its_hosts() -> None:
    for argv in (["trust", "canary"], ["trust", "hosts", "canary"]):
        done = ctl(*argv)
        assert (done.code, done.out) == (3, "nothing to pin\n") and "where: lost" in done.err
    document = ctl("trust", "canary", "--output", "json").document
    assert document["hosts"] == {} and [error["where"] for error in document["errors"]] == ["lost"]
    assert ctl("trust", "canary", "--limit", "here").code == 0  # this machine has no key to show


def test_keys_are_told_with_how_they_stand() -> None:
    key, old = HostKey("ssh-ed25519", b"new"), KnownKey("pins:1", "", "ssh-ed25519", b"old")
    trust = Trust("web-1", "192.0.2.1", ((key, "known"),), ("/etc/ssh/ssh_known_hosts:3",), (old,))
    title, row, known, replaced = key_lines(OfferedKeys("canary", Path("known_hosts"), (trust,), ()))
    assert title == "web-1 (192.0.2.1):" and row == f"  ssh-ed25519          {key.fingerprint}  known already"
    assert known.endswith("known in /etc/ssh/ssh_known_hosts:3")
    assert replaced.startswith("  replaces ssh-ed25519 SHA256:")


def test_signers_are_listed_and_added_only_on_a_yes(tmp_path: Path) -> None:
    assert "nobody is listed" in ctl("trust", "signers", "canary").out
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ann@desk", "-f", "ann"], check=True)
    argv = ("trust", "signers", "canary", "--add", "ann.pub")
    refused = ctl(*argv)
    listed = tmp_path / "inventories/canary/allowed_signers"
    assert refused.code == 2 and "  new" in refused.out and not listed.exists()
    done = ctl(*argv, "--yes", "--output", "json")
    (signer,) = done.document["signers"]
    assert (signer["name"], signer["type"]) == ("ann@desk", "ssh-ed25519") and "ann@desk" in listed.read_text()
    assert ctl(*argv, "--yes").out.splitlines()[-1] == "nothing to add"
    assert ctl("trust", "signers", "canary").out.splitlines()[1].split()[0] == "ann@desk"


def test_a_file_that_is_no_public_key_is_refused() -> None:
    assert ctl("trust", "signers", "canary", "--add", "stack.yml").code == 2
