"""Kind `lifecycle`: the requests that an operation is led through."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from canaryctl.config.durations import Duration
from canaryctl.config.probes.parts import Common, HttpExpect, JmesPath, Request, Seconds


class Step(Request):
    """One request of a lifecycle."""

    expect: HttpExpect = HttpExpect()


class Start(Step):
    """Begins the operation. Never retried."""

    method: str = "POST"
    save: dict[str, JmesPath] = Field(default={})


class Watch(Request):
    """Asks for the operation's status until `until` is true; `fail` true means it ended badly."""

    until: JmesPath
    fail: JmesPath | None = None
    every: Seconds = 0.25
    timeout: Seconds = 120.0


class Cancel(Step):
    """Ends the operation early: in mode `cancel` as the thing tested, in any mode to clean up after a failure."""

    method: str = "DELETE"


class Confirm(Step):
    """Checks what the lifecycle left behind, for at most `eventually`."""

    eventually: Duration = 0.0
    every: Seconds = 0.25


class Reap(Request):
    """Asks for operations that an earlier run of this probe left: those at `at` whose tag has its prefix.

    `save` gives the `cancel` request the names that the start's `save` would have given it, from an entry of the list.
    """

    at: JmesPath = "@"
    tag_field: JmesPath = "tag"
    save: dict[str, JmesPath]


class Lifecycle(Common):
    """Start, watch until done, then complete or cancel, and confirm. Its templates see `tag`, unique to each run.

    `across: deploy` starts the operation on the release that served before, and watches it to its end on the new one.
    """

    kind: Literal["lifecycle"]
    mode: Literal["complete", "cancel"] = "complete"
    start: Start
    status: Watch
    cancel: Cancel | None = None
    confirm: Confirm | None = None
    reap: Reap | None = None
    across: Literal["deploy"] | None = None

    @model_validator(mode="after")
    def _can_cancel(self) -> Lifecycle:
        if self.mode == "cancel" and not self.cancel:
            raise ValueError("mode 'cancel' needs a 'cancel' request")
        if self.across and self.mode == "cancel":
            raise ValueError("'across' is about an operation that completes, so 'mode' cannot be 'cancel'")
        if self.reap and not self.cancel:
            raise ValueError("'reap' needs a 'cancel' request")
        if self.reap and "tag" not in self.start.model_dump_json():
            raise ValueError("'reap' needs a start that carries '{{ tag }}'")
        return self

    @property
    def saved_names(self) -> tuple[str, ...]:
        """What its start keeps."""
        return tuple(self.start.save)
