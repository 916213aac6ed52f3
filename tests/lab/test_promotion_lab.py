"""An environment that takes what passed on another one, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import LAB, Box, Ctl, Result
from toy import Toy, evidence, tells

pytestmark = pytest.mark.lab

HOST = "canary-1"
# A docker on a host that answers `save` with what LIE makes of it.
WRAPPER = """#!/bin/sh
[ "$1" = save ] || exec /usr/bin/docker "$@"
exec python3 - "$@" <<'END'
import io, json, os, subprocess, sys, tarfile
LIE
END
"""
ALSO_NAMES = """
made = subprocess.run(["/usr/bin/docker", *sys.argv[1:]], stdout=subprocess.PIPE, check=True).stdout
with tarfile.open(fileobj=io.BytesIO(made)) as real, tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as lie:
    for member in real:
        content = real.extractfile(member).read() if member.isfile() else b""
        if member.name == "manifest.json":
            entries = json.loads(content)
            entries[0]["RepoTags"].append("TAG")
            content = json.dumps(entries).encode()
        member.size = len(content)
        lie.addfile(member, io.BytesIO(content))
"""
ANOTHER = """
os.execv("/usr/bin/docker", ["docker", "save", "IMAGE"])
"""
IMAGE, OTHER = "promo-web:test", "promo-other:test"
NEXT = {"all": {"canary_promotes_from": "first"}}


def build(tag: str, content: str) -> str:
    """An image of ours that differs by `content`; its identity."""
    text = f"FROM ktrdr-backend:test\nLABEL promo={content}\nUSER root\nRUN echo {content} > /promo\n"
    argv = ["docker", "build", "-q", "-t", tag, "-"]
    env = {**os.environ, "DOCKER_BUILDKIT": "0"}
    subprocess.run(argv, input=text, check=True, capture_output=True, text=True, env=env)
    return here(tag)


def here(reference: str) -> str:
    """An image's identity on this machine; empty where it is not here."""
    argv = ["docker", "image", "inspect", "-f", "{{.Id}}", reference]
    return subprocess.run(argv, capture_output=True, text=True).stdout.strip()


def remove(*references: str) -> None:
    subprocess.run(["docker", "rmi", "-f", *references], capture_output=True)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, ctl: Ctl, box: Callable[[str], Box]) -> Iterator[Toy]:
    """A stack with an environment `first`, and `next` that promotes from it, on the same host."""
    made = Toy(tmp_path_factory.mktemp("promo"), "promo", 18871, ctl, box)
    made.edit("stack.yml", "ktrdr-backend:test", IMAGE)
    made.environment("first", HOST)
    made.environment("next", HOST, variables=NEXT)
    made.clean()
    yield made
    made.clean()
    listed = subprocess.run(["docker", "images", "-q", "canaryctl/promo/*"], capture_output=True, text=True)
    remove(IMAGE, OTHER, *listed.stdout.split())


@pytest.fixture
def proven(toy: Toy) -> str:
    """The identity of the image that passed on `first` last, which our tag names; deployed where nothing has passed."""
    if (verdict := first_said(toy)) and verdict["verdict"] == "passed" and here(identity := verdict["images"]["web"]):
        subprocess.run(["docker", "tag", identity, IMAGE], check=True)
        return str(identity)
    identity = build(IMAGE, "proven")
    assert served(toy.deploy("first")) == identity
    return identity


def first_said(toy: Toy) -> dict[str, Any] | None:
    """The newest verdict of `first`."""
    verdicts = [line for line in toy.history(HOST) if (line["what"], line["environment"]) == ("verdict", "first")]
    return verdicts[-1] if verdicts else None


def served(done: Result) -> str:
    assert done.code == 0, done.text[-3000:]
    return str(done.document["release"]["images"]["web"]["id"])


def test_before_anything_passed_nothing_is_promoted(toy: Toy) -> None:
    toy.environment("unseen", HOST)
    toy.environment("after-unseen", HOST, variables={"all": {"canary_promotes_from": "unseen"}})
    build(IMAGE, "proven")
    before = toy.state(HOST)
    tells(toy.run("deploy", "after-unseen", "--yes"), 2, "no release has passed on unseen", "--force --reason")
    assert toy.state(HOST) == before


def test_an_environment_that_is_not_there_is_named(toy: Toy) -> None:
    toy.environment("lost", HOST, variables={"all": {"canary_promotes_from": "nowhere"}})
    tells(toy.run("deploy", "lost", "--yes"), 2, "canary_promotes_from of lost names 'nowhere'")


def test_where_the_environment_before_cannot_be_asked_it_is_a_host_error(toy: Toy) -> None:
    toy.environment("away", HOST, variables={HOST: {"ansible_port": 9}})
    toy.environment("after-away", HOST, variables={"all": {"canary_promotes_from": "away"}})
    tells(toy.run("deploy", "after-away", "--yes"), 3, "away", HOST)


def test_what_passed_is_promoted_whatever_the_tag_says_since(toy: Toy, ctl: Ctl, proven: str) -> None:
    verdict = first_said(toy)
    assert verdict and (verdict["verdict"], verdict["variant"], verdict["placed"]) == ("passed", "only", ["web"])
    assert verdict["images"] == {"web": proven} and verdict["contracts"]["passed"] >= 1 and verdict["probes_file"]
    assert build(IMAGE, "since") != proven

    planned = toy.run("plan", "next", "--output", "json").document
    assert planned["promotion"]["from"] == "first"
    assert planned["release"]["images"]["web"]["id"] == proven and planned["plan"]["changes"]

    rendered = toy.run("render", "next", "--yes", "--output", "json").document
    assert rendered["release"]["images"]["web"]["id"] == proven

    done = toy.run("deploy", "next", "--yes")
    assert done.code == 0 and "from first: passed" in done.out and proven in done.out, done.text[-3000:]

    again = toy.deploy("next")
    assert served(again) == proven and again.document["plan"]["changes"] == []
    promotion = again.document["promotion"]
    assert (promotion["from"], promotion["verdict"], promotion["by"]) == ("first", "passed", verdict["who"])
    assert promotion["images"] == {"web": {"id": proven, "from": "here"}} and promotion["run"] == verdict["run"]
    report = (evidence(ctl, again.document) / "report.md").read_text()
    assert "Promoted from first" in report and proven in report


def test_the_hook_for_a_promotion_runs_at_one_and_is_told_of_it(toy: Toy, proven: str) -> None:
    for name in ("post-deploy", "on-promote"):
        toy.write(f"hooks/{name}", f"#!/bin/sh\necho {name} >> order; cat > told.json\n")
        (toy.folder / "hooks" / name).chmod(0o755)
    try:
        served(toy.deploy("first"))
        assert (toy.folder / "order").read_text() == "post-deploy\n"
        served(toy.deploy("next"))
        assert (toy.folder / "order").read_text() == "post-deploy\n" * 2 + "on-promote\n"
        told = json.loads((toy.folder / "told.json").read_text())
        assert told["promotion"]["from"] == "first" and told["promotion"]["images"]["web"]["id"] == proven
    finally:
        shutil.rmtree(toy.folder / "hooks")


def test_an_image_that_is_not_here_any_more_comes_from_the_host_that_ran_it(
    toy: Toy, proven: str, box: Callable[[str], Box]
) -> None:
    remove(proven)
    assert here(proven) == ""
    planned = toy.run("plan", "next", "--output", "json").document
    assert planned["promotion"]["images"]["web"] == {"id": proven, "from": HOST} and here(proven) == ""

    done = toy.deploy("next")
    assert served(done) == proven == here(proven)
    assert done.document["promotion"]["images"]["web"] == {"id": proven, "from": HOST}
    assert any("fetched from canary-1" in note for note in done.document["notes"])


@pytest.mark.parametrize(
    ("lie", "said"),
    [(ALSO_NAMES, "it also names"), (ANOTHER, "something else than the image")],
)
def test_a_host_that_sends_another_archive_changes_nothing_here(
    toy: Toy, proven: str, box: Callable[[str], Box], lie: str, said: str
) -> None:
    victim = "promo-base:slim"
    base = here("ktrdr-backend:test")
    subprocess.run(["docker", "tag", base, victim], check=True)
    other = toy.box(HOST).run("tar -C /etc -c hostname | docker import - promo-other:there").strip()
    script = WRAPPER.replace("LIE", lie.replace("TAG", victim).replace("IMAGE", other))
    toy.box(HOST).run(f"cat > /usr/local/bin/docker <<'LAST' && chmod +x /usr/local/bin/docker\n{script}LAST\n")
    remove(proven)
    try:
        tells(toy.run("deploy", "next", "--yes"), 3, HOST, said)
        assert (here(victim), here(proven)) == (base, "")
    finally:
        toy.box(HOST).run("rm /usr/local/bin/docker; docker rmi promo-other:there")
        remove(victim)
    assert served(toy.deploy("next")) == proven == here(proven)


def test_an_unproven_image_is_refused_before_anything_is_changed(toy: Toy, proven: str) -> None:
    build(OTHER, "other")
    before = toy.state(HOST)
    refused = toy.run("deploy", "next", "--image", f"web={OTHER}", "--yes")
    tells(refused, 2, "image web", OTHER, proven[:19], "first")
    assert toy.state(HOST) == before
    missing = toy.run("deploy", "next", "--image", "web=promo-never:built", "--yes")
    tells(missing, 2, "not on this machine", "promo-never:built")


def test_force_deploys_it_and_every_record_says_why(toy: Toy, ctl: Ctl, proven: str) -> None:
    other = build(OTHER, "other")
    tells(toy.run("deploy", "next", "--image", f"web={OTHER}", "--force", "--yes"), 2, "--reason")
    done = toy.deploy("next", "--image", f"web={OTHER}", "--force", "--reason", "the fix cannot wait")
    assert served(done) == other
    forced = done.document["forced"]
    assert forced["reason"] == "the fix cannot wait" and "image web" in forced["overrides"][0]
    assert done.document["promotion"] is None
    line = toy.history(HOST)[-1]
    assert (line["what"], line["reason"], line["forced"]) == ("verdict", "the fix cannot wait", True)
    folder = evidence(ctl, done.document)
    for report in ("report.md", "report.html"):
        assert "the fix cannot wait" in (folder / report).read_text()
    served(toy.deploy("next"))  # and what passed takes its place again


def test_a_run_that_judged_a_part_makes_nothing_promotable(toy: Toy, proven: str, tmp_path: Path) -> None:
    toy.edit("compose.yml.j2", "services:\n", "# changed\nservices:\n")
    partly = toy.deploy("first", "--no-contract")
    assert partly.code == 0 and any("proves no release" in note for note in partly.document["notes"])
    assert toy.history(HOST)[-1]["verdict"] == "partial"
    tells(toy.run("deploy", "next", "--yes"), 2, "compose.yml.j2 (changed)", "first")

    probes = tmp_path / "probes.yml"
    probes.write_text((toy.folder / "probes.yml").read_text())
    assert toy.deploy("first", "--probes", str(probes)).code == 0
    assert toy.history(HOST)[-1]["verdict"] == "partial"

    assert toy.deploy("first").code == 0
    assert served(toy.deploy("next")) == proven


def lied(toy: Toy, change: str) -> None:
    """Append the newest verdict of `first` to the host's history, changed as somebody with root there would."""
    code = (
        f"import json,pathlib;p=pathlib.Path('{toy.root}/history.jsonl');"
        "l=[json.loads(x) for x in p.read_text().splitlines()];"
        "v=[x for x in l if x.get('verdict') and x['environment']=='first'][-1];"
        f"v=dict(v,{change});p.write_text(''.join(json.dumps(x)+chr(10) for x in l+[v]))"
    )
    toy.box(HOST).run(f'python3 -c "{code}"')


def test_a_verdict_is_signed_and_every_record_says_by_whom(toy: Toy, ctl: Ctl, proven: str) -> None:
    line = first_said(toy)
    assert (
        line and line["signature"].startswith("-----BEGIN SSH SIGNATURE-----") and line["signer"].startswith("SHA256:")
    )
    done = toy.deploy("next")
    assert served(done) == proven
    assert (
        done.document["promotion"]["signed"] == {"by": f"lab-{LAB}", "key": line["signer"]} == done.document["signed"]
    )
    assert f"signed by lab-{LAB}" in (evidence(ctl, done.document) / "report.md").read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("time='2099-01-01T00:00:00Z',run='forged'", "2099"),
        ("run='forged',simulated=True", "altered"),
        ("run='forged',signature=None", "not signed"),
    ],
)
def test_what_a_host_forged_is_passed_over_and_named(toy: Toy, proven: str, change: str, words: str) -> None:
    lied(toy, change)
    try:
        done = toy.deploy("next")
        assert served(done) == proven and done.document["promotion"]["run"] != "forged"
        warnings = [str(warning) for warning in done.document["warnings"]]
        assert any("forged" in said and words in said and HOST in said for said in warnings), done.text
        planned = toy.run("plan", "next")
        assert planned.code == 0 and "forged" in planned.text and words in planned.text, planned.text
        tells_history = toy.run("history", "first").out
        assert f"signed by lab-{LAB}" in tells_history
    finally:
        toy.box(HOST).run(f'sed -i \'/"run": "forged"/d\' {toy.root}/history.jsonl')


def test_without_a_list_of_signers_the_output_says_so_once(toy: Toy, proven: str) -> None:
    path = toy.folder / "inventories/first/group_vars/all/more.yml"
    path.write_text('{"canary_allowed_signers": "allowed_signers"}')
    try:
        done = toy.deploy("next")
        assert served(done) == proven and done.document["promotion"]["signed"] is None
        assert len([note for note in done.document["notes"] if "canaryctl trust signers first" in note]) == 1
    finally:
        path.unlink()


def test_where_nothing_else_passed_a_forged_line_is_refused_with_its_reason(toy: Toy, proven: str) -> None:
    toy.box(HOST).run(f"sed -i '/\"first\"/d' {toy.root}/history.jsonl")
    toy.deploy("first", "--no-contract")
    lied(toy, "verdict='passed',run='forged'")
    tells(toy.run("deploy", "next", "--yes"), 2, "no release has passed on first", "forged", "altered")
