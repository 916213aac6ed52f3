"""The way to a host's sshd and what is asked of it, without one: what a login is like is seen in the lab."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import paramiko
import pytest

from canaryctl.errors import HostError
from canaryctl.hosts import LocalConnection, native
from canaryctl.hosts.knownhosts import KnownKey
from canaryctl.hosts.native import NativeConnection, _prefer, link_to
from canaryctl.hosts.target import NeedsOpenSSH, Target


def target(**options: str) -> Target:
    words = {"hostname": "127.0.0.1", "port": "9", "connecttimeout": "2", **options}
    return Target("alpha", "alpha", (), {name: (value,) for name, value in words.items()})


@pytest.fixture
def listening() -> Iterator[tuple[socket.socket, str]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server, str(server.getsockname()[1])


@pytest.fixture
def transport() -> Iterator[paramiko.Transport]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield paramiko.Transport(ours)


@pytest.mark.parametrize("family", ["any", "inet"])
def test_a_link_goes_straight_to_the_host(listening: tuple[socket.socket, str], family: str) -> None:
    server, port = listening
    with link_to(target(port=port, addressfamily=family), None) as link:
        met, _ = server.accept()
        with met:
            assert link.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert link.getpeername() == met.getsockname()


def test_a_link_goes_over_a_jump_host_or_a_command(listening: tuple[socket.socket, str]) -> None:
    _, port = listening
    with link_to(target(port=port), LocalConnection("jump")) as link:
        assert link.getpeername()[1] == int(port)
    with link_to(target(proxycommand="echo %h:%p"), None) as link:
        assert link.recv(100) == b"127.0.0.1:9\n"


def test_where_nobody_listens_the_host_is_named(listening: tuple[socket.socket, str]) -> None:
    server, port = listening
    server.close()
    with pytest.raises(HostError) as caught:
        link_to(target(port=port), None)
    assert (caught.value.where, caught.value.reason) == ("alpha", "unreachable")


def test_a_jump_host_that_forbids_forwarding_is_told() -> None:
    class Jump(LocalConnection):
        def dial(self, address: str, port: int, timeout: float = 10) -> socket.socket:
            raise PermissionError(f"sshd on jump forbids port forwarding to {address}:{port}")

    with pytest.raises(HostError) as caught:
        link_to(target(), Jump("jump"))
    assert "AllowTcpForwarding" in caught.value.hint


def test_what_speaks_no_ssh_is_the_hosts_failure(listening: tuple[socket.socket, str]) -> None:
    server, port = listening
    server.close()
    with pytest.raises(HostError) as caught:
        NativeConnection(target(port=port, proxycommand="echo hello", userknownhostsfile="/none"))
    assert caught.value.where == "alpha"


def test_a_host_that_accepts_and_says_nothing_is_lost_in_time(listening: tuple[socket.socket, str]) -> None:
    """As a frozen one, whose kernel goes on."""
    _, port = listening
    with pytest.raises(HostError) as caught:
        NativeConnection(target(port=port, connecttimeout="1", userknownhostsfile="/none"))
    assert (caught.value.where, caught.value.reason) == ("alpha", "unreachable")
    assert "handshake" in caught.value.what


def test_the_known_keys_algorithm_is_asked_for_first(transport: paramiko.Transport) -> None:
    _prefer(transport, target(), [KnownKey("f:1", "", "ecdsa-sha2-nistp256", b"")])
    options = transport.get_security_options()
    assert options.key_types[0] == "ecdsa-sha2-nistp256" and options.ciphers[0] == "aes128-gcm@openssh.com"


def test_the_users_configuration_bounds_what_is_asked_for(transport: paramiko.Transport) -> None:
    _prefer(transport, target(ciphers="aes256-ctr,chacha20-poly1305@openssh.com"), [])
    assert list(transport.get_security_options().ciphers) == ["aes256-ctr"]
    with pytest.raises(NeedsOpenSSH):
        _prefer(transport, target(ciphers="chacha20-poly1305@openssh.com"), [])


class Busy(paramiko.ServerInterface):
    """A server whose command reads a little, nothing for a while, then all, and answers how many bytes it was given."""

    def check_auth_none(self, username: str) -> int:
        return paramiko.common.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self.work, args=(channel,), daemon=True).start()
        return True

    def work(self, channel: paramiko.Channel) -> None:
        time.sleep(0.5)  # whoever sends waits by now, and again below
        got = len(channel.recv(65536))
        time.sleep(2.5)
        while data := channel.recv(65536):
            got += len(data)
        channel.sendall(str(got).encode())
        channel.send_exit_status(0)
        channel.close()


def test_a_command_that_does_not_read_for_a_while_is_given_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by `link-slow:push`: where SSH's window stayed full for a second, the rest was never sent."""
    ours, theirs = socket.socketpair()
    server = paramiko.Transport(theirs, default_window_size=65536)
    server.add_server_key(paramiko.ECDSAKey.generate())
    server.start_server(threading.Event(), Busy())
    client = native.OrderlyTransport(ours)
    client.start_client(timeout=10)
    client.auth_none("ops")
    monkeypatch.setattr(native, "_open", lambda *_: client)
    said: list[bytes] = []
    connection = NativeConnection(target())
    connection.execute("count", [b"x" * 50_000] * 10, said.append, timeout=None, idle=20)
    connection.close()
    server.close()
    assert b"".join(said) == b"500000"
