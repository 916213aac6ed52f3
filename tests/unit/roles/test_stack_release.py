"""The judging halves of the modules that run on hosts."""

from __future__ import annotations

import os
import shutil
import socket
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from rolemodules import ROLES, load

ROLE = ROLES / "stack_release"
cli = import_module("ansible.module_utils.compose_cli")
started = import_module("ansible.module_utils.started")
current = import_module("ansible.module_utils.current")
files = import_module("ansible.module_utils.installed")
RUN = cli.run
migrate = load(ROLE / "library" / "compose_migrate.py", "compose_migrate")
up = import_module("ansible.module_utils.serving")
install = load(ROLE / "library" / "release_install.py", "release_install")
packing = load(ROLE / "action_plugins" / "release_install.py", "release_install_action")


def begin(step: str, text: str, end: str = "0") -> str:
    return f"\n@@canaryctl:begin:{step}\n{text}\n\n@@canaryctl:end:{step}:{end}\n"


def test_the_revision_is_the_first_word_of_the_last_line() -> None:
    steps = migrate.read_steps(begin("before", "INFO something\n0002 (head)\n") + begin("heads", "0003 (head)"))
    assert migrate.revision(steps, "before") == "0002"
    assert migrate.revision(steps, "heads") == "0003"


def test_an_empty_database_has_no_revision() -> None:
    assert migrate.revision(migrate.read_steps(begin("before", "")), "before") == ""


def test_a_step_that_was_cut_short_keeps_what_it_said() -> None:
    assert migrate.read_steps("\n@@canaryctl:begin:upgrade\nhalf way")["upgrade"] == "half way"


WANTED = {"service": "worker", "timeout": 9, "current": "see", "heads": "ends", "upgrade": "go up"}


@pytest.mark.parametrize(
    ("code", "after", "words"),
    [
        (84, "0001", "'go up' failed; the revision is still 0001:\nboom"),
        (84, "0002", "'go up' failed; the revision moved from 0001 to 0002 all the same:\nboom"),
        (124, "0001", "the migration took longer than 9 s and was stopped; the revision is still 0001"),
        (124, "", "Docker does not answer any more: how far the migration came is not known"),
        (81, "", "'see' failed: cannot connect"),
        (82, "", "'ends' failed: cannot connect"),
    ],
)
def test_a_failed_migration_says_whether_the_revision_moved(code: int, after: str, words: str) -> None:
    result = {"before": "0001", "after": after, "heads": "", "output": "boom"}
    said = "cannot connect\n" if after or code != 124 else cli.HANGS
    assert migrate.explain(code, {"before": "0001"}, result, said, WANTED) == words


def test_a_container_that_does_not_start_is_no_migration() -> None:
    said = migrate.explain(1, {}, {"before": "", "after": "", "heads": "", "output": ""}, "No such image: x\n", WANTED)
    assert said == "the migration container of worker did not start: No such image: x"


def test_composes_progress_is_no_complaint() -> None:
    stderr = " Container a-db-1  Running\n Container a-web-1  Starting\nError response from daemon: no space left\n"
    assert cli.complaint(stderr) == "Error response from daemon: no space left"


@pytest.mark.skipif(shutil.which("docker") is None, reason="needs Docker's client")
@pytest.mark.parametrize(("limit", "words"), [(None, cli.HANGS), (30.0, cli.HANGS), (0.3, "no end within 0.3 s")])
def test_a_docker_that_hangs_is_given_up(
    limit: float | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with dockerd stopped by a signal: the kernel takes connections, nobody answers."""
    monkeypatch.setattr(cli, "WATCH_EVERY", 1.0)
    monkeypatch.setattr(cli, "PATIENCE", 0.8)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/docker.sock")
        listener.listen()
        began = time.monotonic()
        code, out, err = cli.run(["docker", "ps"], limit)
        assert (code, out, cli.complaint(err)) == (124, "", words) and time.monotonic() - began < 10
        with pytest.raises(OSError, match=r"no end within|does not answer"):
            monkeypatch.setattr(cli, "run", lambda argv, timeout: RUN(argv, min(timeout, 0.3)))
            cli.inspect("shop-prod")


@pytest.mark.parametrize(
    ("stderr", "words"),
    [
        (
            " Container a-db-1  Running\n Container a-web-1  Recreate\ncanceled\n\nno end within 90 s",
            "docker compose up: no end within 90 s (at: recreate container a-web-1)",
        ),
        (
            " Container a-web-1  Recreate\n Container a-web-1  Recreated\n Container a-web-1  Starting\n"
            " Container a-web-1  Started\n Container a-web-1  Waiting\n\nDocker does not answer any more",
            "docker compose up: Docker does not answer any more (at: waiting container a-web-1)",
        ),
        ("\nno end within 9 s", "docker compose up: no end within 9 s"),
    ],
)
def test_a_compose_that_does_not_end_says_what_it_was_at(stderr: str, words: str) -> None:
    assert cli.unended("docker compose up", stderr) == words


def service(**found: Any) -> dict[str, Any]:
    empty = {"state": "running", "health": "", "health_output": "", "log": "", "error": "", "exit_code": 0}
    return {**empty, **found}


@pytest.mark.parametrize(
    ("found", "message", "words"),
    [
        (service(health="unhealthy", health_output="x\n503"), "container a is unhealthy", "web is unhealthy: 503"),
        (service(health="starting"), "timed out", "web is starting: no health check has answered yet"),
        (service(state="exited", exit_code=3, log="a\nbye\n"), "exited (3)", "web is exited (exit code 3): bye"),
        (
            service(state="created", error="bind: address already in use"),
            "Error response from daemon: bind: address already in use",
            "web could not start: bind: address already in use",
        ),
        (service(state="missing"), "Error response from daemon: No such image: a:1", "No such image: a:1"),
    ],
)
def test_a_failed_start_names_the_service_and_why(found: dict[str, Any], message: str, words: str) -> None:
    assert up.summary({"services": {"web": found}, "message": message}) == words


def inspected(status: str, health: str = "", code: int = 0, started: str = "now", name: str = "web") -> dict[str, Any]:
    """A container as `docker inspect` tells of it."""
    running = status in ("running", "restarting")
    state: dict[str, Any] = {"Status": status, "Running": running, "Restarting": status == "restarting"}
    state |= {"ExitCode": code, "StartedAt": started}
    state |= {"Health": {"Status": health}} if health else {}
    return {"Id": "1", "State": state, "Config": {"Labels": {"com.docker.compose.service": name}}}


@pytest.mark.parametrize(
    ("container", "found"),
    [
        (inspected("running"), []),
        (inspected("running", "healthy"), []),
        (inspected("running", "starting"), ["web"]),
        (inspected("running", "unhealthy", started="before"), ["web"]),
        (inspected("restarting"), ["web"]),
        (inspected("exited"), []),
        (inspected("exited", code=3), ["web"]),
        (inspected("exited", code=3, started="before"), []),
        (inspected("running", "starting", name="other"), ["other"]),
    ],
)
def test_compose_is_not_believed_where_something_does_not_serve(container: dict[str, Any], found: list[str]) -> None:
    assert up.unready([container], {"1": "before"}, []) == found
    assert up.unready([container], {"1": "before"}, ["web"]) == [service for service in found if service == "web"]


class Unpacked:
    """What `unpack` needs of a module."""

    def __init__(self, archive: Path) -> None:
        self.params = {"archive_path": str(archive), "archive": None}


def test_packing_keeps_content_and_executability_only(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "assets").mkdir(parents=True)
    (source / "compose.yml").write_text("services: {}\n")
    (source / "assets" / "tool").write_text("#!/bin/sh\n")
    (source / "assets" / "tool").chmod(0o700)
    (tmp_path / "packed").write_bytes(packing.pack(str(source)))
    target.mkdir()
    install.unpack(Unpacked(tmp_path / "packed"), target)
    assert install.hash_files(str(target)) == install.hash_files(str(source))
    assert (target / "assets" / "tool").stat().st_mode & 0o777 == 0o755
    assert (target / "compose.yml").stat().st_mode & 0o777 == 0o644


def trees(folder: Path, *files: dict[str, str]) -> list[Path]:
    """A folder for each mapping of names to texts."""
    found = []
    for number, wanted in enumerate(files):
        found.append(folder / str(number))
        found[-1].mkdir()
        for name, text in wanted.items():
            (found[-1] / name).parent.mkdir(parents=True, exist_ok=True)
            (found[-1] / name).write_text(text)
    return found


def differing(source: Path, target: Path) -> list[str]:
    wanted, there = install.hash_files(str(source)), install.hash_files(str(target))
    return [path for path in sorted(wanted) if wanted[path] != there.get(path)]


def test_mending_keeps_what_somebody_wrote_and_the_directories(tmp_path: Path) -> None:
    source, target = trees(
        tmp_path, {"a/1": "x", "b": "new", "c": "new"}, {"a/1": "x", "a/extra": "?", "b": "old", "b.drifted-T": "older"}
    )
    kept = (target / "a").stat().st_ino, (target / "a" / "1").stat().st_ino
    assert install.fix(source, differing(source, target), target, "T") == ["b.drifted-T-2"]
    read = {path: (target / path).read_text() for path in install.hash_files(str(target))}
    assert read == {
        "a/1": "x", "a/extra": "?", "b": "new", "b.drifted-T": "older", "b.drifted-T-2": "old", "c": "new"
    }  # fmt: skip
    assert kept == ((target / "a").stat().st_ino, (target / "a" / "1").stat().st_ino)


def test_mending_follows_no_link_and_opens_no_pipe(tmp_path: Path) -> None:
    source, target, elsewhere = trees(tmp_path, {"a/1": "x", "b": "y", "d": "z"}, {"d/inside": "i"}, {"1": "theirs"})
    (target / "a").symlink_to(elsewhere)
    os.mkfifo(target / "b")
    install.fix(source, differing(source, target), target, "T")
    assert (elsewhere / "1").read_text() == "theirs"
    assert (target / "a.drifted-T").readlink() == elsewhere
    assert [(target / name).read_text() for name in ("a/1", "b", "d", "d.drifted-T/inside")] == ["x", "y", "z", "i"]


@pytest.mark.parametrize("before", [None, "releases/r0", "releases/r1", "/srv/elsewhere", "releases/gone"])
def test_current_leads_to_the_release_whatever_link_was_there(tmp_path: Path, before: str | None) -> None:
    link, release = tmp_path / "current", tmp_path / "releases" / "r1"
    release.mkdir(parents=True)
    (tmp_path / ".current.partial").symlink_to("of a run that was cut off")
    if before:
        link.symlink_to(before)
    assert current.point(link, release) is (before != "releases/r1") and str(link.readlink()) == "releases/r1"
    assert current.leads_to(link, release) and not current.point(link, release)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_somebody_put_in_the_place_of_current_stays(tmp_path: Path, kind: str) -> None:
    link = tmp_path / "current"
    link.mkdir() if kind == "folder" else link.write_text("hers")
    with pytest.raises(current.Misplaced):
        current.point(link, tmp_path / "releases" / "r1")
    assert not link.is_symlink() and (link.is_dir() or link.read_text() == "hers")


def test_a_folder_that_is_not_there_is_named_and_not_taken_for_docker(tmp_path: Path) -> None:
    with pytest.raises(current.Misplaced, match="current cannot be written: No such file"):
        current.point(tmp_path / "gone" / "current", tmp_path / "gone" / "releases" / "r1")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError("Cannot connect to the Docker daemon"), "Docker does not answer: Cannot connect to the Docker daemon"),
        (FileNotFoundError(2, "No such file or directory", "docker"), "Docker does not answer: "),
        (
            OSError(28, "No space left on device", "/opt/x/.started.json"),
            "No space left on device: /opt/x/.started.json",
        ),
        (OSError(30, "Read-only file system"), "Read-only file system"),
    ],
)
def test_a_disk_that_is_full_is_not_blamed_on_docker(error: OSError, says: str) -> None:
    assert cli.fault_of(error).startswith(says)
