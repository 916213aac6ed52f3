"""Kind `lifecycle`: start an operation, watch it, let it complete or cancel it, confirm what is left.

The start is sent once: an answer that never came does not prove that nothing began, and the next run looks for it by
tag. Whatever ends the probe before its operation has ended, the operation is cancelled where the probe says how.
"""

from __future__ import annotations

import time
from dataclasses import replace

from canaryctl.config.durations import show_duration
from canaryctl.config.probes.lifecycle import Confirm, Lifecycle
from canaryctl.errors import CanaryError, HostError
from canaryctl.probe.context import Begun
from canaryctl.probe.exchange import ask
from canaryctl.probe.expect import Answer, Shapeless, http_faults, is_true, saved_from, start
from canaryctl.probe.names import TAG
from canaryctl.probe.precondition import check_precondition
from canaryctl.probe.reap import reap_leftovers
from canaryctl.probe.results import Outcome, Unanswered, Unusable, failed, inconclusive, passed, unjudged
from canaryctl.probe.scope import Scope

TOLERATED = 3  # failed status requests in a row that are taken for hiccups
CLEANUP = 5.0  # seconds for cancelling after a failure, beyond the deadline if need be


def begin(probe: Lifecycle, scope: Scope) -> Outcome | None:
    """Start the operation and leave it going; what kept it from starting, if anything did."""
    try:
        if (outcome := check_precondition(scope, probe.precondition, probe.timeout)) is not None:
            return outcome
        reap_leftovers(probe, scope)
        return _start(probe, scope)
    except Unanswered as error:
        return failed(error.reason)
    except Unusable as error:
        return inconclusive(str(error))
    except CanaryError:
        raise
    except Exception as error:
        return unjudged(error)


def goes_on(probe: Lifecycle, scope: Scope) -> bool:
    """Whether a begun operation has not ended. Asked a few times; one that nobody can tell of proves nothing."""
    for _ in range(TOLERATED + 1):
        try:
            asked = scope.render(probe.status)
            answer = ask(scope, asked, "status", probe.timeout)
            if answer.status < 300:
                return not any(is_true(answer.find(e)) for e in (asked.until, asked.fail) if e)
        except CanaryError as error:
            if not isinstance(error, HostError):
                raise
        except Exception:  # noqa: S110  what makes of an answer nothing is told when the operation is watched
            pass
        if not scope.wait(probe.status.every):
            break
    return False


def cancel(probe: Lifecycle, scope: Scope) -> str:
    """End a begun operation that will not be watched any more; how that went, in words."""
    return _clean_up(probe, scope).removeprefix("; ")


def run(probe: Lifecycle, scope: Scope) -> Outcome:
    """Go through the lifecycle once, or the rest of it where its operation was begun before a deploy."""
    scope.attempts = 1
    if (probe.name, scope.host) in scope.context.in_flight:
        return _in_flight(probe, scope, scope.context.in_flight[probe.name, scope.host])
    try:
        if (outcome := check_precondition(scope, probe.precondition, probe.timeout)) is not None:
            return outcome
        reaped = reap_leftovers(probe, scope)
    except Unanswered as error:
        scope.lost = error.lost
        return failed(error.reason)
    try:
        outcome = _start(probe, scope) or _started(probe, scope)
    except Unanswered as error:
        scope.lost = error.lost
        outcome = failed(error.reason)
    return replace(outcome, reason=outcome.reason + reaped)


def _in_flight(probe: Lifecycle, scope: Scope, begun: Begun | None) -> Outcome:
    """Follow what was begun before the deploy to its end."""
    if begun is None:
        return Outcome("skipped", "its operation goes on until the deploy is over")
    scope.saved.update(begun.saved)
    scope.exchanges.extend(begun.exchanges)
    outcome = _started(probe, scope)
    if outcome.verdict != "passed":
        return replace(outcome, reason=f"begun before the deploy: {outcome.reason}")
    if not begun.outlasted:
        return inconclusive(
            "the operation ended before the new release was up, or none could tell: "
            "give it more to do, to cross the deploy"
        )
    meanwhile = f"{begun.restarts} container{'' if begun.restarts == 1 else 's'} started meanwhile"
    took = show_duration(round(time.monotonic() - begun.began))
    return passed(f"survived the deploy: completed {took} after it was begun, {meanwhile}")


def _start(probe: Lifecycle, scope: Scope) -> Outcome | None:
    asked = scope.render(probe.start)
    try:
        answer = ask(scope, asked, "start", probe.timeout)
    except Unanswered as error:
        raise Unanswered(f"start: {error.reason}; {_unanswered(probe, scope)}", lost=error.lost) from None
    faults = http_faults(asked.expect, answer)
    # An answer worse than expected may still name what it began: keep the ids, to clean up with.
    try:
        scope.saved.update(saved_from(asked.save, answer))
    except Shapeless as error:
        faults = faults or [str(error)]
        running = "; what it started may still be running" if answer.status < 300 else ""
        return failed(f"start: {'; '.join(faults)}{running}")
    if faults:
        began = asked.save or answer.status < 300
        return failed(f"start: {'; '.join(faults)}{_clean_up(probe, scope) if began else ''}")
    return None


def _unanswered(probe: Lifecycle, scope: Scope) -> str:
    """What becomes of a start that nobody answered."""
    if probe.reap is None:
        return "it was not repeated, and what it may have begun goes on"
    return f"it was not repeated; the next run cancels what it may have begun, by its tag {scope.names[TAG]}"


def _started(probe: Lifecycle, scope: Scope) -> Outcome:
    """What follows the start. `ended` says whether the operation is known to have ended."""
    ended = False
    try:
        outcome, ended = _watch(probe, scope)
        if outcome is None and probe.mode == "cancel":
            outcome = _cancel(probe, scope)
            ended = outcome is None
        elif outcome is None:
            ended = True
        if outcome is None and probe.confirm is not None:
            outcome = _confirm(probe.confirm, probe.timeout, scope)
    except Unanswered as error:
        scope.lost = error.lost
        outcome = failed(error.reason)
    except (Unusable, Shapeless) as error:
        outcome = Outcome("inconclusive", str(error), "probe")
    except CanaryError:
        raise
    except Exception as error:  # what was begun is still to be cancelled
        outcome = unjudged(error)
    if outcome is None:
        done = "cancelled" if probe.mode == "cancel" else "completed"
        return passed(f"{done} in {show_duration(scope.elapsed())}")
    return outcome if ended else Outcome(outcome.verdict, outcome.reason + _clean_up(probe, scope), outcome.blame)


def _watch(probe: Lifecycle, scope: Scope) -> tuple[Outcome | None, bool]:
    """Poll until `until` holds. Returns the failure if any, and whether the operation ended by itself."""
    asked = scope.render(probe.status)
    ends = time.monotonic() + asked.timeout
    problems = 0
    last = "no answer yet"
    while True:
        try:
            answer = ask(scope, asked, "status", min(probe.timeout, max(ends - time.monotonic(), 0.1)))
            problem = f"status {answer.status}: {start(answer.text)}" if answer.status >= 300 else ""
            if 400 <= answer.status < 500 and answer.status not in (408, 429):
                return failed(f"status: {problem}"), False
        except Unanswered as error:
            answer, problem = Answer(0), error.reason
            if error.lost:
                raise
        if not problem:
            try:
                if asked.fail and is_true(answer.find(asked.fail)):
                    return failed(f"the operation ended badly: {start(answer.text, 240)}"), True
                if is_true(answer.find(asked.until)):
                    return None, False
                problems, last = 0, f"the last answer is {start(answer.text, 240)}"
            except Shapeless as error:
                problem = str(error)
        if problem:
            problems, last = problems + 1, problem
            if problems > TOLERATED:
                return failed(f"status: {problem} ({problems} times in a row)"), False
        if time.monotonic() + asked.every > ends or not scope.wait(asked.every):
            why = "was stopped" if scope.stop.is_set() else f"did not end within {show_duration(scope.elapsed())}"
            return failed(f"the operation {why}: '{asked.until}' is not true; {last}"), False


def _cancel(probe: Lifecycle, scope: Scope) -> Outcome | None:
    asked = scope.render(probe.cancel)
    assert asked is not None  # noqa: S101  the model refuses mode cancel without it
    answer = ask(scope, asked, "cancel", probe.timeout)
    if faults := http_faults(asked.expect, answer):
        return failed(f"cancel was refused: {'; '.join(faults)}")
    return None


def _confirm(confirm: Confirm, timeout: float, scope: Scope) -> Outcome | None:
    asked = scope.render(confirm)
    ends = time.monotonic() + asked.eventually
    while True:
        try:
            faults = http_faults(asked.expect, ask(scope, asked, "confirm", timeout))
        except Unanswered as error:
            if error.lost:
                raise
            faults = [error.reason]
        if not faults:
            return None
        if time.monotonic() + asked.every > ends or not scope.wait(asked.every):
            return failed(f"confirm: {'; '.join(faults)}")


def _clean_up(probe: Lifecycle, scope: Scope) -> str:
    """Cancel what was started and is not known to have ended. Returns how that went, to append to a reason."""
    if probe.cancel is None:
        return "; what it started may still be running"
    if any(exchange.what == "cancel" for exchange in scope.exchanges):
        return "; what it started may still be running"
    try:
        asked = scope.render(probe.cancel)
        answer = ask(scope, asked, "cleanup", CLEANUP, ends=time.monotonic() + min(CLEANUP, probe.timeout))
        faults = http_faults(asked.expect, answer)
    except Unanswered as error:
        faults = [error.reason]
    except Unusable as error:
        faults = [str(error)]
    except CanaryError:
        raise
    except Exception as error:
        faults = [unjudged(error).reason]
    return (
        f"; what it started could not be cancelled: {'; '.join(faults)}"
        if faults
        else "; what it started was cancelled"
    )
