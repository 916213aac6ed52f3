"""What the agent reads of sshd, dockerd and mounts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from canaryctl.agent.read import audit, mounts
from canaryctl.facts.audit import parse_audit
from canaryctl.facts.host import parse
from canaryctl.hosts.ask import bundle


def test_one_program_answers_the_facts_and_what_an_audit_needs(tmp_path: Path) -> None:
    release = tmp_path / "shop" / "releases" / "r1"
    release.mkdir(parents=True)
    (release / "compose.yml").write_text("services: {}\n")
    (tmp_path / "shop" / "current").symlink_to("releases/r1")
    (tmp_path / "shop" / "lock").mkdir()
    holder = {"holder": "me", "token": "t0ken", "ttl": 60, "renewed": 1795507200.0}
    (tmp_path / "shop" / "lock" / "holder.json").write_text(json.dumps(holder))
    config = {
        "stack": "shop", "root": str(tmp_path), "nonce": "00", "mounts": [{"path": str(tmp_path), "sentinel": "shop"}],
    }  # fmt: skip
    source = bundle("audit") + f"\nanswer_audit(json.loads({json.dumps(config)!r}))\n"
    done = subprocess.run(
        [sys.executable, "-IS", "-", "none", ""], input=source, capture_output=True, text=True, check=True
    )
    facts = parse("here", json.loads(done.stdout))
    assert facts.audit.compose == "services: {}\n"
    lock = facts.state.lock
    assert lock and (lock.holder, lock.ttl, lock.renewed, lock.expired) == ("me", 60, 1795507200.0, True)
    assert "t0ken" not in done.stdout
    seen = facts.mounts[str(tmp_path)]
    assert seen.sentinel is True and seen.point and seen.fstype and (seen.free or 0) > 0


def test_the_mounts_program_tells_of_a_path_that_is_not_there(tmp_path: Path) -> None:
    config = {"root": "/", "mounts": [{"path": str(tmp_path / "gone"), "sentinel": ".mounted"}]}
    source = bundle("mounts") + f"\nanswer_mounts(json.loads({json.dumps(config)!r}))\n"
    done = subprocess.run([sys.executable, "-IS", "-"], input=source, capture_output=True, text=True, check=True)
    (entry,) = json.loads(done.stdout)["mounts"]
    assert entry["sentinel"] is False and entry["error"]


def test_the_last_mount_on_a_point_counts_and_spaces_are_read() -> None:
    table = mounts.parse_mountinfo(
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "2 1 0:5 / /mnt/big\\040data rw,relatime shared:1 - nfs4 server:/x rw\n"
        "3 1 0:6 / /mnt/big\\040data rw - tmpfs tmpfs rw\n"
    )
    assert mounts.holder_of("/mnt/big data/models", table) == ("/mnt/big data", "tmpfs")
    assert mounts.holder_of("/mnt/other", table) == ("/", "ext4")


def test_sshd_tells_what_is_in_effect() -> None:
    said = "port 22\npermitrootlogin without-password\npasswordauthentication yes\nPasswordAuthentication no\n"
    assert audit.parse_sshd(said) == {"permitrootlogin": "without-password", "passwordauthentication": "yes"}


def test_sshd_files_are_read_as_sshd_does(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text("PasswordAuthentication no\n")
    main = tmp_path / "sshd_config"
    main.write_text(
        f"Include {tmp_path}/*.conf\nPasswordAuthentication yes # not this\nMatch User x\nPermitRootLogin yes\n"
    )
    assert audit.sshd_files(str(main)) == {"passwordauthentication": "no"}


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("/usr/sbin/dockerd -H fd:// --containerd=/run/c.sock", [("H", "fd://"), ("containerd", "/run/c.sock")]),
        ("/usr/bin/dockerd --config-file /d.json --debug -H unix://", [("config-file", "/d.json"), ("debug", ""),
                                                                    ("H", "unix://")]),
        ("", []),
    ],
)  # fmt: skip
def test_flags_of_dockerd(command: str, flags: list[tuple[str, str]]) -> None:
    assert audit.parse_flags(command) == flags


def test_an_agent_that_tells_nothing_is_no_fault() -> None:
    found = parse_audit(None)
    assert (found.sshd, found.reboot, found.daemon.keys) == ({}, None, ())
