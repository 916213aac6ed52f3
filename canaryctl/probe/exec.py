"""Kind `exec`: a command in a service's running container."""

from __future__ import annotations

import shlex
import time

from canaryctl.config.durations import show_duration
from canaryctl.config.probes import Exec
from canaryctl.errors import HostError
from canaryctl.probe.expect import MAX_READ, Answer, Shapeless, exec_faults, saved_from
from canaryctl.probe.precondition import check_precondition
from canaryctl.probe.results import Exchange, Outcome, Unanswered, failed, passed
from canaryctl.probe.scope import Scope, until_passed

_NO_CONTAINER = "canaryctl: no running container"
_GRACE = 5.0  # seconds for the host to end a command that is late, and to say so


def run(probe: Exec, scope: Scope) -> Outcome:
    """Run the command until it does as expected."""
    return until_passed(probe, scope, _attempt)


def script(project: str, service: str, command: str | tuple[str, ...], *, sudo: bool, timeout: float) -> str:
    """The shell script for the host: find the container, run the command in it, pass on its exit code.

    Each stream is cut at MAX_READ + 1 bytes on the host, so that a chatty command fills no memory here.
    """
    docker = ("sudo -n " if sudo else "") + "docker"
    limited = ("sudo -n " if sudo else "") + f"timeout -k 1 {max(timeout, 0.1):.3f} docker"
    inside = ["sh", "-c", command] if isinstance(command, str) else list(command)
    labels = (f"label=com.docker.compose.{key}={value}" for key, value in (("project", project), ("service", service)))
    filters = " ".join(f"--filter {shlex.quote(label)}" for label in labels)
    # The streams swap places twice: the exit code travels on 4, the output past the complaints on 5.
    text = f"""bounded() {{ head -c {MAX_READ + 1}; cat >/dev/null; }}
within() {{ {limited} exec "$id" {shlex.join(inside)} </dev/null; echo $? >&4; }}
found=$({docker} ps -q --filter label=com.docker.compose.oneoff=False {filters}) || exit 125
id=$(printf '%s\\n' "$found" | head -n 1)
[ -n "$id" ] || {{ echo {shlex.quote(_NO_CONTAINER)} >&2; exit 125; }}
exec 3>&1
code=$({{ {{ within 2>&1 1>&5 | bounded >&2; }} 5>&1 | bounded >&3; }} 4>&1)
exit "${{code:-125}}"
"""
    # The login shell may be no POSIX shell.
    return f"exec sh -c {shlex.quote(text)}"


def _attempt(probe: Exec, scope: Scope) -> Outcome:
    if (outcome := check_precondition(scope, probe.precondition, probe.timeout)) is not None:
        return outcome
    probe = scope.render(probe)
    answer, complaint = _execute(probe, scope)
    if faults := exec_faults(probe.expect, answer, complaint):
        return failed(scope.context.scrub("; ".join(faults)))
    try:
        scope.saved.update(saved_from(probe.save, answer))
    except Shapeless as error:
        return failed(scope.context.scrub(str(error)))
    return passed(f"exit code {answer.status}")


def _execute(probe: Exec, scope: Scope) -> tuple[Answer, str]:
    began = time.monotonic()
    left = max(scope.ends(probe.timeout) - began, 0.1)
    shown = probe.command if isinstance(probe.command, str) else shlex.join(probe.command)
    sudo = scope.context.sudo.get(scope.host, False)
    text = script(scope.context.project, probe.on, probe.command, sudo=sudo, timeout=left)
    answer, complaint, reason, lost = Answer(-1), "", "", False
    try:
        done = scope.connection().run(text, timeout=left + _GRACE)
        cut = len(done.stdout) > MAX_READ
        answer = Answer(done.code, done.stdout[:MAX_READ], truncated=cut)
        complaint = done.stderr[:MAX_READ].decode("utf-8", "replace")
        if done.code == 125 and _NO_CONTAINER in complaint:
            reason = f"service {probe.on} has no running container on {scope.host}"
        elif done.code in (124, 137) and time.monotonic() - began >= left:
            reason = f"'{shown}' did not end within {show_duration(left)}"
    except HostError as error:
        reason, lost = f"{error.where or scope.host} did not run the command: {error.what}", True
    except TimeoutError:
        reason = f"'{shown}' did not end within {show_duration(left)}"
    scope.record(
        Exchange(
            what="request",
            method="EXEC",
            url=f"{probe.on}: {shown}",
            at=round(began - scope.began, 3),
            ms=round((time.monotonic() - began) * 1000, 1),
            status=answer.status,
            body=answer.text + (f"\n[stderr]\n{complaint}" if complaint else ""),
            truncated=answer.truncated,
            error=reason,
        )
    )
    if reason:
        raise Unanswered(scope.context.scrub(reason), lost=lost)
    return answer, complaint
