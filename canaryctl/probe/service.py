"""Commands on the host about a service's container: bounded in time and size, and always recorded."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass

from canaryctl.config.durations import show_duration
from canaryctl.errors import HostError
from canaryctl.hosts.connection import is_lost
from canaryctl.hosts.sudo import as_root
from canaryctl.probe.expect import MAX_READ
from canaryctl.probe.results import Exchange, Unanswered
from canaryctl.probe.scope import Scope

NO_CONTAINER = "canaryctl: no container"
_GRACE = 5.0  # seconds for the host to end a command that is late, and to say so


@dataclass(frozen=True)
class Ran:
    """A command that ended. `stdout` holds at most MAX_READ bytes."""

    code: int
    stdout: bytes
    complaint: str
    truncated: bool


def docker(sudo: bool) -> str:
    """The Docker command line as a shell says it."""
    return as_root("docker", sudo)


def docker_within(timeout: float, *, sudo: bool) -> str:
    """The same, ended on the host after `timeout` seconds."""
    return as_root(f"timeout -k 1 {max(timeout, 0.1):.3f} docker", sudo)


def find_containers(project: str, service: str, *, sudo: bool, stopped: bool = False) -> str:
    """Shell lines that set `ids` to the service's containers and `id` to the first; exit 125 where there is none."""
    labels = (f"label=com.docker.compose.{key}={value}" for key, value in (("project", project), ("service", service)))
    filters = " ".join(f"--filter {shlex.quote(label)}" for label in labels)
    every = " -a" if stopped else ""
    return f"""ids=$({docker(sudo)} ps -q{every} --filter label=com.docker.compose.oneoff=False {filters}) || exit 125
id=$(printf '%s\\n' "$ids" | head -n 1)
[ -n "$id" ] || {{ echo {shlex.quote(NO_CONTAINER)} >&2; exit 125; }}
"""


def in_container(inside: list[str], *, sudo: bool, timeout: float, feed: bool = False) -> str:
    """Shell lines that run a command in container `$id` and exit with its code.

    Each stream is cut at MAX_READ + 1 bytes on the host, so that a chatty command fills no memory here. With `feed` the
    command gets the script's own standard input.
    """
    run = f'{docker_within(timeout, sudo=sudo)} exec {"-i " if feed else ""}"$id" {shlex.join(inside)}'
    # The streams swap places twice: the exit code travels on 4, the output past the complaints on 5. A pipeline's
    # standard input is the script's own only by way of 6.
    return f"""bounded() {{ head -c {MAX_READ + 1}; cat >/dev/null; }}
within() {{ {run} <&6; echo $? >&4; }}
exec 3>&1 6<{"&0" if feed else "/dev/null"}
code=$({{ {{ within 2>&1 1>&5 | bounded >&2; }} 5>&1 | bounded >&3; }} 4>&1)
exit "${{code:-125}}"
"""


def run_script(
    scope: Scope, text: str, *, service: str, shown: str, method: str, timeout: float, stdin: bytes = b""
) -> Ran:
    """Run a shell script on the host and record it.

    Args:
        shown: what runs, in words for reasons; nothing of `text` is shown.
        method: how the evidence calls it: `EXEC`, `SQL` ...
        timeout: seconds the script allows its command.

    Raises:
        Unanswered: no container, late, host lost.
    """
    began = time.monotonic()
    ran, reason, lost = Ran(-1, b"", "", False), "", False
    try:
        # The login shell may be no POSIX shell.
        done = scope.connection().run(f"exec sh -c {shlex.quote(text)}", stdin=stdin, timeout=timeout + _GRACE)
        complaint = done.stderr[:MAX_READ].decode("utf-8", "replace")
        ran = Ran(done.code, done.stdout[:MAX_READ], complaint, len(done.stdout) > MAX_READ)
        if done.code == 125 and NO_CONTAINER in complaint:
            reason = f"service {service} has no running container on {scope.host}"
        elif done.code in (124, 137) and time.monotonic() - began >= timeout:
            reason = f"'{shown}' did not end within {show_duration(timeout)}"
    except HostError as error:
        reason, lost = f"{error.where or scope.host} did not run the command: {error.what}", is_lost(error)
    except TimeoutError:
        reason = f"'{shown}' did not end within {show_duration(timeout)}"
    scope.record(
        Exchange(
            what="request",
            method=method,
            url=f"{service}: {shown}",
            status=ran.code,
            body=ran.stdout.decode("utf-8", "replace") + (f"\n[stderr]\n{ran.complaint}" if ran.complaint else ""),
            truncated=ran.truncated,
            error=reason,
        ),
        began,
    )
    if reason:
        raise Unanswered(scope.context.scrub(reason), lost=lost)
    return ran
