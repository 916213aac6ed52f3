"""What hosts' histories prove: lines typed where they come in, held against clocks, signatures and each other. Pure.

A host can write into its history what it likes. A line that says `passed` therefore counts only where it is signed by
somebody whom the environment allows; or, where the environment has no list of those, where every host that has services
says the same. A line that speaks against a release counts whoever says it: at worst a release is not taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from canaryctl.agent.read.passed import says_passed, speaks_against
from canaryctl.plan.release import canonical
from canaryctl.plan.releasedocuments import differing_hosts, is_count, is_id, is_text, parse_release

SLACK = 60.0  # seconds that a line may be ahead of a clock
MOST = 50  # signatures of each host that are looked at for a proof, the newest
# What promotion and rollback rely on, and so what a signature is over, beside the stack. Grow it only with a new
# namespace: what is signed under this one is fixed.
SIGNED_KEYS = (
    "environment", "to", "images", "variant", "verdict", "what", "simulated", "contracts", "placed", "forced", "reason",
    "time", "run", "who", "role",
)  # fmt: skip

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Signed:
    """Who signed a line: the principal of the list of allowed signers, and the key's SHA256 fingerprint."""

    by: str
    key: str

    def as_dict(self) -> dict[str, str]:
        return {"by": self.by, "key": self.key}


@dataclass(frozen=True)
class Verdict:
    """A line of a history that has a verdict, typed; `time` is an epoch, `hosts` are those that have it."""

    time: float
    line: Line
    hosts: tuple[str, ...] = ()
    signed: Signed | None = None

    @property
    def release(self) -> str:
        """The release's id."""
        return str(self.line["to"])

    @property
    def words(self) -> str:
        """Which line it is, for people."""
        return f"{', '.join(self.hosts)}: the line of run {self.line['run']} ({self.line['time']})"

    def content(self, stack: str) -> bytes:
        """What its signature is over."""
        return signed_content(self.line, stack)


@dataclass(frozen=True)
class Witness:
    """What a host says: lines of its history, the release.json of its releases, the time by its own clock (epoch).

    `odd` is what was left out of that where it came in, in sentences.
    """

    host: str
    history: Sequence[Any]
    documents: Sequence[Any] = ()
    clock: float = float("inf")
    odd: Sequence[str] = ()


@dataclass(frozen=True)
class Trust:
    """How lines are believed.

    `now` is an epoch. `voters` are the hosts that have services of the environment, where they must agree. `check`
    tells who signed a line, or why that is not to be believed; None where nobody is listed who may sign. `contradicts`
    says how this machine's own record of the run speaks against a line, '' where it does not.
    """

    now: float
    voters: Collection[str] = ()
    check: Callable[[Verdict], Signed | str] | None = None
    contradicts: Callable[[Verdict], str] = lambda _: ""


@dataclass(frozen=True)
class Histories:
    """The lines of an environment with a verdict, each once, oldest first, and `doubts` about those left out."""

    lines: tuple[Verdict, ...] = ()
    doubts: tuple[str, ...] = ()

    def against(self, passed: Verdict, trust: Trust | None = None) -> Verdict | None:
        """The newest bad verdict of a release since it passed.

        Args:
            trust: count only what is signed, where there are signatures: for a choice between releases, which one host
                could else steer to an old one by speaking against all others.
        """
        later = [v for v in self.lines if v.release == passed.release and v.time > passed.time]
        bad = [v for v in reversed(later) if speaks_against(v.line)]
        check = trust.check if trust else None
        if check is None:
            return next(iter(bad), None)
        return next(
            (v for v in _looked_at(v for v in bad if v.line.get("signature")) if isinstance(check(v), Signed)), None
        )


def signed_content(line: Line, stack: str) -> bytes:
    """The bytes that a verdict's signature is over: JSON with sorted keys and no white space."""
    return canonical({"stack": stack, **{key: line.get(key) for key in SIGNED_KEYS}})


def parse_line(line: Any) -> Verdict | None:
    """A verdict on a release, from a line of a history; None where it is no such line, or not of the form of ours."""
    if not isinstance(line, Mapping) or not _fits(line):
        return None
    try:
        moment = datetime.fromisoformat(line["time"])
        canonical(dict(line))  # texts that are no Unicode cannot be compared, signed or shown
        return None if moment.tzinfo is None else Verdict(moment.timestamp(), line)
    except (ValueError, OverflowError, TypeError, RecursionError):
        return None


def _fits(line: Line) -> bool:
    texts = ("time", "who", "environment", "what", "verdict", "run")
    if not all(is_text(line.get(key)) and line[key] for key in texts) or not is_id(line.get("to")):
        return False
    if not all(line.get(key) is None or is_text(line[key]) for key in ("role", "reason", "variant", "signature")):
        return False
    if not all(line.get(key) is None or isinstance(line[key], bool) for key in ("simulated", "forced")):
        return False
    contracts, images, placed = (line.get(key) for key in ("contracts", "images", "placed"))
    return (
        (contracts is None or (isinstance(contracts, Mapping) and all(map(is_count, contracts.items()))))
        and (images is None or (isinstance(images, Mapping) and all(map(is_text, (*images, *images.values())))))
        and (placed is None or (isinstance(placed, (list, tuple)) and all(map(is_text, placed))))
    )


def read_histories(witnesses: Sequence[Witness], environment: str, trust: Trust) -> Histories:
    """The verdicts that hosts have of an environment, baselines apart; a line from the future is left out and said.

    A line on several hosts is one: with signatures where it is the same to the last byte, else in all but its time,
    which each host used to be told apart, within a minute. Of several times the earliest counts, and for a bad verdict
    the latest.
    """
    groups: dict[tuple[bytes, str], list[tuple[str, Verdict]]] = {}
    doubts = {f"{witness.host}: {sentence}": None for witness in witnesses for sentence in witness.odd}
    for witness in witnesses:
        limit = min(witness.clock, trust.now) + SLACK
        for given in witness.history:
            found = parse_line(given)
            if found is None and _claims(given, environment):
                doubts[f"{witness.host}: a line of its history that says passed is of no form of ours"] = None
            if found is None or found.line["environment"] != environment or found.line.get("role") == "baseline":
                continue
            if found.time > limit:
                whose = "its host's own clock" if witness.clock < trust.now else "now"
                doubts[f"{replace(found, hosts=(witness.host,)).words} is later than {whose}"] = None
                continue
            groups.setdefault(_same(found, trust), []).append((witness.host, found))
    merged = []
    for members in (near for group in groups.values() for near in _near(group)):
        latest = speaks_against(members[0][1].line)
        chosen = (max if latest else min)((found for _, found in members), key=lambda found: found.time)
        merged.append(replace(chosen, hosts=tuple(dict.fromkeys(host for host, _ in members))))
    return Histories(tuple(sorted(merged, key=lambda found: found.time)), tuple(doubts))


def _near(members: Sequence[tuple[str, Verdict]]) -> Iterator[list[tuple[str, Verdict]]]:
    """Those at about the same time: else a host that dates a line of all back would change which is the newest."""
    near: list[tuple[str, Verdict]] = []
    for member in sorted(members, key=lambda member: member[1].time):
        if near and member[1].time > near[0][1].time + SLACK:
            yield near
            near = []
        near.append(member)
    yield near


def _claims(line: Any, environment: str) -> bool:
    """Whether a line that is not of our form would have a release pass."""
    return isinstance(line, Mapping) and line.get("environment") == environment and line.get("verdict") == "passed"


def _same(found: Verdict, trust: Trust) -> tuple[bytes, str]:
    if trust.check is not None:
        return found.content(""), str(found.line.get("signature") or "")
    return signed_content({**found.line, "time": ""}, ""), ""


def proofs(histories: Histories, trust: Trust) -> Iterator[Verdict | str]:
    """Lines that prove that a release passed, newest first; a text is why a line that says so proves nothing.

    Lines are looked at as they are asked for, for each takes a process where there are signatures.
    """
    claims = [v for v in reversed(histories.lines) if says_passed(v.line)]
    if trust.check is None:
        yield from (_weigh(claim, trust) for claim in claims)
        return
    signed = [claim for claim in claims if claim.line.get("signature")]
    looked_at = {id(claim) for claim in _looked_at(signed)}
    for claim in claims:
        if not claim.line.get("signature") or id(claim) in looked_at:
            yield _weigh(claim, trust)
    if len(signed) > len(looked_at):
        yield f"{len(signed) - len(looked_at)} older lines were not looked at"


def _looked_at(lines: Iterable[Verdict]) -> Iterator[Verdict]:
    """Of lines with signatures, the first `MOST` of each host: a host that has many crowds out no other's."""
    seen: Counter[str] = Counter()
    for found in lines:
        if any(seen[host] < MOST for host in found.hosts):
            seen.update(found.hosts)
            yield found


def _weigh(claim: Verdict, trust: Trust) -> Verdict | str:
    signed: Signed | None = None
    if trust.check is not None:
        found = trust.check(claim) if claim.line.get("signature") else "it is not signed"
        if isinstance(found, str):
            return f"{claim.words} proves nothing: {found}"
        signed = found
    elif silent := sorted(set(trust.voters) - set(claim.hosts)):
        return f"{claim.words} proves nothing: {', '.join(silent)} {'has' if len(silent) == 1 else 'have'} no such line"
    if other := trust.contradicts(claim):
        return f"{claim.words} proves nothing: {other}"
    return replace(claim, signed=signed)


def doubt_words(doubts: Sequence[str], most: int = 3) -> str:
    """Why lines proved nothing, to follow what that led to; '' where there were none."""
    more = f"; and {len(doubts) - most} more" if len(doubts) > most else ""
    return "".join(f"; {doubt}" for doubt in doubts[:most]) + more


def find_release(
    claim: Verdict,
    witnesses: Sequence[Witness],
    trust: Trust,
    fits: Callable[[Mapping[str, Any]], bool] = lambda _: True,
) -> Mapping[str, Any] | str:
    """The release.json of a release that passed; a text says why there is none to be believed.

    It must have the images and the variant of the line; without signatures every host with services must have the same.
    Of several the first that `fits`, if any: a signature is not over all that a release.json says.
    """
    held: dict[str, Mapping[str, Any]] = {}
    unfit: list[str] = []
    for witness in witnesses:
        documents = [parse_release(document) for document in witness.documents]
        named = [document for document in documents if document and document["id"] == claim.release]
        if fitting := next((document for document in named if is_of(document, claim, trust)), None):
            held[witness.host] = fitting
        elif named:
            unfit.append(witness.host)
    if unfit and (trust.check is None or not held):
        return f"the release.json of {unfit[0]} is not of the images that its history names"
    if not held:
        return "its files are on no host of it any more"
    if trust.check is None:
        if lacking := sorted(set(trust.voters) - set(held)):
            return f"its files are not on {', '.join(lacking)} any more"
        if differing := differing_hosts(held):
            return f"the hosts' release.json differ: {', '.join(differing)}"
    return next(filter(fits, held.values()), next(iter(held.values())))


def is_of(document: Mapping[str, Any], claim: Verdict, trust: Trust) -> bool:
    """Whether a release.json, parsed, has the images and the variant of the line."""
    images = {name: image["id"] for name, image in document["images"].items()}
    proven, variant = claim.line.get("images"), claim.line.get("variant")
    if proven is None and trust.check is None:  # of a version that recorded none
        return variant in (None, document["variant"])
    return proven is not None and dict(proven) == images and variant == document["variant"]
