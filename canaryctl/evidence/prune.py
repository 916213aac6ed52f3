"""Which runs may go, and removing them: only folders that a run of ours wrote, and never the last proof."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from canaryctl.errors import CanaryError
from canaryctl.evidence.document import SCHEMA_VERSION
from canaryctl.evidence.store import StoredRun, stored_runs


class NotRemoved(CanaryError):  # noqa: N818  says what it is
    """A run's folder that is still there (exit 1)."""

    exit_code = 1


@dataclass(frozen=True)
class Pruning:
    """`going` may be removed, oldest first; `refused` are folders in a run's place that are not ours, with why."""

    going: tuple[StoredRun, ...]
    refused: tuple[str, ...]


def plan_prune(
    runs_dir: Path,
    *,
    keep: int | None = None,
    older_than: float | None = None,
    environment: str | None = None,
    now: float | None = None,
) -> Pruning:
    """What `runs prune` would remove; folders that look like runs and are not ours are refused.

    Runs that still go on stay, and so do, in each environment, the newest that passed and the newest whose probes
    passed (a baseline's do not count).

    Args:
        keep: the newest this many of each environment stay.
        older_than: seconds; what started later stays. With `keep`, a run must be past both to go.
        environment: only this one's runs.
        now: epoch; for tests.
    """
    limit = (time.time() if now is None else now) - (older_than or 0.0)
    going: list[StoredRun] = []
    refused: list[str] = []
    for runs in _by_environment(runs_dir, environment):
        ours = []
        for run in runs:
            if why := _not_ours(run.path):
                refused.append(f"{run.path}: {why}")
            else:
                ours.append(run)
        proofs = {run.path for run in (_newest(ours, judged=False), _newest(ours, judged=True)) if run}
        going += [
            run
            for run in ours[keep or 0 :]
            if run.path not in proofs and run.document["verdict"] != "running" and _started(run.document) <= limit
        ]
    return Pruning(tuple(sorted(going, key=lambda run: run.path.name)), tuple(refused))


def remove(run: StoredRun) -> None:
    """Remove a run's folder; run.json goes last, so that what is left of it when this fails can be pruned again.

    Raises:
        NotRemoved: something in it cannot be removed.
    """
    try:
        for path in run.path.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != "run.json":
                path.unlink()
        (run.path / "run.json").unlink()
        run.path.rmdir()
    except OSError as error:
        raise NotRemoved(
            f"the run was not removed: {error.strerror or error}",
            str(error.filename or run.path),
            "fix the permissions there and prune again; the other runs are not affected",
        ) from None


def _by_environment(runs_dir: Path, environment: str | None) -> Iterator[list[StoredRun]]:
    """Runs of each environment, newest first."""
    found: dict[Path, list[StoredRun]] = {}
    for run in stored_runs(runs_dir, environment):
        found.setdefault(run.path.parent, []).append(run)
    yield from found.values()


def _not_ours(path: Path) -> str:
    """Why a folder is not a run that canaryctl recorded; empty where it is one."""
    if path.is_symlink() or path.parent.is_symlink():
        return "it is a link to somewhere else"
    try:
        document = json.loads((path / "run.json").read_bytes())
    except OSError as error:
        return f"its run.json cannot be read ({error.strerror or error})"
    except ValueError:
        return "its run.json is not JSON"
    if not isinstance(document, Mapping) or document.get("schema_version") != SCHEMA_VERSION:
        return "its run.json is not one of ours"
    return "" if document.get("id") == path.name else "its run.json is another run's"


def _newest(runs: list[StoredRun], *, judged: bool) -> StoredRun | None:
    """The newest run that passed; `judged`: by its probes, and not as a baseline."""
    for run in runs:
        fits = not judged or (run.document["probes"] and run.document.get("role") != "baseline")
        if run.document["verdict"] == "passed" and fits:
            return run
    return None


def _started(document: Mapping[str, Any]) -> float:
    try:
        return datetime.fromisoformat(str(document["started"])).timestamp()
    except ValueError:
        return 0.0
