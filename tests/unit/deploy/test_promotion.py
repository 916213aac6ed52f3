"""Which release may be promoted, and what is said of one that may not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from documents import candidate

from canaryctl.cli.options import forced_for
from canaryctl.config.environment import Environment
from canaryctl.config.policy import Policy
from canaryctl.config.stack import Stack, load_stack
from canaryctl.deploy import promotion
from canaryctl.deploy.promotion import left_out
from canaryctl.errors import ConfigError, HostError
from canaryctl.evidence.page import render_html
from canaryctl.evidence.report import render_markdown
from canaryctl.facts.host import HostFacts, ImageFacts, parse
from canaryctl.hosts.history import history_line
from canaryctl.plan.promotion import Choice, Rules, Wanted, choose, lines_of, require_chain
from canaryctl.plan.release import ImageFact, make_release
from canaryctl.plan.verdicts import Signed, Trust, Verdict, Witness, proofs, read_histories

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC).timestamp()
WEB, DB, NEW = (f"sha256:{digit * 64}" for digit in "abc")
FILES = {"compose.yml.j2": b"services: {}", "assets/a.txt": b"a"}
STACK = """\
stack: shop
images: {web: {tag: "web:t"}, db: {tag: "db:t"}, fat: {tag: "fat:t"}}
variants:
  split: {web: web, db: db}
  mono: {web: fat, db: db}
default_variant: mono
placement: {all: [web, db]}
compose: compose.yml.j2
"""


def stack(tmp_path: Path, text: str = STACK) -> Stack:
    (tmp_path / "compose.yml.j2").touch()
    (tmp_path / "stack.yml").write_text(text)
    return load_stack(tmp_path / "stack.yml")


@pytest.fixture
def shop(tmp_path: Path) -> Stack:
    return stack(tmp_path)


def facts(**ids: str) -> dict[str, ImageFact]:
    return {name: ImageFact(name, identity, "", 1, ("l",), "linux/amd64") for name, identity in ids.items()}


def document(shop: Stack) -> dict[str, Any]:
    release = make_release(shop, "split", facts(web=WEB, db=DB), FILES)
    return release.as_dict() | {"variant": "split", "stack": "shop", "environment": "canary"}


def line(release: str, verdict: str, time: str = "09T12:00:00", what: str = "verdict", **extra: Any) -> dict[str, Any]:
    environment, role = extra.pop("environment", "canary"), extra.pop("role", None)
    proves = {"placed": ["web", "db"], "simulated": False, "contracts": {"passed": 7}, "variant": "split", **extra}
    line = history_line(
        who="ann@desk",
        environment=environment,
        what=what,
        after=release,
        verdict=verdict,
        run=f"run-{time}-{verdict}",
        role=role,
        extra=proves,
    )
    return {**line, "time": f"2026-03-{time}.000000Z"}


def wanted(shop: Stack, **more: Any) -> Wanted:
    placed = {"split": frozenset(("web", "db")), "mono": frozenset(("fat", "db"))}
    return Wanted(**{"environment": "staging", "stack": shop, "files": FILES, "placed": placed, **more})


def chosen(
    shop: Stack,
    *history: Mapping[str, Any],
    asked: Wanted | None = None,
    documents: list[dict[str, Any]] | None = None,
    **rules: Any,
) -> Choice:
    known = [document(shop)] if documents is None else documents
    witnesses = [Witness("canary-1", history, known, NOW)]
    return choose("canary", witnesses, asked or wanted(shop), Rules(**rules), Trust(NOW, ["canary-1"]))


def test_what_passed_is_taken_with_its_own_variant_and_images(shop: Stack) -> None:
    release = document(shop)["id"]
    found = chosen(shop, line(release, "passed"))
    assert found.refusals == () and found.proof is not None
    assert found.proof.images == {"web": WEB, "db": DB}
    told = found.proof.as_dict()
    assert (told["from"], told["release"], told["variant"], told["by"]) == ("canary", release, "split", "ann@desk")
    assert told["contracts"] == {"passed": 7} and told["simulated"] is False


@pytest.mark.parametrize("change", [{"to": "x"}, {"simulated": "no"}, {"placed": "web"}, {"signature": [1]}])
def test_a_line_that_is_none_of_ours_is_named_where_it_says_passed(shop: Stack, change: dict[str, Any]) -> None:
    found = chosen(shop, line(document(shop)["id"], "passed") | change)
    assert found.proof is None and "no form of ours" in found.refusals[0] and "canary-1" in found.refusals[0]


def test_a_history_that_cannot_be_read_is_no_empty_one() -> None:
    seen = parse("one", {"errors": {"state.history": "no file", "disks": "x"}, "state": {"history": [7]}})
    assert [said.partition(":")[0] for said in left_out(seen)] == [
        "its history cannot be read",
        "a line of its history",
    ]


def test_what_was_left_out_of_a_history_is_named(shop: Stack) -> None:
    witness = Witness("canary-1", [], [], NOW, odd=["a line of its history: '?' cannot be right"])
    found = choose("canary", [witness], wanted(shop), Rules(), Trust(NOW, ["canary-1"]))
    assert "canary-1: a line of its history" in found.refusals[0]


def test_of_several_that_passed_the_newest_is_taken_whatever_failed_since(shop: Stack) -> None:
    release = document(shop)["id"]
    history = [
        line("f" * 64, "failed", "10T11:00:00"),
        line("0" * 64, "passed", "01T00:00:00"),
        line(release, "passed"),
    ]
    found = chosen(shop, *history)
    assert found.refusals == () and found.proof is not None and found.proof.line["to"] == release


def test_a_line_counts_once_however_many_hosts_have_it(shop: Stack) -> None:
    release = document(shop)["id"]
    assert chosen(shop, line(release, "passed"), line(release, "passed")).refusals == ()


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        ([], ("no release has passed on canary",)),
        (["partial"], ("no release has passed on canary", "only a part of it was judged", "run-")),
        (["failed"], ("no release has passed on canary", "failed")),
        (["inconclusive"], ("no release has passed on canary", "inconclusive")),
        (["passed", "inconclusive"], ("newest verdict there is inconclusive", "run-")),
        (["passed", "failed"], ("newest verdict there is failed",)),
        (["passed", "failed", "partial"], ("newest verdict there is failed",)),
        (["failed", "passed"], ()),
        (["inconclusive", "passed"], ()),
        (["passed", "partial"], ()),
    ],
)
def test_verdicts_of_the_release_decide(shop: Stack, verdicts: list[str], words: tuple[str, ...]) -> None:
    release = document(shop)["id"]
    refused = chosen(shop, *(line(release, v, f"0{day}T00:00:00") for day, v in enumerate(verdicts, 1))).refusals
    assert bool(refused) == bool(words) and all(word in refused[0] for word in words), refused


@pytest.mark.parametrize("other", [{"environment": "lab"}, {"role": "baseline"}, {"what": "deploy"}])
def test_what_passed_elsewhere_or_otherwise_is_no_proof(shop: Stack, other: dict[str, Any]) -> None:
    refused = chosen(shop, line(document(shop)["id"], "passed", **other)).refusals
    assert refused and "no release has passed on canary" in refused[0]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"assets/a.txt": b"b"}, "assets/a.txt (changed)"),
        ({"assets/b.txt": b"b"}, "assets/b.txt (new)"),
        ({"assets/a.txt": None}, "assets/a.txt (gone)"),
        ({"compose.yml.j2": b"x", "assets/a.txt": None}, "assets/a.txt (gone), compose.yml.j2 (changed)"),
    ],
)
def test_files_that_differ_are_listed(shop: Stack, files: dict[str, bytes | None], words: str) -> None:
    now = {path: content for path, content in {**FILES, **files}.items() if content is not None}
    refused = chosen(shop, line(document(shop)["id"], "passed"), asked=wanted(shop, files=now)).refusals
    assert refused == (f"the stack's files differ from those that passed on canary: {words}",)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "placement: {all: [web, db]}",
            "placement: {core: [db], all: [web]}",
            "the placement or the migrations differ",
        ),
        (
            "compose: compose.yml.j2\n",
            "compose: compose.yml.j2\nmigrations: {service: web, upgrade: up, current: now}\n",
            "the placement or the migrations differ",
        ),
        ("split: {web: web, db: db}", "split: {web: fat, db: db}", "other images than passed on canary for web"),
        ("split: {web: web", "parted: {web: web", "no variant 'split'"),
    ],
)
def test_a_stack_file_that_makes_another_release_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    before = document(stack(tmp_path))
    assert old in STACK
    changed = stack(tmp_path, STACK.replace(old, new))
    refused = chosen(changed, line(before["id"], "passed"), documents=[before]).refusals
    assert len(refused) == 1 and words in refused[0], refused


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"variant": "mono"}, ("variant 'split' passed on canary, not 'mono'",)),
        (
            {"images": {"web": NEW}, "references": {"web": "web:new"}},
            ("image web: web:new is sha256:cccccccccccc, but sha256:aaaaaaaaaaaa passed on canary",),
        ),
        ({"images": {"fat": NEW}}, ("image fat", "no image of this name passed on canary")),
        ({"placed": {"split": frozenset(("web", "db", "gpu"))}}, ("staging would run gpu, which canary never ran",)),
        ({"variant": "split", "images": {"web": WEB}}, ()),
    ],
)
def test_what_is_asked_for_must_be_what_passed(shop: Stack, asked: dict[str, Any], words: tuple[str, ...]) -> None:
    refused = chosen(shop, line(document(shop)["id"], "passed"), asked=wanted(shop, **asked)).refusals
    assert bool(refused) == bool(words) and all(word in refused[0] for word in words), refused


@pytest.mark.parametrize(
    ("rules", "extra", "words"),
    [
        ({"max_age": 86400.0}, {}, ""),
        ({"max_age": 3600.0}, {}, "passed on canary 24 h ago, and canary_max_age is 1 h"),
        ({"max_age": 3600.0 * 23}, {}, "canary_max_age is 23 h"),
        ({"simulated": "refuse"}, {"simulated": True}, "with a simulated GPU, and canary_simulated is refuse"),
        ({"simulated": "refuse"}, {}, ""),
        ({}, {"simulated": True}, ""),
        ({}, {"reason": "on fire", "forced": True}, "was itself forced onto canary: on fire"),
        ({}, {"reason": "to be sure"}, ""),
    ],
)
def test_the_policy_is_kept(shop: Stack, rules: dict[str, Any], extra: dict[str, Any], words: str) -> None:
    refused = chosen(shop, line(document(shop)["id"], "passed", **extra), **rules).refusals
    assert bool(refused) == bool(words) and all(words in one for one in refused), refused


def test_a_release_whose_files_were_removed_there_cannot_be_promoted(shop: Stack) -> None:
    refused = chosen(shop, line(document(shop)["id"], "passed"), documents=[]).refusals
    assert len(refused) == 1 and "its files are on no host" in refused[0]


def test_everything_in_the_way_is_told_at_once(shop: Stack) -> None:
    asked = wanted(shop, variant="mono", images={"web": NEW}, files={**FILES, "assets/a.txt": b"b"})
    assert len(chosen(shop, line(document(shop)["id"], "passed"), asked=asked, max_age=1.0).refusals) == 4


def believed(shop: Stack, *told: Witness, signed: bool = False) -> Choice:
    """Two hosts have services; a line counts as signed where its signature is `good`."""

    def check(verdict: Verdict) -> Signed | str:
        return Signed("ann", "SHA256:x") if verdict.line["signature"] == "good" else "it was altered"

    trust = Trust(NOW, ["canary-1", "canary-2"], check=check if signed else None)
    return choose("canary", told, wanted(shop), Rules(max_age=86400.0), trust)


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        ([{}], [{}], ""),
        ([{}], [], "canary-2 has no such line"),
        ([], [{}], "canary-1 has no such line"),
        ([{}], [{"run": "another"}], "has no such line"),
        ([{}], [{"simulated": True}], "has no such line"),
        ([{"environment": "staging"}], [{}], "canary-1 has no such line"),
        ([{"time": "2099-01-01T00:00:00Z"}], [{}], "later than"),
        ([{"time": "2026-03-10T12:02:00Z"}], [{"time": "2026-03-10T12:02:00Z"}], "later than now"),
        ([{"time": "yesterday"}], [{}], "canary-1 has no such line"),
        ([{"time": "2026-03-10T11:00:00"}], [{}], "canary-1 has no such line"),
        ([{"time": 5}], [{}], "canary-1 has no such line"),
        ([{"contracts": []}], [{}], "canary-1 has no such line"),
        ([{"placed": "web"}], [{}], "canary-1 has no such line"),
        ([{"to": "../../etc"}], [{}], "canary-1 has no such line"),
        ([{"who": None}], [{}], "canary-1 has no such line"),
        ([{"images": {"web": []}}], [{}], "canary-1 has no such line"),
        ([{"verdict": "failed", "time": "2026-03-10T11:30:00Z"}, {}], [{}], "newest verdict there is failed"),
    ],
)
def test_unsigned_all_hosts_with_services_must_say_the_same(
    shop: Stack, ours: list[dict[str, Any]], theirs: list[dict[str, Any]], words: str
) -> None:
    passed = line(document(shop)["id"], "passed", "10T11:00:00")
    witnesses = [
        Witness(host, [passed | change for change in said], [document(shop)], NOW)
        for host, said in (("canary-1", ours), ("canary-2", theirs))
    ]
    found = believed(shop, *witnesses)
    assert words in "; ".join(found.refusals) and bool(found.refusals) == bool(words), found.refusals


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        ({"images": {"web": {"id": NEW, "tag": "t"}, "db": {"id": DB, "tag": "t"}}}, "release.json differ"),
        ({"services": {"web": "db", "db": "db"}}, "release.json differ"),
        ({"files": {}}, "release.json differ"),
        ({"variant": "mono"}, "is not of the images"),
        ({"id": "0" * 64}, "not on canary-2 any more"),
        ({"images": {"web": {"id": "x", "tag": "t"}}}, "not on canary-2 any more"),
        ({"services": None}, "not on canary-2 any more"),
    ],
)
def test_unsigned_all_hosts_must_have_the_same_release(shop: Stack, change: dict[str, Any], words: str) -> None:
    passed = line(document(shop)["id"], "passed", "10T11:00:00")
    found = believed(
        shop,
        Witness("canary-1", [passed], [document(shop)], NOW),
        Witness("canary-2", [passed], [document(shop) | change], NOW),
    )
    assert words in "; ".join(found.refusals) and bool(found.refusals) == bool(words), found.refusals


def test_a_release_json_of_other_images_than_were_signed_is_named(shop: Stack) -> None:
    passed = line(document(shop)["id"], "passed", signature="good", images={"web": WEB, "db": DB})
    other = document(shop) | {"variant": "mono"}
    found = believed(shop, Witness("canary-1", [passed], [other], NOW, odd=["odd"]), signed=True)
    assert "release.json of canary-1 is not of the images" in found.refusals[0] and "canary-1: odd" in found.refusals[0]


@pytest.mark.parametrize(
    ("forged", "words"),
    [
        (
            {"signature": "bad", "run": "forged"},
            "run forged (2026-03-10T11:00:00.000000Z) proves nothing: it was altered",
        ),
        ({"signature": None, "run": "forged"}, "proves nothing: it is not signed"),
        ({"signature": "good", "run": "forged", "time": "2099-01-01T00:00:00Z"}, "later than"),
    ],
)
def test_with_signers_one_signed_line_will_do_and_forged_ones_are_named(
    shop: Stack, forged: dict[str, Any], words: str
) -> None:
    images = {"images": {"web": WEB, "db": DB}}
    passed = line(document(shop)["id"], "passed", "10T10:00:00", signature="good", **images)
    newer = line(document(shop)["id"], "passed", "10T11:00:00", **images) | forged
    only = believed(shop, Witness("canary-1", [newer], [document(shop)], NOW), signed=True)
    assert only.proof is None and words in only.refusals[0] and "canary-1" in only.refusals[0]
    both = believed(
        shop, Witness("canary-1", [passed, newer], [document(shop)], NOW), Witness("canary-2", [], [], NOW), signed=True
    )
    assert both.refusals == () and both.proof and both.proof.line == passed and words in both.doubts[0]
    assert both.proof.as_dict()["signed"] == {"by": "ann", "key": "SHA256:x"}


def test_a_release_json_of_other_images_than_were_signed_is_not_taken(shop: Stack) -> None:
    passed = line(document(shop)["id"], "passed", "10T11:00:00", signature="good", images={"web": NEW, "db": DB})
    refused = believed(shop, Witness("canary-1", [passed], [document(shop)], NOW), signed=True).refusals
    assert len(refused) == 1 and "the release.json of canary-1 is not of the images" in refused[0]


def test_with_signers_one_hosts_altered_release_json_hides_no_other(shop: Stack) -> None:
    images = {"images": {"web": WEB, "db": DB}}
    passed = line(document(shop)["id"], "passed", "10T11:00:00", signature="good", **images)
    for change in ({"files": {}}, {"services": {"web": "db", "db": "web"}}):
        liar = Witness("canary-1", [passed], [document(shop) | change], NOW)
        assert believed(shop, liar, signed=True).refusals
        found = believed(shop, liar, Witness("canary-2", [passed], [document(shop)], NOW), signed=True)
        assert found.refusals == () and found.proof and found.proof.document == document(shop)


def test_a_host_whose_clock_is_behind_is_named(shop: Stack) -> None:
    passed = line(document(shop)["id"], "passed", "10T11:00:00", signature="good")
    found = believed(shop, Witness("canary-1", [passed], [document(shop)], NOW - 7200), signed=True)
    assert "canary-1" in found.refusals[0] and "its host's own clock" in found.refusals[0]


def test_an_image_is_taken_from_the_next_host_where_one_only_claims_to_have_it(
    shop: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof = chosen(shop, line(document(shop)["id"], "passed")).proof
    asked: list[str] = []

    def fetched(work: Any, proof: Any, name: str, source: Any, host: str) -> tuple[str, ImageFact]:
        asked.append(host)
        if host == "liar":
            raise HostError("gives something else", host)
        return host, facts(web=WEB)[name]

    monkeypatch.setattr(promotion, "_fetched", fetched)
    has = {host: HostFacts(host, images=(ImageFacts(WEB, ("t",)),)) for host in ("liar", "honest")}
    warned: list[str] = []
    work: Any = SimpleNamespace(run=SimpleNamespace(warn=lambda what, where, hint: warned.append(where)))
    source: Any = SimpleNamespace(seen=SimpleNamespace(facts=has))
    assert proof and promotion._from_host(work, proof, "web", source, fetch=True)[0] == "honest"
    assert asked == ["liar", "honest"] and warned == ["liar"]
    del has["honest"]
    with pytest.raises(HostError):
        promotion._from_host(work, proof, "web", source, fetch=True)


def test_hosts_without_services_need_not_say_where_releases_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = {name: Environment(name, Path(name), {}, {}) for name in ("staging", "canary")}
    monkeypatch.setattr(promotion, "load_environment", lambda project, name, **_: loaded[name])
    scene = SimpleNamespace(
        project=SimpleNamespace(environments=lambda: list(loaded)),
        request=SimpleNamespace(vault_password_file=None),
        environment=loaded["staging"],
        policy=Policy(promotes_from="canary"),
    )
    assert promotion._load_source(scene) is loaded["canary"]  # type: ignore[arg-type]
    scene.policy = Policy(promotes_from="nowhere")
    with pytest.raises(ConfigError, match="no environment"):
        promotion._load_source(scene)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("chain", "round_trip"),
    [
        ({"prod": "staging", "staging": "canary"}, ""),
        ({"prod": "prod"}, "prod <- prod"),
        ({"prod": "staging", "staging": "canary", "canary": "staging"}, "prod <- staging <- canary <- staging"),
    ],
)
def test_a_chain_must_end(chain: dict[str, str], round_trip: str) -> None:
    if not round_trip:
        require_chain("prod", lambda name: chain.get(name, ""))
        return
    with pytest.raises(ConfigError) as refused:
        require_chain("prod", lambda name: chain.get(name, ""))
    assert round_trip in refused.value.what


@pytest.mark.parametrize(
    ("force", "reason", "result"),
    [
        (False, None, None),
        (True, " the fix  cannot wait ", "the fix cannot wait"),
        (True, None, "needs a reason"),
        (True, "  ", "needs a reason"),
        (False, "why", "says why --force is right"),
    ],
)
def test_force_and_its_reason_go_together(force: bool, reason: str | None, result: str | None) -> None:
    try:
        assert forced_for(force, reason) == result
    except ConfigError as error:
        assert result and result in error.what


def test_people_read_what_is_promoted_in_a_few_lines(shop: Stack) -> None:
    found = chosen(shop, line(document(shop)["id"], "passed", simulated=True))
    assert found.proof is not None
    told = found.proof.as_dict()
    told["images"] = {"web": {"id": WEB, "from": "here"}, "db": {"id": DB, "from": "canary-1"}}
    text = "\n".join(lines_of(told))
    for words in ("from canary: passed", "ann@desk", "7 of 7 contract checks", "simulated GPU", WEB, "from canary-1"):
        assert words in text, text


@pytest.mark.parametrize("render", [render_markdown, render_html])
def test_reports_tell_what_was_promoted_and_what_was_forced(
    shop: Stack, render: Callable[[Mapping[str, Any]], str]
) -> None:
    found = chosen(shop, line(document(shop)["id"], "passed"))
    assert found.proof is not None
    text = render(candidate() | {"promotion": found.proof.as_dict()})
    assert "Promoted from canary" in text and "ann@desk" in text and WEB in text and "7 passed" in text
    assert "Forced" not in text
    text = render(candidate() | {"forced": {"reason": "on fire", "overrides": ["no release has passed"]}})
    assert "Forced" in text and "on fire" in text and "no release has passed" in text


def test_a_host_with_many_lines_crowds_out_no_other(shop: Stack) -> None:
    release, images = document(shop)["id"], {"images": {"web": WEB, "db": DB}}
    passed = line(release, "passed", "10T10:00:00", signature="good", **images)
    failed = line(release, "failed", "10T10:30:00", signature="good", **images)
    for signature in ("bad", None):
        flood = [
            line(release, verdict, f"10T11:{n:02}:00", signature=signature, **images) | {"run": f"{verdict}-{n}"}
            for n in range(60)
            for verdict in ("passed", "failed")
        ]
        liar = Witness("canary-1", [passed, *flood], [document(shop)], NOW)
        trust = Trust(NOW, check=lambda v: Signed("ann", "k") if v.line["signature"] == "good" else "altered")
        found = believed(shop, liar, Witness("canary-2", [passed], [], NOW), signed=True)
        assert found.proof and found.proof.line == passed
        histories = read_histories([liar, Witness("canary-2", [passed, failed], [], NOW)], "canary", trust)
        proven = next(one for one in proofs(histories, trust) if not isinstance(one, str))
        against = histories.against(proven, trust)
        assert against and against.line == failed, "what honest hosts say against it counts as well"


def test_unsigned_a_line_at_another_time_is_another_line(shop: Stack) -> None:
    passed = line(document(shop)["id"], "passed", "10T11:00:00")
    told_apart = [
        Witness(f"canary-{n}", [passed | {"time": f"2026-03-10T11:00:{n}0Z"}], [document(shop)], NOW) for n in (1, 2)
    ]
    assert not believed(shop, *told_apart).refusals
    back = Witness("canary-2", [passed | {"time": "2026-03-10T10:00:00Z"}], [document(shop)], NOW)
    assert "has no such line" in believed(shop, told_apart[0], back).refusals[0]
