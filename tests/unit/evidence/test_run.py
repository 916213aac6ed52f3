"""A run leaves whole, scrubbed, verifiable evidence on every way out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from canaryctl.config.scrub import Scrubber
from canaryctl.errors import ApplyError, ConfigError
from canaryctl.evidence import finishing
from canaryctl.evidence import run as run_module
from canaryctl.evidence.document import RunIdentity, latency
from canaryctl.evidence.run import Run
from canaryctl.evidence.store import list_runs, load_run, runs_under_way, verify

SCHEMA = json.loads((Path(run_module.__file__).parent / "schema" / "run.schema.json").read_text())
SECRET = "s3cr3t-Pa55word"


def validate(document: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)


def start(runs: Path, project_root: Path | None = None, **more: Any) -> Run:
    identity = RunIdentity(**{"command": "deploy", "environment": "canary", "stack": "shop", "variant": "split"} | more)
    return Run.start(runs, identity, scrub=Scrubber({"DB_PASSWORD": SECRET}), project_root=project_root)


def fill(run: Run) -> None:
    run.event("stage.started", stage="push", hosts=["h1"])
    run.stage("push", "h1", "changed", 1.23456, message="")
    run.stage("start", "h1", "unreachable", 0.5, message=f"password {SECRET} refused")
    run.set("plan", {"changes": [{"host": "h1", "stage": "push", "what": "web", "reason": "not there"}]})
    images = {"web": {"id": "sha256:" + "a" * 64, "tag": "canaryctl/shop/web:aaaa", "size": 123}}
    run.set("release", {"id": "b" * 64, "images": images, "migration": "0002"})
    run.set("migrations", {"before": "", "after": "0002"})
    run.set("contracts", [{"image": "web", "check": "no torch", "verdict": "passed", "found": "absent"}])
    answer = {"url": "http://x/", "status": 200}
    exchanges = [{**answer, "ms": float(n), "body": f"{SECRET}" + "y" * 9000} for n in range(1, 10)]
    row = {"kind": "http", "verdict": "passed", "reason": "", "blame": None, "attempts": 9, "seconds": 0.1}
    run.probes([{"name": "Front / Page", **row, "exchanges": exchanges}, {"name": "Other", **row, "exchanges": []}])
    run.host_file("h1", "logs/web.log", f"connecting with {SECRET}\n")
    run.host_file("h1", "containers.json", [{"Env": [f"DB_PASSWORD={SECRET}"]}])
    run.host_file("h1", "raw.bin", b"\xff\x00" + SECRET.encode())
    run.note("the machine was warm")
    run.warn("old kernel", where="h1", hint="update it")


def test_evidence_is_complete_scrubbed_and_verifies(tmp_path: Path) -> None:
    run = start(tmp_path / "runs", project_root=tmp_path)
    fill(run)
    stray = run.ansible_dir("push")
    (stray / "stdout").write_text(f"msg: {SECRET}\n")
    with run.changing():
        pass
    run.finish("passed", 0)

    document = json.loads((run.path / "run.json").read_text())
    validate(document)
    assert run.document == document
    assert document["directory"] == f"runs/canary/{run.id}" and run.path == tmp_path / document["directory"]
    assert document["started"] <= document["changed_from"] <= document["changed_until"] <= document["finished"]
    assert document["stages"][1]["status"] == "failed" and document["stages"][1]["unreachable"] is True
    assert len(document["probes"][0]["exchanges"]) == 6 and document["probes"][0]["exchanges_in_all"] == 9
    assert document["probes"][0]["latency"] == {"n": 9, "p50": 5.0, "max": 9.0}
    assert document["stages"][0]["started"] <= document["finished"]
    assert len(json.loads((run.path / document["probes"][0]["exchanges_file"]).read_text())["exchanges"]) == 9
    names = {"run.json", "plan.json", "events.jsonl", "report.md", "report.html", "junit.xml", "MANIFEST.sha256"}
    assert names <= {path.name for path in run.path.iterdir()}
    for path in run.path.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path
    assert verify(run.path) == []
    checked = subprocess.run(["sha256sum", "--quiet", "-c", "MANIFEST.sha256"], cwd=run.path, capture_output=True)
    assert checked.returncode == 0, checked.stderr
    events = [json.loads(line) for line in (run.path / "events.jsonl").read_text().splitlines()]
    assert events[0]["type"] == "run.started" and events[-1]["type"] == "run.finished"


def test_a_latency_is_taken_over_what_was_answered() -> None:
    said = [{"ms": ms, "status": 200, "error": ""} for ms in (9.0, 1.0, 5.0, 7.0)]
    unanswered = [{"ms": 3000.0, "status": None, "error": "no answer"}, "a plain text"]
    assert latency(said + unanswered) == {"n": 4, "p50": 5.0, "max": 9.0}
    assert latency(unanswered) is None


def test_a_stage_began_when_it_says_or_as_long_ago_as_it_took(tmp_path: Path) -> None:
    run = start(tmp_path)
    run.stage("push", "h1", "ok", 30.0)
    run.stage("start", "h1", "ok", 1.0, "2026-11-24T08:15:30Z")
    run.finish("passed", 0)
    pushed, started = run.document["stages"]
    assert pushed["started"] < run.document["started"] and started["started"] == "2026-11-24T08:15:30Z"


def test_a_refused_run_is_recorded_whole(tmp_path: Path) -> None:
    run = start(tmp_path, variant=None, stack="")
    run.finish("error", 2, ConfigError("unknown key", "stack.yml:3", "did you mean 'images'?"))
    document = json.loads((run.path / "run.json").read_text())
    validate(document)
    assert document["error"] == {"what": "unknown key", "where": "stack.yml:3", "hint": "did you mean 'images'?"}
    assert document["plan"] == {"changes": []} and document["release"]["id"] is None
    assert document["changed_from"] is None
    assert verify(run.path) == []


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (KeyboardInterrupt(), "interrupted by the operator"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (ApplyError(f"bad {SECRET}", host="h1"), "bad [secret DB_PASSWORD]"),
        ({"what": "said so", "where": None}, "said so"),
    ],
)
def test_every_kind_of_error_ends_in_the_document(tmp_path: Path, error: Any, what: str) -> None:
    run = start(tmp_path)
    with pytest.raises(ValueError, match="inside"), run.changing():
        raise ValueError("inside")
    run.finish("error", 6, error)
    document = load_run(tmp_path).document
    validate(document)
    assert document["error"]["what"] == what
    assert document["changed_until"]


def test_the_first_finish_counts_and_late_events_change_nothing(tmp_path: Path) -> None:
    run = start(tmp_path)
    run.finish("passed", 0)
    run.finish("error", 1)
    run.event("note", text="late")
    with pytest.raises(RuntimeError):
        run.host_file("h1", "late.txt", "x")
    assert load_run(tmp_path).document["verdict"] == "passed"
    assert verify(run.path) == []


def test_odd_content_and_names_stay_inside_and_readable(tmp_path: Path) -> None:
    run = start(tmp_path)
    path = run.host_file("../../h", "../logs/../a b\n.log", "lone \ud800 surrogate")
    assert path.is_relative_to(run.path / "hosts")

    @dataclass(frozen=True)
    class Thing:
        path: Path
        odd: float

    run.set("extra", {"thing": Thing(Path("/x"), float("nan")), 3: {"b", "a"}, "bytes": b"\xff"})
    run.event("note", text="\ud800", extra=Thing(Path("/y"), 1.5))
    run.finish("failed", 1)
    document = load_run(tmp_path).document
    assert document["extra"] == {"thing": {"path": "/x", "odd": "nan"}, "3": ["a", "b"], "bytes": "\ufffd"}
    assert verify(run.path) == []


def test_a_stage_that_runs_twice_keeps_both_artifacts(tmp_path: Path) -> None:
    run = start(tmp_path)
    assert [run.ansible_dir("start").name, run.ansible_dir("start").name] == ["start", "start-2"]


def test_runs_at_the_same_moment_get_their_own_directories_and_sort_by_time(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda _: start(tmp_path).id, range(64)))
    assert len(set(together)) == 64
    in_order = []
    for command in ("probe", "deploy", "collect", "start") * 5:
        run = start(tmp_path, command=command)
        run.finish("passed", 0)
        in_order.append(run.id)
    assert [run["id"] for run in list_runs(tmp_path)][:20] == in_order[::-1]
    assert load_run(tmp_path).document["id"] == in_order[-1]


def test_events_from_many_threads_stay_whole_and_reach_listeners_scrubbed(tmp_path: Path) -> None:
    run, heard = start(tmp_path), []
    run.listen(heard.append)
    threads = [
        threading.Thread(target=lambda: [run.event("task", text=SECRET * 200) for _ in range(50)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = (run.path / "events.jsonl").read_text().splitlines()
    assert len([json.loads(line) for line in lines]) == 401 and len(heard) == 400
    assert SECRET not in str(heard)


def test_bytes_on_their_way_do_not_bury_the_log(tmp_path: Path) -> None:
    run = start(tmp_path)
    for count in range(1000):
        run.event("push.progress", host=f"h{count % 2}", bytes=count)
    lines = (run.path / "events.jsonl").read_text().splitlines()
    assert 2 <= sum("push.progress" in line for line in lines) <= 10


def test_a_secret_too_short_to_hide_is_warned_of(tmp_path: Path) -> None:
    run = start(tmp_path)
    run.scrub = Scrubber({"PIN": "123"})
    assert "PIN" in run.document["warnings"][0]["what"]


def test_a_closed_pipe_does_not_stop_the_run(tmp_path: Path) -> None:
    run = start(tmp_path)

    def gone(event: dict[str, Any]) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    run.listen(gone)
    run.note("one")
    run.finish("passed", 0)
    assert "ended early" in str(load_run(tmp_path).document["notes"])


def test_interrupts_while_finishing_do_not_cost_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = start(tmp_path)
    original, handler = finishing.render_markdown, signal.getsignal(signal.SIGINT)

    def interrupted(document: Any) -> str:
        os.kill(os.getpid(), signal.SIGINT)
        return original(document)

    monkeypatch.setattr(finishing, "render_markdown", interrupted)
    run.finish("interrupted", 130, KeyboardInterrupt())
    assert verify(run.path) == []
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_faulty_report_does_not_cost_the_record(tmp_path: Path) -> None:
    run = start(tmp_path)
    run.set("probes", "not a list of rows")
    run.finish("passed", 0)
    assert any("could not be made" in note for note in load_run(tmp_path).document["notes"])
    assert verify(run.path) == []


def test_names_that_lead_elsewhere_and_unwritable_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        start(tmp_path, environment="../elsewhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as caught:
        start(tmp_path / "file")
    assert caught.value.hint


@pytest.fixture
def other_process(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    script = (
        "import sys, time; from pathlib import Path; from canaryctl.evidence.run import Run; "
        "from canaryctl.evidence.document import RunIdentity\n"
        "run = Run.start(Path(sys.argv[1]), RunIdentity('deploy', 'canary'))\n"
        "print(run.id, flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    assert child.stdout
    child.stdout.readline()
    yield child
    child.kill()
    child.wait()
    child.stdout.close()


def test_a_running_run_says_so_and_a_killed_one_is_interrupted(
    tmp_path: Path, other_process: subprocess.Popen[bytes]
) -> None:
    (run,) = list_runs(tmp_path)
    assert run["verdict"] == "running" and runs_under_way(tmp_path, run["environment"]) == [run["id"]]
    validate(load_run(tmp_path).document)
    other_process.send_signal(signal.SIGKILL)
    other_process.wait()
    stored = load_run(tmp_path)
    validate(stored.document)
    assert runs_under_way(tmp_path, run["environment"]) == []
    assert stored.document["verdict"] == "interrupted" and stored.document["error"]["hint"]
    assert "MANIFEST.sha256 is missing" in verify(stored.path)[0]
    (stored.path / "run.json").write_text("{ torn")
    assert [run["verdict"] for run in list_runs(tmp_path)] == ["interrupted"]
    (stored.path / "run.json").unlink()
    assert load_run(tmp_path).document["environment"] == "canary"


def test_runs_are_found_by_prefix_environment_and_directory(tmp_path: Path) -> None:
    ids = []
    for environment in ("canary", "fleet"):
        run = start(tmp_path, environment=environment)
        run.finish("passed", 0)
        ids.append(run.id)
        time.sleep(0.001)
    assert load_run(tmp_path, ids[0]).path.parent.name == "canary"
    assert load_run(tmp_path, ids[0][:-1] if ids[0][:-1] != ids[1][:-1] else ids[0]).document["id"] == ids[0]
    assert load_run(tmp_path, f"fleet/{ids[1]}").document["id"] == ids[1]
    assert load_run(tmp_path, f"runs/canary/{ids[0]}/").document["id"] == ids[0]
    assert load_run(tmp_path, environment="canary").document["id"] == ids[0]
    assert [run["id"] for run in list_runs(tmp_path, "canary")] == [ids[0]]
    assert list_runs(tmp_path, "nowhere") == [] == list_runs(tmp_path / "nowhere")
    for wanted in ("nothing", "20"):
        with pytest.raises(ConfigError) as caught:
            load_run(tmp_path, wanted)
        assert ids[0] in caught.value.hint
    with pytest.raises(ConfigError, match="no runs"):
        load_run(tmp_path / "nowhere")


def test_tampering_is_told(tmp_path: Path) -> None:
    run = start(tmp_path)
    fill(run)
    run.finish("passed", 0)
    (run.path / "report.md").write_text("better")
    (run.path / "extra").write_text("")
    (run.path / "plan.json").unlink()
    assert verify(run.path) == ["extra: not in the manifest", "plan.json: missing", "report.md: changed"]
    (run.path / "MANIFEST.sha256").write_text("garbage\n")
    assert "cannot be read" in verify(run.path)[0]
