"""Which release an environment may take from the one before it, and why it may not. Pure.

What passed is read from the hosts of the environment before: their history, and the release.json of their releases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from canaryctl.config.durations import show_duration
from canaryctl.config.stack import Stack
from canaryctl.errors import ConfigError
from canaryctl.plan.release import SHORT, ImageFact, make_release
from canaryctl.plan.verdicts import (
    Histories,
    Trust,
    Verdict,
    Witness,
    doubt_words,
    find_release,
    proofs,
    read_histories,
)


@dataclass(frozen=True)
class Proof:
    """A release that passed: the line of the history that says so, and its release.json."""

    verdict: Verdict
    document: Mapping[str, Any]

    @property
    def line(self) -> Mapping[str, Any]:
        """The line of the history."""
        return self.verdict.line

    @property
    def images(self) -> dict[str, str]:
        """Identity by the image's name in the stack file."""
        return {name: str(image["id"]) for name, image in self.document["images"].items()}

    def as_dict(self) -> dict[str, Any]:
        """What passed, when, by whom and how, as run.json's `promotion` has it."""
        line = self.line
        return {
            "from": line["environment"],
            "release": line["to"],
            "variant": self.document.get("variant"),
            "verdict": line["verdict"],
            "when": line["time"],
            "by": line["who"],
            "run": line["run"],
            "signed": self.verdict.signed.as_dict() if self.verdict.signed else None,
            "simulated": bool(line.get("simulated")),
            "contracts": line.get("contracts") or {},
            "images": {name: {"id": identity, "from": None} for name, identity in self.images.items()},
        }


@dataclass(frozen=True)
class Wanted:
    """What this machine asks to have deployed.

    `files` are contents by path; `images` the identities that `--image` names, `references` how they were named;
    `placed` the names of the images that services of a variant need on the environment's hosts, by variant.
    """

    environment: str
    stack: Stack
    files: Mapping[str, bytes]
    variant: str | None = None
    images: Mapping[str, str] = field(default_factory=dict)
    references: Mapping[str, str] = field(default_factory=dict)
    placed: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Rules:
    """What the environment's policy demands; `max_age` in seconds, 0 for any."""

    max_age: float = 0.0
    simulated: str = "allow"


@dataclass(frozen=True)
class Choice:
    """What is to be promoted, and everything that forbids it.

    `doubts` are lines newer than the one that counts which were passed over, and why.
    """

    proof: Proof | None
    refusals: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def choose(source: str, witnesses: Sequence[Witness], wanted: Wanted, rules: Rules, trust: Trust) -> Choice:
    """The newest release that passed on `source`, held against what is wanted and the policy.

    Args:
        witnesses: what each of its hosts says, lines of other environments included.
    """
    histories = read_histories(witnesses, source, trust)
    doubts, passed = list(histories.doubts), None
    for found in proofs(histories, trust):
        if not isinstance(found, str):
            passed = found
            break
        doubts.append(found)
    if passed is None:
        return Choice(None, (f"no release has passed on {source}{_instead(histories.lines)}{doubt_words(doubts)}",))
    document = find_release(
        passed, witnesses, trust, lambda kept: not list(_stack(source, Proof(passed, kept), wanted))
    )
    if isinstance(document, str):
        return Choice(None, (f"{_named(passed)} passed on {source}, but {document}{doubt_words(doubts)}",))
    proof = Proof(passed, document)
    refusals = [
        *_since(source, histories, passed),
        *_policy(source, passed, rules, trust.now),
        *_asked(source, proof, wanted),
        *_stack(source, proof, wanted),
        *_unseen(source, proof, wanted),
    ]
    return Choice(proof, tuple(refusals), tuple(doubts))


def require_chain(environment: str, before: Callable[[str], str]) -> None:
    """Follow `canary_promotes_from` to where releases enter; `before` gives that of an environment, '' for none.

    Raises:
        ConfigError: the chain comes back to where it has been.
    """
    seen = [environment]
    while following := before(seen[-1]):
        if following in seen:
            raise ConfigError(
                f"canary_promotes_from goes round: {' <- '.join([*seen, following])}",
                f"environment {seen[-1]}",
                "have one environment take releases from this machine: remove the variable there",
            )
        seen.append(following)


def lines_of(promotion: Mapping[str, Any]) -> list[str]:
    """A promotion as people read it: what it is, how it came to pass, and the images."""
    contracts = promotion.get("contracts") or {}
    kept = f"{contracts.get('passed', 0)} of {sum(contracts.values())} contract checks passed" if contracts else ""
    simulated = "simulated GPU" if promotion.get("simulated") else ""
    checked = ", ".join(filter(None, (kept or "contracts: none", simulated)))
    variant = f" ({promotion['variant']})" if promotion.get("variant") else ""
    return [
        f"promotes release {str(promotion['release'])[:SHORT]}{variant} from {promotion['from']}: "
        f"{promotion['verdict']} {promotion['when']} by {promotion['by']}",
        f"  run {promotion['run']}; {checked}; {signature_words(promotion.get('signed'))}",
        *(
            f"  {name} {image['id']}" + (f" from {image['from']}" if image.get("from") not in (None, "here") else "")
            for name, image in promotion["images"].items()
        ),
    ]


def signature_words(signed: Mapping[str, Any] | None) -> str:
    """Who signed a verdict, in words."""
    return f"signed by {signed['by']} ({signed['key']})" if signed else "not signed"


def _named(verdict: Verdict) -> str:
    return f"release {verdict.release[:SHORT]}"


def _instead(lines: Sequence[Verdict]) -> str:
    newest = next((found for found in reversed(lines) if found.line["verdict"] != "passed"), None)
    if newest is None:
        return ""
    verdict = newest.line["verdict"]
    what = {"partial": "only a part of it was judged (--limit, --only, --skip, --no-contract or --probes)"}
    return f"; of {_named(newest)}, {what.get(verdict, verdict)} (run {newest.line['run']})"


def _since(source: str, histories: Histories, passed: Verdict) -> Iterable[str]:
    """What became of the release after it passed."""
    if bad := histories.against(passed):
        verdict = f"{bad.line['verdict']} (run {bad.line['run']})"
        yield f"{_named(passed)} passed on {source}, but its newest verdict there is {verdict}"
    if passed.line.get("forced"):
        yield f"{_named(passed)} was itself forced onto {source}: {passed.line.get('reason')}"


def _policy(source: str, passed: Verdict, rules: Rules, now: float) -> Iterable[str]:
    age = now - passed.time
    if rules.max_age and age > rules.max_age:
        yield (f"{_named(passed)} passed on {source} {_ago(age)} ago, and canary_max_age is {_ago(rules.max_age)}")
    if rules.simulated == "refuse" and passed.line.get("simulated"):
        yield f"{_named(passed)} passed on {source} with a simulated GPU, and canary_simulated is refuse"


def _asked(source: str, proof: Proof, wanted: Wanted) -> Iterable[str]:
    """What the command line asks for beside what passed."""
    variant = proof.document.get("variant")
    if wanted.variant is not None and wanted.variant != variant:
        yield f"variant '{variant}' passed on {source}, not '{wanted.variant}'"
    for name, identity in wanted.images.items():
        passed = proof.images.get(name)
        if identity != passed:
            yield (
                f"image {name}: {wanted.references.get(name, name)} is {_short(identity)}, "
                f"but {_short(passed) if passed else 'no image of this name'} passed on {source}"
            )


def _stack(source: str, proof: Proof, wanted: Wanted) -> Iterable[str]:
    """In what the stack's files differ from those that passed: the release made of them must have the same id."""
    document, stack = proof.document, wanted.stack
    variant = str(document.get("variant"))
    if variant not in stack.variants:
        yield f"the stack has no variant '{variant}', which passed on {source}"
        return
    services, then = dict(stack.variants[variant]), dict(document.get("services") or {})
    if services != then:
        changed = sorted(name for name in {*services, *then} if services.get(name) != then.get(name))
        yield f"stack.yml: variant '{variant}' has other images than passed on {source} for {', '.join(changed)}"
        return
    facts = {name: _bare(name, identity) for name, identity in proof.images.items()}
    made = make_release(stack, variant, facts, wanted.files)
    files, passed = dict(made.files), dict(document.get("files") or {})
    if differing := _differences(passed, files):
        yield f"the stack's files differ from those that passed on {source}: {', '.join(differing)}"
    elif made.id != document["id"]:
        yield f"stack.yml: the placement or the migrations differ from those that passed on {source}"


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    found = []
    for path in sorted({*before, *after}):
        if before.get(path) != after.get(path):
            word = "new" if path not in before else "gone" if path not in after else "changed"
            found.append(f"{path} ({word})")
    return found


def _unseen(source: str, proof: Proof, wanted: Wanted) -> Iterable[str]:
    """Images that would run here and never ran there."""
    ran = set(proof.line.get("placed") or ())
    if unseen := sorted(wanted.placed.get(str(proof.document.get("variant")), frozenset()) - ran):
        yield f"{wanted.environment} would run {', '.join(unseen)}, which {source} never ran"


def _bare(name: str, identity: str) -> ImageFact:
    return ImageFact(name=name, id=identity, reference="", size=0, layers=(), platform="")


def _short(identity: str) -> str:
    return identity[: len("sha256:") + SHORT]


def _ago(seconds: float) -> str:
    """A long time as people say it; the rest is show_duration's."""
    for unit, length, least in (("d", 86400, 2 * 86400), ("h", 3600, 3600)):
        if seconds >= least:
            return f"{seconds / length:.3g} {unit}"
    return show_duration(seconds)
