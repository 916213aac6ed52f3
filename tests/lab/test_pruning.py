"""After a passed deploy hosts keep what may be needed again, and nothing of ours beyond that."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Box, Ctl
from toy import Toy

HOST = "canary-1"
OLD = "abcde"  # five releases that passed, oldest first


@pytest.fixture(scope="module")
def toy(ctl: Ctl, box: Callable[[str], Box], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toy]:
    found = Toy(tmp_path_factory.mktemp("toy"), "prunetoy", 18472, ctl, box)
    found.environment("one", HOST)
    yield found
    box(HOST).run("docker rm -f prunetoy-holder; docker rmi foreign/prunetoy:1 canaryctl/prunetoys/web:1", check=False)
    found.clean()


def tag(letter: str) -> str:
    return f"canaryctl/prunetoy/web:sha256-{letter * 12}"


def folder(letter: str) -> str:
    return f"{letter * 64}-{letter * 8}"


def lines(before: str | None, after: str) -> list[dict[str, Any]]:
    common = {"from": before and before * 64, "to": after * 64, "environment": "one"}
    return [{**common, "what": "deploy", "verdict": None}, {**common, "what": "verdict", "verdict": "passed"}]


def old_releases(toy: Toy) -> None:
    """Give the host a past: history, and for each release a folder and an image of its own."""
    host = toy.box(HOST)
    history = "\n".join(
        json.dumps(line) for before, after in zip([None, *OLD], OLD, strict=False) for line in lines(before, after)
    )
    host.run(
        f"cd {toy.root} && mv history.jsonl now && cat > history.jsonl <<'END'\n{history}\nEND\n"
        "cat now >> history.jsonl && rm now"
    )
    for letter in OLD:
        document = json.dumps({"id": letter * 64, "images": {"web": {"tag": tag(letter)}}})
        path = f"{toy.root}/releases/{folder(letter)}"
        host.run(f"mkdir -p {path}/assets && printf %s '{document}' > {path}/release.json")
        host.run(
            f"image=$(docker images -q 'canaryctl/prunetoy/web' | head -n 1); "
            f"printf 'FROM %s\\nLABEL letter={letter}\\n' $image | DOCKER_BUILDKIT=0 docker build -q -t {tag(letter)} -"
        )


def test_a_passed_deploy_leaves_what_may_be_needed_again(toy: Toy) -> None:
    host = toy.box(HOST)
    assert toy.deploy("one").code == 0
    (first,) = (json.loads(host.run(f"cat {toy.root}/current/release.json"))["images"]["web"]["tag"],)
    old_releases(toy)
    host.run(f"docker tag {tag('a')} foreign/prunetoy:1; docker tag {tag('a')} canaryctl/prunetoys/web:1")
    host.run(f"docker create --name prunetoy-holder {tag('b')} true; docker tag {first} {tag('9')}")
    toy.edit("compose.yml.j2", "services:\n", "# another release\nservices:\n")
    done = toy.deploy("one")
    assert done.code == 0, done.text[-3000:]
    stage = next(entry for entry in done.document["stages"] if entry["name"] == "prune")
    assert (stage["host"], stage["status"]) == (HOST, "changed")
    # the new one and `first` passed last, `e` third; `b` is in use
    assert stage["images"] == [tag("9"), tag("a"), tag("c"), tag("d")]
    assert stage["releases"] == [folder("a"), folder("c"), folder("d")]
    assert any("removed" in note and HOST in note for note in done.document["notes"])
    assert done.document["warnings"] == []
    there = set(host.run("docker images --format '{{.Repository}}:{{.Tag}}'").split())
    assert {first, tag("b"), tag("e"), "foreign/prunetoy:1", "canaryctl/prunetoys/web:1"} <= there
    assert not {tag("9"), tag("a"), tag("c"), tag("d")} & there
    left = set(host.run(f"ls {toy.root}/releases").split())
    assert {folder("b"), folder("e"), host.run(f"basename $(readlink {toy.root}/current)").strip()} <= left
    assert len(left) == 4
    assert [e for e in toy.deploy("one").document["stages"] if e["name"] == "prune"] == []


def test_what_cannot_be_removed_is_a_warning(toy: Toy) -> None:
    host = toy.box(HOST)
    path = f"{toy.root}/releases/{folder('f')}"
    host.run(f"mkdir -p {path} && mount -t tmpfs none {path}")
    try:
        toy.edit("compose.yml.j2", "# another release\n", "# a third\n")
        done = toy.deploy("one")
        assert done.code == 0, done.text[-3000:]
        (warning,) = [w for w in done.document["warnings"] if folder("f") in w["what"]]
        assert warning["where"] == HOST and warning["hint"]
    finally:
        host.run(f"umount {path}; rmdir {path}")
