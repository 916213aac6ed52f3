"""What the Ansible runs of one command share: a private directory, SSH control sockets, an environment."""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from canaryctl.ansible.content import content_root
from canaryctl.config.pins import ignored_patterns, ssh_args, ssh_program, user_configuration
from canaryctl.hosts.scratch import end_users, make_scratch, mark_of, remove_scratch

_PATIENT_SSH = Path(__file__).with_name("patient-ssh")
_PARTING = 2.0  # seconds that SSH masters get to end when asked, all together


class Session:
    """Belongs to who opened it: use it as a context manager, or close it. What it holds is made when it is needed."""

    def __init__(self) -> None:
        self._directory: Path | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def directory(self) -> Path:
        """A private directory (0700), in memory where the system has such a place."""
        if self._directory is None:
            self._directory = make_scratch(_memory())
            (self._directory / "cp").mkdir()
            (self._directory / "words").mkdir()
            atexit.register(self.close)
        return self._directory

    def close(self) -> None:
        """End the SSH masters that Ansible left for the next stage, and remove the private directory."""
        if self._directory is None:
            return
        path, self._directory = self._directory, None
        atexit.unregister(self.close)
        leaving = [
            subprocess.Popen(
                ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "canaryctl"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for socket in (path / "cp").iterdir()
        ]
        deadline = time.monotonic() + _PARTING
        for asked in leaving:
            with contextlib.suppress(subprocess.TimeoutExpired):
                asked.wait(max(deadline - time.monotonic(), 0))
        for asked in leaving:
            asked.kill()
            asked.wait()
        remove_scratch(path)  # with any master that would not go

    def end_processes(self) -> None:
        """End all that Ansible started and left."""
        if self._directory is not None:
            end_users(self._directory)

    def environment(self) -> dict[str, str]:
        """Variables that Ansible runs with, on top of the process's own."""
        root = content_root()
        here = os.environ
        binaries = str(Path(sys.executable).parent)
        roles = [str(root / "roles"), here.get("ANSIBLE_ROLES_PATH", "")]
        return {
            "PATH": f"{binaries}:{here.get('PATH', os.defpath)}",
            "LC_ALL": "C.UTF-8",
            **mark_of(self.directory),
            "ANSIBLE_CONFIG": here.get("ANSIBLE_CONFIG") or str(self._configuration()),
            "ANSIBLE_ROLES_PATH": ":".join(path for path in roles if path),
            "ANSIBLE_HOST_KEY_CHECKING": "True",
            "ANSIBLE_SSH_ARGS": ssh_args(),
            **self._patience(),
            "ANSIBLE_PIPELINING": "True",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.directory / "cp"),
            "ANSIBLE_RETRY_FILES_ENABLED": "False",
            "ANSIBLE_NOCOLOR": "True",
            "ANSIBLE_DEPRECATION_WARNINGS": "False",
            "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "True",
            "ANSIBLE_INVENTORY_IGNORE_REGEX": ignored_patterns(),
            "ANSIBLE_PYTHON_INTERPRETER": here.get("ANSIBLE_PYTHON_INTERPRETER", "auto_silent"),
            "ANSIBLE_LOCAL_TEMP": str(self.directory / "tmp"),
        }

    def _patience(self) -> dict[str, str]:
        """Variables that have connections tried again which sshd drops; none where our program cannot be run."""
        if not os.access(_PATIENT_SSH, os.X_OK):
            return {}
        return {
            "ANSIBLE_SSH_EXECUTABLE": str(_PATIENT_SSH),
            "CANARYCTL_SSH": ssh_program(),
            "CANARYCTL_SSH_WORDS": str(self.directory / "words"),
        }

    def _configuration(self) -> Path:
        """The user's or the system's ansible.cfg; an empty one where there is none.

        Ansible itself would look into the working directory first, where somebody else's may lie.
        """
        if found := user_configuration():
            return found
        empty = self.directory / "ansible.cfg"
        empty.touch()
        return empty


def _memory() -> str | None:
    for candidate in (os.environ.get("XDG_RUNTIME_DIR"), "/dev/shm"):  # noqa: S108  mkdtemp makes it private
        if candidate and Path(candidate).is_dir() and os.access(candidate, os.W_OK | os.X_OK):
            return candidate
    return None
