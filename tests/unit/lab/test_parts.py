"""The lab's pure parts: names, subnets, records, the recipe's name."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
from pathlib import Path

import pytest

from canaryctl.errors import ConfigError
from canaryctl.lab import hosts, image, manage, state
from canaryctl.lab.docker import runs
from canaryctl.lab.state import Lab, LabHost


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "canaryctl"


def lab_of_two() -> Lab:
    return Lab(
        "t", "10.87.3.0/24", {"a": LabHost("10.87.3.10", 22200, "c-a"), "b": LabHost("10.87.3.11", 22201, "c-b")}
    )


def test_the_state_directory_follows_xdg(state_home: Path) -> None:
    assert state.directory("default") == state_home / "labs" / "default"


def test_without_xdg_it_is_below_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state.root() == tmp_path / ".local/state/canaryctl"


@pytest.mark.parametrize("name", ["", "-x", "x-", "Upper", "../x", "a/b", "a" * 33, "a b"])
def test_names_that_docker_or_the_file_system_would_trip_over_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is no name for a lab"):
        state.directory(name)


def test_a_lab_is_read_back_as_it_was_written() -> None:
    state.save(lab_of_two())
    assert state.load("t") == lab_of_two()


def test_a_lab_never_made_is_none() -> None:
    assert state.load("t") is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"name": "t"}', '{"name": "t", "subnet": "x", "hosts": {"a": {"ip": 1}}}']
)
def test_a_broken_record_says_where_and_what_next(text: str) -> None:
    file = state.directory("t") / "lab.json"
    state.write(file, text)
    with pytest.raises(ConfigError) as caught:
        state.load("t")
    assert caught.value.where == str(file)
    assert "lab down --purge --name t" in caught.value.hint


def test_secrets_are_made_once_private_and_without_newline() -> None:
    assert state.ensure_secrets("t", {"canary": ["DB", "JWT"]}) == ["canary/DB", "canary/JWT"]
    file = state.directory("t") / "secrets" / "canary" / "DB"
    value = file.read_text()
    assert len(value) == 32
    assert value == value.strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert state.ensure_secrets("t", {"canary": ["DB"], "fleet": ["DB"]}) == ["fleet/DB"]
    assert file.read_text() == value


def test_down_keeps_key_and_secrets_and_purge_does_not() -> None:
    state.save(lab_of_two())
    state.ensure_secrets("t", {"canary": ["DB"]})
    state.forget("t", purge=False)
    assert state.load("t") is None
    assert (state.directory("t") / "secrets/canary/DB").exists()
    state.forget("t", purge=True)
    assert not state.directory("t").exists()


@pytest.mark.parametrize(
    ("used", "chosen"),
    [
        ([], "10.87.0.0/24"),
        (["10.87.0.0/24"], "10.87.1.0/24"),
        (["10.87.0.0/23", "default", "172.17.0.0/16"], "10.87.2.0/24"),
        (["10.87.1.7"], "10.87.0.0/24"),
        (["10.87.0.7"], "10.87.1.0/24"),
    ],
)
def test_a_free_subnet_overlaps_nothing(used: list[str], chosen: str) -> None:
    assert manage.free_subnet([f"10.87.{n}.0/24" for n in range(3)], used) == chosen


def test_no_free_subnet_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no free subnet"):
        manage.free_subnet(["10.87.0.0/24"], ["10.0.0.0/8"])


def test_a_taken_port_is_not_free() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert not manage.port_is_free(taken.getsockname()[1])


def test_the_recipe_and_its_base_name_the_image() -> None:
    names = {image.recipe_hash(r, b) for r in ("FROM x", "FROM y") for b in ("sha256:1", "sha256:2")}
    assert len(names) == 4
    assert all(len(name) == 12 for name in names)


def test_pinning_replaces_a_hosts_keys_and_keeps_the_others() -> None:
    lab = lab_of_two()
    hosts.pin(lab, ["[127.0.0.1]:22200 ssh-ed25519 OLD", "[127.0.0.1]:22201 ssh-ed25519 B"])
    hosts.pin(lab, ["[127.0.0.1]:22200 ssh-ed25519 NEW"])
    assert lab.known_hosts.read_text().splitlines() == [
        "[127.0.0.1]:22200 ssh-ed25519 NEW",
        "[127.0.0.1]:22201 ssh-ed25519 B",
    ]


def test_pinning_drops_keys_of_hosts_the_lab_no_longer_has() -> None:
    lab = lab_of_two()
    state.write(lab.known_hosts, "[127.0.0.1]:29999 ssh-ed25519 GONE\n")
    hosts.pin(lab, [])
    assert "GONE" not in lab.known_hosts.read_text()


def test_ssh_is_strict_and_hands_the_command_over_as_it_is() -> None:
    argv = hosts.ssh_argv(lab_of_two(), "b", "echo 'a  b'; exit 7")
    assert argv[-3:] == ["ops@127.0.0.1", "--", "echo 'a  b'; exit 7"]
    assert argv[argv.index("-p") + 1] == "22201"
    assert "StrictHostKeyChecking=yes" in argv


def test_ssh_to_an_unknown_host_lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"no host 'z' \(it has: a, b\)"):
        hosts.ssh_argv(lab_of_two(), "z")


def test_files_for_a_host_belong_to_root_and_are_readable() -> None:
    with tarfile.open(fileobj=io.BytesIO(hosts.archive({"etc/x": json.dumps({"a": 1})}))) as tar:
        entry = tar.getmember("etc/x")
        assert (entry.uid, entry.gid, entry.mode) == (0, 0, 0o644)
        content = tar.extractfile(entry)
        assert content is not None
        assert content.read() == b'{"a": 1}'


def test_a_stale_pid_file_does_not_pass_for_a_running_program(tmp_path: Path) -> None:
    file = tmp_path / "x.pid"
    mine = Path("/proc/self/comm").read_text().strip()
    assert not runs(file, mine)
    for text, program, expected in [
        (str(os.getpid()), mine, True),
        (str(os.getpid()), "dockerd", False),
        ("4194999", "dockerd", False),
        ("garbage", mine, False),
    ]:
        file.write_text(text)
        assert runs(file, program) is expected
