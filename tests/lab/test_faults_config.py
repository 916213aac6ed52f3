"""Faults in what the user wrote: found before anything is touched, with what, where and what next."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Box, Ctl
from toy import Toy, evidence, tells

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, ctl: Ctl, box: Callable[[str], Box]) -> Iterator[Toy]:
    """A toy on canary-1, deployed and healthy."""
    made = Toy(tmp_path_factory.mktemp("config"), "toyconf", 18801, ctl, box)
    made.environment("one", "canary-1")
    try:
        done = made.deploy("one")
        assert done.code == 0, done.text[-3000:]
        yield made
    finally:
        made.clean()


@pytest.fixture
def untouched(toy: Toy) -> Iterator[None]:
    """The host is afterwards as it was."""
    before = toy.state("canary-1")
    yield
    assert toy.state("canary-1") == before


def test_an_unknown_environment_lists_those_there_are(ctl: Ctl) -> None:
    tells(ctl("deploy", "cannary", "--yes"), 2, "no environment 'cannary'", "canary, fleet")


@pytest.mark.usefixtures("untouched")
def test_an_inventory_that_does_not_parse_is_named_with_its_line(toy: Toy) -> None:
    toy.write("inventories/broken/hosts.yml", "servers:\n  hosts:\n    canary-1: {\n")
    tells(toy.run("deploy", "broken", "--yes"), 2, "not valid YAML", "inventories/broken/hosts.yml:")


def test_an_empty_group_that_a_placement_needs(toy: Toy) -> None:
    toy.environment("nobody", "canary-1")
    back = toy.edit("stack.yml", "{all: [web]}", "{gpu_servers: [web]}")
    try:
        tells(toy.run("deploy", "nobody", "--yes"), 2, "group 'gpu_servers' does not exist", "web", "stack.yml")
    finally:
        back()


@pytest.mark.usefixtures("untouched")
def test_an_undefined_name_in_the_template_gives_file_and_line(toy: Toy, ctl: Ctl) -> None:
    back = toy.edit("compose.yml.j2", "{{ address }}", "{{ adress }}")
    try:
        done = toy.deploy("one")
        tells(done, 2, "'adress' is undefined", "compose.yml.j2:10", "address")
        assert done.document["stages"] == [] and done.document["changed_from"] is None
        evidence(ctl, done.document)
    finally:
        back()


@pytest.mark.usefixtures("untouched")
def test_an_image_that_was_not_built_is_named(toy: Toy) -> None:
    back = toy.edit("stack.yml", '{tag: "ktrdr-backend:test"}', '{tag: "toy:never", build: {context: .}}')
    try:
        done = toy.deploy("one")
        tells(done, 2, "web (toy:never)", "canaryctl build web")
        assert done.document["verdict"] == "error"
    finally:
        back()


@pytest.mark.usefixtures("untouched")
def test_missing_secrets_are_all_named(toy: Toy) -> None:
    file = toy.folder / "stack.yml"
    before = file.read_text()
    try:
        file.write_text(before + "secrets: [FIRST_KEY, SECOND_KEY]\n")
        tells(toy.deploy("one"), 2, "FIRST_KEY", "SECOND_KEY")
    finally:
        file.write_text(before)


@pytest.mark.usefixtures("untouched")
def test_a_stack_takes_no_variable_of_the_operator(toy: Toy) -> None:
    back = toy.edit("stack.yml", "start_timeout: 30\n", "start_timeout: 30\nsecrets: [GREEDY_TOKEN]\n")
    try:
        done = toy.run("deploy", "one", "--yes", env={"GREEDY_TOKEN": "operators-own"})
        tells(done, 2, "GREEDY_TOKEN", "--secret-env")
        assert "operators-own" not in done.text
    finally:
        back()


@pytest.mark.usefixtures("untouched")
def test_a_stack_takes_no_file_of_the_operator(toy: Toy, tmp_path: Path) -> None:
    back = toy.edit("stack.yml", "start_timeout: 30\n", "start_timeout: 30\nassets: [assets/]\n")
    (tmp_path / "id_secret").write_text("not yours\n")
    link = toy.folder / "assets/key.txt"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "id_secret")
    try:
        tells(toy.run("deploy", "one", "--yes"), 2, "assets/key.txt", str(tmp_path / "id_secret"))
    finally:
        back()
        link.unlink()
        link.parent.rmdir()


@pytest.mark.usefixtures("untouched")
def test_without_a_terminal_nobody_agrees(toy: Toy) -> None:
    back = toy.edit("compose.yml.j2", "stop_grace_period: 1s", "stop_grace_period: 2s")
    try:
        done = toy.run("deploy", "one", "--output", "json")
        tells(done, 2, "not confirmed, nothing was changed", "--yes")
        assert done.document["plan"]["changes"] and done.document["changed_from"] is None
    finally:
        back()


@pytest.mark.parametrize("argv", [["deploy", "nowhere", "--yes"], ["plan", "nowhere"], ["status", "nowhere"]])
def test_json_is_one_document_even_before_there_is_a_run(toy: Toy, argv: list[str]) -> None:
    done = toy.run(*argv, "--output", "json")
    assert done.code == 2
    document = json.loads(done.out)
    assert document["exit_code"] == 2 and "nowhere" in document["error"]["what"] and document["error"]["hint"]


def test_a_plain_compose_file_is_used_as_it_is(toy: Toy, box: Callable[[str], Box], tmp_path: Path) -> None:
    plain = Toy(tmp_path, "toyplain", 18802, toy.ctl, box)
    plain.environment("one", "canary-1")
    address = box("canary-1").address
    template = (plain.folder / "compose.yml.j2").read_text()
    compose = template.replace("{{ address }}", address).replace("{{ images.web }}", "web-of-its-own:1")
    plain.write("compose.yml", compose.replace("    pull_policy: never\n", "    build: .\n"))
    plain.edit("stack.yml", "compose.yml.j2", "compose.yml")
    try:
        done = plain.deploy("one")
        assert done.code == 0, done.text[-3000:]
        image = box("canary-1").run("docker inspect toyplain-one-web-1 --format '{{.Config.Image}}'").strip()
        assert image == done.document["release"]["images"]["web"]["tag"]
        assert plain.deploy("one").document["plan"]["changes"] == []
    finally:
        plain.clean()
