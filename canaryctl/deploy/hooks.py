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
from canaryctl.deploy.context import Work
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


def before_deploy(work: Work) -> None:
    """Run `pre-deploy`, before anything is changed.

    Raises:
        ConfigError: it failed or was late, or a hook cannot be executed.
    """
    require_executable(work)
    ended = _run(work, "pre-deploy", {"verdict": None})
    if ended is not None and ended.code != 0:
        raise ConfigError(
            f"the hook pre-deploy refused: {_how(work, ended)}; nothing was changed",
            _where(work, "pre-deploy"),
            f"its output is in {work.run.directory}/hooks/pre-deploy.log",
        )


def after_deploy(work: Work) -> None:
    """Run what follows a verdict: `post-deploy` a pass, then `on-promote` a promotion's; `on-failure` a failure.

    Hooks that fail here are warnings. The baseline of two deploys has none: the candidate takes its place.
    """
    if work.run.document["role"] == "baseline":
        return
    if work.verdict == "passed":
        _run_leniently(work, "post-deploy", {"verdict": "passed"})
        if work.run.document.get("promotion"):
            _run_leniently(work, "on-promote", {"verdict": "passed"})
    elif work.verdict == "failed" and work.run.document["changed_from"]:
        _run_leniently(work, "on-failure", {"verdict": "failed"})


def after_error(work: Work, error: Exception, verdict: str) -> None:
    """Run `on-failure` where an error stopped what had already changed hosts."""
    if work.run.document["changed_from"] and work.run.document["role"] != "baseline":
        _run_leniently(work, "on-failure", {"verdict": verdict, "error": error_object(error)})


def require_executable(work: Work) -> None:
    """Stop where a hook cannot be executed; warn of a program there that is no hook (`pre-deploy.sh`, say)."""
    folder = work.scene.project.hooks
    for path in sorted(folder.iterdir()) if folder and folder.is_dir() else ():
        executable = path.is_file() and os.access(path, os.X_OK)
        if path.name in NAMES and not executable:
            raise ConfigError(f"the hook {path.name} is not executable", shown(path), f"run: chmod +x {shown(path)}")
        if path.name not in NAMES and executable:
            work.run.warn(f"{path.name} is no hook and is not run", shown(path), f"hooks: {', '.join(NAMES)}")


def _run_leniently(work: Work, name: str, facts: Mapping[str, Any]) -> None:
    where = _where(work, name)
    try:
        ended = _run(work, name, facts)
    except ConfigError as error:
        work.run.warn(error.what, error.where, error.hint)
        return
    if ended is not None and ended.code != 0:
        work.run.warn(f"the hook {name} failed: {_how(work, ended)}", where, "its output is in hooks/ of the run")


def _run(work: Work, name: str, facts: Mapping[str, Any]) -> Ended | None:
    """Run a hook where there is one, and record how it ended."""
    folder = work.scene.project.hooks
    if work.scene.request.check or folder is None or not (folder / name).exists():
        return None
    path = folder / name
    work.run.event("hook.started", name=name)
    ended = execute(
        path,
        to_json({**work.run.published(), **work.run.scrub(facts)}),
        folder=work.scene.project.root,
        variables={
            "CANARYCTL_ENVIRONMENT": work.scene.environment.name,
            "CANARYCTL_RUN": work.run.id,
            "CANARYCTL_RUN_DIRECTORY": str(work.run.path),
        },
        timeout=work.scene.policy.hook_timeout,
    )
    output = work.run.scrub(ended.output.decode("utf-8", "replace"))
    work.run.keep(f"hooks/{name}.log", output)
    row = {"name": name, "code": ended.code, "seconds": round(ended.seconds, 3), "output_tail": output[-_TAIL:]}
    work.run.set("hooks", [*work.run.document["hooks"], row])
    work.run.event("hook.finished", name=name, code=ended.code, seconds=row["seconds"])
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


def _where(work: Work, name: str) -> str:
    return shown((work.scene.project.hooks or Path("hooks")) / name)


def _how(work: Work, ended: Ended) -> str:
    if ended.code is None:
        return f"it did not end within {work.scene.policy.hook_timeout:g} s (canary_hook_timeout)"
    words = work.run.scrub(ended.output.decode("utf-8", "replace")).strip().splitlines()
    return f"exit code {ended.code}" + (f": {words[-1][:300]}" if words else "")
