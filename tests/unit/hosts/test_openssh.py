"""What OpenSSH's client is told, in its own words: what a login is like is seen in the lab."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from canaryctl.hosts.openssh import OpenSSHConnection
from canaryctl.hosts.target import Target


@pytest.mark.parametrize("more", [(), ("-J", "gate"), ("-Jgate",), ("-o", "ProxyJump=gate")])
def test_a_client_waits_for_no_host_once_its_master_is_gone(tmp_path: Path, more: tuple[str, ...]) -> None:
    connection = OpenSSHConnection.__new__(OpenSSHConnection)
    connection._directory, connection._target = tmp_path, Target("web", "web", ("-F", "none", *more), {})
    told = [*connection._client("ERROR"), "-G", "web"]
    dump = subprocess.run(told, capture_output=True, text=True, timeout=10)
    assert dump.returncode == 0, dump.stderr
    options = dict(line.split(" ", 1) for line in dump.stdout.splitlines() if " " in line)
    jumps = bool(more) and more[0].startswith("-J")
    assert ("proxycommand" not in options, options.get("connecttimeout", "none") != "none") == (jumps, jumps)
