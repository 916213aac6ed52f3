"""A stack's files are its own: nothing that it names leads out of its folder, and nothing is read without bound."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from canaryctl.config import stackfiles
from canaryctl.config.stack import Stack, load_stack
from canaryctl.config.stackfiles import read_stack_files
from canaryctl.errors import ConfigError
from canaryctl.images.docker import build_images

STACK = """\
stack: shop
images: {web: {tag: "shop-web:test", build: {context: ., dockerfile: Dockerfile}}}
variants: {plain: {web: web}}
placement: {all: [web]}
compose: compose.yml.j2
assets: [rules/]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A stack in a folder, beside which the operator has a key."""
    made = tmp_path / "stack"
    (made / "rules").mkdir(parents=True)
    (made / "rules/one.txt").write_text("one\n")
    (made / "compose.yml.j2").write_text("services: {}\n")
    (made / "Dockerfile").write_text("FROM scratch\n")
    (made / "stack.yml").write_text(STACK)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/key").write_text("not yours\n")
    return made


def load(folder: Path, old: str = "", new: str = "") -> Stack:
    file = folder / "stack.yml"
    file.write_text(file.read_text().replace(old, new))
    return load_stack(file)


def why(action: Callable[[], object]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        action()
    assert caught.value.where
    return caught.value


def put(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize(
    ("at", "target"),
    [
        ("rules/key.txt", "../../outside/key"),
        ("rules/more", "../../outside"),
        ("rules/link", "/etc/hostname"),
        ("rules/device", "/dev/zero"),
        ("compose.yml.j2", "../outside/key"),
    ],
)
def test_a_link_out_of_the_stack_is_refused_and_named(folder: Path, at: str, target: str) -> None:
    put(folder / at, target)
    error = why(lambda: read_stack_files(load(folder)))
    assert at in error.what + error.where and "out of" in error.what
    assert str((folder / at).resolve()) in error.what


def test_a_whole_folder_of_assets_that_is_a_link_is_refused(folder: Path) -> None:
    (folder / "rules/one.txt").unlink()
    (folder / "rules").rmdir()
    put(folder / "rules", "../outside")
    assert "out of" in why(lambda: read_stack_files(load(folder))).what


def test_a_link_within_the_stack_is_followed(folder: Path) -> None:
    (folder / "common/deep").mkdir(parents=True)
    (folder / "common/deep/two.txt").write_text("two\n")
    put(folder / "rules/more", "../common")
    put(folder / "rules/three.txt", "one.txt")
    put(folder / "rules/nowhere", "gone.txt")
    found = read_stack_files(load(folder)).assets
    assert found == {"rules/more/deep/two.txt": b"two\n", "rules/one.txt": b"one\n", "rules/three.txt": b"one\n"}


def test_links_that_go_round_are_refused(folder: Path) -> None:
    put(folder / "rules/again", ".")
    assert "rules/again" in why(lambda: read_stack_files(load(folder))).where


def test_what_is_no_file_is_refused_and_does_not_block(folder: Path) -> None:
    os.mkfifo(folder / "rules/pipe")
    assert "rules/pipe" in why(lambda: read_stack_files(load(folder))).where


@pytest.mark.parametrize(("most", "name"), [(3, "MOST"), (5, "LARGEST")])
def test_assets_are_bounded_in_number_and_size(
    folder: Path, monkeypatch: pytest.MonkeyPatch, most: int, name: str
) -> None:
    for number in range(3):
        (folder / f"rules/{number}").write_text("x")
    monkeypatch.setattr(stackfiles, name, most)
    assert "more than" in why(lambda: read_stack_files(load(folder))).what


def test_the_size_of_a_file_without_end_is_bounded(folder: Path) -> None:
    with (folder / "compose.yml.j2").open("wb") as file:
        file.truncate(1 << 40)
    assert "MB" in why(lambda: read_stack_files(load(folder))).what


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("compose: compose.yml.j2", "compose: compose.yml.j2\nprobes: ../outside/key"),
        ("compose: compose.yml.j2", "compose: compose.yml.j2\nprobes: /etc/passwd"),
        ("context: .", "context: /etc"),
        ("dockerfile: Dockerfile", "dockerfile: /etc/passwd"),
        ("shop-web:test", "--help"),
        ("context: .", 'context: ., args: {"A=B": null}'),
    ],
)
def test_paths_that_are_written_to_lead_elsewhere_are_refused(folder: Path, old: str, new: str) -> None:
    assert "stack.yml" in why(lambda: load(folder, old, new)).where


def test_a_probe_file_that_is_a_link_out_of_the_stack_is_refused(folder: Path) -> None:
    put(folder / "probes.yml", "../outside/key")
    assert "probes.yml" in why(lambda: load(folder).probes_file).what


class TestBuild:
    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("context: .", "context: ../outside"),
            ("dockerfile: Dockerfile", "dockerfile: ../outside/key"),
            ("dockerfile: Dockerfile", "dockerfile: linked"),
        ],
    )
    def test_contexts_and_recipes_elsewhere_are_refused(self, folder: Path, old: str, new: str) -> None:
        put(folder / "linked", "../outside/key")
        stack = load(folder, old, new)
        error = why(lambda: build_images(stack, ["web"], print))
        assert "out of" in error.what and "web" in error.what
        assert "out of" in why(lambda: build_images(stack, ["web"], print, project=folder.parent / "other")).what

    def test_a_variable_of_the_operator_is_asked_for(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_TOKEN", "mine")
        stack = load(folder, "context: .", "context: ., args: {AWS_TOKEN: null, LEVEL: 2}")
        error = why(lambda: build_images(stack, ["web"], print))
        assert "AWS_TOKEN" in error.what and "--build-arg AWS_TOKEN" in error.hint

    def test_an_argument_that_no_image_has_is_refused(self, folder: Path) -> None:
        assert "OTHER" in why(lambda: build_images(load(folder), ["web"], print, granted={"OTHER": "1"})).what


def test_nothing_in_the_operators_folders_is_the_stacks(folder: Path) -> None:
    """A stack in the project's own folder could else ship its inventories with `assets: [.]`, or by a link."""
    inventories = folder / "rules/inventories"
    (inventories / "prod").mkdir(parents=True)
    (inventories / "prod/hosts.yml").write_text("password: hunter2\n")
    error = why(lambda: read_stack_files(load(folder), [inventories]))
    assert "rules/inventories/prod/hosts.yml" in error.what and error.where

    inventories.rename(folder / "inventories")
    put(folder / "rules/link.yml", "../inventories/prod/hosts.yml")
    assert "rules/link.yml" in why(lambda: read_stack_files(load(folder), [folder / "inventories"])).what
    assert read_stack_files(load(folder), [folder, folder.parent]).assets  # named by --inventories: around the stack
