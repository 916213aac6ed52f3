"""SSH through paramiko: the default transport. Imported only when a host is reached."""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator

import paramiko

from canaryctl.errors import HostError
from canaryctl.hosts import knownhosts
from canaryctl.hosts.connection import CHUNK, LARGEST_COMPLAINT, Bounded, Completed, Connection, Patience, lost
from canaryctl.hosts.identities import authenticate
from canaryctl.hosts.pump import bridge
from canaryctl.hosts.target import Dropped, NeedsOpenSSH, Target
from canaryctl.hosts.transport import OrderlyTransport

# paramiko logs tracebacks of its own; errors reach operators through HostError alone.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

_WINDOW = 1 << 24  # bytes in flight towards us: a log or an image must not wait for a round trip each 64 KiB
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
_DEAD_AFTER_MS = 25_000  # unacknowledged data for this long means that the host is gone
_ASK_EVERY, _UNANSWERED = 5.0, 3  # seconds, and questions: together at most 25 s until a silent host is given up


class NativeConnection(Connection):
    """A paramiko transport. `via` is the jump host's connection, kept open as long as this one."""

    def __init__(self, target: Target, via: Connection | None = None) -> None:
        self.host = target.host
        self._target = target
        self._transport = _open(target, via)

    @property
    def alive(self) -> bool:
        return self._transport.is_active()

    @property
    def silent_at(self) -> float | None:
        return self._transport.silent_at

    def close(self) -> None:
        self._transport.close()

    def execute(
        self,
        command: str,
        chunks: Iterable[bytes],
        sink: Callable[[bytes], None],
        *,
        timeout: float | None,
        tty: bool = False,
        aside: Callable[[bytes], None] | None = None,
        idle: float | None = None,
    ) -> Completed:
        patience = Patience(self.host, command, timeout, idle)
        channel = self._session(timeout)
        complaints = Bounded(self.host, command, LARGEST_COMPLAINT)
        trouble: list[BaseException] = []
        try:
            with self._guarded(patience):
                channel.settimeout(timeout)
                if tty:
                    channel.get_pty(term="dumb", width=1000)
                channel.exec_command(command)
            listener = threading.Thread(target=_drain, args=(channel, aside or complaints.take, trouble), daemon=True)
            listener.start()
            threading.Thread(target=_feed, args=(channel, chunks, trouble), daemon=True).start()
            while data := self._receive(channel, patience):
                sink(data)
            if not trouble and not channel.status_event.wait(patience.left()):
                raise patience.late()
            listener.join(patience.left())
        finally:
            channel.close()
        if trouble:
            raise trouble[0]
        if channel.exit_status == -1 and not self.alive:
            raise self._lost()
        return Completed(channel.exit_status, b"", complaints.content())

    def _receive(self, channel: paramiko.Channel, patience: Patience) -> bytes:
        for seconds in patience.for_a_word():
            with self._guarded(patience), contextlib.suppress(TimeoutError):
                channel.settimeout(seconds)
                return channel.recv(CHUNK)
        raise patience.late()

    @contextlib.contextmanager
    def _guarded(self, patience: Patience) -> Iterator[None]:
        """Around what touches the channel and nothing else: errors of a caller's sink are not the host's."""
        try:
            yield
        except TimeoutError:
            raise patience.late() from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._lost(str(error)) from None

    def lend_terminal(self, command: str) -> int:
        from canaryctl.hosts import terminal

        channel = self._session(None)
        try:
            with self._guarded(Patience(self.host, command, None, None)):
                code = terminal.lend(channel, command)
        finally:
            channel.close()
        if code == -1 and not self.alive:
            raise self._lost()
        return code

    def _lost(self, why: str = "") -> HostError:
        return lost(self.host, self._transport.silence or why)

    def dial(self, address: str, port: int, timeout: float = 10) -> socket.socket:
        return bridge(self._forward(address, port, timeout))

    def _session(self, timeout: float | None) -> paramiko.Channel:
        try:
            return self._transport.open_session(window_size=_WINDOW, timeout=min(timeout or 60, 60))
        except paramiko.ChannelException as error:
            raise HostError(
                f"sshd refuses another session: {error.text}", self.host, "Raise MaxSessions in its sshd_config."
            ) from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._lost(str(error)) from None

    def _forward(self, address: str, port: int, timeout: float) -> paramiko.Channel:
        try:
            return self._transport.open_channel(
                "direct-tcpip", (address, port), ("127.0.0.1", 0), window_size=_WINDOW, timeout=timeout
            )
        except paramiko.ChannelException as error:
            if error.code == 1:
                raise PermissionError(f"sshd on {self.host} forbids port forwarding to {address}:{port}") from None
            raise ConnectionRefusedError(f"nothing answers at {address}:{port}, seen from {self.host}") from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            if not self.alive:
                raise self._lost(str(error)) from None
            if str(error).startswith("Timeout"):
                raise TimeoutError(f"no answer from {address}:{port} in {timeout:g} s, seen from {self.host}") from None
            # paramiko keeps one failure for all threads: another one's request took the word on this.
            raise ConnectionRefusedError(f"nothing answers at {address}:{port}, seen from {self.host}") from None


def _feed(channel: paramiko.Channel, chunks: Iterable[bytes], trouble: list[BaseException]) -> None:
    try:
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                try:
                    sent = channel.send(view[:CHUNK])  # type: ignore[arg-type, unused-ignore]
                except TimeoutError:  # of the listener, who closes the channel when its patience is at an end
                    continue
                except (OSError, EOFError, paramiko.SSHException):  # paramiko has a word of its own for each moment
                    sent = 0
                if not sent:
                    return  # the command stopped reading: its exit code and words say why
                view = view[sent:]
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            channel.shutdown_write()
    except BaseException as error:  # of the chunks: it belongs to whoever gave them
        trouble.append(error)
        channel.close()
        return
    with contextlib.suppress(OSError):
        channel.shutdown_write()


def _drain(channel: paramiko.Channel, into: Callable[[bytes], None], trouble: list[BaseException]) -> None:
    with contextlib.suppress(OSError):
        while data := channel.recv_stderr(CHUNK):
            try:
                into(data)
            except BaseException as error:  # of who takes it, or more than is taken
                trouble.append(error)
                channel.close()
                return


def _open(target: Target, via: Connection | None) -> OrderlyTransport:
    known = knownhosts.matching(
        target.files("userknownhostsfile") + target.files("globalknownhostsfile"), target.known_as
    )
    if any(key.marker == "@cert-authority" for key in known):
        raise NeedsOpenSSH("known_hosts trusts a certificate authority for it")
    link = link_to(target, via)
    transport: OrderlyTransport | None = None
    try:
        transport = OrderlyTransport(link, default_window_size=_WINDOW)
        transport.banner_timeout = transport.handshake_timeout = target.connect_timeout
        _prefer(transport, target, known)
        _handshake(transport, target)
        _check_key(transport, target, known)
        authenticate(transport, target)
        transport.end_when_silent(*_patience(target))
    except BaseException:
        if transport is not None:
            transport.close()
        link.close()
        raise
    return transport


def _patience(target: Target) -> tuple[float, int]:
    """How often to ask a silent host whether it is there, and how many times: ours, or what its ssh arguments say."""
    every, unanswered = (target.option(f"serveralive{name}") for name in ("interval", "countmax"))
    if target.keeps_alive and every.isdigit() and int(every) and unanswered.isdigit():
        return float(every), max(int(unanswered) - 1, 1)
    return _ASK_EVERY, _UNANSWERED


def link_to(target: Target, via: Connection | None) -> socket.socket:
    """A socket to a host's sshd: over `via`, its proxy command, or directly. Raises HostError."""
    place = f"{target.hostname}:{target.port}"
    command = target.option("proxycommand", "none")
    try:
        if via is not None:
            return via.dial(target.hostname, target.port, target.connect_timeout)
        if command != "none":
            return _through_command(target.expand(command))
        link = _plain(target)
    except socket.gaierror:
        raise HostError(
            f"the name {target.hostname} cannot be resolved", target.host, "Check ansible_host and the name service."
        ) from None
    except ConnectionRefusedError:
        raise HostError(
            f"{place} refuses connections", target.host, "Check that sshd runs there and that ansible_port is right."
        ) from None
    except TimeoutError:
        raise HostError(
            f"no answer from {place} within {target.connect_timeout:g} s",
            target.host,
            "Check that it is up and reachable.",
        ) from None
    except PermissionError as error:
        raise HostError(str(error), target.host, "Allow AllowTcpForwarding on the jump host.") from None
    except OSError as error:
        why = error.strerror or error
        raise HostError(f"{place} cannot be reached: {why}", target.host, "Check the network.") from None
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_AFTER_MS)
    return link


def _plain(target: Target) -> socket.socket:
    if target.option("addressfamily", "any") == "any":
        return socket.create_connection((target.hostname, target.port), target.connect_timeout)
    family = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}[target.option("addressfamily")]
    found = socket.getaddrinfo(target.hostname, target.port, family, socket.SOCK_STREAM)
    link = socket.socket(family, socket.SOCK_STREAM)
    link.settimeout(target.connect_timeout)
    link.connect(found[0][4])
    return link


def _through_command(command: str) -> socket.socket:
    ours, theirs = socket.socketpair()
    with theirs:
        # Ends by itself when our end closes.
        subprocess.Popen(
            ["sh", "-c", f"exec {command}"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    return ours


def _prefer(transport: paramiko.Transport, target: Target, known: list[knownhosts.KnownKey]) -> None:
    """Fast ciphers and the known key's algorithm first, within what the user's ssh configuration allows."""
    options = transport.get_security_options()

    def allowed(what: str, ours: Iterable[str]) -> list[str]:
        theirs = target.choices(what)
        chosen = [name for name in dict.fromkeys(ours) if not theirs or name in theirs]
        if not chosen:
            raise NeedsOpenSSH(f"no common {what}")
        return chosen

    options.ciphers = allowed("ciphers", _CIPHERS)
    options.digests = allowed("macs", options.digests)
    options.kex = allowed("kexalgorithms", options.kex)
    keys = [name for name in knownhosts.algorithms(known) if name in options.key_types]
    options.key_types = allowed("hostkeyalgorithms", [*keys, *options.key_types])


def _handshake(transport: paramiko.Transport, target: Target) -> None:
    began = time.monotonic()
    try:
        transport.start_client(timeout=target.connect_timeout)  # returns as well where the time is over
        transport.get_remote_server_key()
    except paramiko.ssh_exception.IncompatiblePeer as error:
        raise NeedsOpenSSH(str(error)) from None
    except (paramiko.SSHException, OSError, EOFError) as error:
        dropped = time.monotonic() - began < target.connect_timeout
        raise (Dropped if dropped else HostError)(
            f"{target.hostname}:{target.port} did not complete the SSH handshake: {_handshake_words(error, target)}",
            target.host,
            "Check that an SSH server listens there, and its log: failed logins shut an address out for a while, and "
            "who comes past its MaxStartups is dropped.",
        ) from None


def _handshake_words(error: Exception, target: Target) -> str:
    if "No existing session" in str(error):  # paramiko's word where there is no key yet
        return f"no answer within {target.connect_timeout:g} s"
    return str(error) or "connection closed"


def _check_key(transport: paramiko.Transport, target: Target, known: list[knownhosts.KnownKey]) -> None:
    offered = transport.get_remote_server_key()
    blob = offered.asbytes()
    standing = knownhosts.standing(known, offered.get_name(), blob)
    if standing == "known":
        return
    offers = f"{offered.get_name()} {knownhosts.fingerprint(blob)}"
    name = target.known_as[0]
    if standing == "unknown":
        files = ", ".join(str(f) for f in target.files("userknownhostsfile")) or "known_hosts"
        raise HostError(
            f"its host key is not known: it offers {offers}, and {files} has none for {name}",
            target.host,
            f"Add the key for {name} to {files} after comparing fingerprints."
            if target.jump
            else "Compare the fingerprint with the host's own and pin it: canaryctl trust ENV.",
            reason="host-key-unknown",
        )
    entries = "; ".join(
        f"{key.kind} {knownhosts.fingerprint(key.blob)} ({key.where})"
        for key in known
        if key.marker == ("@revoked" if standing == "revoked" else "")
    )
    raise HostError(
        f"its host key is {standing}: it offers {offers}, known is {entries}",
        target.host,
        "If the host was really reinstalled, correct that entry after comparing fingerprints (a pinned one with: "
        "canaryctl trust ENV --replace); else somebody may be listening in.",
        reason="host-key-changed",
    )
