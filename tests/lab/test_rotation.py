"""Secrets on real hosts: what is said of them, and what a changed one restarts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Box, Ctl, Result
from toy import COMPOSE, STACK, Toy, tells

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, ctl: Ctl, box: Callable[[str], Box]) -> Iterator[Toy]:
    """Two services with a secret each, and a third secret that nobody uses."""
    made = Toy(tmp_path_factory.mktemp("rotation"), "rotated", 18431, ctl, box)
    stack = STACK.format(name=made.name).replace("{web: web}}", "{web: web, other: web}}")
    stack = stack.replace("[web]", "[web, other]")
    made.write("stack.yml", stack + "secrets: [WEB_SECRET, OTHER_SECRET, SPARE]\n")
    block, _, volumes = COMPOSE.format(port=made.port).removeprefix("services:\n").partition("volumes: {data")
    other = block.replace("  web:", "  other:").replace("images.web", "images.other")
    other = "".join(line for line in other.splitlines(keepends=True) if "ports:" not in line)
    web = block + '    environment: {TOKEN: "${WEB_SECRET}"}\n'
    other += "    environment: [OTHER_SECRET]\n"
    made.write("compose.yml.j2", f"services:\n{web}{other}volumes: {{data{volumes}")
    for name in ("WEB_SECRET", "OTHER_SECRET", "SPARE"):
        made.write(f"values/{name}", f"first-{name}\n")
    sources = {name: {"file": str(made.folder / "values" / name)} for name in ("WEB_SECRET", "SPARE")}
    sources["OTHER_SECRET"] = {"command": f"cat {made.folder}/values/OTHER_SECRET"}
    made.environment("one", "canary-1", variables={"all": {"canary_secrets": sources}})
    yield made
    made.clean()


@pytest.fixture(scope="module")
def deployed(toy: Toy) -> Result:
    done = toy.deploy("one")
    assert done.code == 0, done.text[-3000:]
    return done


def containers(toy: Toy) -> dict[str, str]:
    """Service -> container id."""
    label = '{{.Label "com.docker.compose.service"}} {{.ID}}'
    return dict(
        line.split()
        for line in toy.box("canary-1").run(f"docker ps -f name=^{toy.name}- --format '{label}'").splitlines()
    )


def statuses(toy: Toy) -> dict[str, str]:
    answer = toy.run("secrets", "diff", "one", "--output", "json")
    assert answer.code == 0, answer.text
    assert "first-" not in answer.text and "second-" not in answer.text
    return {row["name"]: row["status"] for row in answer.document["hosts"]["canary-1"]}


def test_a_changed_secret_restarts_just_the_service_that_uses_it(toy: Toy, deployed: Result) -> None:
    before = containers(toy)
    assert set(statuses(toy).values()) == {"same"}
    toy.write("values/OTHER_SECRET", "second-OTHER_SECRET\n")
    assert statuses(toy) == {"OTHER_SECRET": "differs", "SPARE": "same", "WEB_SECRET": "same"}
    done = toy.deploy("one")
    assert done.code == 0, done.text[-3000:]
    changes = [(change["stage"], change["what"]) for change in done.document["plan"]["changes"]]
    assert changes == [("render", "secrets.env"), ("start", "other")]
    assert "OTHER_SECRET" in done.document["plan"]["changes"][1]["reason"]
    after = containers(toy)
    assert after["web"] == before["web"] and after["other"] != before["other"]
    assert "second-OTHER_SECRET" in toy.box("canary-1").run(f"docker exec {after['other']} env")
    assert toy.deploy("one").document["plan"]["changes"] == []


def test_a_secret_that_no_service_uses_restarts_nothing(toy: Toy, deployed: Result) -> None:
    before = containers(toy)
    toy.write("values/SPARE", "second-SPARE\n")
    done = toy.deploy("one")
    assert done.code == 0 and containers(toy) == before
    assert [change["what"] for change in done.document["plan"]["changes"]] == ["secrets.env"]
    assert set(statuses(toy).values()) == {"same"}


def test_services_left_on_an_old_secret_by_a_cut_off_deploy_are_restarted_by_the_next(
    toy: Toy, deployed: Result
) -> None:
    before = containers(toy)
    toy.write("values/WEB_SECRET", "third-WEB_SECRET\n")
    assert toy.run("render", "one", "--yes").code == 0  # as far as a deploy came that was cut off
    done = toy.deploy("one")
    assert done.code == 0, done.text[-3000:]
    assert [(change["stage"], change["what"]) for change in done.document["plan"]["changes"]] == [("start", "web")]
    after = containers(toy)
    assert after["web"] != before["web"] and after["other"] == before["other"]


def test_check_lists_every_secret_and_shows_none(toy: Toy) -> None:
    done = toy.run("secrets", "check", "one")
    assert done.code == 0, done.text
    assert all(word in done.out for word in ("WEB_SECRET", "OTHER_SECRET", "SPARE", "command", "file", "cat ..."))
    assert "first-" not in done.text and "second-" not in done.text and "third-" not in done.text


def test_a_missing_secret_is_named_before_anything_is_touched(toy: Toy, deployed: Result, tmp_path: Path) -> None:
    back = toy.edit("inventories/one/group_vars/all/policy.yml", "values/SPARE", "values/NONE")
    try:
        before = toy.state("canary-1")
        tells(toy.deploy("one"), 2, "SPARE", "secrets check one")
        assert toy.state("canary-1") == before
        done = toy.run("secrets", "check", "one", "--output", "json")
        assert done.code == 2
        rows = {row["name"]: row for row in done.document["secrets"]}
        assert not rows["SPARE"]["present"] and rows["WEB_SECRET"]["present"]
        assert toy.run("secrets", "diff", "one").code == 2
    finally:
        back()
