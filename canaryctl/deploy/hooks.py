"""The operator's own programs at set moments of a deploy: `hooks/` beside canaryctl.yml."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from canaryctl.agent.read.processes import end_group
from canaryctl.config.yamlfile import shown
from canaryctl.deploy.context import RunContext
from canaryctl.errors import ConfigError
from canaryctl.evidence.document import error_object
from canaryctl.evidence.files import to_json

NAMES = ("pre-deploy", "post-deploy", "on-failure", "on-promote")
MOST_OUTPUT = 64_000  # bytes kept, the last
_TAIL = 2000  # characters of it in run.json
_CHUNK = 1 << 14


@dataclass(frozen=True)
class Ended:
    """How a hook ended. `code` is None where it ran out of time, negative where a signal ended it."""

    code: int | None
    seconds: float
    output: bytes


def before_deploy(ctx: RunContext) -> None:
    """Run `pre-deploy`, before anything is changed.

    Raises:
        ConfigError: it failed or was late, or a hook cannot be executed.
    """
    require_executable(ctx)
    ended = _run(ctx, "pre-deploy", {"verdict": None})
    if ended is not None and ended.code != 0:
        raise ConfigError(
            f"the hook pre-deploy refused: {_how(ctx, ended)}; nothing was changed",
            _where(ctx, "pre-deploy"),
            f"its output is in {ctx.run.directory}/hooks/pre-deploy.log",
        )


def after_deploy(ctx: RunContext) -> None:
    """Run what follows a verdict: `post-deploy` a pass, then `on-promote` a promotion's; `on-failure` a failure.

    Hooks that fail here are warnings. The baseline of two deploys has none: the candidate takes its place.
    """
    if ctx.command.is_baseline:
        return
    if ctx.state.verdict == "passed":
        _run_leniently(ctx, "post-deploy", {"verdict": "passed"})
        if ctx.state.promoted:
            _run_leniently(ctx, "on-promote", {"verdict": "passed"})
    elif ctx.state.verdict == "failed" and ctx.state.changed:
        _run_leniently(ctx, "on-failure", {"verdict": "failed"})


def after_error(ctx: RunContext, error: Exception, verdict: str) -> None:
    """Run `on-failure` where an error stopped what had already changed hosts."""
    if ctx.state.changed and not ctx.command.is_baseline:
        _run_leniently(ctx, "on-failure", {"verdict": verdict, "error": error_object(error)})


def require_executable(ctx: RunContext) -> None:
    """Stop where a hook cannot be executed; warn of a program there that is no hook (`pre-deploy.sh`, say)."""
    folder = ctx.deployment.project.hooks
    for path in sorted(folder.iterdir()) if folder and folder.is_dir() else ():
        executable = path.is_file() and os.access(path, os.X_OK)
        if path.name in NAMES and not executable:
            raise ConfigError(f"the hook {path.name} is not executable", shown(path), f"run: chmod +x {shown(path)}")
        if path.name not in NAMES and executable:
            ctx.run.warn(f"{path.name} is no hook and is not run", shown(path), f"hooks: {', '.join(NAMES)}")


def _run_leniently(ctx: RunContext, name: str, facts: Mapping[str, Any]) -> None:
    where = _where(ctx, name)
    try:
        ended = _run(ctx, name, facts)
    except ConfigError as error:
        ctx.run.warn(error.what, error.where, error.hint)
        return
    if ended is not None and ended.code != 0:
        ctx.run.warn(f"the hook {name} failed: {_how(ctx, ended)}", where, "its output is in hooks/ of the run")


def _run(ctx: RunContext, name: str, facts: Mapping[str, Any]) -> Ended | None:
    """Run a hook where there is one, and record how it ended."""
    folder = ctx.deployment.project.hooks
    if ctx.deployment.request.check or folder is None or not (folder / name).exists():
        return None
    path = folder / name
    ctx.run.event("hook.started", name=name)
    ended = execute(
        path,
        to_json({**ctx.run.published(), **ctx.run.scrub(facts)}),
        folder=ctx.deployment.project.root,
        variables={
            "CANARYCTL_ENVIRONMENT": ctx.deployment.environment.name,
            "CANARYCTL_RUN": ctx.run.id,
            "CANARYCTL_RUN_DIRECTORY": str(ctx.run.path),
        },
        timeout=ctx.deployment.policy.hook_timeout,
    )
    output = ctx.run.scrub(ended.output.decode("utf-8", "replace"))
    ctx.run.keep(f"hooks/{name}.log", output)
    row = {"name": name, "code": ended.code, "seconds": round(ended.seconds, 3), "output_tail": output[-_TAIL:]}
    ctx.run.set("hooks", [*ctx.run.document["hooks"], row])
    ctx.run.event("hook.finished", name=name, code=ended.code, seconds=row["seconds"])
    return ended


def execute(path: Path, given: bytes, *, folder: Path, variables: Mapping[str, str], timeout: float) -> Ended:
    """Run a program with `given` on its standard input, `timeout` seconds at most; a late one ends with all it started.

    Raises:
        ConfigError: it cannot be executed.
    """
    began = time.monotonic()
    try:
        child = subprocess.Popen(
            [str(path)],
            cwd=folder,
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
        )
    except OSError as error:
        hint = f"run: chmod +x {shown(path)}" if isinstance(error, PermissionError) else "does its first line name it?"
        raise ConfigError(
            f"the hook {path.name} cannot be executed: {error.strerror or error}", shown(path), hint
        ) from None
    output = bytearray()
    reader = threading.Thread(target=_read, args=(child, output), daemon=True)
    reader.start()
    threading.Thread(target=_feed, args=(child, given), daemon=True).start()
    try:
        code: int | None = child.wait(timeout)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        end_group(child)
    # What it left in the background may hold its output open, and is not waited for.
    reader.join(1)
    return Ended(code, time.monotonic() - began, bytes(output))


def _feed(child: subprocess.Popen[bytes], given: bytes) -> None:
    assert child.stdin is not None  # noqa: S101  asked for above
    with contextlib.suppress(OSError), child.stdin as pipe:  # a hook need not read
        view = memoryview(given)
        while view:
            view = view[os.write(pipe.fileno(), view) :]


def _read(child: subprocess.Popen[bytes], output: bytearray) -> None:
    assert child.stdout is not None  # noqa: S101  asked for above
    with child.stdout as pipe:
        while data := os.read(pipe.fileno(), _CHUNK):
            output += data
            del output[:-MOST_OUTPUT]


def _where(ctx: RunContext, name: str) -> str:
    return shown((ctx.deployment.project.hooks or Path("hooks")) / name)


def _how(ctx: RunContext, ended: Ended) -> str:
    if ended.code is None:
        return f"it did not end within {ctx.deployment.policy.hook_timeout:g} s (canary_hook_timeout)"
    words = ctx.run.scrub(ended.output.decode("utf-8", "replace")).strip().splitlines()
    return f"exit code {ended.code}" + (f": {words[-1][:300]}" if words else "")
