"""What run.json holds before anything happened, and the small conversions on the way into it."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from canaryctl.errors import CanaryError, ConfigError
from canaryctl.evidence.files import safe_name
from canaryctl.evidence.private import make_private

SCHEMA_VERSION = 1
# Characters of a body kept in run.json; the whole of it is in probes/.
BODY_KEPT = 2000
# Exchanges kept there: how a probe began says as much as how it ended.
FIRST_KEPT, LAST_KEPT = 1, 5


def new_document(**known: Any) -> dict[str, Any]:
    """A run document with every key. Until the run finishes it says interrupted: true if nothing writes it again."""
    return {
        "schema_version": SCHEMA_VERSION,
        "id": "",
        "command": "",
        "environment": "",
        "stack": "",
        "variant": None,
        "started": None,
        "finished": None,
        "operator": "",
        "directory": "",
        "changed_from": None,
        "changed_until": None,
        "verdict": "interrupted",
        "exit_code": None,
        "error": None,
        "simulated": False,
        "partial": False,
        "release": {"id": None, "images": {}, "migration": None},
        "plan": {"changes": []},
        "stages": [],
        "waves": [],
        "contracts": [],
        "migrations": {"before": None, "after": None},
        "probes": [],
        "metrics": [],
        "rules": {},
        "soak": None,
        "role": None,
        "baseline": None,
        "rollback": None,
        "follows": None,
        "gaps": [],
        "promotion": None,
        "signed": None,
        "forced": None,
        "probed_from": None,
        "probed_until": None,
        "containers": [],
        "logs": {},
        "comparison": None,
        "findings": [],
        "audit": None,
        "hooks": [],
        "removed": None,
        "notes": [],
        "warnings": [],
        "left_alone": [],
        "seconds": None,
        **known,
    }


def operator_name() -> str:
    """Who runs this: user@machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no passwd entry, as in some CI containers
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


@dataclass(frozen=True)
class RunIdentity:
    """What a run is of. `role` is `baseline` where it measures the release that served before."""

    command: str
    environment: str
    stack: str = ""
    variant: str | None = None
    role: str | None = None
    operator: str = field(default_factory=operator_name)


def make_directory(runs_dir: Path, environment: str, command: str, group: int | None = None) -> Path:
    """A new directory `runs_dir/environment/<id>`; the ids of one environment sort by time.

    It is its owner's alone, or readable by the group of that gid, and so are those above it where they are new.

    Raises:
        ConfigError: the environment's name cannot name a directory, it cannot be made, or not for that group.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", environment):
        raise ConfigError(f"'{environment}' cannot name an environment", hint="use letters, digits, '-', '_' and '.'")
    try:
        while True:
            moment = datetime.now(UTC)
            # The four digits are a fraction of the second, so that runs sort by time within one too.
            fraction = moment.microsecond * 65536 // 1_000_000
            path = runs_dir / environment / f"{moment:%Y%m%dT%H%M%SZ}-{safe_name(command)}-{fraction:04x}"
            with contextlib.suppress(FileExistsError):
                make_private(path, group)
                return path
            time.sleep(0.0001)
    except OSError as error:
        raise unwritable(error, runs_dir) from None


def unwritable(error: OSError, where: Path) -> ConfigError:
    """What to say when evidence cannot be written."""
    return ConfigError(
        f"the evidence cannot be written: {error.strerror or error}",
        str(error.filename or where),
        "make room, fix the permissions there, or give another directory with --runs",
    )


def relative(path: Path, root: Path | None) -> str:
    """The path from the project's root where it lies below it, else the absolute path."""
    with contextlib.suppress(ValueError):
        if root:
            return path.relative_to(root.absolute()).as_posix()
    return str(path)


def error_object(error: BaseException | Mapping[str, str] | None) -> dict[str, str] | None:
    """The `error` key of run.json."""
    if error is None:
        return None
    if isinstance(error, CanaryError):
        return error.as_dict()
    if isinstance(error, Mapping):
        return {key: str(error.get(key) or "") for key in ("what", "where", "hint")}
    if isinstance(error, KeyboardInterrupt):
        return {"what": "interrupted by the operator", "where": "", "hint": ""}
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return {"what": what, "where": "", "hint": "this is a fault of canaryctl; run again with -vv for the traceback"}


def failed_run(document: Mapping[str, Any]) -> dict[str, Any]:
    """`follows` of a rollback's record: the failed run that it follows."""
    return {"command": document["command"], "run": document["id"], "directory": document["directory"]}


def rollback_run(document: Mapping[str, Any]) -> dict[str, Any]:
    """`rollback` of a failed run's record: the rollback that followed it."""
    return {
        "run": document["id"],
        "directory": document["directory"],
        "to": document["release"]["id"],
        "verdict": document["verdict"],
        "error": document["error"],
        "gaps": document["gaps"],
        "stages": [stage for stage in document["stages"] if stage["name"] in ("restore", "rollback")],
    }


def latency(exchanges: list[Any]) -> dict[str, Any] | None:
    """`n`, and `p50` and `max` in milliseconds, over the exchanges that were answered; None where none was.

    The median is by nearest rank. Identical repeats of an exchange are kept once, so they count once.
    """
    answered = sorted(
        float(item["ms"]) for item in exchanges if isinstance(item, dict) and item.get("ms") and not item.get("error")
    )
    if not answered:
        return None
    return {"n": len(answered), "p50": answered[(len(answered) - 1) // 2], "max": answered[-1]}


def shortened(exchanges: list[Any]) -> list[Any]:
    """The first and the last exchanges, their long texts cut."""

    def cut(value: Any) -> Any:
        return value[:BODY_KEPT] + "…" if isinstance(value, str) and len(value) > BODY_KEPT else value

    if len(exchanges) > FIRST_KEPT + LAST_KEPT:
        exchanges = exchanges[:FIRST_KEPT] + exchanges[-LAST_KEPT:]
    return [
        {key: cut(value) for key, value in item.items()} if isinstance(item, dict) else cut(item) for item in exchanges
    ]
