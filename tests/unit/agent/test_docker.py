"""The agent's own way to Docker, where that is not well."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from canaryctl.agent.read import docker, facts


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
