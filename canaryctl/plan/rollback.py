"""The way back: which release hosts return to after a bad one, and what that takes on each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from canaryctl.errors import ConfigError, HostError
from canaryctl.facts.host import HostFacts
from canaryctl.plan.operations.rollback import BringBack, Created, RemoveCreated
from canaryctl.plan.release import SHORT, canonical
from canaryctl.plan.releasedocuments import differing_hosts, parse_release
from canaryctl.plan.verdicts import (
    Histories,
    Trust,
    Verdict,
    Witness,
    doubt_words,
    find_release,
    is_of,
    proofs,
    read_histories,
)

_FEWEST = 4  # digits of a release's id that an operator may give


@dataclass(frozen=True)
class HostRollback:
    """What one host goes back to: a release's `directory`, or nothing (None), where `created` is removed.

    `was` is the directory of the release that is current now. `project` is the compose project that serves then;
    `replaces` are those that stop for it. `images` are those of the services placed there: name, `id` and `tag` as in
    release.json, of which `release` is the whole.
    """

    host: str
    directory: str | None
    project: str
    services: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    images: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    created: Created = field(default_factory=Created)
    release: Mapping[str, Any] = field(default_factory=dict)
    was: str | None = None

    @property
    def operation(self) -> BringBack | RemoveCreated:
        """What is done on the host."""
        if self.directory is None:
            reason = "this run made them, and nothing served before"
            return RemoveCreated(self.host, reason, self.project, self.created)
        reason = f"{(self.was or 'nothing')[:SHORT]} is current"
        return BringBack(self.host, reason, self.directory, self.project, self.replaces)

    def missing(self, facts: HostFacts) -> list[str]:
        """Names of the images that the host has not, whole, under their tags."""
        return [name for name, image in self.images.items() if not facts.has_tagged(image["id"], image["tag"])]


@dataclass(frozen=True)
class RollbackPlan:
    """The whole way back. `release` is the release.json that will serve again, {} where nothing will.

    `left` are hosts that stay as they are: no other release has passed there.
    """

    release: Mapping[str, Any]
    steps: Mapping[str, HostRollback]
    left: tuple[str, ...] = ()

    @property
    def id(self) -> str | None:
        """The release's id."""
        return str(self.release["id"]) if self.release else None

    @property
    def operations(self) -> tuple[BringBack | RemoveCreated, ...]:
        """What is done, a host each."""
        return tuple(step.operation for step in self.steps.values())


@dataclass(frozen=True)
class Chosen:
    """A release to go back to; `proof` is the verdict that speaks for it, None where it was named and has none.

    `doubts` are newer lines of the histories that were passed over, and why.
    """

    release: str
    proof: Verdict | None = None
    doubts: tuple[str, ...] = ()


def choose_release(facts: Mapping[str, HostFacts], environment: str, wanted: str | None, trust: Trust) -> Chosen:
    """The release to go back to: the newest that passed here and is not served, or the one that `wanted` begins.

    One that a run which was cut off has brought, and hosts give up unless it is confirmed, is not served yet.

    Raises:
        ConfigError: there is none, or `wanted` fits several or is served already.
    """
    served = {(seen.state.current_release or {}).get("id") for seen in facts.values()} - {None}
    only = next(iter(served)) if len(served) == 1 else None
    if wanted is not None:
        on_trial = any(seen.state.change is not None and seen.state.change.is_open for seen in facts.values())
        return Chosen(_named(facts, environment, wanted, None if on_trial else only))
    doubts: list[str] = []
    for found in passed_releases(facts, environment, trust):
        if isinstance(found, str):
            doubts.append(found)
        elif found.release != only:
            return Chosen(found.release, found, tuple(doubts))
    raise ConfigError(
        f"there is no other release that passed on {environment}{doubt_words(doubts)}",
        environment,
        f"name one with --to; on the hosts are: {_listed(known_releases(facts.values(), environment) - {only})}",
    )


def passed_releases(facts: Mapping[str, HostFacts], environment: str, trust: Trust) -> Iterator[Verdict | str]:
    """Releases that passed in an environment with all of its probes, newest first, each once; no baselines.

    Left out are those whose newest verdict is another. A text is why a line was passed over. Without signatures every
    host that keeps releases of the environment must say the same.
    """
    witnesses = [_witness(host, seen, environment) for host, seen in facts.items()]
    trust = replace(trust, voters=[witness.host for witness in witnesses if witness.documents])
    histories = read_histories(witnesses, environment, trust)
    yield from histories.doubts
    seen_before: set[str] = set()
    for found in proofs(histories, trust):
        if isinstance(found, str):
            yield found
            continue
        if found.release in seen_before:
            continue
        seen_before.add(found.release)
        if bad := histories.against(found, trust):
            yield f"release {found.release[:SHORT]} passed, but its newest verdict is {bad.line['verdict']}"
        elif isinstance(document := find_release(found, witnesses, trust), str):
            yield f"release {found.release[:SHORT]} passed, but {document}"
        else:
            yield found


def _witness(host: str, seen: HostFacts, environment: str) -> Witness:
    kept = [directory.release for directory in seen.state.releases.values() if directory.release]
    documents = [document for document in kept if document.get("environment") == environment]
    return Witness(host, seen.state.history, documents, seen.time or float("inf"))


def has_passed(document: Mapping[str, Any], facts: Mapping[str, HostFacts], environment: str, trust: Trust) -> bool:
    """Whether what hosts' histories prove is of this release.json, whatever became of that release since."""
    release = parse_release(document) or {}
    histories = read_histories([_witness(host, seen, environment) for host, seen in facts.items()], environment, trust)
    its_lines = Histories(tuple(found for found in histories.lines if found.release == release.get("id")))
    return any(not isinstance(found, str) and is_of(release, found, trust) for found in proofs(its_lines, trust))


def known_releases(facts: Iterable[HostFacts], environment: str) -> set[str]:
    """Ids of an environment's releases whose files are on any host."""
    return {release for seen in facts for release in _directories(seen, environment)}


def _named(facts: Mapping[str, HostFacts], environment: str, wanted: str, served: str | None) -> str:
    known = known_releases(facts.values(), environment)
    found = sorted(release for release in known if release.startswith(wanted)) if len(wanted) >= _FEWEST else []
    if len(found) != 1:
        what = f"'{wanted}' begins {len(found)} releases" if found else f"no release here begins with '{wanted}'"
        raise ConfigError(what, "--to", f"at least {_FEWEST} digits of one of: {_listed(known)}")
    if found[0] == served:
        raise ConfigError(f"release {found[0][:SHORT]} is served already", environment, "see: canaryctl status ENV")
    return found[0]


def _listed(releases: Iterable[str | None]) -> str:
    return ", ".join(sorted(release[:SHORT] for release in releases if release)) or "none"


def back_to(release: str, facts: Mapping[str, HostFacts], environment: str, stack: str) -> RollbackPlan:
    """The way back to a release of this environment, whose files hosts keep.

    Raises:
        ConfigError: a host has not got it any more.
        HostError: the hosts' release.json differ.
    """
    steps: dict[str, HostRollback] = {}
    documents: dict[str, Mapping[str, Any]] = {}
    for host, seen in facts.items():
        kept = _directories(seen, environment).get(release)
        if kept is None:
            if not (seen.state.current_release or seen.projects(stack)):
                continue  # nothing of the stack is on it
            raise ConfigError(
                f"release {release[:SHORT]} is not on {host} any more",
                host,
                "name another one with --to, leave the host out with --limit, or deploy the release's images again",
            )
        directory, documents[host] = kept
        steps[host] = _step(host, directory, documents[host], seen, stack)
    if differing := differing_hosts(documents):
        raise HostError(
            f"release {release[:SHORT]} is not the same on all hosts: this one's release.json differs",
            ", ".join(differing),
            "somebody has changed it there: deploy the release's images again, or leave the host out with --limit",
            reason="agent",
        )
    return RollbackPlan(next(iter(documents.values()), {}), steps)


def back_from(
    before: Mapping[str, HostFacts],
    now: Mapping[str, HostFacts],
    hosts: Iterable[str],
    environment: str,
    stack: str,
    trust: Trust,
    failed: str | None = None,
) -> RollbackPlan:
    """The way back on `hosts` to what each served `before` a run; where that was nothing, what the run made goes.

    What served there is passed over where it has `failed` itself (a release's id) or has not proven itself there: an
    interrupted run may have left it. The newest release that passed on all of those hosts takes its place.
    """
    steps: dict[str, HostRollback] = {}
    passed_over: list[str] = []
    for host in hosts:
        was, seen = before[host], now[host]
        current = was.state.current_release
        if current and was.state.current:
            if not _is_good(was, current, environment, failed, trust):
                passed_over.append(host)
                continue
            steps[host] = _step(host, was.state.current, current, seen, stack)
        elif was.state.current is None:  # else something served whose release.json cannot be read: it is left alone
            project = f"{stack}-{environment}"
            steps[host] = HostRollback(host, None, project, created=_created(was, seen, project))
    kept = {host: _directories(now[host], environment) for host in passed_over}
    release = newest_passed({host: before[host] for host in passed_over}, kept, environment, trust, failed)
    if release is None:
        return RollbackPlan(_usual(steps, environment), steps, tuple(passed_over))
    for host in passed_over:
        steps[host] = _step(host, *kept[host][release], now[host], stack)
    return RollbackPlan(_usual(steps, environment), steps)


def _usual(steps: Mapping[str, HostRollback], environment: str) -> Mapping[str, Any]:
    """The release.json that most hosts go back to, this environment's first; {} where none does."""
    known = [step.release for step in steps.values() if step.release]
    known = [release for release in known if release.get("environment") == environment] or known
    made = [canonical({**release, "placed": None}) for release in known]
    return known[made.index(max(made, key=made.count))] if made else {}


def newest_passed(
    hosts: Mapping[str, HostFacts],
    kept: Mapping[str, Mapping[str, Any]],
    environment: str,
    trust: Trust,
    failed: str | None = None,
) -> str | None:
    """Id of the newest release that passed on `hosts`, `kept` (ids by host) on each and is not `failed`."""
    for found in passed_releases(hosts, environment, trust):
        if not isinstance(found, str) and found.release != failed and all(found.release in kept[h] for h in hosts):
            return found.release
    return None


def _is_good(was: HostFacts, current: Mapping[str, Any], environment: str, failed: str | None, trust: Trust) -> bool:
    """Whether the release that served on a host before may serve again; another environment's is judged by its own.

    Of what it served the host's own word will do: going back there gives it nothing that it had not.
    """
    release, of = current.get("id"), str(current.get("environment"))
    if release == failed and of == environment:
        return False
    passed = passed_releases({was.host: was}, of, replace(trust, check=None))
    if any(not isinstance(found, str) and found.release == release for found in passed):
        return True
    lines = [line for line in was.state.history if isinstance(line, Mapping) and line.get("environment") == of]
    verdicts = [line["verdict"] for line in lines if line.get("to") == release and line.get("verdict")]
    return bool(verdicts) and verdicts[-1] == "partial"  # all of it that was judged passed, and it served


def _directories(seen: HostFacts, environment: str) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Directory and release.json of an environment's releases on a host, by id; the newest of each."""
    found: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for name, directory in seen.state.releases.items():  # the newest first
        if directory.release and directory.release.get("environment") == environment:
            found.setdefault(str(directory.release["id"]), (name, directory.release))
    return found


def _step(host: str, directory: str, document: Mapping[str, Any], seen: HostFacts, stack: str) -> HostRollback:
    project = f"{stack}-{document.get('environment')}"
    services = tuple(document.get("placed") or ())
    names = {document["services"][service] for service in services}
    return HostRollback(
        host,
        directory,
        project,
        services,
        replaces=tuple(other for other in seen.projects(stack) if other != project and _ours(seen, other, stack)),
        images={name: image for name, image in document["images"].items() if name in names},
        release=document,
        was=seen.state.current,
    )


def _ours(seen: HostFacts, project: str, stack: str) -> bool:
    """Whether a compose project runs from this stack's releases: the name alone may be another stack's."""
    return any(f"/{stack}/releases/" in c.config_files for c in seen.containers if c.project == project)


def _created(was: HostFacts, seen: HostFacts, project: str) -> Created:
    known = {container.id for container in was.containers}
    volumes = {volume.name for volume in was.volumes}
    state = {
        "current": (was.state.current, seen.state.current),
        "started.json": (was.state.started, seen.state.started),
        "secrets.env": (was.state.secrets, seen.state.secrets),
        "migrated.json": (was.state.migrated, seen.state.migrated),
    }
    return Created(
        tuple(c.id for c in seen.containers if c.project == project and c.id not in known),
        tuple(v.name for v in seen.volumes if v.project == project and v.name not in volumes),
        (
            *(name for name, (old, new) in state.items() if old is None and new is not None),
            *(f"releases/{name}" for name in seen.state.releases if name not in was.state.releases),
        ),
    )
