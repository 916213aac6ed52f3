"""Runs that are on disk: list them, read one, check its manifest."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from canaryctl.errors import ConfigError
from canaryctl.evidence.document import new_document
from canaryctl.evidence.events import is_held
from canaryctl.evidence.files import MANIFEST, files_below, sha256
from canaryctl.evidence.reading import readable

_ID = re.compile(r"(?P<second>\d{8}T\d{6}Z)-(?P<command>[A-Za-z0-9._@+-]+)-(?P<fraction>[0-9a-f]{4})", re.ASCII)
_ENVIRONMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_SUMMARY = (
    *("id", "environment", "command", "verdict", "started", "finished", "seconds", "exit_code"),
    *("stack", "variant", "operator", "directory", "simulated", "role"),
)
_RECENT = 5


@dataclass(frozen=True)
class StoredRun:
    """A run's directory and its run.json."""

    path: Path
    document: dict[str, Any]


def list_runs(runs_dir: Path, environment: str | None = None) -> list[dict[str, Any]]:
    """A summary of each run, newest first: identity, verdict, times, and `release` (its id or None)."""
    summaries = []
    for path in run_directories(runs_dir, environment):
        document = _read(path)
        release = document.get("release") or {}
        summaries.append({**{key: document.get(key) for key in _SUMMARY}, "release": release.get("id")})
    return summaries


def load_run(runs_dir: Path, wanted: str | None = None, environment: str | None = None) -> StoredRun:
    """A run by its id, a unique prefix of it, `ENVIRONMENT/ID` or its directory; the newest where none is named.

    Raises:
        ConfigError: there is no such run, or several have that prefix; the hint lists recent ones.
    """
    directories = list(run_directories(runs_dir, environment))
    if not directories:
        of = f" of {environment}" if environment else ""
        raise ConfigError(f"there are no runs{of} yet", str(runs_dir), "`canaryctl deploy ENVIRONMENT` makes one")
    if wanted is None:
        return StoredRun(directories[0], _read(directories[0]))
    *above, name = wanted.rstrip("/").split("/")
    if above:
        directories = [path for path in directories if path.parent.name == above[-1]]
    found = [path for path in directories if path.name == name] or [p for p in directories if p.name.startswith(name)]
    if len(found) == 1 and name:
        return StoredRun(found[0], _read(found[0]))
    what = f"{len(found)} runs begin with '{name}'" if found else f"no run is named '{wanted}'"
    recent = ", ".join(path.name for path in (found or directories or list(run_directories(runs_dir)))[:_RECENT])
    raise ConfigError(what, str(runs_dir), f"recent ones: {recent}")


def runs_under_way(runs_dir: Path, environment: str) -> list[str]:
    """Ids of the runs on an environment that this machine's evidence shows to be going on."""
    return [path.name for path in run_directories(runs_dir, environment) if is_held(path)]


def stored_runs(runs_dir: Path, environment: str | None = None) -> Iterator[StoredRun]:
    """Every run, newest first."""
    for path in run_directories(runs_dir, environment):
        yield StoredRun(path, _read(path))


def two_runs(runs_dir: Path, a: str | None, b: str | None) -> tuple[StoredRun, StoredRun]:
    """The runs to compare: the two named, or one (the newest where none is named) after its baseline.

    What a run without a baseline is compared with is the run before it in the same environment.

    Raises:
        ConfigError: there is no such run, or none before.
    """
    if a is not None and b is not None:
        return load_run(runs_dir, a), load_run(runs_dir, b)
    one = load_run(runs_dir, a)
    if one.document.get("baseline"):
        return load_run(runs_dir, f"{one.path.parent.name}/{one.document['baseline']}"), one
    environment = one.path.parent.name
    directories = list(run_directories(runs_dir, environment))
    before = directories[directories.index(one.path) + 1 :]
    if not before:
        raise ConfigError(
            f"{one.path.name} is the first run of {environment}: there is none before it to compare it with",
            str(runs_dir),
            "name two runs; `canaryctl runs list` shows all",
        )
    return StoredRun(before[0], _read(before[0])), one


def verify(path: Path) -> list[str]:
    """What a run's files and its manifest disagree about: nothing when the evidence is as it was written."""
    try:
        listed = dict(_manifest(path))
    except FileNotFoundError:
        return [f"{MANIFEST} is missing: the run did not finish"]
    except (ValueError, OSError) as fault:
        return [f"{MANIFEST} cannot be read: {fault}"]
    files = files_below(path)
    files.pop(MANIFEST, None)
    problems = [f"{name}: missing" for name in listed if name not in files]
    problems += [f"{name}: not in the manifest" for name in files if name not in listed]
    for name, file in files.items():
        try:
            if name in listed and sha256(file) != listed[name]:
                problems.append(f"{name}: changed")
        except OSError as fault:
            problems.append(f"{name}: cannot be read: {fault.strerror or fault}")
    return sorted(problems)


def _manifest(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate((path / MANIFEST).read_text(encoding="utf-8").splitlines(), 1):
        match = re.fullmatch(r"([0-9a-f]{64})  (?!/)(.+)", line)
        if not match:
            raise ValueError(f"line {number} is not '<sha256>  <path>'")
        yield match[2], match[1]


def run_directories(runs_dir: Path, environment: str | None = None) -> Iterator[Path]:
    """Run directories, newest first, without opening any."""
    if not runs_dir.is_dir():
        return
    environments = [runs_dir / environment] if environment else list(runs_dir.iterdir())
    found: list[tuple[str, str, Path]] = []
    for folder in environments:
        for path in folder.iterdir() if _ENVIRONMENT.fullmatch(folder.name) and folder.is_dir() else ():
            if match := _ID.fullmatch(path.name):
                found.append((match["second"], match["fraction"], path))
    yield from (path for *_, path in sorted(found, key=lambda run: (run[0], run[1], str(run[2])), reverse=True))


def _read(path: Path) -> dict[str, Any]:
    """run.json with every key; a run that never finished says so, one that still runs is `running`."""
    fault = ""
    try:
        written = json.loads((path / "run.json").read_bytes(), parse_constant=_no_number)
        if not isinstance(written, dict):
            raise ValueError("not an object")
    except (OSError, ValueError, RecursionError) as error:
        fault, written = f"run.json cannot be read: {error}", {}
    return as_stored(path, written, fault)


def as_stored(path: Path, written: dict[str, Any], fault: str = "") -> dict[str, Any]:
    """What run.json says, as far as it can be read; where it cannot, the run has no verdict and an error says why."""
    document, damage = readable(written)
    fault = fault or (damage and f"run.json is damaged: {damage}")
    match = _ID.fullmatch(path.name)
    document = (
        new_document(
            id=path.name, command=match["command"] if match else "", environment=path.parent.name, directory=str(path)
        )
        | document
    )
    if fault or document["finished"] is None:
        running = not fault and is_held(path)
        document["verdict"] = "running" if running else "interrupted"
        if fault or (not running and not document["error"]):
            document["error"] = died(path) | ({"what": fault[:1000]} if fault else {})
    return document


def died(path: Path) -> dict[str, str]:
    """The `error` of a run that never finished its record."""
    return {
        "what": "the command ended without finishing its record (killed, or the machine stopped)",
        "where": str(path),
        "hint": "`canaryctl status ENVIRONMENT` says what the hosts serve now",
    }


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number that a run writes")
