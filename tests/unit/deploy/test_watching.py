"""Rounds of probes until the operator has seen enough."""

from __future__ import annotations

import json
from typing import Any

import pytest
from contexts import notes

from canaryctl.deploy import verification, watching
from canaryctl.deploy.command import PROBE
from canaryctl.deploy.context import RunContext
from canaryctl.deploy.watching import Watching, watch
from canaryctl.probe.results import ProbeResult


def rows(words: str) -> list[ProbeResult]:
    """`Health:passed Store:failed`."""
    found: list[Any] = [word.split(":") for word in words.split()]
    return [ProbeResult(name, "http", verdict, "") for name, verdict in found]


class Round:
    """Rounds that are probed until Ctrl-C comes: in a round's pause, or (`-`) in the middle of the next."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rounds: list[str]) -> None:
        self.rounds, self.recorded, self.told = rounds, [], []  # type: ignore[var-annotated]
        self.kinds: list[Any] = []
        monkeypatch.setattr(verification, "run", self.run)
        monkeypatch.setattr(verification, "record", self.record)
        monkeypatch.setattr(watching.time, "sleep", self.sleep)

    def run(self, ctx: RunContext, on_event: Any) -> list[ProbeResult]:
        if self.rounds[0] == "-":
            raise KeyboardInterrupt
        self.kinds.append("the record's" if on_event == ctx.run.event else "told")
        return rows(self.rounds.pop(0))

    def record(self, ctx: RunContext, results: Any) -> str:
        self.recorded = [result.verdict for result in results]
        return "the verdict"

    def sleep(self, seconds: float) -> None:
        if not self.rounds:
            raise KeyboardInterrupt

    def watching(self) -> Watching:
        return Watching(5.0, self.told.append)


# rounds -> what is recorded, and every change of a verdict: round, probe, before, after
@pytest.mark.parametrize(
    ("rounds", "recorded", "changes"),
    [
        (["Health:passed"], ["passed"], []),
        (["Health:passed", "Health:passed"], ["passed"], []),
        (["Health:passed", "Health:failed"], ["failed"], [(2, "Health", "passed", "failed")]),
        (
            ["Health:passed", "Health:failed", "Health:passed"],
            ["passed"],
            [(2, "Health", "passed", "failed"), (3, "Health", "failed", "passed")],
        ),
        (["Health:passed Store:passed", "Health:passed Store:inconclusive"], ["passed", "inconclusive"],
         [(2, "Store", "passed", "inconclusive")]),
        (["Health:failed", "-"], ["failed"], []),  # the round that was interrupted is none
    ],
)  # fmt: skip
def test_the_last_complete_round_counts_and_every_change_is_an_event(
    rounds: list[str], recorded: list[str], changes: list[Any], working: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx, complete = working(command=PROBE), len([one for one in rounds if one != "-"])
    going = Round(monkeypatch, rounds)
    assert watch(ctx, going.watching()) == "the verdict" and going.recorded == recorded
    events = [json.loads(text) for text in (ctx.run.path / "events.jsonl").read_text().splitlines()]
    changed = [event for event in events if event["type"] == "probe.changed"]
    assert [(one["round"], one["name"], one["before"], one["verdict"]) for one in changed] == changes
    assert going.kinds == ["the record's", *["told"] * (complete - 1)]
    waits = [(one["round"], one["changes"], one["seconds"]) for one in going.told if one["type"] == "watch.waiting"]
    assert [number for number, *_ in waits] == list(range(1, complete + 1)) and waits[-1][1] == len(changes)
    assert f"{complete} round" in notes(ctx)[0]


def test_before_the_first_round_is_complete_an_interruption_is_one(working: Any, monkeypatch: Any) -> None:
    going = Round(monkeypatch, ["-"])
    with pytest.raises(KeyboardInterrupt):
        watch(working(command=PROBE), going.watching())
    assert not going.recorded
