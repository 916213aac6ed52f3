"""What surrounds a command: its record, whatever comes of it, and what follows once a release has failed on hosts.

Between `recorded` and the rollback that it may begin there is a circle: a rollback is a run of its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from canaryctl import notify
from canaryctl.config.evidencegroup import evidence_group
from canaryctl.errors import (
    ApplyError,
    CanaryError,
    ContractError,
    HostError,
    Interrupted,
    LockedError,
    UnjudgedError,
    worst_exit,
)
from canaryctl.plan.back import Back
from canaryctl.record.run import Listener, Run
from canaryctl.scene import Request, Scene
from canaryctl.steps import evidence, hooks, judging, promoting, rolling, stages, waves
from canaryctl.steps.backups import Backup
from canaryctl.steps.watching import Watching, watch
from canaryctl.work import Work

_VERDICT_EXIT = {"passed": 0, "failed": 1, "inconclusive": 4}


@contextmanager
def unrecorded(request: Request, *, fetch: bool = False) -> Iterator[Work]:
    """An observed environment for commands that only look: the run they leave is thrown away.

    `fetch` as for `promoting.promote`.
    """
    scene = Scene(request)
    with (
        tempfile.TemporaryDirectory(prefix="canaryctl-") as thrown_away,
        Work(scene, _open(scene, "plan", (), Path(thrown_away))) as work,
    ):
        promoting.promote(work, fetch=fetch)
        scene.check_all()
        work.observe()
        yield work


@contextmanager
def recorded(command: str, request: Request, listeners: Sequence[Listener], role: str | None = None) -> Iterator[Work]:
    """Everything a command does on an environment, recorded whatever comes of it."""
    scene = Scene(request)
    with ExitStack() as leaving:
        runs = scene.project.runs
        if request.check:  # changes nothing, so leaves no run
            runs = Path(leaving.enter_context(tempfile.TemporaryDirectory(prefix="canaryctl-")))
        run = _open(scene, command, listeners, runs, role)
        leaving.callback(notify.tell, scene, run, listeners)
        work = leaving.enter_context(Work(scene, run))
        work.listeners = listeners
        try:
            try:
                yield work
                codes = {_VERDICT_EXIT[work.verdict], 3 if work.failures else 0, 6 if work.start_failures else 0}
                unreachable = next(iter(work.failures.values()), None)
                verdict = "error" if unreachable and work.verdict == "passed" else work.verdict
                run.finish(verdict, worst_exit(codes), unreachable or waves.error_of(work))
            except CanaryError as error:
                _after_error(work, error)
                hooks.after_error(work, error, _verdict_after(error))
                run.finish(_verdict_after(error), error.exit_code, error)
        except KeyboardInterrupt:
            run.finish("interrupted", 130, Interrupted("interrupted by the operator", "", interrupted_hint(work)))
        except BaseException as error:
            run.finish("error", 1, error)
            raise
    if request.check:
        run.document["directory"] = ""


def _open(scene: Scene, command: str, listeners: Sequence[Listener], runs: Path, role: str | None = None) -> Run:
    return Run.start(
        runs,
        command=command,
        environment=scene.environment.name,
        stack=scene.stack.stack,
        variant=scene.variant,
        role=role,
        project_root=scene.project.root,
        listeners=listeners,
        group=evidence_group(scene.environment),
    )


def _verdict_after(error: CanaryError) -> str:
    if isinstance(error, (ApplyError, ContractError)):
        return "failed"
    return "inconclusive" if isinstance(error, UnjudgedError) else "error"


def _after_error(work: Work, error: CanaryError) -> None:
    """Evidence first, then the policy. A second fault on the way must not hide the first."""
    changed = bool(work.run.document["changed_from"])
    if not work.facts or (isinstance(error, LockedError) and not changed):
        return
    image_refused = isinstance(error, (ContractError, UnjudgedError))
    try:
        if not work.collected and (changed or not image_refused):
            evidence.collect(work)
        if changed and isinstance(error, (ApplyError, HostError, ContractError, UnjudgedError)):
            evidence.remember(work, work.run.document["command"], "failed")
        if changed and isinstance(error, (ApplyError, HostError)):  # a refused image has replaced nothing
            after_failure(work)
        if changed or image_refused or isinstance(error, ApplyError):
            now = "The hosts serve now" if changed else "Nothing was changed; the hosts serve"
            error.hint = f"{error.hint.rstrip('. ')}. {now}: {evidence.serving(work)}".lstrip(". ")
    except CanaryError as second:
        work.run.warn(f"after the failure: {second.what}", second.where, second.hint)
    except KeyboardInterrupt:
        work.run.warn(f"before the interruption: {error.what}", error.where, error.hint)
        raise


def interrupted_hint(work: Work) -> str:
    """What an interrupted command left."""
    if work.run.document["changed_from"]:
        return "hosts may be half changed: run the same command again, it goes on from what it finds"
    return "nothing was changed"


def judge(work: Work, watching: Watching | None = None) -> None:
    """Probe, and bring the evidence home."""
    evidence.read_migration(work)
    work.verdict = watch(work, watching) if watching else judging.probe(work)
    evidence.collect(work)


def after_failure(work: Work) -> None:
    """What the environment's policy wants once a release has failed on it. Evidence has been collected by now."""
    document = work.run.document
    if not document["changed_from"] or document["command"] == "rollback" or document["role"] == "baseline":
        return  # a baseline's place is taken by its candidate
    policy = work.scene.policy.on_failure
    if policy == "down":
        work.run.note("canary_on_failure is down: the services are stopped, their data stays")
        stages.down(work, volumes=False)
        work.observe(again=True)
    elif policy == "rollback":
        roll_back(work)
        work.observe(again=True)
    else:
        work.run.note("canary_on_failure is keep: the hosts keep what they have")


def roll_back(work: Work) -> None:
    """Take the hosts back to what they served before this run, in a run of its own that judges what serves then."""
    back = rolling.way_back(work)
    if back is None:
        work.run.note("nothing was rolled back: the run touched nothing that serves")
        return
    revisions, backup = work.run.document["migrations"], None
    moved = (revisions["before"], revisions["after"]) if revisions["before"] != revisions["after"] else None
    if moved or work.run.document["role"] == "candidate":  # whose baseline may have moved it
        try:
            backup = rolling.settle_database(work, back, moved)
        except ApplyError as stop:
            work.run.warn(f"not rolled back: {stop.what}", stop.where, stop.hint)
            return
    request = replace(work.scene.request, only=(), skip=(), images={}, variant=None, contracts=True, force_reason=None)
    with recorded("rollback", request, work.listeners) as again:
        again.lock = work.lock
        again.gone = {(gap["host"], gap["service"]): gap["from"] for gap in work.run.document["gaps"]}
        evidence.know_secrets(again, needed=False)
        again.observe()
        back = rolling.reachable(back, again)
        rolling.enter(again, back)
        again.run.note(f"follows the failed {work.run.document['command']} {work.run.id}")
        return_to(again, back, backup)
    done = again.run.document
    if done["verdict"] == "interrupted":
        raise KeyboardInterrupt
    work.run.set("rollback", rolling.summary(done))
    if done["verdict"] == "passed":
        work.run.note(f"rolled back to {(back.id or 'nothing')[:12]}: {rolling.gap_words(done['gaps'])}")
    else:
        said = done["error"] or {"what": "its probes did not pass", "hint": ""}
        work.run.warn(f"the rollback ended {done['verdict']}: {said['what']}", done["directory"], said["hint"])


def return_to(work: Work, back: Back, backup: Backup | None) -> None:
    """Make an earlier release serve again, and judge it where it is this environment's."""
    with work.run.changing():
        rolling.go(work, back, backup)
    if back.release.get("environment") != work.scene.environment.name:
        work.run.note(
            f"{back.release['environment']} serves again; its probes are its own"
            if back.release
            else "nothing served before: what the run had made was removed, images apart, which the next try needs"
        )
        evidence.collect(work)
        evidence.remember(work, "rollback")
        return
    judge(work)
    evidence.remember(work, "rollback", judging.proven(work))
