"""What has become of a run so far.

Decisions read this; the record (run.json) is written beside it and never read back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from canaryctl.contract.results import Row
from canaryctl.deploy.outcome import Outcome
from canaryctl.errors import CanaryError, HostError
from canaryctl.facts import HostFacts


@dataclass(frozen=True)
class Served:
    """The release that a run is about, as release.json has it: what hosts serve, or will.

    Attributes:
        id: None where hosts serve none, or different ones.
        images: by name, each with `id` and `tag`.
        services: name of the image by service.
    """

    id: str | None = None
    variant: str | None = None
    images: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    services: Mapping[str, str] = field(default_factory=dict)

    @property
    def tags(self) -> dict[str, str]:
        """The tag of each service's image, '' where it is not known."""
        return {service: str((self.images.get(name) or {}).get("tag", "")) for service, name in self.services.items()}

    def as_dict(self) -> dict[str, Any]:
        """As `release` of run.json."""
        return {"id": self.id, "images": dict(self.images), "services": dict(self.services), "migration": None}


@dataclass(frozen=True)
class Migration:
    """The database's revision before and after; None where it was not read."""

    before: str | None = None
    after: str | None = None

    @property
    def moved(self) -> bool:
        return self.before != self.after


@dataclass(frozen=True)
class Downtime:
    """When a service did not serve while a release started: epochs by the host's clock, `until` None if not back.

    `foretold` is how many seconds it took the last time; None where that is not known.
    """

    host: str
    service: str
    began: float
    until: float | None
    foretold: float | None = None

    @property
    def seconds(self) -> float | None:
        """Between the two, to a hundredth."""
        return None if self.until is None else round(self.until - self.began, 2)

    def as_dict(self) -> dict[str, Any]:
        """As one of `gaps` of run.json."""
        served = {"from": self.began, "until": self.until, "seconds": self.seconds, "foretold": self.foretold}
        return {"host": self.host, "service": self.service, **served}


@dataclass(frozen=True)
class Forced:
    """A promotion that --force let through: why, and whether something would have been refused without."""

    reason: str
    overrides: Sequence[str] = ()


@dataclass
class RunState:
    """What steps have done and found.

    Attributes:
        verdict: of the probes; passed where none has run.
        signs: whether what the run says of the release is known, and not only told by a host.
        judged: whether the verdict stands in the hosts' history.
        changed: whether a change of any host has begun.
        touched: stages that have begun to change what a host serves, by host.
        failures: hosts that were lost.
        start_failures: hosts that the deploy went on without.
        held_back: hosts whose wave has not come.
        promoted: whether the release is one that passed on another environment.
        other_release: what runs is not what was judged: see verification.require_running.
        in_flight: operations begun before the deploy, by probe and host.
        stopped: since when services are away for a release that then failed: (host, service) to an epoch by the host's
            clock.
        served: services that ran when the run that failed began, by host and name.
        yardstick: run.json of the baseline that this run is measured by.
        unconfirmed: hosts that go back by themselves unless the run confirms what it has brought.
        waves: how many waves hosts start in.
        rolled_back: whether a rollback has followed, to whatever end.
        outcome: what the run came to; None until it is over. `error` is what stopped it.
        before_baseline: hosts as they were before that baseline, which is never rolled back to.
    """

    verdict: str = "passed"
    signs: bool = True
    judged: bool = False
    collected: bool = False
    policy_acted: bool = False
    changed: bool = False
    partial: bool = False
    promoted: bool = False
    simulated: bool = False
    forced: Forced | None = None
    release: Served = field(default_factory=Served)
    migration: Migration | None = None
    downtime: list[Downtime] = field(default_factory=list)
    contracts: list[Row] = field(default_factory=list)
    touched: dict[str, set[str]] = field(default_factory=dict)
    failures: dict[str, HostError] = field(default_factory=dict)
    start_failures: dict[str, CanaryError] = field(default_factory=dict)
    held_back: tuple[str, ...] = ()
    other_release: CanaryError | None = None
    in_flight: dict[tuple[str, str], Any] = field(default_factory=dict)
    stopped: dict[tuple[str, str], float] = field(default_factory=dict)
    served: set[tuple[str, str]] = field(default_factory=set)
    yardstick: Mapping[str, Any] | None = None
    before_baseline: Mapping[str, HostFacts] = field(default_factory=dict)
    unconfirmed: set[str] = field(default_factory=set)
    waves: int = 1
    rolled_back: bool = False
    outcome: Outcome | None = None
    error: BaseException | None = None
