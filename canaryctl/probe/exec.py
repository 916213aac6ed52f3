"""Kind `exec`: a command in a service's running container."""

from __future__ import annotations

import shlex
import time

from canaryctl.config.probes.exec import Exec
from canaryctl.probe.expect import Answer, Shapeless, exec_faults, saved_from
from canaryctl.probe.precondition import check_precondition
from canaryctl.probe.results import Outcome, failed, passed
from canaryctl.probe.scope import Scope, until_passed
from canaryctl.probe.service import find_containers, in_container, run_script


def run(probe: Exec, scope: Scope) -> Outcome:
    """Run the command until it does as expected."""
    return until_passed(probe, scope, _attempt)


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
    left = max(scope.ends(probe.timeout) - time.monotonic(), 0.1)
    inside = ["sh", "-c", probe.command] if isinstance(probe.command, str) else list(probe.command)
    script = find_containers(scope.context.project, probe.on, sudo=scope.sudo) + in_container(
        inside, sudo=scope.sudo, timeout=left
    )
    shown = probe.command if isinstance(probe.command, str) else shlex.join(probe.command)
    ran = run_script(scope, script, service=probe.on, shown=shown, method="EXEC", timeout=left)
    return Answer(ran.code, ran.stdout, truncated=ran.truncated), ran.complaint
