"""What the agent reads as root: only what is where it should be, is a file, and is not endless."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from canaryctl.agent.read.audit import about_compose
from canaryctl.agent.read.collect import read_compose
from canaryctl.agent.read.regular import LARGEST_COMPOSE, open_regular, read_below
from canaryctl.agent.read.state import about_state, hash_files
from canaryctl.agent.write.content import Content

LABEL = "com.docker.compose.project.config_files"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    release = tmp_path / "opt" / "shop" / "releases" / "one"
    release.mkdir(parents=True)
    (release / "compose.yml").write_text("services: {}\n")
    (release.parents[1] / "current").symlink_to("releases/one")
    (tmp_path / "shadow").write_text("root:secret\n")
    (tmp_path / "opt" / "shop" / "secrets.env").write_text("A=secret\n")
    (release.parents[2] / "other" / "releases").mkdir(parents=True)
    (release.parents[2] / "other" / "releases" / "compose.yml").write_text("another stack's secret\n")
    return tmp_path / "opt"


def said(root: Path, label: Any, stack: str = "shop") -> str:
    return read_compose({LABEL: str(label)}, {"root": str(root), "stack": stack})


def test_the_file_of_a_release_is_read_through_current_too(root: Path) -> None:
    assert said(root, root / "shop" / "releases" / "one" / "compose.yml") == "services: {}\n"
    assert said(root, f"{root}/shop/current/compose.yml,/etc/passwd") == "services: {}\n"
    assert about_compose(str(root / "shop")) == "services: {}\n"


@pytest.mark.parametrize(
    "label",
    ["/etc/shadow", "{root}/../shadow", "{root}/shop/releases/../secrets.env", "{root}/shop/secrets.env", "a\x00b", "",
     "{root}/other/releases/compose.yml", "{root}/shop/releases/one", "{root}/shop/releases", "compose.yml", "{root}",
     "{root}/shop/releases/one/link.yml", "{root}/shop/releases/one/folder/shadow", "{root}/shop/releases/one/pipe"],
)  # fmt: skip
def test_no_label_has_another_file_read(root: Path, label: str) -> None:
    release = root / "shop" / "releases" / "one"
    (release / "link.yml").symlink_to(root.parent / "shadow")
    (release / "folder").symlink_to(root.parent)
    os.mkfifo(release / "pipe")
    assert said(root, label.format(root=root)) == ""
    assert said(root, release / "compose.yml", stack="") == ""


def test_a_file_without_end_is_cut(root: Path) -> None:
    file = root / "shop" / "releases" / "one" / "compose.yml"
    with file.open("wb") as stream:
        stream.truncate(1 << 34)
    assert len(said(root, file)) == LARGEST_COMPOSE


def test_a_served_release_whose_file_became_a_link_is_not_followed(root: Path) -> None:
    file = root / "shop" / "releases" / "one" / "compose.yml"
    file.unlink()
    file.symlink_to(root.parent / "shadow")
    with pytest.raises(OSError, match="not below"):
        about_compose(str(root / "shop"))


def test_a_folder_that_becomes_a_link_meanwhile_is_not_followed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = root / "shop" / "releases" / "one"
    monkeypatch.setattr(os.path, "realpath", lambda path: str(path))  # as it was when it was asked
    release.rename(root / "aside")
    release.symlink_to(root.parent)
    with pytest.raises(OSError):
        read_below(str(release.parent), str(release / "shadow"), 99)


def test_pipes_and_links_in_a_release_neither_block_nor_lead_out(root: Path) -> None:
    release = root / "shop" / "releases" / "one"
    os.mkfifo(release / "pipe")
    (release / "link").symlink_to("/etc/shadow")
    found = hash_files(str(release))
    assert found["pipe"] == "other:0" and found["link"] == "link:/etc/shadow" and len(found["compose.yml"]) == 64
    with pytest.raises(OSError, match="not a regular file"):
        open_regular(str(release / "pipe"))


class Daemon:
    """Docker's answer alone: what it says is data here."""

    def __init__(self, *ids: str) -> None:
        self._ids = ids

    def get(self, _: str) -> Any:
        return [{"Id": found} for found in self._ids]


@pytest.mark.parametrize(
    "document",
    [
        {"config": {"digest": "sha256:../../../../secret"}, "layers": [{"digest": "../..:secret", "size": 1}]},
        {"manifests": [{"digest": "sha256:" + "a" * 64}] * 2},  # itself, for ever
        {"manifests": 5}, {"manifests": [None]}, {"layers": 1, "config": []}, {"layers": [1], "config": None}, [], None,
    ],
)  # fmt: skip
def test_a_manifest_leads_to_no_other_file_and_ends(tmp_path: Path, document: Any) -> None:
    store = tmp_path / "containerd" / "daemon" / "io.containerd.content.v1.content" / "blobs" / "sha256"
    store.mkdir(parents=True)
    (store / ("a" * 64)).write_text(json.dumps(document))
    (tmp_path / "secret").write_text(json.dumps({"rootfs": {"diff_ids": ["secret"]}}))
    assert Content(str(tmp_path)).layers(Daemon("sha256:" + "a" * 64)) == {}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["history.jsonl", "secrets.env", "started.json", "migrated.json", "secrets.applied.json"]
)
@pytest.mark.parametrize("kind", ["pipe", "folder", "deep", "list", "text", "zeros"])
def test_state_of_another_form_than_ours_hides_nothing_of_the_rest(root: Path, name: str, kind: str) -> None:
    place = root / "shop" / name
    place.unlink(missing_ok=True)
    make = {"pipe": os.mkfifo, "folder": os.mkdir, "zeros": lambda path: path.symlink_to("/dev/zero")}
    if kind in make:
        make[kind](place)
    else:
        place.write_text({"deep": "[" * 100_000, "list": "[]", "text": '"x"'}[kind])
    errors: dict[str, str] = {}
    seen = about_state({"root": str(root), "stack": "shop", "nonce": "00"}, errors)
    assert seen["current"] == "one" and list(seen["releases"]) == ["one"]
