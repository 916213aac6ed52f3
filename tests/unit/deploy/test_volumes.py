"""What `down --volumes` says that it removed: what is gone, and not what was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from contexts import notes, seen

from canaryctl.deploy import stages, volumes
from canaryctl.deploy.command import DOWN
from canaryctl.deploy.context import RunContext
from canaryctl.facts.host import HostFacts, VolumeFacts


def with_volumes(host: str, *names: str, others: Sequence[str] = ()) -> HostFacts:
    own = [VolumeFacts(name, project="shop-prod") for name in names]
    return seen(host, volumes=(*own, *(VolumeFacts(name, project="shop-staging") for name in others)))


@pytest.mark.parametrize(
    ("before", "after", "removed"),
    [
        ({"a": ("data", "cache")}, {"a": ()}, {"a": ["cache", "data"]}),
        ({"a": ("data", "cache")}, {"a": ("data",)}, {"a": ["cache"]}),
        ({"a": ("data",)}, {"a": ("data",)}, {}),
        ({"a": ()}, {"a": ()}, {}),
        ({"a": ("data",), "b": ("data",)}, {"a": ()}, {"a": ["data"]}),  # of b, which was lost, nobody knows
    ],
)
def test_what_is_gone_was_removed(
    before: dict[str, tuple[str, ...]],
    after: dict[str, tuple[str, ...]],
    removed: dict[str, list[str]],
    working: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ctx = working("a", "b", command=DOWN)
    ctx.facts = {host: with_volumes(host, *names, others=("theirs",)) for host, names in before.items()}
    monkeypatch.setattr(stages, "down", lambda ctx, volumes: None)

    def observe(*, again: bool) -> None:
        assert again
        ctx.facts = {host: with_volumes(host, *names) for host, names in after.items()}  # whoever took theirs

    monkeypatch.setattr(ctx, "observe", observe)
    assert volumes.down(ctx, volumes=True) == removed
    assert ctx.run.document["removed"] == {"volumes": removed}
    assert all(name in notes(ctx)[0] for names in removed.values() for name in names)


def test_data_stays_where_it_was_not_asked_for(working: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ctx: RunContext = working("a", command=DOWN)
    ctx.facts = {"a": with_volumes("a", "data")}
    asked: list[bool] = []
    monkeypatch.setattr(stages, "down", lambda ctx, volumes: asked.append(volumes))
    assert volumes.down(ctx, volumes=False) == {} and asked == [False]
    assert ctx.run.document["removed"] is None and not notes(ctx)
