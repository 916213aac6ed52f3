"""A host that lies in everything it says: its own Python passes our programs on, and changes what they answer."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import CTL, Box, Ctl
from toy import Toy

pytestmark = [pytest.mark.lab, pytest.mark.whole_lab]

LIAR, HONEST = "canary-1", "staging-core"
PLACE = "/opt/canaryctl-liar"
MOST = 200 << 20  # bytes of memory that canaryctl may take, whatever a host says
SCRIPT = r'''#!/usr/bin/python3
"""Runs the real Python, and changes what an agent program answers as the file `mode` beside this says."""
import json, os, subprocess, sys

here = os.path.dirname(os.path.abspath(__file__))
mode = open(here + "/mode").read().strip()
mark = open(here + "/mark").read().strip()
argv = ["/usr/bin/python3", *sys.argv[1:]]
if mode == "honest" or "-" not in argv:
    os.execv(argv[0], argv)


def changed(value, key=""):
    if isinstance(value, dict):
        renamed = {"x{{ lookup('pipe', 'touch " + mark + "') }}": "y"} if mode == "lookups" else {}
        return {**{k: changed(v, k) for k, v in value.items() if k != "agent"}, **renamed}
    if isinstance(value, list):
        return [changed(one) for one in value] * (40 if mode == "many" else 1)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if mode == "nan":
        return float("nan") if number else value
    if mode == "huge":
        return 10**400 if number else value
    if mode == "future":
        return 253402300799 if number else value
    if mode == "lists":
        return [value] if isinstance(value, str) else value
    if mode == "lookups" and isinstance(value, str):
        return value + "x{{ lookup('pipe', 'touch " + mark + "') }}"
    if mode == "controls" and isinstance(value, str):
        return "\x1b[31m\x9b\n\r\ud800--rm ../.." + value
    if mode == "megabytes" and isinstance(value, str):
        return value * 200000
    if mode == "null":
        return None
    return value


done = subprocess.run(argv, stdout=subprocess.PIPE)
answer = done.stdout.rstrip().rpartition(b"\n")[2]
if not answer.startswith(b'{"agent"'):
    sys.stdout.buffer.write(done.stdout)
    sys.exit(done.returncode)
if mode == "endless":
    while True:
        print("0" * 10**6)
if mode == "complaints":
    while True:
        print("0" * 10**6, file=sys.stderr)
text = json.dumps({"agent": 1, **changed(json.loads(answer))})
if mode == "truncated":
    text = text[: len(text) // 2]
if mode == "deep":
    text = '{"agent": 1, "time": ' + "[" * 900 + "]" * 900 + "}"
if mode == "empty":
    text = '{"agent": 1}'
if mode == "silent":
    text = ""
print("\n" + text)
'''
COMMANDS = ("plan", "status", "history", "audit", "lock status", "deploy --yes", "rollback --yes")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, ctl: Ctl, box: Callable[[str], Box]) -> Iterator[Toy]:
    made = Toy(tmp_path_factory.mktemp("liar"), "toyliar", 18993, ctl, box)
    place = {"ansible_python_interpreter": f"{PLACE}/python3"}
    made.environment("pair", LIAR, HONEST, variables={LIAR: place, "all": {"canary_provision": "never"}})
    there = box(LIAR)
    script = base64.b64encode(SCRIPT.encode()).decode()
    there.run(f"mkdir -p {PLACE} && echo {script} | base64 -d >{PLACE}/python3 && chmod 755 {PLACE}/python3")
    there.run(f"echo {made.folder}/ran >{PLACE}/mark")
    lie(made, "honest")
    try:
        done = made.deploy("pair")
        assert done.code == 0, done.text[-3000:]
        yield made
    finally:
        made.clean()
        there.run(f"rm -rf {PLACE}")


def lie(toy: Toy, mode: str) -> None:
    toy.box(LIAR).run(f"echo {mode} >{PLACE}/mode")


@pytest.fixture
def ran(toy: Toy) -> Iterator[Path]:
    """What a lookup that runs on this machine makes."""
    path = toy.folder / "ran"
    yield path
    lie(toy, "honest")
    path.unlink(missing_ok=True)


@pytest.mark.parametrize(
    "mode",
    ["nan", "huge", "future", "lists", "many", "lookups", "controls", "megabytes", "null", "truncated", "deep", "empty",
     "silent"],
)  # fmt: skip
def test_no_lie_runs_anything_or_crashes_a_command(toy: Toy, ran: Path, mode: str) -> None:
    lie(toy, mode)
    for words in COMMANDS if mode in ("nan", "lookups", "controls") else COMMANDS[:3]:
        done = toy.run(*words.split(), "pair")
        what = f"{mode}, {words}: exit {done.code}\n{done.text[-2500:]}"
        assert done.code in ((0, 1, 2, 3, 6) if words == "audit" else (0, 2, 3, 6)), what
        assert "fault in canaryctl" not in done.text and "Traceback" not in done.text, what
        assert not ran.exists(), what
        assert not done.code or LIAR in done.text, what
        assert "\x1b[31m" not in done.out and "\x9b" not in done.out, what
    seen = toy.run("status", "pair", "--output", "json").document["hosts"]
    assert seen[HONEST]["reachable"] and seen[HONEST]["release"]


def peak(toy: Toy, *argv: str) -> tuple[int, str]:
    """Peak memory of a canaryctl, in bytes, and what it said."""
    code = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], capture_output=True, text=True, timeout=150)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)\n"
        "print(done.returncode, done.stdout, done.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, CTL, *argv],
        cwd=toy.folder, env={**os.environ, **toy.env}, capture_output=True, text=True, timeout=200, check=True,
    )  # fmt: skip
    figure, _, said = done.stdout.partition("\n")
    return int(figure), said


@pytest.mark.parametrize("mode", ["endless", "complaints"])
@pytest.mark.parametrize("transport", ["auto", "openssh"])
def test_an_answer_without_end_takes_no_memory(toy: Toy, ran: Path, mode: str, transport: str) -> None:
    hosts = json.loads((toy.folder / "inventories/pair/hosts.yml").read_text())
    hosts["servers"]["hosts"][LIAR]["canary_transport"] = transport
    toy.write("inventories/pair/hosts.yml", json.dumps(hosts))
    lie(toy, mode)
    took, said = peak(toy, "status", "pair")
    (toy.folder / f"peak-{mode}-{transport}").write_text(f"{took / (1 << 20):.0f} MiB")
    assert took < MOST, took
    assert said.startswith("3 ") and LIAR in said and "MiB" in said, said
    assert f"{HONEST}: release" in said, said


def test_the_host_is_believed_again_once_it_tells_the_truth(toy: Toy) -> None:
    lie(toy, "honest")
    assert toy.deploy("pair").code == 0
    assert toy.run("down", "pair", "--yes").code == 0
