"""Kind `http`: one request and what its answer must be."""

from __future__ import annotations

from canaryctl.config.probes.http import Http
from canaryctl.probe.exchange import ask
from canaryctl.probe.expect import Shapeless, http_faults, saved_from
from canaryctl.probe.precondition import check_precondition
from canaryctl.probe.reach import Elsewhere
from canaryctl.probe.redirect import named_origins
from canaryctl.probe.results import Outcome, failed, passed
from canaryctl.probe.scope import Scope, until_passed


def run(probe: Http, scope: Scope) -> Outcome:
    """Ask until the answer is as expected."""
    return until_passed(probe, scope, _attempt)


def _attempt(probe: Http, scope: Scope) -> Outcome:
    if (outcome := check_precondition(scope, probe.precondition, probe.timeout)) is not None:
        return outcome
    probe = scope.render(probe)
    answer = ask(scope, probe, "request", probe.timeout, redirects=probe.redirects, elsewhere=_elsewhere(probe))
    if faults := http_faults(probe.expect, answer):
        return failed("; ".join(faults))
    try:
        scope.saved.update(saved_from(probe.save, answer))
    except Shapeless as error:
        return failed(str(error))
    return passed(f"status {answer.status} in {scope.exchanges[-1].ms:.0f} ms")


def _elsewhere(probe: Http) -> Elsewhere:
    if probe.redirects_to == "any":
        return Elsewhere(anywhere=True)
    return Elsewhere(named_origins(probe.redirects_to))
