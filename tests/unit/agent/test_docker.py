"""The agent's own way to Docker, where that is not well."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from canaryctl.agent.read import docker, facts
from canaryctl.facts.host import parse
from canaryctl.plan import plan


def test_a_docker_that_hangs_is_known_from_one_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with dockerd stopped by a signal: the kernel takes connections, nobody answers (any more)."""
    place = str(tmp_path / "docker.sock")
    monkeypatch.setattr(docker, "docker_sockets", lambda: [place])
    monkeypatch.setattr(docker, "PATIENCE", 0.2)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place)
        listener.listen()
        with pytest.raises(docker.DockerError, match=r"no answer within 0\.2 s") as error:
            docker.open_docker()
        assert error.value.silent
        found = facts.observe_host({"stack": "shop", "root": str(tmp_path)}, "none", "")["docker"]
        assert (found["running"], found["silent"]) == (False, True) and place in found["error"]
    with pytest.raises(docker.DockerError) as error:
        docker.open_docker()
    assert not error.value.silent
    found = facts.observe_host({"stack": "shop", "root": str(tmp_path)}, "none", "")["docker"]
    assert (found["running"], found["silent"]) == (False, False)


class Hanging(docker.Docker):
    """A Docker that lists three containers of a stack, and holds up who asks about two of them."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    def get(self, path: str, timeout: float = 30) -> Any:
        if path.startswith("/containers/json"):
            label = {"com.docker.compose.project": "shop-prod", "com.docker.compose.config-hash": "h"}
            return [{"Id": name, "Names": [f"/{name}"], "State": "running", "Labels": label} for name in "abc"]
        self.asked.append(timeout)
        if path != "/containers/a/json":
            raise TimeoutError("timed out")
        return {"State": {"ExitCode": 0}, "Config": {"StopTimeout": 600}}


def test_a_container_that_docker_cannot_end_hides_no_other() -> None:
    daemon = Hanging()
    found = facts.about_containers(daemon, "shop")
    assert [(c["id"], c["silent"], c.get("stop_timeout"), c["config_hash"]) for c in found] == [
        ("a", False, 600, "h"),
        ("b", True, None, "h"),
        ("c", True, None, "h"),
    ]
    assert daemon.asked == [10.0, 10.0, 1.0]  # one is waited for, and then nobody long
    seen = parse("one", {"containers": [{**entry, "id": ""} for entry in found]})
    assert [container.silent for container in seen.containers] == [False, True, True]
    (said,) = plan._hanging(seen)
    assert "b, c" in said and "systemctl restart docker" in said
