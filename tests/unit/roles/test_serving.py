"""How the services of a release are brought up: what can be told without Docker."""

from __future__ import annotations

from pathlib import Path

import pytest
import rolemodules  # noqa: F401  finds the roles' module_utils
from ansible.module_utils.serving import half_made, killed_again, lost, note_all
from ansible.module_utils.stopping import drain_of

NEW = "0123456789ab_shop-prod-web-1"
OLD = "shop-prod-web-1"


@pytest.mark.parametrize(
    ("containers", "commands"),
    [
        ({OLD: "running"}, []),
        ({OLD: "exited"}, []),
        ({OLD: "exited", NEW: "created"}, [f"rm {NEW}"]),
        ({NEW: "created"}, [f"rename {NEW} {OLD}"]),
        ({NEW: "running"}, []),
        # Found by `host-killed:start`: the power went while Docker removed the old container.
        ({OLD: "dead"}, [f"rm --force {OLD}"]),
        ({OLD: "removing", "shop-prod-db-1": "running"}, [f"rm --force {OLD}"]),
        ({OLD: "dead", NEW: "created"}, [f"rm --force {OLD}", f"rename {NEW} {OLD}"]),
    ],
)
def test_what_compose_was_cut_off_from_is_finished(containers: dict[str, str], commands: list[str]) -> None:
    listed = [{"Id": name, "Name": f"/{name}", "State": {"Status": status}} for name, status in containers.items()]
    assert half_made(listed) == [["docker", *command.split()] for command in commands]


@pytest.mark.parametrize(
    ("state", "services", "found"),
    [
        ({"Status": "restarting", "ExitCode": 137}, [], True),
        ({"Status": "restarting", "ExitCode": 137}, ["db"], True),
        ({"Status": "restarting", "ExitCode": 137}, ["web"], False),
        ({"Status": "restarting", "ExitCode": 137, "OOMKilled": True}, [], False),
        ({"Status": "restarting", "ExitCode": 1}, [], False),
        ({"Status": "running", "ExitCode": 0}, [], False),
        ({"Status": "exited", "ExitCode": 137}, [], False),
    ],
)
def test_what_docker_kills_again_and_again_is_known(state: dict[str, object], services: list[str], found: bool) -> None:
    """Found by `dockerd-killed:push` and `memory-pressure:migrate`."""
    listed = [{"Id": "1", "Config": {"Labels": {"com.docker.compose.service": "db"}}, "State": state}]
    assert killed_again(listed, services) == (["1"] if found else [])


@pytest.mark.parametrize(
    ("running", "error", "found"),
    [
        (False, "failed to create task for container: task f0c89a: already exists", True),
        (True, "failed to create task for container: task f0c89a: already exists", False),
        (False, 'failed to create task for container: exec: "gunicron": not found', False),
        (False, "", False),
        (False, None, False),
    ],
)
def test_what_docker_cannot_start_any_more_is_known(running: bool, error: str | None, found: bool) -> None:
    assert lost({"State": {"Running": running, "Error": error}}) is found


@pytest.mark.parametrize(
    ("grace", "running", "drain"),
    [(None, True, 0.0), (10, True, 0.0), (600, True, 590.0), (600, False, 0.0)],
)
def test_what_runs_has_its_time_to_stop(grace: int | None, running: bool, drain: float) -> None:
    config = {"StopTimeout": grace, "Labels": {"com.docker.compose.service": "worker"}}
    assert drain_of([{"Id": "1", "Config": config, "State": {"Running": running}}]) == drain


def test_what_serves_and_cannot_be_noted_is_told_so(tmp_path: Path) -> None:
    wanted = {
        "recreate": True,
        "services": [],
        "env_file": "",
        "directory": str(tmp_path / "releases" / "r"),
        "project": "p",
    }
    assert note_all(wanted, []) == "" and (tmp_path / "started.json").exists()
    lost = {**wanted, "directory": str(tmp_path / "gone" / "releases" / "r")}
    assert "the services run" in note_all(lost, []) and note_all({**lost, "services": ["web"]}, []) == ""
