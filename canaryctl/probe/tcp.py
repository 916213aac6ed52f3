"""Kind `tcp`: a port that accepts connections, as seen from the host."""

from __future__ import annotations

import time

from canaryctl.config.durations import show_duration
from canaryctl.config.probes.tcp import Tcp
from canaryctl.errors import HostError
from canaryctl.probe.precondition import check_precondition
from canaryctl.probe.reach import Refused, dial_elsewhere
from canaryctl.probe.results import Exchange, Outcome, Unanswered, passed
from canaryctl.probe.scope import Scope, until_passed


def run(probe: Tcp, scope: Scope) -> Outcome:
    """Connect until the port accepts."""
    return until_passed(probe, scope, _attempt)


def _attempt(probe: Tcp, scope: Scope) -> Outcome:
    if (outcome := check_precondition(scope, probe.precondition, probe.timeout)) is not None:
        return outcome
    probe = scope.render(probe)
    place, began = f"{probe.address}:{probe.port}", time.monotonic()
    left = max(scope.ends(probe.timeout) - began, 0.001)
    reason, lost = "", False
    try:
        if probe.address in scope.foreign:
            dial_elsewhere(scope.connection(), scope.python, probe.address, probe.port, left).close()
        else:
            scope.connection().dial(probe.address, probe.port, left).close()
    except Refused as error:
        reason = str(error)
    except HostError as error:
        reason, lost = f"{error.where or scope.host} cannot be reached over SSH: {error.what}", True
    except TimeoutError:
        reason = f"{place} did not accept a connection from {scope.host} within {show_duration(left)}"
    except ConnectionRefusedError:
        reason = f"connection refused: {place} from {scope.host}"
    except (OSError, ValueError, OverflowError) as error:  # a name that no resolver takes is no OSError
        reason = f"cannot connect to {place} from {scope.host}: {error}"
    scope.record(Exchange("request", "CONNECT", f"tcp://{place}", error=reason), began)
    if reason:
        raise Unanswered(scope.context.scrub(reason), lost=lost)
    return passed(f"{place} accepts connections")
