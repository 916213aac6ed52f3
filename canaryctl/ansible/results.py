"""What a stage did to each host, folded from Ansible's events. Pure.

What a module answered is a host's word: of another form than ours, it counts as not said.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from canaryctl.ansible import reasons
from canaryctl.facts.names import plain_name
from canaryctl.facts.typed import is_time, printable

Status = Literal["ok", "changed", "skipped", "failed", "unreachable"]


@dataclass(frozen=True)
class StageResult:
    """One stage on one host. `seconds` is the time its tasks took there; `detail` holds a failure's structured part.

    `gaps` has when each started service stopped serving (`from`; None: it did not serve) and when it served again
    (`until`; None: not yet), epoch by the host's clock; `since` is there for one that was found stopped, and says since
    when; between `left` and `returned` one was away before that, which nobody saw. `kept` is where files are now that
    were replaced.
    """

    stage: str
    host: str
    status: Status
    seconds: float
    message: str = ""
    detail: dict[str, Any] | None = None
    gaps: dict[str, dict[str, float | None]] = field(default_factory=dict)
    kept: tuple[str, ...] = ()


@dataclass(frozen=True)
class AnsibleOptions:
    """Options that mean what they mean in Ansible."""

    limit: str | None = None
    check: bool = False
    diff: bool = False
    tags: str = ""
    verbosity: int = 0
    vault_password_file: Path | None = None
    become_password: str | None = field(default=None, repr=False)
    forks: int = 20


@dataclass(frozen=True)
class StageRun:
    """A finished stage: a result for every host asked for, what its plays reported, where its evidence lies, and what
    changed per host as a unified diff where the options asked for one."""

    results: dict[str, StageResult]
    stats: dict[str, Any]
    artifacts: Path
    diffs: dict[str, str] = field(default_factory=dict)


_OUTCOMES: dict[str, Status] = {
    "runner_on_ok": "ok",
    "runner_on_failed": "failed",
    "runner_on_skipped": "skipped",
    "runner_on_unreachable": "unreachable",
}

_LARGEST = 1e12  # of an epoch or a number of seconds

# Checks of the roles' own interface; only their failure is worth a line.
_SILENT = ("ansible.builtin.validate_argument_spec", "validate_argument_spec")


@dataclass
class _HostTally:
    status: Status = "skipped"
    seconds: float = 0.0
    message: str = ""
    detail: dict[str, Any] | None = None
    gaps: dict[str, dict[str, float | None]] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)


def unified(diff: Any) -> str:
    """Ansible's before/after pairs as a unified diff; pairs that are no text (file attributes) are left out."""
    pairs = [pair for pair in (diff if isinstance(diff, list) else [diff]) if isinstance(pair, Mapping)]
    return "".join(
        line if line.endswith("\n") else line + "\n"
        for pair in pairs
        if isinstance(pair, Mapping) and isinstance(pair.get("before"), str) and isinstance(pair.get("after"), str)
        for line in difflib.unified_diff(
            pair["before"].splitlines(keepends=True),
            pair["after"].splitlines(keepends=True),
            str(pair.get("before_header", "before")),
            str(pair.get("after_header", "after")),
        )
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    """A number that can be reckoned with, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _LARGEST:
        return None
    return float(value)


def gaps_of(answer: Any) -> dict[str, dict[str, float | None]]:
    """When services stopped and began to serve, as a module on the host tells; what cannot be is left out."""
    found = answer if isinstance(answer, Mapping) else {}
    return {
        service: {key: value if is_time(value) else None for key, value in _gap(gap).items()}
        for service, gap in found.items()
        if plain_name(service) and isinstance(gap, Mapping)
    }


def _gap(gap: Mapping[Any, Any]) -> dict[str, Any]:
    """One of them; `earlier` is a pair of times."""
    earlier = gap.get("earlier")
    pair = earlier if isinstance(earlier, list) and len(earlier) == 2 else (None, None)
    more = {"since": gap["since"]} if "since" in gap else {}
    return {"from": gap.get("from"), "until": gap.get("until"), **more, "left": pair[0], "returned": pair[1]}


def kept_of(answer: Any) -> list[str]:
    """Where files are now that somebody wrote into a release, as a module on the host tells."""
    return [printable(path, 300) for path in answer if isinstance(path, str)][:50] if isinstance(answer, list) else []


class Tally:
    """Folds the events of one playbook run into results.

    Args:
        stage: the stage's name.
        hosts: every host that must get a result, touched or not.
    """

    def __init__(self, stage: str, hosts: Sequence[str]) -> None:
        self._stage = stage
        self._hosts = {host: _HostTally() for host in hosts}
        self.stats: dict[str, Any] = {}
        self.diffs: dict[str, str] = {}

    def add(self, event: Mapping[str, Any]) -> dict[str, Any] | None:
        """Take one event; returns what progress shows of it, None where it says nothing about a host."""
        data = _mapping(event.get("event_data"))
        if event.get("event") == "playbook_on_stats":
            self._close(data)
            return None
        outcome = _OUTCOMES.get(str(event.get("event")))
        host = data.get("host")
        if (
            outcome is None
            or not isinstance(host, str)
            or not host
            or (outcome == "ok" and data.get("task_action") in _SILENT)
        ):
            return None
        result = _mapping(data.get("res"))
        status: Status = "changed" if outcome == "ok" and result.get("changed") else outcome
        if outcome == "failed" and data.get("ignore_errors"):
            status = "ok"
        elif outcome == "failed" and reasons.sudo_refused(result):
            status = "unreachable"
        seconds = _number(data.get("duration")) or 0.0
        task = str(data.get("task", ""))
        self._note(host, status, seconds, task, result)
        return {
            "type": "task",
            "stage": self._stage,
            "host": host,
            "task": task,
            "status": status,
            "seconds": round(seconds, 3),
        }

    def _note(self, host: str, status: Status, seconds: float, task: str, result: Mapping[str, Any]) -> None:
        tally = self._hosts.setdefault(host, _HostTally())
        tally.seconds += seconds
        tally.gaps |= gaps_of(result.get("canary_gaps"))
        tally.kept += kept_of(result.get("canary_kept"))
        if shown := unified(result.get("diff")):
            self.diffs[host] = self.diffs.get(host, "") + shown
        if status == "unreachable":
            tally.status, tally.message = status, reasons.no_access(result)
        elif status == "failed":
            tally.status, tally.message = status, reasons.failure(task, result)
            found = result.get("canary_failure")
            tally.detail = dict(found) if isinstance(found, Mapping) else None
        elif tally.status == "skipped" or (tally.status == "ok" and status == "changed"):
            tally.status = status

    def _close(self, data: Mapping[str, Any]) -> None:
        """Ansible's own count has the last word: a failure that a rescue dealt with is none."""
        self.stats = {key: value for key, value in _mapping(data.get("artifact_data")).items() if value is not None}
        for host, tally in self._hosts.items():
            rescued = not _mapping(data.get("failures")).get(host) and not _mapping(data.get("dark")).get(host)
            if tally.status in ("failed", "unreachable") and rescued:
                tally.status = "changed" if _mapping(data.get("changed")).get(host) else "ok"
                tally.message, tally.detail = "", None

    @property
    def troubled(self) -> bool:
        """Whether any host failed or could not be used."""
        return any(tally.status in ("failed", "unreachable") for tally in self._hosts.values())

    @property
    def touched(self) -> bool:
        """Whether any task ran on any host."""
        return any(tally.status != "skipped" or tally.seconds for tally in self._hosts.values())

    def results(self) -> dict[str, StageResult]:
        """A result per host; a host that another one's failure left untouched says so."""
        left_out = "not started: another host failed first" if self.troubled else ""
        return {
            host: StageResult(
                self._stage,
                host,
                tally.status,
                round(tally.seconds, 3),
                tally.message or (left_out if tally.status == "skipped" else ""),
                tally.detail,
                tally.gaps,
                tuple(tally.kept),
            )
            for host, tally in self._hosts.items()
        }
