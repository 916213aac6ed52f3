"""What may be removed from a host, as tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rolemodules import ROLES, load

from canaryctl.agent.write.prune import kept_releases, prunable, remove_directories
from canaryctl.plan.release import sha256
from canaryctl.plan.rendering import rendering_suffix

undo = load(ROLES / "stack_release" / "library" / "release_undo.py", "release_undo")


def rid(letter: str) -> str:
    return letter * 64


def folder(letter: str, rendering: str = "0") -> str:
    return f"{rid(letter)}-{rendering * 8}"


def tag(letter: str) -> str:
    return f"canaryctl/shop/web:sha256-{letter * 12}"


def line(before: str | None, after: str, verdict: str | None = None, what: str = "deploy") -> dict[str, Any]:
    return {"what": what, "from": rid(before) if before else None, "to": rid(after), "verdict": verdict}


def passed(before: str | None, after: str) -> list[dict[str, Any]]:
    return [line(before, after), line(before, after, "passed", "verdict")]


@pytest.mark.parametrize(
    ("history", "kept"),
    [
        ([], "f"),
        (passed(None, "f"), "f"),
        (passed("e", "f"), "ef"),
        # the three that passed last, the current one among them, however often it was judged
        (
            [
                *passed(None, "a"),
                *passed("a", "b"),
                *passed("b", "c"),
                *passed("c", "f"),
                *[line("f", "f", "passed", "verdict")] * 99,
            ],
            "bcf",
        ),
        # the one before stays although it failed, beside three that passed
        ([*passed(None, "a"), *passed("a", "b"), line("b", "c", "failed"), *passed("c", "f")], "abcf"),
        # what passed as a baseline takes nobody's place
        (
            [
                *passed(None, "a"),
                *passed("a", "b"),
                *[{**made, "role": "baseline"} for made in passed("b", "d")],
                *passed("d", "f"),
            ],
            "abdf",
        ),
        # what was only pushed was never served
        ([*passed("e", "f"), line("f", "d", what="push")], "ef"),
        # back to an older one
        ([*passed("a", "b"), *passed("b", "f"), *passed("f", "b"), *passed("b", "f")], "bf"),
        ([line("e", "f", "inconclusive", "verdict")], "ef"),
        ([{"who": "a line of a later version"}], "f"),
    ],
)
def test_the_releases_that_stay(history: list[dict[str, Any]], kept: str) -> None:
    assert kept_releases(rid("f"), history) == {rid(letter) for letter in kept}


def look(letters: str = "abf", **more: Any) -> dict[str, Any]:
    """A host with a release and an image by letter; f is current, e was before."""
    return {
        "stack": "shop",
        "current": rid("f"),
        "history": passed("e", "f"),
        "releases": {folder(x): {"images": {"web": {"tag": tag(x)}}} for x in letters},
        "tags": {tag(x): f"sha256:{x}" for x in letters},
        "used": set(),
        **more,
    }


def test_images_and_folders_of_older_releases_go() -> None:
    assert prunable(**look("abef")) == ([tag("a"), tag("b")], [folder("a"), folder("b")])


def test_nothing_is_left_to_remove() -> None:
    assert prunable(**look("ef")) == ([], [])


@pytest.mark.parametrize(
    "foreign",
    [
        "canaryctl/shopping/web:sha256-aaaaaaaaaaaa",
        "shop/web:1",
        "canaryctl/shop:1",
        "web:canaryctl/shop/",
        "debian:13",
    ],
)
def test_nobody_elses_tag_goes(foreign: str) -> None:
    assert prunable(**look("f", tags={foreign: "sha256:a"})) == ([], [])


def test_an_image_without_a_release_goes() -> None:
    assert prunable(**look("f", tags={tag("a"): "sha256:a", tag("f"): "sha256:f"})) == ([tag("a")], [])


def test_an_image_that_two_releases_share_stays() -> None:
    shared = {"images": {"web": {"tag": tag("f")}}}
    assert prunable(**look("f", releases={folder("a"): shared, folder("f"): shared})) == ([], [folder("a")])


@pytest.mark.parametrize("used", [tag("a"), "sha256:a"])
def test_an_image_that_a_container_uses_stays(used: str) -> None:
    assert prunable(**look("abf", used={used}))[0] == [tag("b")]


def test_the_folder_of_a_release_whose_image_runs_stays() -> None:
    assert prunable(**look("abf", used={tag("a"), tag("f")}))[1] == [folder("b")]


def test_an_image_in_use_by_the_current_release_keeps_no_older_folder() -> None:
    there = look("af", used={tag("f")})
    there["releases"][folder("a")] = {"images": {"web": {"tag": tag("a")}, "db": {"tag": tag("f")}}}
    assert prunable(**there) == ([tag("a")], [folder("a")])


def test_a_second_name_of_an_image_in_use_goes() -> None:
    tags = {tag("f"): "sha256:f", tag("a"): "sha256:f"}
    assert prunable(**look("f", tags=tags, used={"sha256:f", tag("f")})) == ([tag("a")], [])


def test_a_folder_that_a_container_uses_stays_with_its_images() -> None:
    assert prunable(**look("abf", used={folder("a")})) == ([tag("b")], [folder("b")])


def test_both_renderings_of_a_kept_release_stay() -> None:
    there = look("abf")
    there["releases"][folder("f", "1")] = {"images": {}}
    assert prunable(**there)[1] == [folder("a"), folder("b")]


def test_no_image_goes_where_it_is_not_known_what_is_needed() -> None:
    there = look("abf")
    there["releases"][folder("f")] = None
    assert prunable(**there) == ([], [folder("a"), folder("b")])


def test_a_folder_of_another_name_is_not_ours_to_remove() -> None:
    there = look("f")
    there["releases"]["backup of monday"] = None
    assert prunable(**there) == ([], [])


FILES = {"compose.yml": b"services: {}\n", "assets/conf/a.ini": b"a=1\n"}


def installed(base: Path) -> tuple[str, dict[str, Any]]:
    """A release as it is put on hosts: its directory's name, and its release.json."""
    name = f"{rid('a')}-{rendering_suffix('canary', {path: sha256(content) for path, content in FILES.items()})}"
    release = {"environment": "canary", "images": {}, "files": {"conf/a.ini": sha256(FILES["assets/conf/a.ini"])}}
    for path, content in {**FILES, "release.json": json.dumps(release).encode()}.items():
        (base / name / path).parent.mkdir(parents=True, exist_ok=True)
        (base / name / path).write_bytes(content)
    return name, release


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ({}, None),
        ({"state/row": "precious"}, ["state/row"]),
        ({"assets/conf/b.ini": "theirs"}, ["assets/conf/b.ini"]),
        ({"assets/conf/a.ini": "edited"}, ["assets/conf/a.ini"]),
        ({"compose.yml": "edited"}, ["compose.yml"]),
        ({"compose.yml.drifted-20260101T000000Z": "edited"}, ["compose.yml.drifted-20260101T000000Z"]),
    ],
)
def test_a_folder_that_somebody_wrote_into_stays_and_is_named(
    tmp_path: Path, written: dict[str, str], kept: list[str] | None
) -> None:
    name, release = installed(tmp_path)
    for path, text in written.items():
        (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name / path).write_text(text)
    answer: dict[str, Any] = {"releases": [], "kept": {}, "faults": {}}
    remove_directories(str(tmp_path), [name], {name: release}, answer)
    assert (tmp_path / name).exists() is (kept is not None)
    assert answer == {"releases": [] if kept else [name], "kept": {name: kept} if kept else {}, "faults": {}}
    assert undo.changed_files(tmp_path / name) == (kept or [])  # what rollbacks go by
