"""What comes of an image that is run: verdicts from recorded answers of Docker, and what of them is remembered."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recorded import Answering

from canaryctl.config.contract import Contract
from canaryctl.contract.cache import Cache
from canaryctl.contract.check import Job, Subject, check_all, check_image, is_known
from canaryctl.contract.inside.imports import MARK
from canaryctl.contract.results import Row
from canaryctl.contract.running import Place
from canaryctl.errors import HostError, Interrupted

LAYERS = ("sha256:l1",)
INSPECTION = json.dumps([{"Id": "sha256:1", "RootFS": {"Layers": [*LAYERS]}, "Config": {}}])
NO_PROGRAM = 'docker: OCI runtime create failed: exec: "python3": executable file not found in $PATH.'
Answer = Callable[[str], tuple[int, str]]


def imports(*names: str, uid: int = 0, **answers: dict[str, Any]) -> str:
    modules = {name: {"fault": ""} for name in names} | answers
    return f"{MARK}{json.dumps({'uid': uid, 'modules': modules})}\n"


def subject(**contract: Any) -> Subject:
    return Subject("web", "sha256:1", LAYERS, "canaryctl/shop/web:x", Contract.model_validate(contract))


def docker(run: tuple[int, str] | Answer = (0, ""), inspection: str = INSPECTION, inspected: int = 0) -> Answer:
    """A Docker whose every run of an image ends so."""

    def answer(command: str) -> tuple[int, str]:
        if "docker image inspect" in command:
            return inspected, inspection
        if "docker run" not in command:
            return 0, ""
        return run(command) if callable(run) else run

    return answer


def checked(answer: Answer, *, name: str = "here", gpu: bool = False, **contract: Any) -> list[Row]:
    return check_image(Place(name, Answering(answer)), subject(**contract), gpu=gpu)


def verdicts(rows: list[Row]) -> dict[str, str]:
    return {row.check: row.verdict for row in rows}


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ((0, "ready"), "passed"),
        ((3, "no such table"), "failed"),
        ((127, 'exec: "migrate": executable file not found in $PATH'), "failed"),
        ((137, ""), "failed"),
        ((125, "Cannot connect to the Docker daemon"), "inconclusive"),
        ((1, "exec format error"), "inconclusive"),
    ],
)
def test_a_command_is_held_against_its_exit_code(answer: tuple[int, str], verdict: str) -> None:
    (row,) = [row for row in checked(docker(answer), commands=["migrate --check"]) if row.check.startswith("command")]
    assert (row.verdict, row.where) == (verdict, "here")
    assert bool(row.reason) == (verdict != "passed")


@pytest.mark.parametrize(
    ("answer", "present", "absent"),
    [
        ((0, imports("shop", torch={"fault": "missing", "name": "torch"})), "passed", "passed"),
        ((0, imports("shop", "torch")), "passed", "failed"),
        ((0, imports(shop={"fault": "missing", "name": "shop"}, torch={"fault": "broken"})), "failed", "failed"),
        ((127, NO_PROGRAM), "failed", "passed"),  # without Python nothing imports
        ((1, "Traceback"), "inconclusive", "inconclusive"),
        ((125, "no such image"), "inconclusive", "inconclusive"),
        ((0, f'{MARK}{{"uid": 0, "modules": {{}}}}'), "inconclusive", "inconclusive"),
    ],
)
def test_modules_that_must_and_must_not_import(answer: tuple[int, str], present: str, absent: str) -> None:
    rows = verdicts(checked(docker(answer), modules={"present": ["shop"], "absent": ["torch"]}))
    assert (rows["module shop present"], rows["module torch absent"]) == (present, absent)


def test_the_first_python_that_an_image_has_imports_or_the_one_it_names() -> None:
    def only_python(command: str) -> tuple[int, str]:
        return (0, imports("shop")) if "--entrypoint python " in command else (127, NO_PROGRAM)

    promise = {"modules": {"present": ["shop"]}}
    assert verdicts(checked(docker(only_python), **promise))["module shop present"] == "passed"
    assert verdicts(checked(docker(only_python), python="python3", **promise))["module shop present"] == "failed"


@pytest.mark.parametrize(
    ("answer", "check"),
    [
        (docker(inspection="no such image", inspected=1), "image is there"),
        (docker(inspection=INSPECTION.replace("l1", "l2")), "image is the one"),
    ],
)
def test_an_image_that_is_gone_or_another_by_now_is_inconclusive(answer: Answer, check: str) -> None:
    (row,) = [row for row in checked(answer, platform="linux/amd64") if row.check.startswith("image")]
    assert (row.check, row.verdict) == (check, "inconclusive")


def test_only_what_needs_a_gpu_runs_where_there_is_one_and_nothing_else() -> None:
    promise = {
        "modules": {"present": ["shop", {"name": "torch", "where": "gpu"}], "absent": ["tests"]},
        "commands": ["true", {"run": "nvidia-smi", "where": "gpu"}],
        "platform": "linux/amd64",
    }
    missing = {"tests": {"fault": "missing", "name": "tests"}}
    here = Answering(docker((0, imports("shop", "torch", **missing))))
    host = Answering(docker((0, imports("shop", "torch"))), "h1")
    without = check_image(Place("here", here), subject(**promise))
    with_gpu = check_image(Place("h1", host, gpu=("--gpus", "all")), subject(**promise), gpu=True)
    assert set(verdicts(with_gpu)) == {"module torch present", "command nvidia-smi"}
    assert not set(verdicts(with_gpu)) & set(verdicts(without))
    assert all("--gpus all" in command for command in host.commands if "docker run" in command)
    assert not any("--gpus" in command for command in here.commands)


def test_who_the_process_is_comes_from_the_import_else_from_the_image() -> None:
    def ids(command: str) -> tuple[int, str]:
        return (0, "welcome\n1000\n") if " id " in command or "-u" in command else (0, imports("shop", uid=7))

    rows = checked(docker(ids), user="1000", commands=["true"])
    assert verdicts(rows)["user 1000"] == "passed"
    rows = checked(docker(ids), user="1000", modules={"present": ["shop"]})
    assert verdicts(rows)["user 1000"] == "failed"


@pytest.mark.parametrize(("place", "raises"), [("here", False), ("h1", True)])
def test_a_docker_that_cannot_be_reached_here_is_inconclusive_and_a_lost_host_ends_it(place: str, raises: bool) -> None:
    def lost(command: str) -> tuple[int, str]:
        if "docker run" in command:
            raise HostError("gone", place)
        return 0, INSPECTION

    if raises:
        with pytest.raises(HostError):
            checked(lost, name=place, commands=["true"])
    else:
        rows = checked(lost, name=place, commands=["true"])
        assert verdicts(rows)["command true"] == "inconclusive"


@pytest.mark.parametrize(
    ("answer", "gpu", "known"),
    [
        ((0, ""), False, True),
        ((1, ""), False, True),
        ((0, ""), True, True),
        ((1, ""), True, False),  # the host may be fixed
        ((125, ""), False, False),  # nothing was found out
    ],
)
def test_what_is_remembered(tmp_path: Path, answer: tuple[int, str], gpu: bool, known: bool) -> None:
    cache, connection = Cache(tmp_path), Answering(docker(answer))
    promise = subject(commands=[{"run": "true", "where": "gpu" if gpu else "here"}])
    job = Job(Place("h1" if gpu else "here", connection), promise, gpu, "A100, driver 550" if gpu else "")
    told: list[Row] = []
    rows = check_all([job], cache, told.append)
    assert (told, {row.cached for row in rows}, is_known(cache, job)) == (rows, {False}, known)
    runs = len(connection.commands)
    again = check_all([job], cache)
    assert ({row.cached for row in again}, len(connection.commands) == runs) == ({known}, known)
    assert [row.verdict for row in again] == [row.verdict for row in rows]
    assert not is_known(cache, Job(job.place, promise, gpu, "another GPU")) or not gpu


def test_one_that_fails_ends_the_others_and_leaves_no_container(tmp_path: Path) -> None:
    lost, other = Answering(lambda command: _raise()), Answering(docker((0, "")), "other")
    jobs = [Job(Place("h1", lost), subject(commands=["true"])), Job(Place("h2", other), subject(commands=["true"]))]
    with pytest.raises(HostError):
        check_all(jobs, Cache(tmp_path))
    assert all(job.place.stopped.is_set() for job in jobs)
    with pytest.raises(Interrupted):
        check_image(jobs[1].place, jobs[1].subject)


def _raise() -> tuple[int, str]:
    raise HostError("gone", "h1")
