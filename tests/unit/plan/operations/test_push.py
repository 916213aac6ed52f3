"""Which images a host lacks, and why they cannot come to it."""

from __future__ import annotations

from dataclasses import replace

from planned import (
    DB,
    DB_TAG,
    DIRECTORY,
    RELEASE,
    WEB,
    WEB_TAG,
    brief,
    document,
    only_problem,
    plan_of,
)

from canaryctl.config.policy import Policy
from canaryctl.facts.host import parse
from canaryctl.plan.operations.push import Push, missing_size, to_push


def test_an_image_made_to_share_another_ones_tag_is_refused() -> None:
    other = {"id": "sha256:" + "a" * 12 + "0" * 52, "tag": WEB_TAG}
    earlier = {"releases": {DIRECTORY: {"release": {"id": "2" * 64, "images": {"web": other}}}}}
    assert any("has the tag of another image" in problem.what for problem in plan_of(document(state=earlier)).problems)
    same = {"releases": {DIRECTORY: {"release": {"id": "2" * 64, "images": {"web": {**other, "id": WEB.id}}}}}}
    assert not any("has the tag" in problem.what for problem in plan_of(document(state=same)).problems)


class TestImages:
    def test_one_that_is_missing_is_pushed(self) -> None:
        plan = plan_of(document(images=document()["images"][:1]))
        assert ("push", f"db {DB_TAG} (1000 MB)", "not on the host") in brief(plan)

    def test_one_without_its_tag_is_only_tagged(self) -> None:
        seen = document(images=[{"id": WEB.id, "tags": ["web:old"]}, document()["images"][1]])
        assert ("push", f"web {WEB_TAG} (2000 MB)", "present, but not under its tag") in brief(plan_of(seen))

    def test_one_that_is_only_to_be_tagged_needs_no_room(self) -> None:
        seen = document(
            images=[{"id": WEB.id, "tags": []}, {"id": DB.id, "tags": []}], disks={"/var/lib/docker": {"free": 1}}
        )
        assert plan_of(seen).problems == ()

    def test_a_tag_on_other_layers_does_not_count(self) -> None:
        moved = {"id": WEB.id, "tags": [WEB_TAG], "layers": ["sha256:other"]}
        assert plan_of(document(images=[moved, document()["images"][1]])).hosts("push") == ["one"]

    def test_no_room_gives_the_figures(self) -> None:
        seen = document(images=[], disks={"/": {"free": 10**12}, "/var/lib/docker": {"free": 1_200_000_000}})
        problem = only_problem(plan_of(seen))
        assert all(word in problem.what for word in ("2400 MB", "1200 MB", "/var/lib/docker"))
        assert problem.stage == "push" and problem.hint

    def test_room_is_counted_by_the_layers_that_are_missing(self) -> None:
        web = replace(WEB, layer_sizes=(1_500_000_000, 500_000_000))
        db = replace(DB, layer_sizes=(1_500_000_000, 20_000_000))
        nothing = parse("one", document(images=[]))
        base = parse("one", document(images=[{"id": "sha256:0", "tags": [], "layers": ["sha256:l1", "sha256:x"]}]))
        assert missing_size([web, db], nothing) == 2_020_000_000
        assert missing_size([web, db], base) == 520_000_000
        assert missing_size([WEB, DB], nothing) == 2_000_000_000  # at least
        assert missing_size([WEB, DB], base) == 0

    def test_another_platform_is_refused(self) -> None:
        assert "linux/amd64, the host is linux/arm64" in plan_of(document(arch="arm64")).problems[0].what


def test_an_operation_knows_the_image_its_tag_and_whether_it_is_pulled() -> None:
    (push,) = plan_of(document(images=document()["images"][:1])).of(Push)
    assert (push.image, push.tag, push.pulled) == (DB, DB_TAG, False)
    assert push.as_dict()["operation"] == {
        "kind": "push",
        "image": "db",
        "id": DB.id,
        "tag": DB_TAG,
        "bytes": DB.size,
        "pulled_from": None,
    }


def test_a_published_image_is_pulled_unless_the_policy_is_to_push() -> None:
    source = f"registry.example/db@sha256:{'d' * 64}"
    release = replace(RELEASE, services={**RELEASE.services, "db": replace(DB, source=source, local=False)})
    bare = parse("one", document(images=document()["images"][:1]))
    (pulled,) = to_push("one", release, ("db", "web"), bare, Policy())
    assert (
        pulled.pulled
        and pulled.data["pulled_from"] == source
        and "compressed, pulled from registry.example/db" in (pulled.what)
    )
    (pushed,) = to_push("one", release, ("db", "web"), bare, Policy(delivery="push"))
    assert not pushed.pulled and pushed.data["pulled_from"] is None
