"""Verdicts by the environment's rules on a real host: gates, soak, metrics, and a candidate beside its baseline."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import CTL, Box, Ctl
from stopping import begins, interrupted, stop_when
from toy import Toy, evidence, tells

import canaryctl.evidence

pytestmark = pytest.mark.lab

PORT = 18861
COMMAND = """\
command:
      - sh
      - -c
      - >-
        cd /data && echo 'queue{kind="a"} {{ 10 if variant == "base" else 30 }}' > metrics &&
        echo '{"jobs": {"waiting": 7}}' > stats && exec python3 -m http.server 8000"""
SIDE = """\
- {name: Side, kind: tcp, on: all, port: 1, tags: [extra], timeout: 2s}
"""
URL = {"url": f"http://{{{{ canary_address }}}}:{PORT}/metrics", "on": "all", "prometheus": 'queue{kind="a"}'}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, ctl: Ctl, box: Callable[[str], Box]) -> Iterator[Toy]:
    """A toy in three variants, one of them sick, that serves numbers which differ between them; deployed."""
    made = Toy(tmp_path_factory.mktemp("verdicts"), "toyverdicts", PORT, ctl, box)
    made.edit("stack.yml", "only: {web: web}", "only: {web: web}, base: {web: web}, sick: {web: web}")
    made.edit("stack.yml", "start_timeout: 30", "default_variant: only\nstart_timeout: 10")
    made.edit("compose.yml.j2", 'command: [python3, -m, http.server, "8000"]', COMMAND)
    made.edit("compose.yml.j2", "[CMD, python3, -m", "[CMD, \"{{ 'false' if variant == 'sick' else 'python3' }}\", -m")
    made.edit("compose.yml.j2", "start_period: 10s", "start_period: 2s")
    rules(made)
    try:
        done = made.deploy("one")
        assert done.code == 0, done.text[-3000:]
        yield made
    finally:
        made.clean()


def rules(toy: Toy, **variables: Any) -> None:
    """Give the environment these rules and no others."""
    toy.environment("one", "canary-1", variables={"all": variables})


def probed(toy: Toy, code: int, **variables: Any) -> dict[str, Any]:
    """The document of a probe by these rules, which must end with this code and keep the schema."""
    rules(toy, **variables)
    done = toy.run("probe", "one", "--output", "json")
    assert done.code == code, done.text[-3000:]
    valid(done.document)
    return done.document


def valid(document: dict[str, Any]) -> None:
    schema = json.loads((Path(canaryctl.evidence.__file__).parent / "schema" / "run.schema.json").read_text())
    jsonschema.validate(document, schema)


def metric(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in document["metrics"] if row["name"] == name)
    return found


# gates


def test_a_probe_that_does_not_gate_fails_beside_a_passed_verdict(toy: Toy) -> None:
    back = toy.edit("probes.yml", "- name: Front Page", f"{SIDE}- name: Front Page")
    try:
        document = probed(toy, 0, canary_gates=["Front Page"])
        assert [(row["name"], row["verdict"], row["gates"]) for row in document["probes"]] == [
            ("Side", "failed", False),
            ("Front Page", "passed", True),
        ]
        assert ["Side: failed, which does not gate" in warning["what"] for warning in document["warnings"]] == [True]
        assert probed(toy, 1, canary_gates=["extra"])["verdict"] == "failed"
    finally:
        back()


def test_a_gate_that_is_no_probe_is_refused_with_the_nearest_name(toy: Toy) -> None:
    rules(toy, canary_gates=["Front Pagge"])
    done = toy.run("probe", "one", "--output", "json")
    tells(done, 2, "canary_gates names 'Front Pagge'", "did you mean 'Front Page'?")


# metrics


def test_metrics_of_a_probe_and_of_an_endpoint_are_judged_by_their_bounds(toy: Toy) -> None:
    metrics = [
        {"name": "latency", "probe": "Front Page", "statistic": "p50", "at_most": 5000},
        {"name": "queue", **URL, "statistic": "last", "at_least": 30, "at_most": 30},
        {"name": "waiting", "url": URL["url"].replace("metrics", "stats"), "on": "web"}
        | {"jmespath": "jobs.waiting", "statistic": "max", "at_most": 6, "gates": False},
    ]
    document = probed(toy, 0, canary_soak="1500ms", canary_soak_every="300ms", canary_metrics=metrics)
    assert [row["verdict"] for row in document["metrics"]] == ["passed", "passed", "failed"]
    latency, queue, waiting = document["metrics"]
    assert latency["n"] >= 5 and latency["unit"] == "ms" and latency["value"] > 0
    assert queue["value"] == 30 and queue["n"] == document["soak"]["rounds"] + 1 >= 5
    assert waiting["reason"] == f"max is 7 (n={waiting['n']}), above the 6 allowed"
    assert document["probes"][0]["soak"]["samples"] == document["soak"]["rounds"]
    report = (evidence(toy.ctl, document) / "report.md").read_text()
    assert f"| queue last | ✅ PASS | 30 | {queue['n']} | " in report and "above the 6 allowed" in report

    metrics[1]["at_most"] = metrics[1]["at_least"] = 29
    document = probed(toy, 1, canary_metrics=metrics[1:2])
    assert metric(document, "queue")["reason"] == "last is 30 (n=1), above the 29 allowed"


def test_too_few_samples_are_inconclusive(toy: Toy) -> None:
    document = probed(
        toy,
        4,
        canary_metrics=[
            {"name": "latency", "probe": "Front Page", "statistic": "p99", "at_most": 5000},
            {"name": "nowhere", **URL, "prometheus": "nothing", "statistic": "last", "at_most": 1},
            {"name": "ratio", **URL, "statistic": "last", "ratio_at_most": 1},
        ],
    )
    assert document["verdict"] == "inconclusive" and document["error"] is None
    assert [row["verdict"] for row in document["metrics"]] == ["inconclusive"] * 3
    assert "1 sample, but p99 needs 100" in metric(document, "latency")["reason"]
    assert "no series nothing on the page" in metric(document, "nowhere")["reason"]
    assert "there is no baseline" in metric(document, "ratio")["reason"]
    allowed = {"name": "latency", "probe": "Front Page", "statistic": "p99", "at_most": 5000}
    assert probed(toy, 0, canary_inconclusive="pass", canary_metrics=[allowed])["verdict"] == "passed"


# soak


def test_a_soak_catches_a_service_that_dies_in_it(toy: Toy, box: Callable[[str], Box], lab_env: dict[str, str]) -> None:
    rules(toy, canary_soak="60s", canary_soak_every="300ms")
    container = f"{toy.name}-one-web-1"
    began = time.monotonic()
    process = subprocess.Popen(
        [CTL, "probe", "one", "--output", "ndjson"],
        cwd=toy.folder,
        env=lab_env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    events: list[dict[str, Any]] = []
    try:
        for line in process.stdout or ():
            events.append(json.loads(line))
            if events[-1]["type"] == "soak.round" and events[-1]["round"] == 2:
                box("canary-1").run(f"docker kill {container}")
        assert process.wait(timeout=30) == 1
    finally:
        box("canary-1").run(f"docker start {container}")
    assert time.monotonic() - began < 45
    document = events[-1]["document"]
    valid(document)
    row = document["probes"][0]
    failure = row["soak"]["first_failure"]
    assert row["verdict"] == "failed" and "of soak, in round" in row["reason"] and row["blame"] == "system"
    assert row["soak"]["samples"] == document["soak"]["rounds"] == failure["round"] > 2
    assert failure["host"] == "canary-1" and failure["exchange"]["url"].endswith(f":{PORT}/")
    assert failure["after"] <= document["soak"]["seconds"] < document["soak"]["of"] == 60
    assert [e["verdict"] for e in events if e["type"] == "soak.finished"] == ["failed"]


def test_an_interrupted_soak_keeps_what_it_found(
    toy: Toy, box: Callable[[str], Box], lab_env: dict[str, str], runs_dir: Path
) -> None:
    rules(toy, canary_soak="60s", canary_soak_every="300ms")
    env = {**lab_env, "CANARYCTL_RUNS": str(runs_dir)}
    document = stop_when(toy, env, ["probe", "one"], lambda event: event["type"] == "soak.round" and event["round"] > 1)
    interrupted(toy, document, box("canary-1"))
    assert document["soak"]["rounds"] >= 2 and document["probes"][0]["soak"]["samples"] >= 2


# baseline


def test_a_baseline_is_refused_where_data_is_not_disposable(toy: Toy) -> None:
    before = toy.state("canary-1")
    rules(toy)
    done = toy.deploy("one", "--baseline", "base")
    tells(done, 2, "a baseline migrates the database", "canary_disposable: true")
    assert done.document["role"] == "baseline" and toy.state("canary-1") == before


def test_a_candidate_is_measured_by_its_baseline(toy: Toy) -> None:
    served = toy.run("status", "one", "--output", "json").document["release"]["id"]
    ratio = {"name": "queue", **URL, "statistic": "last", "ratio_at_most": 2}
    rules(toy, canary_disposable=True, canary_metrics=[ratio])
    # Another release than is served: nobody goes back to the very release that fails.
    undo = toy.edit("compose.yml.j2", "init: true", 'init: true\n    labels: {changed: "1"}')
    try:
        done = toy.deploy("one", "--baseline", "base")
    finally:
        undo()
    assert done.code == 1, done.text[-3000:]
    candidate = done.document
    baseline = json.loads(toy.run("runs", "show", candidate["baseline"], "--output", "json").out)
    valid(candidate), valid(baseline)
    assert metric(candidate, "queue")["reason"] == "last is 30 (n=1), above 2 times the baseline's 10"
    assert metric(candidate, "queue")["baseline"] == 10
    assert (metric(baseline, "queue")["verdict"], baseline["verdict"], baseline["variant"]) == ("passed",) * 2 + (
        "base",
    )
    *judged, back = toy.history("canary-1")[-5:]
    assert [line.get("role") for line in judged] == ["baseline"] * 2 + ["candidate"] * 2
    assert (back["what"], back["to"]) == ("rollback", served), "not the baseline, but what served before"


def test_a_sick_baseline_does_not_keep_the_candidate_from_being_deployed(toy: Toy) -> None:
    rules(toy, canary_disposable=True)
    done = toy.run("deploy", "one", "--yes", "--baseline", "sick")
    assert done.code == 0, done.text[-3000:]
    assert "the baseline sick itself failed" in done.out
    table = [line.split() for line in done.out.splitlines() if "candidate only" in line or "Front Page" in line]
    assert ["Test", "baseline", "sick", "candidate", "only"] in table
    assert ["Front", "Page", "no", "such", "row", "✅", "PASS"] in table
    judged = [line for line in toy.history("canary-1") if line["who"] != "the host itself"]
    assert [line["role"] for line in judged[-3:]] == ["baseline", "candidate", "candidate"]


def test_a_baseline_that_cannot_be_applied_ends_it(toy: Toy) -> None:
    before = toy.state("canary-1")
    rules(toy, canary_disposable=True)
    back = toy.edit("compose.yml.j2", "init: true", "init: true\n    {{ 'nonsense: 1' if variant == 'base' }}")
    try:
        done = toy.deploy("one", "--baseline", "base")
        tells(done, 6, "compose rejects", "nonsense")
        assert (done.document["role"], done.document["variant"]) == ("baseline", "base")
        assert toy.state("canary-1")["containers"] == before["containers"]
    finally:
        back()


def test_an_interrupted_baseline_is_not_followed_by_its_candidate(
    toy: Toy, box: Callable[[str], Box], lab_env: dict[str, str], runs_dir: Path
) -> None:
    rules(toy, canary_disposable=True)
    env = {**lab_env, "CANARYCTL_RUNS": str(runs_dir)}
    document = stop_when(toy, env, ["deploy", "one", "--yes", "--baseline", "base"], begins("start"))
    interrupted(toy, document, box("canary-1"))
    assert document["role"] == "baseline"
    newest = json.loads(toy.run("runs", "list", "--output", "json").out)["runs"][0]
    assert (newest["id"], newest["role"]) == (document["id"], "baseline")
