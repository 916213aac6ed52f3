"""What surrounds a command: its record, whatever comes of it, and what follows once a release has failed on hosts.

Between `recorded` and the rollback that it may begin there is a circle: a rollback is a run of its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from canaryctl.config.evidencegroup import evidence_group
from canaryctl.config.scrub import Scrubber
from canaryctl.deploy import collection, hooks, notify, promotion, rollback, signing, stages, verification, waves
from canaryctl.deploy.backups import Backup
from canaryctl.deploy.context import Work
from canaryctl.deploy.outcome import Ended, outcome
from canaryctl.deploy.watching import Watching, watch
from canaryctl.errors import (
    ApplyError,
    CanaryError,
    ConfigError,
    ContractError,
    Interrupted,
    LockedError,
    UnjudgedError,
)
from canaryctl.evidence.document import RunIdentity, error_object
from canaryctl.evidence.run import Listener, Run
from canaryctl.plan.deployment import Request, Scene
from canaryctl.plan.rollback import RollbackPlan

_INTERRUPTED_WAITS = 5.0  # seconds for all hosts together


@contextmanager
def unrecorded(request: Request, *, fetch: bool = False) -> Iterator[Work]:
    """An observed environment for commands that only look: the run they leave is thrown away.

    `fetch` as for `promotion.promote`.
    """
    scene = Scene(request)
    with (
        tempfile.TemporaryDirectory(prefix="canaryctl-") as thrown_away,
        Work(scene, _open(scene, "plan", (), Path(thrown_away))) as work,
    ):
        promotion.promote(work, fetch=fetch)
        scene.check_all()
        work.observe()
        yield work


@contextmanager
def recorded(command: str, request: Request, listeners: Sequence[Listener], role: str | None = None) -> Iterator[Work]:
    """Everything a command does on an environment, recorded whatever comes of it."""
    with _recorded(Scene(request), command, listeners, role) as work:
        yield work


@contextmanager
def _recorded(
    scene: Scene, command: str, listeners: Sequence[Listener], role: str | None = None, spare: Path | None = None
) -> Iterator[Work]:
    """As `recorded`, for a scene. `spare` is where the record goes if it cannot be kept where it belongs."""
    request = scene.request
    with ExitStack() as leaving:
        runs = scene.project.runs
        if request.check:  # changes nothing, so leaves no run
            runs = Path(leaving.enter_context(tempfile.TemporaryDirectory(prefix="canaryctl-")))
        try:
            run = _open(scene, command, listeners, runs, role)
        except ConfigError as full:
            if spare is None:
                raise
            run = _open(scene, command, listeners, spare, role)
            run.warn(f"this run's evidence is thrown away: {full.what}", full.where, full.hint)
        leaving.callback(notify.tell, scene, run, listeners)
        work = leaving.enter_context(Work(scene, run))
        work.listeners = listeners
        try:
            try:
                yield work
                ended = outcome(ended_by(work))
                unreachable = next(iter(work.failures.values()), None)
                run.finish(ended.verdict, ended.exit_code, unreachable or waves.error_of(work) or work.other_release)
            except Exception as error:
                _after_error(work, error)
                ended = outcome(ended_by(work, error))
                run.finish(ended.verdict, ended.exit_code, error)
                if not isinstance(error, CanaryError):
                    raise
        except KeyboardInterrupt as interrupt:
            _after_interrupt(work, interrupt)
            run.finish("interrupted", 130, Interrupted("interrupted by the operator", "", interrupted_hint(work)))
        except BaseException as error:
            run.finish("error", 1, error)
            raise
    if request.check:
        run.document["directory"] = ""


def ended_by(work: Work, error: BaseException | None = None) -> Ended:
    """How a run came to its end, as `outcome` wants to know it."""
    document = work.run.document
    return Ended(
        command=document["command"],
        role=document["role"],
        error=error,
        verdict=work.verdict,
        judged=work.judged,
        changed=bool(document["changed_from"]),
        touched=bool(work.touched),
        lost=bool(work.failures),
        left_behind=bool(work.start_failures),
        on_failure=work.scene.policy.on_failure,
    )


def _open(scene: Scene, command: str, listeners: Sequence[Listener], runs: Path, role: str | None = None) -> Run:
    return Run.start(
        runs,
        RunIdentity(command, scene.environment.name, scene.stack.stack, scene.variant, role),
        project_root=scene.project.root,
        scrub=Scrubber(scene.passwords),
        listeners=listeners,
        group=evidence_group(scene.environment),
    )


def _after_error(work: Work, error: Exception) -> None:
    """Evidence first, then history, policy and hooks. A second fault on the way hides neither the first nor these."""
    if not work.facts and not work.run.document["changed_from"]:
        return
    ended = outcome(ended_by(work, error))
    try:
        if ended.collect and not work.collected:
            with _whatever_comes(work):
                collection.collect(work)
        if ended.remember:
            with _whatever_comes(work):
                collection.remember(work, work.run.document["command"], ended.remember)
        for host in rollback.unreachable(work):
            hint = "see that it is up, then deploy again: that goes on from what it finds"
            work.run.warn(f"{host} could not be reached, it may serve nothing", host, hint)
        after_failure(work, ended.policy)
        if isinstance(error, CanaryError):
            with _whatever_comes(work):
                _say_what_serves(work, error)
        if ended.hook:
            with _whatever_comes(work):
                hooks.after_error(work, error, ended.verdict)
    except KeyboardInterrupt:
        what, where, hint = (error_object(error) or {}).values()
        work.run.warn(f"before the interruption: {what}", where, hint)
        raise


@contextmanager
def _whatever_comes(work: Work) -> Iterator[None]:
    """A fault of one step of the aftermath is a warning, and the next step follows."""
    try:
        yield
    except CanaryError as second:
        work.run.warn(f"after the failure: {second.what}", second.where, second.hint)
    except Exception as fault:
        told = error_object(fault) or {}
        work.run.warn(f"after the failure: {told['what']}", hint=told["hint"])


def _say_what_serves(work: Work, error: CanaryError) -> None:
    changed = bool(work.run.document["changed_from"])
    if isinstance(error, LockedError) and not changed:
        return
    if changed or isinstance(error, (ApplyError, ContractError, UnjudgedError)):
        now = "The hosts serve now" if changed else "Nothing was changed; the hosts serve"
        error.hint = f"{error.hint.rstrip('. ')}. {now}: {collection.serving(work)}".lstrip(". ")


def _after_interrupt(work: Work, interrupt: KeyboardInterrupt) -> None:
    """Leave a line in the hosts' history where a release was on its way; who interrupts waits for seconds at most."""
    remember = outcome(ended_by(work, interrupt)).remember
    if remember is None or work.scene.request.check:
        return
    try:
        collection.remember_interrupted(work, remember, seconds=_INTERRUPTED_WAITS)
    except (Exception, KeyboardInterrupt) as fault:
        work.run.warn(f"the interruption may not be in the hosts' history: {fault or 'interrupted again'}")


def interrupted_hint(work: Work) -> str:
    """What an interrupted command left."""
    if work.run.document["changed_from"]:
        return "hosts may be half changed: run the same command again, it goes on from what it finds"
    return "nothing was changed"


def verify(work: Work, watching: Watching | None = None) -> None:
    """Probe, and bring the evidence home."""
    collection.read_migration(work)
    work.verdict = watch(work, watching) if watching else verification.probe(work)
    collection.collect(work)
    verification.require_running(work)


def after_failure(work: Work, policy: str) -> None:
    """Do once what the environment's policy wants after a release has failed on it. Evidence has been collected by now.

    Raises nothing but KeyboardInterrupt: what goes wrong is a warning beside the failure that led here.
    """
    if not policy or work.policy_acted:
        return
    work.policy_acted = True
    with _whatever_comes(work):
        if policy == "down":
            work.run.note("canary_on_failure is down: the services are stopped, their data stays")
            stages.down(work, volumes=False)
        elif policy == "rollback":
            roll_back(work)
        else:
            work.run.note("canary_on_failure is keep: the hosts keep what they have")
            return
    with _whatever_comes(work):
        work.observe(again=True)


def roll_back(work: Work) -> None:
    """Take the hosts back to what they served before this run, in a run of its own that judges what serves then."""
    back = rollback.way_back(work)
    if back.left:
        work.run.warn(
            "nothing to go back to: no other release has passed there, and the services are left as they are",
            ", ".join(back.left),
            "fix the release and deploy again, or name one to go back to: canaryctl rollback ENV --to RELEASE",
        )
    if not back.steps:
        if not back.left and not rollback.unreachable(work):
            work.run.note("nothing was rolled back: the run touched nothing that serves")
        return
    revisions, backup = work.run.document["migrations"], None
    moved = (revisions["before"], revisions["after"]) if revisions["before"] != revisions["after"] else None
    if moved or work.run.document["role"] == "candidate":  # whose baseline may have moved it
        try:
            backup = rollback.settle_database(work, back, moved)
        except CanaryError as stop:
            work.run.warn(f"not rolled back: {stop.what}", stop.where, stop.hint)
            return
    request = replace(work.scene.request, only=(), skip=(), images={}, variant=None, contracts=True, force_reason=None)
    # Where the disk is full, what serves is more than what is known of it.
    with _recorded(work.scene.again(request), "rollback", work.listeners, spare=work.scratch) as again:
        again.lock = work.lock
        again.gone = {(gap["host"], gap["service"]): gap["from"] for gap in work.run.document["gaps"]}
        collection.know_secrets(again, needed=False)
        again.observe()
        back = rollback.reachable(back, again)
        rollback.enter(again, back)
        again.run.note(f"follows the failed {work.run.document['command']} {work.run.id}")
        return_to(again, back, backup, leave=True)
    done = again.run.document
    if done["verdict"] == "interrupted":
        raise KeyboardInterrupt
    work.run.set("rollback", rollback.summary(done))
    if done["verdict"] == "passed":
        work.run.note(f"rolled back to {(back.id or 'nothing')[:12]}: {rollback.gap_words(done['gaps'])}")
    else:
        said = done["error"] or {"what": "its probes did not pass", "hint": ""}
        work.run.warn(f"the rollback ended {done['verdict']}: {said['what']}", done["directory"], said["hint"])


def return_to(work: Work, back: RollbackPlan, backup: Backup | None, *, leave: bool = False) -> None:
    """Make an earlier release serve again, and judge it where it is this environment's.

    Args:
        leave: where a host cannot have its images back, the others go back without it.
    """
    with work.run.changing():
        rollback.go(work, back, backup, leave=leave)
    if back.release.get("environment") != work.scene.environment.name:
        work.run.note(
            f"{back.release['environment']} serves again; its probes are its own"
            if back.release
            else "nothing served before: what the run had made was removed, images apart, which the next try needs"
        )
        collection.collect(work)
        collection.remember(work, "rollback")
        return
    verify(work)
    signing.settle_rollback(work, back.release)
    collection.remember(work, "rollback", verification.proven(work, serves=back.id))
