"""How the services of a release are brought up: what can be told without Docker."""

from __future__ import annotations

from pathlib import Path

import pytest
import rolemodules  # noqa: F401  finds the roles' module_utils
from ansible.module_utils.serving import half_made, note_all
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
