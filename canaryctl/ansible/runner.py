"""Run one stage's playbook through ansible-runner, stream its events, keep its scrubbed evidence."""

from __future__ import annotations

import json
import os
import queue
import shlex
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from canaryctl.ansible import reasons
from canaryctl.ansible.content import playbook
from canaryctl.ansible.results import AnsibleOptions, StageRun, Tally
from canaryctl.ansible.session import Session
from canaryctl.ansible.variables import variables_file
from canaryctl.errors import ApplyError, ConfigError

# Seconds that Ansible gets to end by itself when the operator stops it. A whole run ends within ten.
GRACE = 2.0
_POLL = 0.2


@dataclass(frozen=True)
class StageOrder:
    """One run of `playbooks/STAGE.yml` on `hosts`; where these are none, on what `options.limit` leaves.

    Attributes:
        variables: the variable contract of docs/playbooks.md; must hold no secret, since it becomes evidence. To
            Ansible they are data: it never templates them.
        private: further variables that belong to this run alone, and are not kept: who runs the playbook again with
            `variables` must not be held to them.
        artifacts: directory for the evidence, created when missing.
        deadline: seconds after which Ansible is ended, with all that it started.
    """

    stage: str
    inventory: Path
    hosts: Sequence[str]
    variables: Mapping[str, Any]
    artifacts: Path
    options: AnsibleOptions = field(default_factory=AnsibleOptions)
    private: Mapping[str, Any] = field(default_factory=dict)
    deadline: float = 3600.0


def run_stage(
    session: Session,
    order: StageOrder,
    *,
    on_event: Callable[[dict[str, Any]], None],
    scrub: Callable[[str], str],
    unkept: Callable[[OSError, Path], None] | None = None,
) -> StageRun:
    """Run one stage's playbook.

    Args:
        on_event: called in this thread for each task a host finished, see `Tally.add`.
        scrub: removes secrets from text that is kept.
        unkept: called where the evidence cannot be written, which stops nothing then.

    Returns:
        A result for every host, failed and unreachable ones included.

    Raises:
        ConfigError: Ansible could not start (inventory, variables, vault); no host was touched.
        ApplyError: the variables cannot be written, or Ansible ended badly without blaming a host, or not in time.
        KeyboardInterrupt: the operator stopped the run; Ansible has ended, its evidence is kept.
    """
    stage = order.stage
    kept = variables_file(order.variables)
    run_directory = Path(tempfile.mkdtemp(prefix=f"{stage}-", dir=session.directory))
    tally = Tally(stage, order.hosts)
    job = _Job(run_directory, order, session)
    ended = False
    try:
        job.start()
        for event in job.events(order.deadline):
            if shown := tally.add(event):
                on_event(shown)
        ended = True
    finally:
        with _later():
            if not ended:
                job.stop()
            try:
                _keep(run_directory / "artifacts" / stage, order.artifacts, kept, scrub)
            except OSError as failure:
                if unkept is None:
                    raise
                unkept(failure, order.artifacts)
            output = _output(run_directory / "artifacts" / stage)
            shutil.rmtree(run_directory, ignore_errors=True)
    if job.error:
        raise ApplyError(f"ansible-runner failed: {job.error}", stage, "run with -vv for details", stage=stage)
    if job.code and not tally.troubled:
        complaint = scrub(reasons.playbook_error(output))
        if not tally.touched:
            raise ConfigError(
                f"Ansible could not start: {complaint}", str(order.inventory), "fix the inventory and try again"
            )
        raise ApplyError(f"Ansible ended with code {job.code}: {complaint}", str(order.inventory), stage=stage)
    diffs = {host: scrub(text) for host, text in tally.diffs.items()}
    return StageRun(tally.results(), tally.stats, order.artifacts, diffs)


@contextmanager
def _later() -> Iterator[None]:
    """Hold back Ctrl-C and SIGTERM until the block is done: what it ends and keeps must be ended and kept."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    missed: list[int] = []
    before = {
        sign: signal.signal(sign, lambda *_: missed.append(1))
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(sign) != signal.SIG_IGN
    }
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
    if missed:
        raise KeyboardInterrupt


class _Job:
    """ansible-runner in a thread of its own, so that this thread can take Ctrl-C at any moment."""

    def __init__(self, directory: Path, order: StageOrder, session: Session) -> None:
        self.code = 0
        self.error = ""
        self._events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._pid = 0
        self._session = session
        self._order = order
        stage, options = order.stage, order.options
        _write_variables(directory, variables_file({**order.variables, **order.private}))
        self._arguments = {
            "private_data_dir": str(directory),
            "project_dir": str(Path.cwd()),
            "ident": stage,
            "playbook": str(playbook(stage)),
            "inventory": str(order.inventory),
            "limit": ",".join(order.hosts) or options.limit,
            "envvars": {**session.environment(), **_passwords(directory, options)},
            "cmdline": shlex.join(_flags(options)) or None,
            "tags": options.tags or None,
            "verbosity": options.verbosity or None,
            "forks": options.forks,
            "quiet": True,
            "settings": {"pexpect_timeout": _POLL},
            "event_handler": self._take,
            "cancel_callback": self._cancelled,
        }
        self._thread = threading.Thread(target=self._run, name=f"ansible-{stage}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def events(self, seconds: float) -> Iterator[dict[str, Any]]:
        """Ansible's events as they come, until it has ended. Raises ApplyError where it has not in so many seconds."""
        end = time.monotonic() + seconds
        while True:
            try:
                event = self._events.get(timeout=max(end - time.monotonic(), 0.0))
            except queue.Empty:
                what = f"{self._order.stage} did not end within {seconds:g} s, and was ended"
                hint = "see what the hosts are busy with, then run this again: it goes on from what it finds"
                raise ApplyError(what, ", ".join(self._order.hosts), hint, stage=self._order.stage) from None
            if event is None:
                return
            yield event

    def stop(self) -> None:
        """End Ansible, with all that it started, and wait until it has ended."""
        self._stopping.set()
        self._thread.join(GRACE + 2 * _POLL)
        self._session.end_processes()  # its workers lead sessions of their own
        self._thread.join(1.0)

    def _run(self) -> None:
        import ansible_runner

        try:
            self.code = int(ansible_runner.run(**self._arguments).rc or 0)
        except Exception as error:  # whatever the library raises must reach the caller's thread
            self.error = f"{type(error).__name__}: {error}"
        finally:
            self._events.put(None)

    def _take(self, event: dict[str, Any]) -> bool:
        self._pid = int(event.get("pid") or self._pid)
        self._events.put(event)
        return True

    def _cancelled(self) -> bool:
        """Called by the runner between reads; what it kills on a yes would leave Ansible's workers, each a session."""
        if not self._stopping.is_set():
            return False
        if self._pid:
            _interrupt(self._pid)
        return True


def _interrupt(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + GRACE
        # WNOWAIT leaves the exit status to the runner, which waits for it too.
        while time.monotonic() < deadline and not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            time.sleep(0.05)
    except (ProcessLookupError, ChildProcessError):
        return


def _flags(options: AnsibleOptions) -> list[str]:
    flags = ["--check"] if options.check else []
    flags += ["--diff"] if options.diff else []
    if options.vault_password_file:
        flags += ["--vault-password-file", str(options.vault_password_file.resolve())]
    return flags


def _passwords(directory: Path, options: AnsibleOptions) -> dict[str, str]:
    if options.become_password is None:
        return {}
    path = directory / "become"
    path.touch(mode=0o600)
    path.write_text(options.become_password + "\n", encoding="utf-8")
    return {"ANSIBLE_BECOME_PASSWORD_FILE": str(path)}


def _write_variables(directory: Path, variables: str) -> None:
    """Where ansible-runner looks for a file of extra variables; what it would write itself has no marks."""
    path = directory / "env" / "extravars"
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o600)
    path.write_text(variables, encoding="utf-8")


def _output(source: Path) -> str:
    path = source / "stdout"
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _keep(source: Path, artifacts: Path, variables: str, scrub: Callable[[str], str]) -> None:
    """Copy what may be shown. The runner's `command` and `env` files hold the whole environment and stay behind."""
    artifacts.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(artifacts / "extravars.json", scrub(variables))
    _write(artifacts / "stdout.txt", scrub(_output(source).replace("\r\n", "\n")))
    # Events that were being written when Ansible ended have no number yet.
    whole = [path for path in (source / "job_events").glob("*-*.json") if path.name.split("-")[0].isdigit()]
    files = sorted(whole, key=lambda path: int(path.name.split("-")[0]))
    with open(artifacts / "events.jsonl", "w", encoding="utf-8", opener=_private) as stream:
        for path in files:
            text = path.read_text(encoding="utf-8", errors="replace").strip()
            if text:
                stream.write(scrub(json.dumps(json.loads(text), sort_keys=True)) + "\n")
    state = {name: (source / name).read_text() for name in ("rc", "status") if (source / name).is_file()}
    _write(artifacts / "result.json", json.dumps(state) + "\n")


def _write(path: Path, text: str) -> None:
    with open(path, "w", encoding="utf-8", opener=_private) as stream:
        stream.write(text)


def _private(path: str, flags: int) -> int:
    """Open for the owner alone: who else may read the evidence is the record's to say, at the run's end."""
    return os.open(path, flags, 0o600)
