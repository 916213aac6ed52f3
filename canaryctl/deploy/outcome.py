"""What a command comes to: its verdict and exit code, and what is done once it has failed on hosts. Pure.

Every way that a command can end is decided here, so that no error, however unexpected, leaves hosts to a release that
nobody judged.
"""

from __future__ import annotations

from dataclasses import dataclass

from canaryctl.errors import (
    ApplyError,
    CanaryError,
    ConfigError,
    ContractError,
    HostError,
    LockedError,
    UnjudgedError,
    worst_exit,
)

_VERDICT_EXIT = {"passed": 0, "failed": 1, "inconclusive": 4}
_FAULT_EXIT, _INTERRUPTED_EXIT = 1, 130


@dataclass(frozen=True)
class Ended:
    """How a command came to its end, before anything is done about it.

    Attributes:
        follows_policy: whether the command brings a release, which canary_on_failure may take back.
        baseline: whether a candidate takes its place, whatever becomes of it.
        error: what stopped it; None where all of its steps were taken.
        verdict: of the probes; passed where none ran.
        judged: whether the verdict stands in the hosts' history already.
        changed: whether a change of any host had begun.
        touched: whether a change had begun of what a host serves.
        lost: whether hosts were lost on the way.
        left_behind: whether hosts did not start, within what the policy allows.
        on_failure: the environment's policy: rollback, keep or down.
    """

    follows_policy: bool = True
    baseline: bool = False
    error: BaseException | None = None
    verdict: str = "passed"
    judged: bool = False
    changed: bool = False
    touched: bool = False
    lost: bool = False
    left_behind: bool = False
    on_failure: str = "keep"


@dataclass(frozen=True)
class Outcome:
    """What becomes of it.

    Attributes:
        verdict: as run.json has it.
        exit_code: of the command.
        collect: whether evidence is brought home, where that has not been done.
        remember: what the hosts' history says of the release; None where it gets no line (any more).
        policy: what is done to the hosts: rollback, keep or down; empty where nothing is, not even said.
        hook: whether `on-failure` runs.
    """

    verdict: str
    exit_code: int
    collect: bool = False
    remember: str | None = None
    policy: str = ""
    hook: bool = False


def outcome(ended: Ended) -> Outcome:
    """Decide over the end of a command."""
    error = ended.error
    if error is None:
        return _judged(ended)
    if isinstance(error, KeyboardInterrupt):
        return Outcome("interrupted", _INTERRUPTED_EXIT, remember="interrupted" if ended.touched else None)
    verdict, code = _verdict_of(error)
    if code == ConfigError.exit_code and ended.touched:  # which promises that nothing was touched
        code = ApplyError.exit_code
    if ended.lost and isinstance(error, CanaryError):
        code = worst_exit({code, HostError.exit_code})
    collect = not _says_nothing_of_hosts(ended)
    if not ended.changed:
        return Outcome(verdict, code, collect)
    hook = not ended.baseline
    if ended.judged and ended.verdict != "failed":  # what serves is proven, whatever went wrong afterwards
        return Outcome(verdict, code, collect, hook=hook)
    return Outcome(verdict, code, collect, _line_of(ended), _policy(ended), hook)


def _judged(ended: Ended) -> Outcome:
    """Hosts that were left behind fail the run, but not the release: it goes on serving where it started."""
    codes = {_VERDICT_EXIT[ended.verdict], 3 if ended.lost else 0, 6 if ended.left_behind else 0}
    verdict = "failed" if ended.left_behind else ended.verdict
    if ended.lost and verdict == "passed":
        verdict = "error"
    failed = ended.verdict == "failed" and ended.changed
    return Outcome(verdict, worst_exit(codes), policy=_after(ended) if failed else "")


def _verdict_of(error: BaseException) -> tuple[str, int]:
    if not isinstance(error, CanaryError):
        return "error", _FAULT_EXIT
    if isinstance(error, (ApplyError, ContractError)):
        return "failed", error.exit_code
    return ("inconclusive" if isinstance(error, UnjudgedError) else "error"), error.exit_code


def _says_nothing_of_hosts(ended: Ended) -> bool:
    """Errors over which nobody looks at the hosts: another's lock, an image that was refused before it got there."""
    return not ended.changed and isinstance(ended.error, (LockedError, ContractError, UnjudgedError))


def _line_of(ended: Ended) -> str | None:
    """Whoever has taken the lock writes now; a configuration's fault before anything was touched is no release's."""
    if isinstance(ended.error, LockedError) or (isinstance(ended.error, ConfigError) and not ended.touched):
        return None
    return "failed"


def _policy(ended: Ended) -> str:
    """A refused image has replaced nothing; where the lock is lost the hosts are somebody else's."""
    if isinstance(ended.error, (LockedError, ContractError, UnjudgedError)):
        return ""
    if isinstance(ended.error, (ApplyError, HostError)) or ended.touched:
        return _after(ended)
    return ""


def _after(ended: Ended) -> str:
    """What brings no release has none to take back; a baseline's place is taken by its candidate."""
    return ended.on_failure if ended.follows_policy and not ended.baseline else ""
