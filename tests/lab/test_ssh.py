"""Reaching real sshd: what works over both transports, and what each kind of failure tells the operator."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import paramiko
import pytest

from canaryctl.config.environment import Host
from canaryctl.errors import HostError
from canaryctl.hosts import Fleet
from canaryctl.hosts.connection import CommandTimeout, Connection
from canaryctl.hosts.native import NativeConnection
from canaryctl.hosts.openssh import OpenSSHConnection
from canaryctl.lab.state import directory

pytestmark = [pytest.mark.lab, pytest.mark.whole_lab]

MakeHost = Callable[..., Host]


@pytest.fixture(scope="module")
def state(lab_env: dict[str, str]) -> Path:
    return directory(lab_env["CANARYCTL_LAB"])


@pytest.fixture(scope="module")
def lab_hosts(state: Path) -> dict[str, Any]:
    hosts: dict[str, Any] = json.loads((state / "lab.json").read_text())["hosts"]
    return hosts


@pytest.fixture
def make(state: Path, lab_hosts: dict[str, Any]) -> MakeHost:
    def host(name: str = "canary-1", **changed: object) -> Host:
        known = changed.pop("known_hosts", state / "known_hosts")
        more = changed.pop("options", "")
        variables = {
            "ansible_host": "127.0.0.1",
            "ansible_port": lab_hosts[name]["port"],
            "ansible_user": "ops",
            "ansible_ssh_private_key_file": str(state / "id_ed25519"),
            "ansible_ssh_common_args": f"{more} -F none -o UserKnownHostsFile={known} -o IdentitiesOnly=yes",
        }
        return Host(name, ("all",), {**variables, **changed})

    return host


@pytest.fixture(params=["auto", "openssh"])
def connection(request: pytest.FixtureRequest, make: MakeHost) -> Iterator[Connection]:
    with Fleet([make(canary_transport=request.param)]) as fleet:
        yield fleet.get("canary-1")


@pytest.fixture(scope="module", autouse=True)
def _no_penalties(state: Path, lab_hosts: dict[str, Any]) -> Iterator[None]:
    """sshd shuts out an address after failed logins (OpenSSH 9.8 and later): not while the failures are the test."""
    box = lab_hosts["canary-1"]["container"]
    file = "/etc/ssh/sshd_config.d/00-test-penalties.conf"

    def inside(script: str) -> None:
        subprocess.run(["docker", "exec", box, "sh", "-ec", f"{script}; systemctl restart ssh"], check=True)

    inside(f"echo 'PerSourcePenalties no' >{file}")
    yield
    inside(f"rm {file}")


def nobody(lab_hosts: dict[str, Any]) -> str:
    """An address of the lab's network where nobody is."""
    return str(lab_hosts["canary-1"]["address"]).rpartition(".")[0] + ".250"


def refusal(*hosts: Host) -> HostError:
    with Fleet(hosts) as fleet, pytest.raises(HostError) as caught:
        fleet.get(hosts[0].name)
    assert caught.value.where == hosts[0].name and caught.value.hint and caught.value.exit_code == 3
    return caught.value


def test_commands_run_and_tell_their_code(connection: Connection) -> None:
    done = connection.run("cat; hostname; echo aside >&2; exit 3", stdin=b"hello ")
    assert (done.code, done.text, done.stderr) == (3, "hello canary-1\n", b"aside\n")


def test_megabytes_stream_both_ways(connection: Connection) -> None:
    block = os.urandom(1 << 20)
    done = connection.stream("tee /dev/stderr | sha256sum", (block for _ in range(7)))  # 8 is where answers end
    assert len(done.stdout) > 64 and len(done.stderr) == 7 << 20


def test_what_cannot_be_read_here_is_an_error_and_no_endless_wait(connection: Connection) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"a beginning"
        raise FileNotFoundError("gone")

    with pytest.raises(FileNotFoundError):
        connection.stream("cat >/dev/null", chunks())
    assert connection.run("echo well").text == "well\n"


def test_a_deadline_leaves_the_connection_usable(connection: Connection) -> None:
    with pytest.raises(CommandTimeout, match="sleep 20"):
        connection.run("sleep 20", timeout=0.3)
    with pytest.raises(CommandTimeout, match="said nothing for 1 s"):
        connection.read("echo one; sleep 20", lambda _: None, idle=1)
    assert connection.run("true").ok


def test_following_ends_the_remote_command_with_it(connection: Connection) -> None:
    class Enough(Exception):  # noqa: N818
        pass

    def sink(_: bytes) -> None:
        raise Enough

    with pytest.raises(Enough):
        connection.read("echo started; exec sleep 4242", sink, tty=True)
    left = connection.run("for _ in 1 2 3 4 5 6 7 8 9; do pgrep -fx 'sleep 4242' || exit 0; sleep 0.3; done; exit 1")
    assert left.ok, "the followed command outlived us"


def test_dialling_reaches_what_the_host_reaches(connection: Connection, lab_hosts: dict[str, Any]) -> None:
    for address in ("127.0.0.1", lab_hosts["staging-core"]["address"]):
        with connection.dial(address, 22) as link:
            link.settimeout(5)
            assert link.recv(100).startswith(b"SSH-2.0")
    with pytest.raises(ConnectionRefusedError, match=r"127\.0\.0\.1:9"):
        connection.dial("127.0.0.1", 9)
    with pytest.raises(TimeoutError):
        connection.dial(nobody(lab_hosts), 80, timeout=0.5)


def test_refused_connections_are_refused_however_many_are_made_at_once(connection: Connection) -> None:
    """paramiko keeps one failure for all threads: what another took the word on was told as late."""

    def dial(_: int) -> str:
        try:
            connection.dial("127.0.0.1", 9, timeout=20).close()
        except OSError as error:
            return type(error).__name__
        return "answered"

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(dial, range(64))) == {"ConnectionRefusedError"}


def test_a_dialled_socket_can_be_half_closed(connection: Connection) -> None:
    serve = (
        "import socket; s = socket.create_server(('127.0.0.1', 18765)); print('up', flush=True); c, _ = s.accept(); "
        "data = b''.join(iter(lambda: c.recv(65536), b'')); c.sendall(str(len(data)).encode())"
    )
    up = threading.Event()
    server = threading.Thread(
        target=lambda: connection.read(f'python3 -c "{serve}"', lambda _: up.set(), timeout=20), daemon=True
    )
    server.start()
    assert up.wait(10)
    with connection.dial("127.0.0.1", 18765) as link:
        link.settimeout(10)
        link.sendall(bytes(3 << 20))
        link.shutdown(socket.SHUT_WR)
        assert link.recv(100) == str(3 << 20).encode()
    server.join(5)


def test_sixteen_threads_share_one_connection(connection: Connection) -> None:
    said: list[str] = []
    threads = [threading.Thread(target=lambda: said.append(connection.run("echo x").text)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == ["x\n"] * 8


def test_what_comes_too_late_for_a_session_costs_no_connection(make: MakeHost) -> None:
    with Fleet([make()]) as fleet:
        connection = fleet.get("canary-1")
        assert isinstance(connection, NativeConnection)
        transport = connection._transport
        session = transport.open_session()
        session.exec_command("true")
        while not session.closed:
            time.sleep(0.01)
        assert connection.run("true").ok  # what closed the session has been sent before
        for number in (96, 94):  # what a thread that fed it was about to send
            late = paramiko.Message()
            late.add_byte(bytes([number]))
            late.add_int(session.remote_chanid)
            late.add_string(b"x")
            transport._send_user_message(late)
        assert connection.run("echo x").text == "x\n" and fleet.get("canary-1") is connection
        with connection.dial("127.0.0.1", 22) as link:  # a number that was used before
            link.settimeout(5)
            assert link.recv(100).startswith(b"SSH-2.0")


def test_nothing_is_left_behind(make: MakeHost) -> None:
    with Fleet([make(canary_transport="openssh")]) as fleet:
        connection = fleet.get("canary-1")
        assert isinstance(connection, OpenSSHConnection)
        folder = connection._directory
        assert connection.run("true").ok and folder.is_dir()
    assert not folder.exists()


def test_all_hosts_at_once_and_the_bad_one_apart(make: MakeHost) -> None:
    hosts = [make("canary-1"), make("staging-core"), make("staging-cpu", ansible_port=1)]
    with Fleet(hosts) as fleet:
        results, failures = fleet.each(fleet.hosts, lambda c: c.run("hostname").text.strip())
    assert results == {"canary-1": "canary-1", "staging-core": "staging-core"}
    assert list(failures) == ["staging-cpu"]


@pytest.mark.parametrize("transport", ["auto", "openssh"])
class TestRefusals:
    def test_wrong_port(self, make: MakeHost, transport: str) -> None:
        assert "refuses connections" in refusal(make(ansible_port=1, canary_transport=transport)).what

    def test_unknown_name(self, make: MakeHost, transport: str) -> None:
        assert "resolved" in refusal(make(ansible_host="nowhere.invalid", canary_transport=transport)).what

    def test_no_answer(self, make: MakeHost, transport: str, lab_hosts: dict[str, Any]) -> None:
        began = time.monotonic()
        error = refusal(make(ansible_host=nobody(lab_hosts), ansible_timeout=1, canary_transport=transport))
        assert "answer" in error.what and time.monotonic() - began < 8

    def test_wrong_key(self, make: MakeHost, transport: str, tmp_path: Path) -> None:
        key = make_key(tmp_path / "stranger")
        error = refusal(make(ansible_ssh_private_key_file=str(key), canary_transport=transport))
        assert "refuses" in error.what and "ansible_user" in error.hint

    def test_unknown_host_key(self, make: MakeHost, transport: str, tmp_path: Path) -> None:
        assert "not known" in refusal(make(known_hosts=tmp_path / "empty", canary_transport=transport)).what

    def test_changed_host_key(self, make: MakeHost, transport: str, tmp_path: Path, lab_hosts: dict[str, Any]) -> None:
        public = make_key(tmp_path / "other").with_suffix(".pub").read_text()
        file = tmp_path / "known_hosts"
        file.write_text(f"[127.0.0.1]:{lab_hosts['canary-1']['port']} {public}")
        assert "changed" in refusal(make(known_hosts=file, canary_transport=transport)).what

    def test_asking_not_to_check_changes_nothing(self, make: MakeHost, transport: str, tmp_path: Path) -> None:
        options = "-o StrictHostKeyChecking=no -o NoHostAuthenticationForLocalhost=yes"
        error = refusal(make(known_hosts=tmp_path / "empty", options=options, canary_transport=transport))
        assert "not known" in error.what
        assert not (tmp_path / "empty").exists()


def make_key(path: Path, passphrase: str = "", source: Path | None = None) -> Path:
    if source is None:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", path], check=True)
    else:
        shutil.copy(source, path)
        path.chmod(0o600)
        subprocess.run(["ssh-keygen", "-q", "-p", "-N", passphrase, "-f", path], check=True)
    return path


def test_a_changed_key_names_both_fingerprints_and_the_line(
    make: MakeHost, tmp_path: Path, lab_hosts: dict[str, Any]
) -> None:
    public = make_key(tmp_path / "other").with_suffix(".pub").read_text()
    file = tmp_path / "known_hosts"
    file.write_text(f"[127.0.0.1]:{lab_hosts['canary-1']['port']} {public}")
    error = refusal(make(known_hosts=file))
    assert error.what.count("SHA256:") == 2 and f"{file}:1" in error.what


def test_hashed_known_hosts(make: MakeHost, state: Path, tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    shutil.copy(state / "known_hosts", file)
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", file], check=True, capture_output=True)
    with Fleet([make(known_hosts=file)]) as fleet:
        assert fleet.get("canary-1").run("true").ok


def test_an_encrypted_key_needs_the_agent(
    make: MakeHost, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = make_key(tmp_path / "locked", "open sesame", source=state / "id_ed25519")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    error = refusal(make(ansible_ssh_private_key_file=str(locked)))
    assert "passphrase" in error.what and str(locked) in error.what

    where = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", where], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 5
        while not where.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(where))
        subprocess.run(["ssh-add", "-q", state / "id_ed25519"], check=True, capture_output=True)
        with Fleet([make(ansible_ssh_private_key_file=str(locked))]) as fleet:
            assert fleet.get("canary-1").run("true").ok
        monkeypatch.delenv("SSH_AUTH_SOCK")
        with Fleet([make(ansible_ssh_private_key_file=str(locked), options=f"-o IdentityAgent={where}")]) as again:
            assert again.get("canary-1").run("true").ok
    finally:
        agent.terminate()
        agent.wait()


@pytest.mark.parametrize("transport", ["auto", "openssh"])
def test_jump_hosts_and_the_users_ssh_configuration(
    make: MakeHost, state: Path, tmp_path: Path, lab_hosts: dict[str, Any], transport: str
) -> None:
    gate, inner = lab_hosts["canary-1"], lab_hosts["staging-core"]
    config = tmp_path / "config"
    config.write_text(
        f"Host *\n  UserKnownHostsFile {state}/known_hosts\n  IdentityFile {state}/id_ed25519\n  User ops\n"
        f"Host gate\n  HostName 127.0.0.1\n  Port {gate['port']}\n"
        f"Host inner\n  HostName {inner['address']}\n  HostKeyAlias [127.0.0.1]:{inner['port']}\n  ProxyJump gate\n"
        f"Host proxied\n  HostName {inner['address']}\n  HostKeyAlias [127.0.0.1]:{inner['port']}\n"
        f"  ProxyCommand ssh -F {config} -W %h:%p gate\n"
    )
    hosts = [
        Host(name, (), {"ansible_ssh_common_args": f"-F {config}", "canary_transport": transport})
        for name in ("inner", "proxied")
    ]
    with Fleet(hosts) as fleet:
        results, failures = fleet.each(fleet.hosts, lambda c: c.run("hostname").text.strip())
        assert (results, failures) == ({"inner": "staging-core", "proxied": "staging-core"}, {})
        with fleet.get("inner").dial("127.0.0.1", 22) as link:
            assert link.recv(100).startswith(b"SSH-2.0")


def test_an_unknown_jump_host_is_refused(make: MakeHost, tmp_path: Path, lab_hosts: dict[str, Any]) -> None:
    config = tmp_path / "config"
    port = lab_hosts["canary-1"]["port"]
    config.write_text(
        f"Host gate\n  HostName 127.0.0.1\n  Port {port}\n  UserKnownHostsFile {tmp_path}/none\n"
        "Host inner\n  HostName 10.0.0.1\n  ProxyJump gate\n"
    )
    error = refusal(Host("inner", (), {"ansible_ssh_common_args": f"-F {config}"}))
    assert "not known" in error.what and f"[127.0.0.1]:{port}" in error.what


def test_a_lost_host_is_named_and_can_come_back(connection: Connection, make: MakeHost) -> None:
    """Its sshd ends our session in the middle of a command."""
    killer = "sleep 0.3; kill -9 $(ps -o ppid= -p $PPID) $PPID; sleep 20"
    with Fleet([make()]) as others:
        pool = others.get("canary-1")
        with pytest.raises(HostError, match="lost"):
            pool.run(killer, timeout=10)
        assert others.get("canary-1").run("true").ok
