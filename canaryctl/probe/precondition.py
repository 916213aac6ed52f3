"""Preconditions: can the probe judge at all, and if not, who is to blame?"""

from __future__ import annotations

from canaryctl.config.probes import Precondition
from canaryctl.probe.exchange import ask
from canaryctl.probe.expect import Answer, Shapeless, http_faults, show, start
from canaryctl.probe.results import Outcome, Unanswered, failed, inconclusive
from canaryctl.probe.scope import Scope


def check_precondition(scope: Scope, precondition: Precondition | None, timeout: float) -> Outcome | None:
    """Evaluate a probe's precondition. None when it holds or there is none."""
    if precondition is None:
        return None
    try:
        asked = scope.render(precondition)
        return judge_precondition(asked, ask(scope, asked, "precondition", timeout))
    except Unanswered as error:
        raise Unanswered(f"the precondition could not be evaluated: {error.reason}", lost=error.lost) from None


def judge_precondition(precondition: Precondition, answer: Answer) -> Outcome | None:
    """None when the precondition holds; else inconclusive (it does not), or failed (it could not be evaluated).

    A 4xx is an answer about the data asked for; 408, 429 and 5xx are none.
    """
    if answer.status >= 500 or answer.status in (408, 429):
        return failed(f"the precondition could not be evaluated: status {answer.status}: {start(answer.text)}")
    good = answer.status in precondition.expect.status if precondition.expect.status else answer.status < 300
    try:
        if good and precondition.expect.jmespath:
            for expression in precondition.expect.jmespath:
                answer.find(expression)
        faults = http_faults(precondition.expect, answer)
        if not faults:
            return None
        valid = _valid_values(precondition, answer) if precondition.valid and good else ""
    except Shapeless as error:
        return failed(f"the precondition could not be evaluated: {error}")
    detail = "" if valid else f" ({faults[0]})"
    return inconclusive(f"the probe's data is wrong: {precondition.reason}{valid or detail}")


def _valid_values(precondition: Precondition, answer: Answer) -> str:
    values = answer.find(precondition.valid or "@")
    if isinstance(values, list):
        return "; valid: " + (", ".join(v if isinstance(v, str) else show(v) for v in values[:20]) or "none at all")
    return f"; valid: {show(values)}"
