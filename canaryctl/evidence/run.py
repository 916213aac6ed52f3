"""One execution of a command that touches an environment, and the evidence directory it leaves."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from canaryctl.config.durations import now
from canaryctl.config.scrub import Scrubber, remember_secrets
from canaryctl.evidence import abandoned, files, room
from canaryctl.evidence.document import (
    RunIdentity,
    error_object,
    latency,
    make_directory,
    new_document,
    relative,
    shortened,
)
from canaryctl.evidence.events import EventLog
from canaryctl.evidence.finishing import interrupts_ignored, write_reports
from canaryctl.evidence.private import close_to_others, make_below

Listener = Callable[[dict[str, Any]], None]

# What identifies a run is public by nature: a weak secret that equals one of these words must not blind the record.
_IDENTITY = frozenset(
    (
        *("schema_version", "id", "command", "environment", "stack", "variant", "started", "finished", "seconds"),
        *("directory", "verdict", "exit_code", "simulated"),
    )
)
_STARTED = ("id", "command", "environment", "stack", "variant", "directory", "role")


class Run:
    """An open evidence directory. Safe to use from several threads until `finish`.

    Attributes:
        id: sortable name, e.g. `20261124T081530Z-deploy-5c1f`.
        path: absolute path of the evidence directory.
        directory: the same relative to the project where it lies in it, as run.json has it.
        document: run.json as it stands; change it through `set` and the other methods.
    """

    def __init__(self, path: Path, document: dict[str, Any], scrub: Scrubber, listeners: Sequence[Listener]) -> None:
        self.id: str = document["id"]
        self.path = path
        self.directory: str = document["directory"]
        self.document = document
        self._listeners = list(listeners)
        self._lock = threading.RLock()
        self._began = time.monotonic()
        self._finished = False
        self._at_end: list[Callable[[dict[str, Any]], Mapping[str, Any]]] = []
        self._scrub = scrub
        self._events = EventLog(path)
        self._lacking: set[str] = set()

    @classmethod
    def start(
        cls,
        runs_dir: Path,
        identity: RunIdentity,
        *,
        scrub: Scrubber | None = None,
        project_root: Path | None = None,
        listeners: Sequence[Listener] = (),
        group: int | None = None,
    ) -> Run:
        """Create `runs_dir/environment/<id>/` and begin to record.

        Args:
            group: gid of the group that may read the evidence besides its owner.

        Raises:
            ConfigError: the directory cannot be made, or there is no room for what a run writes.
        """
        started = now()
        abandoned.complete(runs_dir, identity.environment)
        path = make_directory(runs_dir.absolute(), identity.environment, identity.command, group)
        room.require_room(path)
        where = relative(path, project_root)
        document = new_document(**vars(identity), id=path.name, started=started, directory=where)
        run = cls(path, document, scrub or Scrubber(), listeners)
        run._write_document()
        run.event("run.started", **{key: document[key] for key in _STARTED})
        run.scrub = run.scrub  # says which secrets are too short
        return run

    @property
    def scrub(self) -> Scrubber:
        """Replaces secrets in everything written; assign another once more secrets are known."""
        return self._scrub

    @scrub.setter
    def scrub(self, scrub: Scrubber) -> None:
        self._scrub = scrub
        remember_secrets(scrub.values)
        for name in scrub.too_short:
            self.warn(f"the secret {name} is shorter than four characters and is not kept out of logs", where=name)

    def listen(self, listener: Listener) -> None:
        """Forward every further event to `listener`, one at a time."""
        with self._lock:
            self._listeners.append(listener)

    def event(self, kind: str, /, **data: Any) -> None:
        """Record what happened (vocabulary: docs/evidence.md) and forward it. After `finish` this does nothing."""
        with self._lock:
            if self._finished or not self._events.takes(kind, str(data.get("host"))):
                return
            event = {"time": now(), "type": kind, **self.scrub(files.plain(data))}
            self._append(event)
            for listener in list(self._listeners):
                try:
                    listener(event)
                except Exception as fault:
                    # Nobody reads the output any more, or it cannot be written there; what is being done to the hosts
                    # must still end in order.
                    self._listeners.remove(listener)
                    self.document["notes"].append(f"progress output ended early: {fault}")

    def set(self, key: str, value: Any) -> None:
        """Set a top-level key of run.json (`release`, `plan`, `contracts`, `migrations`, `simulated`, ...)."""
        with self._lock:
            self.document[key] = files.plain(value)

    @property
    def operator(self) -> str:
        """Who runs it."""
        return str(self.document["operator"])

    def migration(self, found: Mapping[str, Any]) -> None:
        """Record what became of the database: `before`, `after` (revisions), `backup`."""
        with self._lock:
            self.set("migrations", found)
            self.document["release"]["migration"] = found["after"]

    def image_layers(self, layers: Mapping[str, Any]) -> None:
        """Record what images are made of, for reports to draw."""
        with self._lock:
            images = self.document["release"]["images"]
            for name, found in layers.items():
                images[name]["layers"] = files.plain(found)

    def at_end(self, make: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
        """Add keys to run.json that are made of the whole of it, once its verdict is known."""
        self._at_end.append(make)

    def stage(self, name: str, host: str, status: str, seconds: float, started: str = "", **extra: Any) -> None:
        """Record the end of a stage on a host.

        Args:
            status: ok, changed, skipped or failed; unreachable counts as failed and is kept as `unreachable: true`.
            started: RFC 3339; `seconds` before now if left out.
            extra: more to keep (`message`, `detail`); empty values are left out.
        """
        if status == "unreachable":
            status, extra = "failed", {**extra, "unreachable": True}
        more = {key: value for key, value in files.plain(extra).items() if value not in (None, "")}
        entry = {"name": name, "host": host, "status": status, "seconds": round(seconds, 3)}
        entry |= {"started": started or now(ago=seconds), **more}
        with self._lock:
            self.document["stages"].append(entry)
            self.event("stage.finished", stage=name, **{k: v for k, v in entry.items() if k != "name"})

    def probes(self, results: Sequence[Mapping[str, Any]]) -> None:
        """Record probe results: all their exchanges in probes/NN-NAME.json, the first and last of each in run.json."""
        kept = []
        for number, result in enumerate(results, 1):
            row = files.plain(result)
            exchanges = row.get("exchanges")
            if exchanges:
                where = f"probes/{number:02}-{files.safe_name(row['name'].lower().replace(' ', '-'))}.json"
                self._write(where, row)
                kept_here = {"exchanges": shortened(exchanges), "exchanges_file": where}
                row = {**row, **kept_here, "exchanges_in_all": len(exchanges), "latency": latency(exchanges)}
            kept.append(row)
        self.set("probes", kept)

    def note(self, text: str) -> None:
        """Something a reader of the report should know."""
        with self._lock:
            self.document["notes"].append(text)
            self.event("note", text=text)

    def note_once(self, text: str) -> None:
        """The same, where no other step has noted it."""
        with self._lock:
            if text not in self.document["notes"]:
                self.note(text)

    def warn(self, text: str, where: str = "", hint: str = "") -> None:
        """Something that should be fixed, though it stops nothing."""
        with self._lock:
            self.document["warnings"].append({"what": text, "where": where, "hint": hint})
            self.event("warning", what=text, where=where, hint=hint)

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Hosts are changed inside this block: sets `changed_from` (the first time) and `changed_until`."""
        with self._lock:
            self.document["changed_from"] = self.document["changed_from"] or now()
        try:
            yield
        finally:
            with self._lock:
                self.document["changed_until"] = now()

    def incomplete(self, failure: OSError, path: Path) -> None:
        """A part of the evidence cannot be written: a full disk here is no reason to leave hosts half changed."""
        why = failure.strerror or str(failure)
        if why not in self._lacking:
            self._lacking.add(why)
            self.warn(f"the evidence is incomplete: {why}", str(failure.filename or path), "make room there")

    def host_file(self, host: str, relative: str, content: str | bytes | Mapping[str, Any] | list[Any]) -> Path:
        """Write `hosts/HOST/RELATIVE`; mappings and lists become JSON. Names cannot lead out of the directory."""
        parts = [files.safe_name(part) for part in relative.split("/") if part]
        return self._write("/".join(("hosts", files.safe_name(host), *parts)), content)

    def keep(self, relative: str, content: str) -> Path:
        """Write a text file of the evidence; each part of its name is made safe."""
        return self._write("/".join(files.safe_name(part) for part in relative.split("/") if part), content)

    def ansible_dir(self, stage: str) -> Path:
        """An empty directory below ansible/ for a stage's artifacts; a stage that runs again gets `STAGE-2`."""
        with self._lock:
            for attempt in range(1, 1000):
                name = files.safe_name(stage if attempt == 1 else f"{stage}-{attempt}")
                path = self.path / "ansible" / name
                if not path.exists():
                    try:
                        make_below(path)
                    except OSError as failure:
                        self.incomplete(failure, path)
                    return path
        raise RuntimeError(f"{stage} ran too often in one run")

    def finish(self, verdict: str, exit_code: int, error: BaseException | Mapping[str, str] | None = None) -> None:
        """Write run.json, plan.json, the reports and the manifest, and close. The first call counts.

        Where there is no room for the record, what became of the hosts stands all the same: that is a warning.

        Args:
            verdict: passed, failed, inconclusive, interrupted or error.
            exit_code: what the command will exit with.
            error: what stopped the run, if anything did.
        """
        with self._lock, interrupts_ignored():
            if self._finished:
                return
            document = self.document
            document.update(finished=now(), verdict=verdict, exit_code=exit_code, error=error_object(error))
            document["seconds"] = round(time.monotonic() - self._began, 3)
            if document["changed_from"] and not document["changed_until"]:
                document["changed_until"] = document["finished"]
            self._add_at_end(document)
            room.use_reserve(self.path)
            try:
                self._scrub_foreign_files()
                self.event("run.finished", **{k: document[k] for k in ("id", "verdict", "exit_code", "seconds")})
                with contextlib.suppress(OSError):  # a full disk; noted when the event was lost
                    self._events.sync()
                self._write_document()
                if notes := write_reports(self.path, self.published()):
                    document["notes"] += notes
                    self._write_document()
                files.write_manifest(self.path)
                close_to_others(self.path)
            except OSError as failure:
                lost = f"the evidence of this run is not kept: {failure.strerror or failure}"
                self.warn(lost, str(failure.filename or self.path), "what came of it is in the hosts' history")
            finally:
                self._finished = True
                self.document = self.published()  # callers print it
                with contextlib.suppress(OSError):
                    self._events.close()

    def published(self) -> dict[str, Any]:
        """run.json as written: the document without secrets."""
        with self._lock:
            return {key: value if key in _IDENTITY else self.scrub(value) for key, value in self.document.items()}

    def _add_at_end(self, document: dict[str, Any]) -> None:
        for make in self._at_end:
            try:
                document.update(files.plain(make(document)))
            except Exception as fault:  # an extra must not cost the record
                document["notes"].append(f"the record lacks a part: {type(fault).__name__}: {fault}")

    def _write(self, relative: str, content: str | bytes | Mapping[str, Any] | list[Any]) -> Path:
        path = self.path / relative
        with self._lock:
            if self._finished:
                raise RuntimeError(f"{relative} comes after the run's end")
            if isinstance(content, bytes):
                data = self.scrub(content)
            elif isinstance(content, str):
                data = files.encode(self.scrub(content))
            else:
                data = files.to_json(self.scrub(files.plain(content)))
            try:
                files.write(path, data)
            except OSError as failure:
                self.incomplete(failure, path)
        return path

    def _append(self, event: dict[str, Any]) -> None:
        try:
            self._events.append(event)
        except OSError as failure:
            # A full disk here is no reason to leave the hosts half changed; `finish` reports it.
            note = f"events.jsonl is incomplete: {failure.strerror or failure}"
            if note not in self.document["notes"]:
                self.document["notes"].append(note)

    def _write_document(self) -> None:
        files.write(self.path / "run.json", files.to_json(self.published()), sync=True)

    def _scrub_foreign_files(self) -> None:
        """Other rooms scrub what they put here; this makes sure of it before the manifest vouches for it."""
        for folder in ("ansible", "hosts"):
            for path in files.files_below(self.path / folder).values():
                content = path.read_bytes()
                scrubbed = self.scrub(content)
                if scrubbed == content or path.is_symlink():
                    continue
                try:
                    files.write(path, scrubbed)
                except OSError as failure:  # no room: rather no file than one with a secret
                    path.unlink()
                    self.incomplete(failure, path)
