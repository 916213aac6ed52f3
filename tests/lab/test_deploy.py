"""The main job on real hosts: deploy, deploy again, variants, a fleet, the hand-off's own mistake, evidence."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import CTL, FOUR_ROWS, LAB, ROOT, Box, Ctl, Example, Result
from toy import MIGRATIONS, Toy, tells
from toy import evidence as verified

import canaryctl.evidence
from canaryctl.lab import state

pytestmark = pytest.mark.whole_lab

COMPOSE = "/opt/canaryctl/ktrdr/current/compose.yml"
HAS_TORCH = """\
docker exec $(docker ps -q -f label=com.docker.compose.service=backend) python3 -c 'import torch' 2>/dev/null \
    && echo yes || echo no"""


def evidence(result: Result) -> Path:
    return ROOT / str(result.document["directory"])


def test_a_deploy_passes_its_four_rows(canary: Result) -> None:
    assert canary.document["verdict"] == "passed"
    assert canary.four == dict.fromkeys(FOUR_ROWS, "passed")
    assert canary.document["migrations"]["after"] == "0002"


def test_images_on_the_host_are_what_was_built(canary: Result, box: Callable[[str], Box]) -> None:
    for name in ("backend", "db", "worker_cpu"):
        image = canary.document["release"]["images"][name]
        assert image["id"].startswith("sha256:")
        assert image["tag"] == f"canaryctl/ktrdr/{name}:sha256-{image['id'][7:19]}"
        there = box("canary-1").run(f"docker image inspect {image['tag']} --format '{{{{.Id}}}}'")
        assert there.strip() == image["id"]


def test_again_there_is_nothing_to_change(canary: Result, ctl: Ctl, box: Callable[[str], Box]) -> None:
    before = box("canary-1").services()
    again = ctl("deploy", "canary", "--yes", "--output", "json")
    assert again.code == 0 and again.document["plan"]["changes"] == []
    assert again.document["changed_from"] is None
    assert again.document["migrations"] == {"before": "0002", "after": "0002"}
    assert box("canary-1").services() == before


def test_evidence_is_whole_and_verifies(canary: Result, ctl: Ctl) -> None:
    directory = evidence(canary)
    listed = {}
    for line in (directory / "MANIFEST.sha256").read_text().splitlines():
        digest, path = line.split("  ", 1)
        listed[path] = digest
    there = {str(f.relative_to(directory)): f for f in directory.rglob("*") if f.is_file()}
    del there["MANIFEST.sha256"]
    assert set(listed) == set(there)
    assert all(hashlib.sha256(there[path].read_bytes()).hexdigest() == digest for path, digest in listed.items())
    for name in ("run.json", "plan.json", "events.jsonl", "report.md", "report.html", "junit.xml"):
        assert name in listed
    host = directory / "hosts" / "canary-1"
    for service in ("db", "backend", "backtest-worker", "training-worker"):
        assert (host / "logs" / f"{service}.log").read_text()
    assert "services:" in (host / "compose.yml").read_text()
    assert json.loads((host / "facts.after.json").read_text())["docker"]["running"] is True
    assert ctl("runs", "verify", canary.document["id"]).code == 0


def keeps_its_schema(document: Any) -> None:
    schema = json.loads((Path(canaryctl.evidence.__file__).parent / "schema" / "run.schema.json").read_text())
    jsonschema.validate(document, schema)


def test_run_json_keeps_its_schema(canary: Result) -> None:
    keeps_its_schema(json.loads((evidence(canary) / "run.json").read_text()))


def test_no_secret_is_in_the_evidence_nor_readable_on_the_host(
    canary: Result, ctl: Ctl, box: Callable[[str], Box]
) -> None:
    secrets = [f.read_text() for f in (state.directory(LAB) / "secrets/canary").iterdir()]
    assert len(secrets) == 2
    assert ctl("collect", "canary", "--output", "json").code == 0
    for path in evidence(canary).parent.rglob("*"):
        if path.is_file():
            content = path.read_text(errors="replace")
            assert not [secret for secret in secrets if secret in content], path
    modes = box("canary-1").run("stat -c '%a %U' /opt/canaryctl/ktrdr/secrets.env")
    assert modes.split() == ["600", "root"]
    found = box("canary-1").run(f"grep -rlF -e {secrets[0]} -e {secrets[1]} /opt/canaryctl /etc /home || true")
    assert found.split() == ["/opt/canaryctl/ktrdr/secrets.env"]


def test_the_hand_offs_wrong_strategy_is_inconclusive(canary: Result, ctl: Ctl, box: Callable[[str], Box]) -> None:
    before = box("canary-1").services()
    wrong = ctl("probe", "canary", "--probes", "examples/ktrdr/probes-handoff.yml", "--output", "json")
    assert wrong.code == 4 and wrong.document["verdict"] == "inconclusive"
    assert wrong.rows == {**dict.fromkeys(FOUR_ROWS, "passed"), "Training Lifecycle": "inconclusive"}
    training: dict[str, Any] = next(p for p in wrong.document["probes"] if p["name"] == "Training Lifecycle")
    assert training["blame"] == "probe"
    assert all(word in training["reason"] for word in ("neuro_mean_reversion", "v3_minimal", "v3_single_indicator"))
    assert box("canary-1").services() == before


def test_status_and_logs_say_what_is_served(canary: Result, ctl: Ctl) -> None:
    status = ctl("status", "canary", "--output", "json").document
    assert status["release"]["id"] == canary.document["release"]["id"]
    assert status["hosts"]["canary-1"]["services"]["db"]["health"] == "healthy"
    logs = ctl("logs", "canary", "db", "--tail", "5")
    assert logs.code == 0 and all(line.startswith("canary-1") for line in logs.out.splitlines()) and logs.out


def test_each_stage_runs_alone_and_says_what_it_needs(canary: Result, ctl: Ctl) -> None:
    for stage in ("provision", "push", "render", "migrate", "start", "collect"):
        done = ctl(stage, "canary", "--output", "json")
        assert done.code == 0, done.text[-2000:]
        assert done.document["command"] == stage and done.document["plan"]["changes"] == []
    early = ctl("start", "canary", "--variant", "monolithic")
    assert early.code == 2 and "start needs" in early.err and "run: canaryctl" in early.err


@pytest.fixture
def ended(box: Callable[[str], Box]) -> Iterator[None]:
    """Nothing that a test began outlives it: a training without end would keep the worker from all others."""
    yield
    host = box("canary-1")
    program = f"""
import json, urllib.request
base = "http://{host.address}:18000/api/v1/operations"
for operation in json.load(urllib.request.urlopen(base + "?unfinished=true"))["data"]:
    urllib.request.urlopen(urllib.request.Request(base + "/" + operation["id"], method="DELETE"))
"""
    host.run(f"python3 -c {shlex.quote(program)}")


def test_what_a_killed_probe_began_is_cancelled_by_the_next(
    canary: Result, ended: None, ctl: Ctl, lab_env: dict[str, str], tmp_path: Path
) -> None:
    endless = tmp_path / "endless.yml"
    text = (ROOT / "examples/ktrdr/probes.yml").read_text()
    endless.write_text(text.replace('tag: "{{ tag }}"}', 'tag: "{{ tag }}", epochs: 900000}'))
    argv = [CTL, "probe", "canary", "--probes", str(endless), "--only", "Training Lifecycle", "--output", "ndjson"]
    with subprocess.Popen(argv, cwd=ROOT, env=lab_env, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert any('"probe.started"' in line and "Training Lifecycle" in line for line in child.stdout)
        time.sleep(2)
        child.kill()
    done = ctl("probe", "canary", "--only", "Training Lifecycle", "--output", "json")
    (row,) = (row for row in done.document["probes"] if row["name"] == "Training Lifecycle")
    assert row["verdict"] == "passed", row["reason"]
    assert "left over from an earlier run: op_training_" in row["reason"] and "was cancelled" in row["reason"]


def test_the_kinds_that_look_at_containers_hold_of_the_example(canary: Result, ctl: Ctl, tmp_path: Path) -> None:
    """One of each kind on a service that is as it should be, the database asked with its own password."""
    probes = tmp_path / "kinds.yml"
    probes.write_text(
        """
- {name: Backend Container, kind: container, on: backend, eventually: 30s}
- {name: Worker Log, kind: logs, on: training-worker, since: start}
- name: Schema
  kind: sql
  on: db
  query: select version_num from alembic_version
  env: {PGUSER: ktrdr, PGDATABASE: ktrdr, PGHOST: 127.0.0.1, PGPASSWORD: "{{ secrets.DB_PASSWORD }}"}
  expect: {rows: 1, jmespath: "[0].version_num == '0002'"}
"""
    )
    done = ctl("probe", "canary", "--probes", str(probes), "--output", "json")
    assert done.rows == dict.fromkeys(("Backend Container", "Worker Log", "Schema"), "passed"), done.text[-3000:]


@dataclass(frozen=True)
class Mended:
    """What was planned for a file changed by hand and for a container that died, and the deploy that mended both."""

    drift: list[dict[str, Any]]
    died: list[dict[str, Any]]
    done: Result


@pytest.fixture(scope="module")
def mended(ctl: Ctl, box: Callable[[str], Box], example: Example) -> Mended:
    example.restored(ctl, box)
    example.alter()
    by_hand = f"echo '# by hand' >> $(readlink -f {COMPOSE})"

    def planned() -> list[dict[str, Any]]:
        changes: list[dict[str, Any]] = ctl("plan", "canary", "--output", "json").document["plan"]["changes"]
        return changes

    box("canary-1").run(by_hand)
    drift = planned()
    box("canary-1").run(f"sed -i '$d' $(readlink -f {COMPOSE})")
    box("canary-1").run("docker stop -t 1 $(docker ps -q -f label=com.docker.compose.service=backtest-worker)")
    died = planned()
    box("canary-1").run(by_hand)
    done = ctl("deploy", "canary", "--yes", "--output", "json")
    example.as_deployed = done.code == 0
    return Mended(drift, died, done)


def test_a_container_that_died_is_planned_for_with_its_reason(mended: Mended, box: Callable[[str], Box]) -> None:
    assert [(c["stage"], c["what"]) for c in mended.died] == [("start", "backtest-worker")]
    assert "exited" in mended.died[0]["reason"]
    assert mended.done.code == 0 and "backtest-worker" in box("canary-1").services()


def test_drift_of_a_file_is_found_and_healed(mended: Mended, box: Callable[[str], Box]) -> None:
    assert [c["stage"] for c in mended.drift] == ["render"] and "compose.yml" in mended.drift[0]["reason"]
    assert mended.done.code == 0 and "by hand" not in box("canary-1").run(f"cat {COMPOSE}")


def test_a_fleet_serves_across_hosts(ctl: Ctl, canary: Result, box: Callable[[str], Box]) -> None:
    fleet = ctl("deploy", "fleet", "--yes", "--output", "json", timeout=900)
    assert fleet.code == 0 and fleet.four == dict.fromkeys(FOUR_ROWS, "passed"), fleet.text[-3000:]
    assert set(box("staging-core").services()) == {"db", "backend"}
    for worker in ("staging-cpu", "staging-gpu"):
        assert set(box(worker).services()) == {"backtest-worker", "training-worker"}
    assert fleet.document["release"]["id"] == canary.document["release"]["id"]
    again = ctl("deploy", "fleet", "--yes", "--output", "json")
    assert again.code == 0 and again.document["plan"]["changes"] == []


def test_a_failed_migration_of_a_real_database_leaves_its_services(
    canary: Result, ctl: Ctl, box: Callable[[str], Box], tmp_path_factory: pytest.TempPathFactory
) -> None:
    copy = tmp_path_factory.mktemp("copy") / "ktrdr"
    shutil.copytree(ROOT / "examples/ktrdr", copy)
    file = copy / "stack.yml"
    file.write_text(file.read_text().replace("upgrade: python3 -m alembic upgrade head", 'upgrade: "false"'))
    before = box("canary-1").services(), box("canary-1").run("readlink /opt/canaryctl/ktrdr/current")
    done = ctl("deploy", "canary", "--stack", str(file), "--yes", "--output", "json")
    tells(done, 6, "'false' failed; the revision is still 0002", "canary-1: ")
    found = done.document["migrations"]
    assert (found["before"], found["after"]) == ("0002", "0002") and found["backup"]["revision"] == "0002"
    assert (box("canary-1").services(), box("canary-1").run("readlink /opt/canaryctl/ktrdr/current")) == before
    verified(ctl, done.document)
    assert ctl("deploy", "canary", "--yes", "--output", "json").document["plan"]["changes"] == []


def test_a_rotated_secret_restarts_what_uses_it(
    canary: Result, example: Example, ctl: Ctl, box: Callable[[str], Box]
) -> None:
    file = state.directory(LAB) / "secrets/canary/JWT_SECRET"
    old = file.read_text()
    try:
        example.alter()
        file.write_text("""it's a "new" $ecret \\ value""")
        rotated = ctl("deploy", "canary", "--yes", "--output", "json")
        assert rotated.code == 0, rotated.text[-3000:]
        assert {"render", "start"} <= {c["stage"] for c in rotated.document["plan"]["changes"]}
        seen = box("canary-1").run(
            "docker exec $(docker ps -q -f label=com.docker.compose.service=backend) printenv JWT_SECRET"
        )
        assert seen.rstrip("\n") == """it's a "new" $ecret \\ value"""
    finally:
        file.write_text(old)  # which the next deploy brings back


@dataclass(frozen=True)
class Variants:
    """The monolithic variant in place of the split one, then both as baseline and candidate in one command."""

    crossed: Result
    torch: str
    baseline: Result
    candidate: Result


@pytest.fixture(scope="module")
def variants(ctl: Ctl, box: Callable[[str], Box], example: Example) -> Variants:
    if example.first is None or not example.serves:  # with whichever secrets
        example.restored(ctl, box)
    example.alter()
    across = ["--variant", "monolithic", "--probes", "examples/ktrdr/probes-across.yml", "--yes", "--output", "json"]
    crossed = ctl("deploy", "canary", *across)
    assert crossed.code == 0, crossed.text[-3000:]
    torch = box("canary-1").run(HAS_TORCH)
    candidate = ctl("deploy", "canary", "--baseline", "monolithic", "--yes", "--output", "json", timeout=900)
    assert candidate.code == 0, candidate.text[-3000:]
    example.as_deployed = True
    baseline = ctl("runs", "show", candidate.document["baseline"], "--output", "json")
    return Variants(crossed, torch, baseline, candidate)


def test_both_variants_pass_and_are_different_releases(
    variants: Variants, example: Example, box: Callable[[str], Box]
) -> None:
    (survivor,) = [row for row in variants.crossed.document["probes"] if row["name"] == "Training Survives"]
    assert survivor["reason"].startswith("survived the deploy: completed"), survivor["reason"]
    mono, split = variants.baseline, variants.candidate
    assert mono.document["exit_code"] == 0 and mono.four == dict.fromkeys(FOUR_ROWS, "passed")
    assert variants.torch.strip() == "yes"
    assert split.four == dict.fromkeys(FOUR_ROWS, "passed")
    assert box("canary-1").run(HAS_TORCH).strip() == "no"
    assert example.first
    assert mono.document["release"]["id"] != split.document["release"]["id"] == example.first.document["release"]["id"]
    assert "db" not in [change["what"] for change in split.document["plan"]["changes"]]


def test_monolithic_then_split_in_one_command(variants: Variants, ctl: Ctl, box: Callable[[str], Box]) -> None:
    candidate, baseline = variants.candidate.document, variants.baseline.document
    for document, role, variant in ((baseline, "baseline", "monolithic"), (candidate, "candidate", "split")):
        keeps_its_schema(document)
        assert (document["role"], document["variant"], document["verdict"]) == (role, variant, "passed")
        assert [row["name"] for row in document["probes"]][:4] == FOUR_ROWS
    assert baseline["release"]["id"] != candidate["release"]["id"]
    assert [run["id"] for run in json.loads(ctl("runs", "list", "--output", "json").out)["runs"][:2]] == [
        candidate["id"],
        baseline["id"],
    ]
    report = (ROOT / candidate["directory"] / "report.md").read_text()
    assert "candidate split" in report or "candidate (split)" in report
    lines = [json.loads(line) for line in box("canary-1").run("cat /opt/canaryctl/ktrdr/history.jsonl").splitlines()]
    roles = {line["to"]: line["role"] for line in lines[-3:]}
    assert roles == {baseline["release"]["id"]: "baseline", candidate["release"]["id"]: "candidate"}


def test_another_environment_takes_the_place_of_the_one_that_is_there(
    ctl: Ctl, box: Callable[[str], Box], tmp_path: Path
) -> None:
    """Both publish the same port, and the second needs it before its migration: its database is the service itself."""
    toy = Toy(tmp_path, "toyplace", 18881, ctl, box)
    with (toy.folder / "stack.yml").open("a") as stack:
        stack.write(MIGRATIONS + "  database: web\n")
    for name in ("before", "after"):
        toy.environment(name, "canary-1")
    try:
        assert toy.deploy("before").code == 0
        done = toy.deploy("after")
        assert done.code == 0, done.text[-2000:]
        assert any(change["reason"] == "replaces toyplace-before" for change in done.document["plan"]["changes"])
        names = box("canary-1").run("docker ps -a --filter name=^toyplace- --format '{{.Names}}'").split()
        assert names == ["toyplace-after-web-1"]
    finally:
        toy.clean()
