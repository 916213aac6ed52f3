"""Run directories and the state of hosts that the version before the house wrote are read as they were written.

The fixtures are its own, from real lab hosts. Paths of the machine that made them are replaced, and most of what no
reader reads is left out (Ansible's events, pages that are made again); manifests are made anew over the rest.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from canaryctl.agent.read.held import about_lock
from canaryctl.agent.read.state import about_state, last_lines
from canaryctl.agent.write.prune import prunable, read_history, read_releases, written_by_others
from canaryctl.cli.main import app
from canaryctl.commands.history import made_current, merge
from canaryctl.config.signing import Signing
from canaryctl.config.stack import load_stack
from canaryctl.deploy.signing import trust_of
from canaryctl.facts.host import HostFacts, parse
from canaryctl.plan.promotion import Choice, Rules, Wanted, choose
from canaryctl.plan.rollback import back_from, back_to, choose_release
from canaryctl.plan.verdicts import Trust, Witness

BEFORE = Path(__file__).parents[1] / "fixtures" / "before-the-house"
HOST = "canary-1"
NOW = 1796011800.0  # when the host's state was taken
PASSED, PROMOTED = "20261130T040915Z-deploy-f166", "20261130T040138Z-deploy-4c36"
FORCED = "20261130T040704Z-deploy-3765"
FAILED, BACK = "20261130T035953Z-deploy-d1d5", "20261130T040015Z-rollback-8da4"
STOPPED, KILLED = "20261130T035533Z-deploy-3650", "20261130T035447Z-deploy-9c19"
LOST, AUDIT = "20261130T035326Z-deploy-423d", "20261130T034225Z-audit-5159"
# As each command ended: verdict, exit code, release.
ENDED: dict[str, tuple[str, int | None, str]] = {
    PASSED: ("passed", 0, "f235f0fc6227"),
    PROMOTED: ("passed", 0, "f53df56ab246"),
    FORCED: ("passed", 0, "e99ae6542188"),
    FAILED: ("failed", 1, "05db876525e3"),
    BACK: ("passed", 0, "5e01cc02e603"),
    STOPPED: ("interrupted", 130, "f0780bd472ca"),
    KILLED: ("interrupted", None, ""),
    LOST: ("error", 3, ""),
    AUDIT: ("failed", 1, "f9ba405287de"),
}
SERVED = {"promo": "f235f0fc6227", "toyfaulty": "5e01cc02e603", "ktrdr": "f9ba405287de"}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    shutil.copytree(BEFORE / "runs", tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host's canary root."""
    shutil.copytree(BEFORE / "hosts" / HOST, tmp_path / "root", symlinks=True)
    return tmp_path / "root"


def ctl(runs: Path, *argv: str) -> Result:
    done = CliRunner().invoke(app, ["runs", *argv, "--runs", str(runs)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def document(runs: Path, run: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ctl(runs, "show", run, "--output", "json").stdout)
    return found


def state(root: Path, stack: str) -> dict[str, Any]:
    """What the agent of today says of what the agent and the roles of then left there."""
    errors: dict[str, str] = {}
    release = (root / stack / "current").readlink().name
    found = about_state({"root": str(root), "stack": stack, "nonce": "ab", "releases": [release]}, errors)
    assert errors == {}
    return found


def facts(root: Path, stack: str, run: str) -> HostFacts:
    """A host as a run of then described it, with its state as it is read now."""
    (seen,) = BEFORE.glob(f"runs/*/{run}/hosts/{HOST}/facts.after.json")
    return parse(HOST, {**json.loads(seen.read_text()), "state": state(root, stack)})


def trust(environment: str, stack: str, runs: Path) -> Trust:
    return replace(trust_of(environment, Signing(BEFORE / "allowed_signers", required=True), stack, runs), now=NOW)


# runs


def test_every_run_is_listed_as_it_ended(runs: Path) -> None:
    listed = json.loads(ctl(runs, "list", "--output", "json").stdout)["runs"]
    found = {run["id"]: (run["verdict"], run["exit_code"], (run["release"] or "")[:12]) for run in listed}
    assert found == ENDED
    assert [run["id"] for run in listed] == sorted(ENDED, reverse=True)


@pytest.mark.parametrize("run", ENDED)
def test_a_run_is_shown_and_verifies(runs: Path, run: str) -> None:
    shown = ctl(runs, "show", run)
    verdict = ENDED[run][0]
    assert shown.exit_code == 0 and verdict in shown.stdout
    verified = ctl(runs, "verify", run)
    assert verified.exit_code == (1 if run == KILLED else 0)  # who was killed wrote no manifest


@pytest.mark.parametrize("run", ENDED)
@pytest.mark.parametrize("form", ["md", "html", "junit", "json"])
def test_every_report_is_made_again(runs: Path, run: str, form: str) -> None:
    made = ctl(runs, "export", run, "--format", form)
    assert made.exit_code == 0
    assert run in made.stdout or form == "junit"


@pytest.mark.parametrize("run", [run for run in ENDED if run != KILLED])
def test_the_reports_of_then_are_those_of_now(runs: Path, run: str) -> None:
    (directory,) = runs.glob(f"*/{run}")
    assert ctl(runs, "export", run, "--format", "md").stdout == (directory / "report.md").read_text()
    assert ctl(runs, "export", run, "--format", "junit").stdout == (directory / "junit.xml").read_text()


def test_what_a_run_left_out_is_told_by_its_parts(runs: Path) -> None:
    promoted, forced, failed = (document(runs, run) for run in (PROMOTED, FORCED, FAILED))
    assert promoted["promotion"]["from"] == "first" and promoted["promotion"]["signed"]["by"]
    assert forced["forced"]["reason"] and forced["promotion"] is None
    assert (failed["rollback"]["run"], failed["rollback"]["to"][:12]) == (BACK, ENDED[BACK][2])
    assert {row["verdict"] for row in failed["probes"]} == {"passed", "failed"}
    assert {row["id"] for row in document(runs, AUDIT)["findings"]} > {"container-unhealthy", "restart-loop"}
    assert document(runs, LOST)["error"] and document(runs, KILLED)["error"]


@pytest.mark.parametrize("output", ["text", "json", "md", "html"])
def test_two_runs_are_compared(runs: Path, output: str) -> None:
    compared = ctl(runs, "compare", FAILED, BACK, "--output", output)
    assert compared.exit_code == 0 and FAILED in compared.stdout and BACK in compared.stdout


def test_pruning_keeps_the_newest_that_passed_and_nothing_of_another_form(runs: Path) -> None:
    pruned = ctl(runs, "prune", "--keep", "0", "--yes")
    assert pruned.exit_code == 0 and "left alone" not in pruned.stdout
    assert {path.name for path in runs.glob("*/*")} == {PASSED, FORCED, BACK}


# hosts


@pytest.mark.parametrize(("stack", "release"), SERVED.items())
def test_the_state_of_a_host_is_believed(root: Path, stack: str, release: str) -> None:
    seen = parse(HOST, {"state": state(root, stack)})
    assert seen.state.current_release is not None and seen.state.current is not None
    assert seen.state.current.startswith(release) and seen.state.current_release["id"].startswith(release)
    assert seen.state.started is not None and seen.state.started.containers
    assert seen.state.history and seen.odd == ()
    assert "compose.yml" in seen.state.releases[seen.state.current].files


def test_a_lock_a_migration_and_secrets_are_believed(root: Path) -> None:
    locked = parse(HOST, {"state": state(root, "promo")}).state.lock
    assert locked is not None
    assert (locked.holder, locked.environment, locked.command) == ("root@vm", "next", "deploy")
    assert locked.mark == "5ee3cf473264bacb" and locked.expires == "2026-11-30T04:10:48Z"
    assert about_lock(str(root / "promo" / "lock")) is not None
    assert state(root, "ktrdr")["migrated"]["revision"] == "0002"
    secrets = state(root, "toyfaulty")
    assert set(secrets["secret_macs"]) == {"API_TOKEN", "DB_PASSWORD"} and secrets["secrets_unused"] == []


def test_the_history_is_told(root: Path) -> None:
    lines = last_lines(str(root / "toyfaulty" / "history.jsonl"))
    rows = merge({HOST: lines})
    assert [(row["what"], row["verdict"]) for row in reversed(rows)] == [
        ("deploy", None),
        ("verdict", "passed"),
        ("deploy", None),
        ("verdict", "failed"),
        ("rollback", "passed"),
        ("deploy", None),
        ("verdict", "partial"),
    ]
    brought = made_current(lines[-1]["to"], lines)
    assert brought is not None and brought["run"] == BACK


def chosen(root: Path, runs: Path) -> Choice:
    seen = facts(root, "promo", PASSED)
    documents = [entry.release for entry in seen.state.releases.values() if entry.release]
    witness = Witness(HOST, seen.state.history, documents, NOW)
    project = BEFORE / "project"
    files = {"compose.yml.j2": (project / "compose.yml.j2").read_bytes()}
    placed: Mapping[str, frozenset[str]] = {"only": frozenset(("web",))}
    wanted = Wanted("next", load_stack(project / "stack.yml"), files, placed=placed)
    return choose("first", [witness], wanted, Rules(), trust("first", "promo", runs))


def test_what_passed_and_was_signed_then_is_promoted_now(root: Path, runs: Path) -> None:
    found = chosen(root, runs)
    assert found.refusals == () and found.proof is not None  # the same files make the same release id
    promoted = found.proof.as_dict()
    assert promoted["release"].startswith("f235f0fc6227") and promoted["run"] == PASSED
    assert promoted["signed"]["by"] == "ops@example.org"


def test_what_this_machine_recorded_then_contradicts_a_host_now(root: Path, runs: Path) -> None:
    (recorded,) = runs.glob(f"*/{PASSED}/run.json")
    recorded.write_text(recorded.read_text().replace('"verdict": "passed"', '"verdict": "failed"'))
    found = chosen(root, runs)
    assert found.doubts and (found.proof is None or found.proof.line["run"] != PASSED)


def test_a_rollback_goes_where_it_would_have_gone(root: Path, runs: Path) -> None:
    seen = {HOST: facts(root, "promo", PASSED)}
    choice = choose_release(seen, "first", None, trust("first", "promo", runs))
    assert choice.proof is not None and choice.release.startswith("d0378979ea5e")
    back = back_to(choice.release, seen, "first", "promo")
    assert back.steps[HOST].services == ("web",) and back.steps[HOST].project == "promo-first"


def test_a_failed_deploy_goes_back_to_what_served_before(runs: Path) -> None:
    documents = {}
    for when in ("before", "after"):
        (path,) = runs.glob(f"*/{FAILED}/hosts/{HOST}/facts.{when}.json")
        documents[when] = {HOST: parse(HOST, json.loads(path.read_text()))}
    failed = document(runs, FAILED)
    back = back_from(
        documents["before"],
        documents["after"],
        [HOST],
        "one",
        "toyfaulty",
        trust("one", "toyfaulty", runs),
        failed["release"]["id"],
    )
    assert back.id == failed["rollback"]["to"] and not back.left


def test_what_hosts_prune_is_what_they_would_have_pruned(root: Path) -> None:
    base = root / "promo"
    releases = read_releases(str(base / "releases"))
    current = (base / "current").readlink().name.split("-")[0]
    history = read_history(str(base / "history.jsonl"))
    _, directories = prunable("promo", current, history, releases, {}, set())
    assert {name[:6] for name in directories} == {"aa3b92"}


@pytest.mark.parametrize("stack", ["promo", "toyfaulty"])
def test_folders_of_releases_are_as_they_were_installed(root: Path, stack: str) -> None:
    for name, release in read_releases(str(root / stack / "releases")).items():
        assert written_by_others(str(root / stack / "releases" / name), release) == []
