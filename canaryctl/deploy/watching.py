"""Probe again and again until the operator has seen enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from canaryctl.config.durations import show_duration
from canaryctl.deploy import verification
from canaryctl.deploy.context import RunContext

if TYPE_CHECKING:
    from canaryctl.probe.results import ProbeResult


@dataclass(frozen=True)
class Watching:
    """How to watch: `every` seconds pause between two rounds; `tell` gets what goes on and is not recorded.

    That is the `probe.started` and `probe.finished` of every round but the first, whose events are the record's, and
    `watch.waiting` (round, changes, seconds) between two rounds.
    """

    every: float
    tell: Callable[[dict[str, Any]], None]


def watch(ctx: RunContext, watching: Watching) -> str:
    """Run rounds until Ctrl-C, which ends them in order. Records the last complete round and returns its verdict.

    A change of verdict is an event, `probe.changed`.

    Raises:
        KeyboardInterrupt: before the first round was complete.
    """
    began = time.monotonic()
    last: Sequence[ProbeResult] | None = None
    rounds = changes = 0

    def tell(kind: str, /, **data: Any) -> None:
        watching.tell({"type": kind, **data})

    try:
        while True:
            results = verification.run(ctx, ctx.run.event if last is None else tell)
            rounds += 1
            changes += _record_changes(ctx, last or (), results, rounds)
            last = results
            tell("watch.waiting", round=rounds, changes=changes, seconds=watching.every)
            time.sleep(watching.every)
    except KeyboardInterrupt:
        if last is None:
            raise
    lasted = show_duration(time.monotonic() - began)
    ctx.run.note(
        f"watched for {lasted}: {rounds} round{_s(rounds)}, {changes} change{_s(changes)}; "
        "the rows are those of the last complete round"
    )
    return verification.record(ctx, last)


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _record_changes(ctx: RunContext, before: Sequence[ProbeResult], now: Sequence[ProbeResult], number: int) -> int:
    """An event for each row whose verdict is another than in the round before; returns how many there are."""
    verdicts = {result.name: result.verdict for result in before}
    changed = [result for result in now if result.verdict != verdicts.get(result.name, result.verdict)]
    for result in changed:
        row = result.as_dict()
        kept = {key: row[key] for key in ("name", "kind", "verdict", "reason", "blame", "attempts", "flaky", "seconds")}
        ctx.run.event("probe.changed", before=verdicts[result.name], round=number, **kept)
    return len(changed)
