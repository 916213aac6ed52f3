"""SSH through OpenSSH's own client, for what paramiko lacks: security keys, authorities, GSSAPI, PKCS#11."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from canaryctl.agent.read.processes import end_group
from canaryctl.config.pins import KEEPALIVES
from canaryctl.errors import HostError
from canaryctl.hosts.connection import Completed, lost, shown
from canaryctl.hosts.process import ProcessConnection
from canaryctl.hosts.scratch import make_scratch, mark_of, remove_scratch
from canaryctl.hosts.target import Dropped, Target

# Given first, where OpenSSH lets them win over anything in the configuration.
_ALWAYS = (
    "StrictHostKeyChecking=yes", "NoHostAuthenticationForLocalhost=no", "VerifyHostKeyDNS=no", "UpdateHostKeys=no",
    "ClearAllForwardings=yes", "ForwardAgent=no", "ForwardX11=no", "PermitLocalCommand=no", "RemoteCommand=none",
    "ControlPersist=no", "EscapeChar=none", "Compression=no",
)  # fmt: skip
_DIALLED = b"master session id"  # what the client says, at debug level, once the far side has accepted
_GRACE = 0.3  # seconds in which a refused dial shows when the client does not say so


class OpenSSHConnection(ProcessConnection):
    """A master connection in a private directory; every command and dial is a client of it."""

    def __init__(self, target: Target) -> None:
        super().__init__(target.host)
        self._target = target
        # Not where the environment says: a socket's path may not exceed about 100 bytes.
        self._directory = make_scratch("/tmp")  # noqa: S108  private
        self._master: subprocess.Popen[bytes] | None = None
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        return self._master is not None and self._master.poll() is None

    def close(self) -> None:
        super().close()
        if self._master is not None:
            end_group(self._master)
        remove_scratch(self._directory)

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
        if not self.alive:
            raise lost(self.host)
        done = super().execute(command, chunks, sink, timeout=timeout, tty=tty, aside=aside, idle=idle)
        if done.code == 255 and not self._still_there():
            raise lost(self.host, f"while running `{shown(command)}`")
        return done

    def lend_terminal(self, command: str) -> int:
        if not self.alive:
            raise lost(self.host)
        code = super().lend_terminal(command)
        if code == 255 and not self._still_there():
            raise lost(self.host, f"while running `{shown(command)}`")
        return code

    def dial(self, address: str, port: int, timeout: float = 10) -> socket.socket:
        if not self.alive:
            raise lost(self.host)
        place = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        ours, theirs = socket.socketpair()
        with theirs:
            child = subprocess.Popen(
                [*self._client("DEBUG1"), "-W", place, "--", self._target.destination],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        self._running.add(child)
        try:
            words = _until_dialled(child, timeout)
        except BaseException:
            end_group(child)
            ours.close()
            raise
        if words is None:
            threading.Thread(target=self._watch, args=(child,), daemon=True).start()
            return ours
        ours.close()
        self._running.discard(child)
        if "prohibited" in words:
            raise PermissionError(f"sshd on {self.host} forbids port forwarding to {address}:{port}")
        if "timed out" in words.lower():
            raise TimeoutError(f"no answer from {address}:{port} within {timeout:g} s, seen from {self.host}")
        if not self._still_there():
            raise lost(self.host)
        raise ConnectionRefusedError(f"nothing answers at {address}:{port}, seen from {self.host}")

    def _watch(self, child: subprocess.Popen[bytes]) -> None:
        """Read what a dialled client says until it ends, so that its pipe never fills."""
        assert child.stderr is not None  # noqa: S101  asked for in dial
        with contextlib.suppress(OSError, ValueError):
            while os.read(child.stderr.fileno(), 4096):
                pass
        end_group(child)
        self._running.discard(child)

    def _argv(self, command: str, tty: bool) -> list[str]:
        return [*self._client("ERROR"), "-tt" if tty else "-T", "--", self._target.destination, command]

    def _client(self, level: str) -> list[str]:
        # A client whose master ends before it has answered would connect by itself, and wait for a silent host.
        jumps = any(word.startswith("-J") for word in self._target.arguments)  # beside which ssh takes no command
        alone = f"ConnectTimeout={int(self._target.connect_timeout)}" if jumps else "ProxyCommand=false"
        return self._ssh("ControlMaster=no", "BatchMode=yes", alone, f"LogLevel={level}")

    def _ssh(self, *options: str) -> list[str]:
        argv = ["ssh"]
        for option in (*_ALWAYS, f'ControlPath="{self._directory}/s"', *options):
            argv += ["-o", option]
        return [*argv, *self._target.arguments]

    def _still_there(self) -> bool:
        """Whether the master outlives the client that failed: it may need a moment to notice."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self._master is not None:
                self._master.wait(0.2)
        return self.alive

    def _start(self) -> None:
        options = ["ControlMaster=yes", "LogLevel=ERROR", f"ConnectTimeout={int(self._target.connect_timeout)}"]
        options += [] if self._target.keeps_alive else KEEPALIVES.replace("-o ", "").split()
        environment = {**os.environ, **mark_of(self._directory)}
        if self._target.password:
            options += ["NumberOfPasswordPrompts=1"]
            environment |= self._askpass()
        else:
            options += ["BatchMode=yes"]
        # `cat` ends with our end of its pipe: a killed canaryctl leaves no master behind.
        argv = [*self._ssh(*options), "-T", "--", self._target.destination, "echo up; exec cat"]
        master = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        self._master = master
        assert master.stdout is not None and master.stderr is not None  # noqa: S101  asked for above
        limit = self._target.connect_timeout + 30
        readable, _, _ = select.select([master.stdout], [], [], limit)
        if readable and os.read(master.stdout.fileno(), 100):
            threading.Thread(target=self._listen, args=(master,), daemon=True).start()
            return
        if not readable:
            end_group(master)
            raise HostError(f"no answer within {limit:g} s", self.host, "Check that it is up and reachable.")
        with contextlib.suppress(subprocess.TimeoutExpired):
            master.wait(5)  # what it has to say it says while it ends
        end_group(master)
        words = master.stderr.read(1 << 16).decode("utf-8", "replace")
        what, hint = explain(words)
        if what.startswith(_DROPS):
            raise Dropped(what, self.host, hint)
        raise HostError(what, self.host, hint, reason=_KEY_REASONS.get(what.partition(" (")[0], "unreachable"))

    def _listen(self, master: subprocess.Popen[bytes]) -> None:
        assert master.stderr is not None  # noqa: S101  asked for in _start
        with contextlib.suppress(OSError, ValueError):
            while os.read(master.stderr.fileno(), 4096):
                pass

    def _askpass(self) -> dict[str, str]:
        """ssh takes a password from a program only: a private script that prints a private file."""
        secret = self._directory / "password"
        secret.touch(mode=0o600)
        secret.write_text(self._target.password + "\n")
        script = self._directory / "askpass"
        script.touch(mode=0o700)
        script.write_text(askpass_script(secret, self._target.user, self._target.hostname))
        return {"SSH_ASKPASS": str(script), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": os.environ.get("DISPLAY", ":0")}


def askpass_script(secret: Path, user: str, host: str) -> str:
    """A program that gives the password of user and host to their own prompts alone.

    ssh to a jump host inherits it, and must not answer that host's prompt, which words of its own may follow.
    """
    names = {f"{user}@{host}", f"{user}@{host.lower()}"}
    prompts = [shlex.quote(prompt) for name in sorted(names) for prompt in (f"{name}'s password:", f"({name}) ")]
    return f"#!/bin/sh\ncase $1 in {'|'.join(f'{prompt}*' for prompt in prompts)}) exec cat '{secret}';; esac\nexit 1\n"


def _until_dialled(child: subprocess.Popen[bytes], timeout: float) -> str | None:
    """None once the far side accepted, or seems to have; else what ssh said before it gave up."""
    assert child.stderr is not None  # noqa: S101  asked for in dial
    words = b""
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0:
        readable, _, _ = select.select([child.stderr], [], [], min(left, _GRACE))
        if readable:
            data = os.read(child.stderr.fileno(), 4096)
            if not data:
                end_group(child)
                return words.decode("utf-8", "replace")
            words += data
            if _DIALLED in words:
                return None
    end_group(child)
    return "timed out"


_DROPS = "it closed the connection before the handshake"
_REASONS = (
    (r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for .* has changed", "its host key is changed",
     "If the host was really reinstalled, correct its entry in known_hosts after comparing fingerprints (a pinned one "
     "with: canaryctl trust ENV --replace); else somebody may be listening in."),
    (r"No \S+ host key is known|Host key verification failed", "its host key is not known",
     "Compare the fingerprint with the host's own and pin it: canaryctl trust ENV."),
    (r"Could not resolve hostname", "its name cannot be resolved", "Check ansible_host and the name service."),
    (r"Connection refused", "it refuses connections", "Check that sshd runs there and that ansible_port is right."),
    (r"kex_exchange_identification|Not allowed at this time|Exceeded MaxStartups", _DROPS,
     "After failed logins sshd shuts an address out for a while, and it drops who comes past its MaxStartups: wait, "
     "and see its log."),
    (r"timed out", "it does not answer", "Check that it is up and reachable."),
    (r"No route to host|Network is unreachable", "it cannot be reached", "Check the network."),
    (r"Too many authentication failures", "it was offered too many keys",
     "Name the right key (ansible_ssh_private_key_file) and set IdentitiesOnly=yes."),
    (r"Permission denied", "it refuses this user and these keys",
     "Check ansible_user and ansible_ssh_private_key_file, and the user's authorized_keys on the host."),
)  # fmt: skip


_KEY_REASONS = {"its host key is changed": "host-key-changed", "its host key is not known": "host-key-unknown"}


def explain(words: str) -> tuple[str, str]:
    """What ssh's own words mean, and what to do next."""
    lines = [line.strip() for line in words.splitlines() if line.strip(" @\r")]
    last = lines[-1] if lines else "ssh ended without a word"
    for pattern, what, hint in _REASONS:
        if re.search(pattern, words):
            matched = next((line for line in lines if re.search(pattern, line)), last)
            return f"{what} ({matched.strip('@ ')})", hint
    return f"ssh failed: {last}", "Try the same with `ssh -v`."
