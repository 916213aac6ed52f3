"""Check one image against its contract: look at it, import its modules, run its commands."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

from canaryctl.config.contract import Command, Contract
from canaryctl.config.durations import show_duration
from canaryctl.config.sizes import show_size
from canaryctl.contract.cache import Cache
from canaryctl.contract.layers import read_history
from canaryctl.contract.modules import check_absent, check_present, misfit, parse_answer, program
from canaryctl.contract.results import Row
from canaryctl.contract.rules import check_inspection, read_inspection
from canaryctl.contract.running import Place, Ran, clear_old, run_image, sweep
from canaryctl.errors import HostError

_AT_ONCE = 3  # images checked at a time
_ENDING = 3.0  # seconds to remove containers where somebody waits for the end
_STARTS = 15.0  # seconds a container may take to start, beside what runs in it


@dataclass(frozen=True)
class Subject:
    """An image and what it promises.

    `name` is its name in the stack file, `id` its identity, `layers` the RootFS diff ids that go with it, `reference`
    what a place's Docker knows it by, `secrets` the names of the stack's secrets.
    """

    name: str
    id: str
    layers: tuple[str, ...]
    reference: str
    contract: Contract
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Imported:
    """What came of the run that imports modules: the program's document, or why there is none."""

    document: dict[str, Any] | None = None
    fault: str = ""
    no_python: bool = False


@dataclass(frozen=True)
class Job:
    """An image to check at a place. With `gpu` it is the part of its contract that needs a GPU, and only that.

    `on` is what else the answer depends on: the host's GPU and driver, say.
    """

    place: Place
    subject: Subject
    gpu: bool = False
    on: str = ""


def check_all(jobs: Sequence[Job], cache: Cache, tell: Callable[[Row], None] = lambda _row: None) -> list[Row]:
    """Check images, several at a time; their rows, in the order of the jobs. `tell` gets each as it is known.

    Raises:
        HostError: a host was lost.
    """
    rows: list[Row] = []
    for place in {job.place.mark: job.place for job in jobs if not is_known(cache, job)}.values():
        with contextlib.suppress(HostError):
            clear_old(place)
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        futures = [pool.submit(_known_or_checked, cache, job) for job in jobs]
        try:
            for future in futures:
                for row in future.result():
                    rows.append(row)
                    tell(row)
        except BaseException:
            _stop(jobs, futures)
            raise
    return rows


def _stop(jobs: Sequence[Job], futures: Sequence[Future[list[Row]]]) -> None:
    """End what runs, and leave no container behind."""
    for job in jobs:
        job.place.stopped.set()
    waiting = {future for future in futures if not future.cancel()}
    ends = time.monotonic() + _ENDING
    while waiting:
        for place in {job.place.mark: job.place for job in jobs}.values():
            with contextlib.suppress(HostError):
                if time.monotonic() < ends:
                    sweep(place, max(ends - time.monotonic(), 0.1))
                else:  # silent: the shell there removes the container when its connection is gone
                    place.connection.close()
        waiting = wait(waiting, timeout=0.5).not_done


def is_known(cache: Cache, job: Job) -> bool:
    """Whether what came of a job is remembered."""
    return bool(cache.rows(_key(job)))


def _key(job: Job) -> str:
    subject = job.subject
    return Cache.key(subject.id, subject.contract, subject.secrets, f"gpu {job.on}" if job.gpu else "")


def _known_or_checked(cache: Cache, job: Job) -> list[Row]:
    """The rows of an image, remembered where it was checked before."""
    subject, key = job.subject, _key(job)
    if known := cache.rows(key):
        return [replace(row, image=subject.name, where=job.place.name, cached=True) for row in known]
    rows = check_image(job.place, subject, gpu=job.gpu)
    # A GPU host that is fixed is the same host: only what it passed is remembered.
    lasting = ("passed",) if job.gpu else ("passed", "failed")
    if rows and all(row.verdict in lasting and not row.late for row in rows):
        cache.keep(key, rows)
    return rows


def check_image(place: Place, subject: Subject, *, gpu: bool = False) -> list[Row]:
    """Check an image that a place's Docker has.

    Args:
        gpu: check what needs a GPU, with the place's GPUs, and nothing else.

    Raises:
        HostError: the host was lost.
    """
    modules = [m.name for m in subject.contract.modules.present if (m.where == "gpu") == gpu]
    commands = [command for command in subject.contract.commands if (command.where == "gpu") == gpu]
    absent = () if gpu else subject.contract.modules.absent
    imported = _import(place, subject, [*modules, *absent], gpu)
    rows: list[Row] = []
    hidden: dict[str, str] = {}
    if not gpu:
        rows, hidden = _look(place, subject, imported)
    rows += _check_modules(place, subject, modules, absent, imported)
    rows += [_run_command(place, subject, command, gpu) for command in commands]
    return [replace(row, where=place.name).without(hidden) for row in rows]


def _look(place: Place, subject: Subject, imported: _Imported) -> tuple[list[Row], dict[str, str]]:
    done = place.connection.run(place.docker("image", "inspect", subject.reference), timeout=60)
    if not done.ok:
        reason = f"docker image inspect: {done.complaint.strip()[-300:]}"
        return [Row(subject.name, "image is there", "inconclusive", "", reason, place.name)], {}
    inspection = read_inspection(done.text, place.name)
    if tuple(inspection["RootFS"].get("Layers") or ()) != subject.layers:
        reason = f"{subject.reference} names another image by now than when this began: run it again"
        return [Row(subject.name, "image is the one", "inconclusive", str(inspection["Id"]), reason, place.name)], {}
    uid = imported.document["uid"] if imported.document else None
    if uid is None and subject.contract.user:
        uid = _ask_uid(place, subject)
    if subject.contract.user and not uid and (inspection.get("Config") or {}).get("Entrypoint"):
        uid = _ask_uid(place, subject, entrypoint=True) or uid
    history = read_history(place, subject.reference)
    return check_inspection(subject.name, subject.contract, inspection, history, subject.secrets, uid)


def _ask_uid(place: Place, subject: Subject, *, entrypoint: bool = False) -> int | None:
    """Who processes of the image are, with or without what its entry point does first; None where it does not say."""
    ran = _run(place, subject, ["id", "-u"], _STARTS, gpu=False, entrypoint=entrypoint)
    count = ran.output.strip() if entrypoint else "".join(ran.output.split()[-1:])  # it might count something else
    return int(count) if ran.code == 0 and re.fullmatch("[0-9]{1,10}", count) else None


def _import(place: Place, subject: Subject, modules: Sequence[str], gpu: bool) -> _Imported:
    """Import modules in one run of the image, with the first Python that it has."""
    if not modules:
        return _Imported()
    contract = subject.contract
    asked = json.dumps({"modules": list(dict.fromkeys(modules)), "timeout": contract.timeout})
    timeout = _STARTS + contract.timeout * len(modules)
    for python in (contract.python,) if contract.python else ("python3", "python"):
        ran = _run(place, subject, [python, "-c", program(), asked], timeout, gpu)
        if ran.no_program:
            continue
        if document := parse_answer(ran.output):
            if wrong := misfit(document, modules):
                return _Imported(fault=f"{python} in it answered otherwise than it was asked: {wrong}")
            return _Imported(document)
        if ran.fault:
            return _Imported(fault=f"the image could not be run: {ran.fault}")
        if ran.late:
            return _Imported(fault=f"{python} in it did not answer within {show_duration(timeout)}")
        return _Imported(fault=f"{python} in it did not answer (exit code {ran.code}): {ran.last_words or 'no output'}")
    return _Imported(no_python=True)


def _check_modules(
    place: Place, subject: Subject, present: Sequence[str], absent: Sequence[str], imported: _Imported
) -> list[Row]:
    contract, where = subject.contract, place.name
    checks = [*(f"module {name} present" for name in present), *(f"module {name} absent" for name in absent)]
    if imported.fault:
        return [Row(subject.name, check, "inconclusive", "", imported.fault, where) for check in checks]
    if imported.no_python:
        tried = contract.python or "python3 nor python"
        found = f"no Python: the image has {'no' if contract.python else 'neither'} {tried}"
        reason = f"there is {found}"
        rows = [Row(subject.name, check, "failed", "no Python", reason, where) for check in checks[: len(present)]]
        return rows + [Row(subject.name, check, "passed", found, where=where) for check in checks[len(present) :]]
    document = imported.document or {}
    bounds = {"timeout": contract.timeout, "memory": contract.memory}
    rows = [check_present(subject.name, name, document, **bounds, where=where) for name in present]  # type: ignore[arg-type]
    return rows + [check_absent(subject.name, name, document, where=where) for name in absent]


def _run_command(place: Place, subject: Subject, command: Command, gpu: bool) -> Row:
    """A command of the contract: exit code 0 is expected."""
    words = ["sh", "-c", command.run] if isinstance(command.run, str) else list(command.run)
    timeout = command.timeout or subject.contract.timeout
    ran = _run(place, subject, words, timeout, gpu)
    row = Row(subject.name, command.check, "failed", f"exit code {ran.code}", "", place.name, ran.seconds)
    if ran.code == 0:
        return replace(row, verdict="passed", found=ran.last_words.split(" / ")[-1][-120:] or "exit code 0")
    if ran.no_program:
        lacks = "no sh, which shell lines need: give 'run' as a list of words" if words[0] == "sh" else f"no {words[0]}"
        return replace(row, found="not there", reason=f"the image has {lacks}")
    if ran.late:
        reason = f"it did not end within {show_duration(timeout)}{_saying(ran)}"
        return replace(row, found="no end", reason=reason, late=True)
    if ran.fault:
        return replace(row, verdict="inconclusive", reason=f"the image could not be run: {ran.fault}")
    if ran.out_of_memory:
        bound = show_size(subject.contract.memory)
        return replace(row, reason=f"it was killed: most likely it needs more memory than the {bound} it may use")
    return replace(row, reason=f"exit code {ran.code}{_saying(ran)}")


def _saying(ran: Ran) -> str:
    return f": {ran.last_words}" if ran.last_words else ""


def _run(
    place: Place, subject: Subject, words: Sequence[str], timeout: float, gpu: bool, *, entrypoint: bool = False
) -> Ran:
    memory = subject.contract.memory
    try:
        return run_image(
            place, subject.reference, words, memory=memory, timeout=timeout, gpu=gpu, entrypoint=entrypoint
        )
    except HostError as error:
        if place.name != "here":
            raise
        return Ran(125, error.what, 0.0)
