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
from canaryctl.deploy import (
    changes,
    collection,
    downtime,
    hooks,
    notify,
    promotion,
    rollback,
    signing,
    stages,
    verification,
    waves,
)
from canaryctl.deploy.backups import Backup
from canaryctl.deploy.command import PLAN, ROLLBACK, Command
from canaryctl.deploy.context import RunContext, memory
from canaryctl.deploy.outcome import Ended, Outcome, outcome
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
from canaryctl.evidence.document import RunIdentity, error_object, failed_run, rollback_run
from canaryctl.evidence.room import lacking
from canaryctl.evidence.run import Listener, Run
from canaryctl.hosts.scratch import scratch
from canaryctl.plan.deployment import Deployment, Request, load_deployment
from canaryctl.plan.rollback import RollbackPlan

_INTERRUPTED_WAITS = 2.5  # seconds for all hosts together


@contextmanager
def unrecorded(request: Request, *, fetch: bool = False) -> Iterator[RunContext]:
    """An observed environment for commands that only look: the run they leave is thrown away.

    `fetch` as for `promotion.promote`.
    """
    deployment = load_deployment(request)
    with (
        scratch() as thrown_away,
        RunContext(deployment, _open(deployment, PLAN, (), thrown_away), PLAN) as ctx,
    ):
        promotion.promote(ctx, fetch=fetch)
        ctx.check()
        ctx.observe()
        yield ctx


@contextmanager
def recorded(command: Command, request: Request, listeners: Sequence[Listener]) -> Iterator[RunContext]:
    """Everything a command does on an environment, recorded whatever comes of it."""
    with _recorded(load_deployment(request), command, listeners) as ctx:
        yield ctx


@contextmanager
def _recorded(
    deployment: Deployment, command: Command, listeners: Sequence[Listener], spare: Path | None = None
) -> Iterator[RunContext]:
    """As `recorded`, for a deployment. `spare` is where the record goes if it cannot be kept where it belongs."""
    request = deployment.request
    if not spare:
        _require_scratch_room()
    with ExitStack() as leaving:
        runs = deployment.project.runs
        if request.check:  # changes nothing, so leaves no run
            runs = leaving.enter_context(scratch())
        try:
            run = _open(deployment, command, listeners, runs)
        except ConfigError as full:
            if spare is None:
                raise
            run = _open(deployment, command, listeners, spare)
            run.warn(f"this run's evidence is thrown away: {full.what}", full.where, full.hint)
        if command.notifies:
            leaving.callback(notify.tell, deployment, run, listeners)
        ctx = leaving.enter_context(RunContext(deployment, run, command, listeners))
        try:
            try:
                yield ctx
                ended = outcome(ended_by(ctx))
                unreachable = next(iter(ctx.state.failures.values()), None)
                _finish(ctx, ended, unreachable or waves.error_of(ctx) or ctx.state.other_release)
            except Exception as error:
                _after_error(ctx, error)
                ended = outcome(ended_by(ctx, error))
                _finish(ctx, ended, error)
                if not isinstance(error, CanaryError):
                    raise
        except KeyboardInterrupt as interrupt:
            _after_interrupt(ctx, interrupt)
            stopped = Interrupted("interrupted by the operator", "", interrupted_hint(ctx))
            _finish(ctx, outcome(ended_by(ctx, interrupt)), stopped)
        except BaseException as error:
            _finish(ctx, outcome(ended_by(ctx, error)), error)
            raise
    if request.check:
        run.document["directory"] = ""


def _require_scratch_room() -> None:
    """Stop before anything is changed where there is no room for what Ansible is given."""
    place = Path(memory() or tempfile.gettempdir())
    if fault := lacking(place):
        hint = "make room there; TMPDIR names another place where there is no /dev/shm"
        raise ConfigError(f"there is no space for temporary files: {fault}", str(place), hint)


def _finish(ctx: RunContext, ended: Outcome, error: BaseException | None) -> None:
    ctx.state.outcome, ctx.state.error = ended, error
    ctx.run.finish(ended.verdict, ended.exit_code, error)


def ended_by(ctx: RunContext, error: BaseException | None = None) -> Ended:
    """How a run came to its end, as `outcome` wants to know it."""
    return Ended(
        follows_policy=ctx.command.follows_policy,
        baseline=ctx.command.is_baseline,
        error=error,
        verdict=ctx.state.verdict,
        judged=ctx.state.judged,
        changed=ctx.state.changed,
        touched=bool(ctx.state.touched),
        lost=bool(ctx.state.failures),
        left_behind=bool(ctx.state.start_failures),
        on_failure=ctx.deployment.policy.on_failure,
    )


def _open(deployment: Deployment, command: Command, listeners: Sequence[Listener], runs: Path) -> Run:
    return Run.start(
        runs,
        RunIdentity(
            command.name, deployment.environment.name, deployment.stack.stack, deployment.variant, command.role
        ),
        project_root=deployment.project.root,
        scrub=Scrubber(deployment.passwords),
        listeners=listeners,
        group=evidence_group(deployment.environment),
    )


def _after_error(ctx: RunContext, error: Exception) -> None:
    """Evidence first, then history, policy and hooks. A second fault on the way hides neither the first nor these."""
    if not ctx.facts and not ctx.state.changed:
        return
    ended = outcome(ended_by(ctx, error))
    try:
        if ended.collect and not ctx.state.collected:
            with _whatever_comes(ctx):
                collection.collect(ctx)
        if ended.remember:
            with _whatever_comes(ctx):
                collection.remember(ctx, ctx.command.name, ended.remember)
        for host in rollback.unreachable(ctx):
            hint = "see that it is up, then deploy again: that goes on from what it finds"
            ctx.run.warn(f"{host} could not be reached, it may serve nothing", host, hint)
        after_failure(ctx, ended.policy)
        if isinstance(error, UnjudgedError):  # which blames the probes: what serves stays
            with _whatever_comes(ctx):
                changes.confirm(ctx)
        if isinstance(error, CanaryError):
            with _whatever_comes(ctx):
                _say_what_serves(ctx, error)
        if ended.hook:
            with _whatever_comes(ctx):
                hooks.after_error(ctx, error, ended.verdict)
    except KeyboardInterrupt:
        what, where, hint = (error_object(error) or {}).values()
        ctx.run.warn(f"before the interruption: {what}", where, hint)
        raise


@contextmanager
def _whatever_comes(ctx: RunContext) -> Iterator[None]:
    """A fault of one step of the aftermath is a warning, and the next step follows."""
    try:
        yield
    except CanaryError as second:
        ctx.run.warn(f"after the failure: {second.what}", second.where, second.hint)
    except Exception as fault:
        second_fault = error_object(fault) or {}
        ctx.run.warn(f"after the failure: {second_fault['what']}", hint=second_fault["hint"])


def _say_what_serves(ctx: RunContext, error: CanaryError) -> None:
    changed = ctx.state.changed
    if isinstance(error, LockedError) and not changed:
        return
    if changed or isinstance(error, (ApplyError, ContractError, UnjudgedError)):
        now = "The hosts serve now" if changed else "Nothing was changed; the hosts serve"
        error.hint = f"{error.hint.rstrip('. ')}. {now}: {collection.serving(ctx)}".lstrip(". ")


def _after_interrupt(ctx: RunContext, interrupt: KeyboardInterrupt) -> None:
    """Leave a line in the hosts' history where a release was on its way; who interrupts waits for seconds at most."""
    remember = outcome(ended_by(ctx, interrupt)).remember
    if remember is None or ctx.deployment.request.check:
        return
    try:
        collection.remember_interrupted(ctx, remember, seconds=_INTERRUPTED_WAITS)
    except (Exception, KeyboardInterrupt) as fault:
        ctx.run.warn(f"the interruption may not be in the hosts' history: {fault or 'interrupted again'}")


def interrupted_hint(ctx: RunContext) -> str:
    """What an interrupted command left."""
    if ctx.state.changed:
        hosts = ", ".join(sorted(ctx.state.unconfirmed))
        back = f"; {hosts} goes back to what last passed there" if hosts else ""
        return f"hosts may be half changed: run the same command again, it goes on from what it finds{back}"
    return "nothing was changed"


def verify(ctx: RunContext, watching: Watching | None = None) -> None:
    """Probe, and bring the evidence home."""
    collection.read_migration(ctx)
    ctx.state.verdict = watch(ctx, watching) if watching else verification.probe(ctx)
    collection.collect(ctx)
    verification.require_running(ctx)


def after_failure(ctx: RunContext, policy: str) -> None:
    """Do once what the environment's policy wants after a release has failed on it. Evidence has been collected by now.

    Raises nothing but KeyboardInterrupt: what goes wrong is a warning beside the failure that led here.
    """
    if not policy or ctx.state.policy_acted:
        return
    ctx.state.policy_acted = True
    if policy != "rollback":
        with _whatever_comes(ctx):
            changes.confirm(ctx)
    with _whatever_comes(ctx):
        if policy == "down":
            ctx.run.note("canary_on_failure is down: the services are stopped, their data stays")
            stages.down(ctx, volumes=False)
        elif policy == "rollback":
            roll_back(ctx)
        else:
            ctx.run.note("canary_on_failure is keep: the hosts keep what they have")
            return
    with _whatever_comes(ctx):
        ctx.observe(again=True)


def roll_back(ctx: RunContext) -> None:
    """Take the hosts back to what they served before this run, in a run of its own that judges what serves then."""
    back = rollback.way_back(ctx)
    if back.left:
        ctx.run.warn(
            "nothing to go back to: no other release has passed there, and the services are left as they are",
            ", ".join(back.left),
            "fix the release and deploy again, or name one to go back to: canaryctl rollback ENV --to RELEASE",
        )
    if not back.steps:
        if not back.left and not rollback.unreachable(ctx):
            ctx.run.note("nothing was rolled back: the run touched nothing that serves")
        return
    backup, moved = None, ctx.state.migration if ctx.state.migration and ctx.state.migration.moved else None
    if moved or ctx.command.is_candidate:  # whose baseline may have moved it
        try:
            backup = rollback.settle_database(ctx, back, moved)
        except CanaryError as stop:
            ctx.run.warn(f"not rolled back: {stop.what}", stop.where, stop.hint)
            return
    request = replace(
        ctx.deployment.request, only=(), skip=(), images={}, variant=None, contracts=True, force_reason=None
    )
    # Where the disk is full, what serves is more than what is known of it.
    with _recorded(ctx.deployment.for_request(request), ROLLBACK, ctx.listeners, spare=ctx.scratch) as again:
        again.fleet.locks = ctx.fleet.locks
        again.registries = ctx.registries
        downtime.hand_on(ctx, again)
        collection.know_secrets(again, needed=False)
        again.observe()
        back = rollback.reachable(back, again)
        rollback.enter(again, back)
        again.run.set("follows", failed_run(ctx.run.document))
        again.run.note(f"follows the failed {ctx.command.name} {ctx.run.id}")
        return_to(again, back, backup, leave=True)
    ended = again.state.outcome
    if ended is None or ended.verdict == "interrupted":
        raise KeyboardInterrupt
    ctx.run.set("rollback", rollback_run(again.run.document))
    ctx.state.rolled_back = True
    away = downtime.take_back(ctx, again, passed=ended.verdict == "passed")
    if ended.verdict == "passed":
        ctx.run.note(f"rolled back to {(back.id or 'nothing')[:12]}: {downtime.words(away)}")
    else:
        why = error_object(again.state.error) or {"what": "its probes did not pass", "hint": ""}
        ctx.run.warn(f"the rollback ended {ended.verdict}: {why['what']}", again.run.directory, why["hint"])


def return_to(ctx: RunContext, back: RollbackPlan, backup: Backup | None, *, leave: bool = False) -> None:
    """Make an earlier release serve again, and judge it where it is this environment's.

    Args:
        leave: where a host cannot have its images back, the others go back without it.
    """
    with ctx.changing():
        rollback.go(ctx, back, backup, leave=leave)
    if back.release.get("environment") != ctx.deployment.environment.name:
        ctx.run.note(
            f"{back.release['environment']} serves again; its probes are its own"
            if back.release
            else "nothing served before: what the run had made was removed, images apart, which the next try needs"
        )
        collection.collect(ctx)
        collection.remember(ctx, "rollback", confirms=True)
        return
    verify(ctx)
    signing.settle_rollback(ctx, back.release)
    collection.remember(ctx, "rollback", verification.proven(ctx, serves=back.id), confirms=True)
