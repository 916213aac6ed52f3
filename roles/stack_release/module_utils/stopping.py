"""Stop what runs, and give it the time that it has to stop. Python 3.8, standard library."""

from __future__ import annotations

from ansible.module_utils.compose_cli import complaint, inspect, run, service_of
from ansible.module_utils.drains import ORDINARY, drain_beyond

STOP_SECONDS = 300  # for ordinary containers, however many


def drain_of(containers: list[dict]) -> float:
    """Seconds by which stopping those that run may take longer than a wait has for ordinary ones: see `drains`."""
    return drain_beyond((service_of(c) or c["Id"], _grace(c)) for c in containers if c["State"]["Running"])


def _grace(container: dict) -> float:
    given = container["Config"].get("StopTimeout")
    return float(ORDINARY if given is None else given)


def take_down(project: str, drain: float, *, volumes: bool = False) -> tuple[bool, str]:
    """Stop a compose project and remove its containers: whether there were any, and what went wrong.

    Args:
        drain: what its containers may take beyond ordinary ones.
        volumes: its volumes go, too.
    """
    argv = ["docker", "compose", "--ansi", "never", "--project-name", project, "down", "--remove-orphans"]
    code, _, stderr = run([*argv, "--volumes"] if volumes else argv, STOP_SECONDS + drain)
    return "Removed" in stderr, (complaint(stderr) or f"docker compose down ended with code {code}") if code else ""


def drain_of_project(project: str) -> float:
    """The same of a compose project. Raises OSError where Docker does not answer."""
    return drain_of(inspect(project))
