"""Bring a release's services up, and tell exactly what came of it. Python 3.8, standard library."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.applied_secrets import remember_secrets
from ansible.module_utils.compose_cli import complaint, compose, fault_of, inspect, run, service_of, unended
from ansible.module_utils.current import point
from ansible.module_utils.outage import well
from ansible.module_utils.started import healed_before, mounts_one_of, remember_started
from ansible.module_utils.stopping import drain_of, drain_of_project, take_down
from ansible.module_utils.watch import Watch

LOG_LINES = 40
KILLED = 137  # 128 and SIGKILL
LEEWAY = 60  # seconds beyond those that a start may take in which compose makes containers and stops ordinary ones
HALF_MADE = re.compile(r"[0-9a-f]{12}_(.+)")
LOST = re.compile(r"failed to create task for container: task [0-9a-f]+: already exists")
NOISE = re.compile(r"driver failed programming external connectivity on endpoint \S+ \([0-9a-f]+\): ")


def bring_up(wanted: dict, foresee: Callable[[float], None] | None = None) -> dict[str, Any]:
    """Do what the module compose_up promises, in this process; the module's answer, with `failed`.

    What can fail before anything that serves is touched is tried first.

    Args:
        wanted: the module's `directory`, `project`, `env_file`, `services`, `recreate`, `wait_timeout`, `current` and
            `replaces`.
        foresee: told before anything is stopped by how many seconds that may take longer than for ordinary containers.

    Raises:
        Abandoned: nobody wants it any more.
        Misplaced: something of somebody else's is where `current` should be.
        OSError: Docker does not answer.
    """
    base = compose(wanted["project"], wanted["directory"], wanted["env_file"])
    containers = inspect(wanted["project"])
    if settle_half_made(containers):
        containers = inspect(wanted["project"])
    if fault := first_fault(base, wanted, containers):
        return {"failed": True, "msg": f"{fault}. Nothing was stopped", "changed": False, "canary_gaps": {}}
    drain, drains = drain_of(containers), {project: drain_of_project(project) for project in wanted["replaces"]}
    foreseen = drain + sum(drains.values())
    if foresee and foreseen:
        foresee(foreseen)
    projects, note = [wanted["project"], *wanted["replaces"]], wanted.get("note")
    seconds = wanted["wait_timeout"] + LEEWAY + 600 + foreseen
    with Watch(projects, containers, seconds, Path(note) if note else None) as watch:
        return replace(base, wanted, containers, watch, drains={**drains, wanted["project"]: drain})


def replace(
    base: list[str], wanted: dict, containers: list[dict], watch: Watch, drains: dict[str, float]
) -> dict[str, Any]:
    """Have the release take the place of what serves; `drains` by project. Raises as `bring_up`."""
    drain = drains[wanted["project"]]
    moved = bool(wanted["current"]) and point(Path(wanted["current"]), Path(wanted["directory"]))
    for project in wanted["replaces"]:
        if fault := take_down(project, drains[project])[1]:
            answer = {"failed": True, "msg": f"{project} does not stop: {fault}", "changed": True}
            return {**answer, "canary_gaps": watch.gaps(inspect(wanted["project"]))}
    before = {c["Id"]: c["State"]["StartedAt"] for c in containers}
    if wanted["recreate"]:
        remake_stale(base, wanted["directory"], containers, 300 + drain)
    argv = [*base, "up", "--detach", "--wait", "--wait-timeout", str(wanted["wait_timeout"])]
    argv += ["--no-build", "--pull", "never"]
    argv += ["--remove-orphans"] if wanted["recreate"] else ["--no-recreate"]
    argv += wanted["services"]
    code, stderr = up(base, argv, wanted, containers, wanted["wait_timeout"] + LEEWAY + drain)
    late = unended("docker compose up", stderr) if code == 124 else ""
    try:
        after = inspect(wanted["project"])
    except OSError as error:
        away, fault = watch.gaps(None), f"{f'{late}; ' if late else ''}{fault_of(error)}"
        return {"failed": True, "msg": fault, "changed": True, "canary_gaps": away}
    changed = moved or bool(wanted["replaces"]) or before != {c["Id"]: c["State"]["StartedAt"] for c in after}
    failed = bool(code or unready(after, before, wanted["services"]))
    answer = {"failed": failed, "changed": changed, "canary_gaps": watch.gaps(after, whole=not failed)}
    if failed:
        failure = diagnose(base, wanted["services"], after)
        reason = NOISE.sub("", complaint(stderr)) if code else f"not healthy after {wanted['wait_timeout']} s"
        failure["message"] = late or reason or f"docker compose up ended with code {code}"
        told = summary(failure)
        return {**answer, "msg": told if late in told else f"{late}; {told}", "canary_failure": failure}
    if fault := note_all(wanted, after):
        return {**answer, "failed": True, "msg": fault, "canary_unnoted": True}
    return answer


def up(base: list[str], argv: list[str], wanted: dict, containers: list[dict], seconds: float) -> tuple[int, str]:
    """Run compose: code and standard error; once more, in what is left of the time, where Docker was at fault.

    `containers`: what was there before.
    """
    began = time.monotonic()
    stop_killed_again(containers, wanted["services"])
    code, _, stderr = run(argv, seconds)
    if code in (0, 124):
        return code, stderr
    try:
        containers = inspect(wanted["project"])
    except OSError:
        return code, stderr  # the inspection that follows tells it
    faulty = stop_killed_again(containers, wanted["services"])
    if wanted["recreate"] and any(lost(container) for container in containers):
        remake_stale(base, wanted["directory"], containers, LEEWAY)
        faulty = True
    if faulty:
        code, _, stderr = run(argv, max(seconds - (time.monotonic() - began), LEEWAY))
    return code, stderr


def note_all(wanted: dict, containers: list[dict]) -> str:
    """Note with what all services were brought up; what went wrong, while they serve, '' for nothing."""
    if not wanted["recreate"] or wanted["services"]:
        return ""
    try:
        remember_secrets(wanted["env_file"])
        remember_started(wanted["directory"], wanted["project"], containers)
    except OSError as error:
        return f"the services run, which cannot be noted beside the release: {error.strerror or error}"
    return ""


def first_fault(base: list[str], wanted: dict, containers: list[dict]) -> str:
    """What would go wrong after services were stopped and can be seen before; '' for nothing."""
    try:
        release = json.loads((Path(wanted["directory"]) / "release.json").read_text(encoding="utf-8"))
        placed = [str(name) for name in release["placed"]]
        tags = sorted({str(release["images"][release["services"][name]]["tag"]) for name in placed})
    except (OSError, ValueError, LookupError, TypeError):
        return ""  # no release of canaryctl's: compose will say
    if lacking := lacking_images(tags):
        return f"not on this host: {', '.join(lacking)}"
    there = {service_of(container) for container in containers}
    if not wanted["recreate"] or not there or there.issuperset(placed):
        return ""
    # What is new is made beside what serves: its name, networks, volumes and mounts are right, then.
    argv = [*base, "up", "--no-start", "--no-recreate", "--no-build", "--pull", "never"]
    code, _, stderr = run(argv, 120)
    return NOISE.sub("", complaint(stderr)) or f"docker compose up --no-start ended with code {code}" if code else ""


def lacking_images(tags: list[str]) -> list[str]:
    """Those that are not here."""
    code, _, stderr = run(["docker", "image", "inspect", "--format", "{{.Id}}", *tags], 60) if tags else (0, "", "")
    if code == 124:
        raise OSError(complaint(stderr))
    if code == 0:
        return []
    return [tag for tag in tags if "no such" in run(["docker", "image", "inspect", tag], 60)[2].lower()]


def settle_half_made(containers: list[dict]) -> bool:
    """Finish what a compose that was cut off began; whether there was anything."""
    argvs = half_made(containers)
    for argv in argvs:
        run(argv, 60)
    return bool(argvs)


def half_made(containers: list[dict]) -> list[list[str]]:
    """Docker commands that finish what was begun with a project's containers.

    Compose makes a successor as `<12 hex digits>_<name>`, then removes the container, then renames the successor: cut
    off in between, the next `up` would fail over its name. A container whose removal was cut off by a power loss is
    dead: it has its name still, and nobody can start it.
    """
    dead = [c for c in containers if c["State"]["Status"] in ("dead", "removing")]
    argvs = [["docker", "rm", "--force", c["Id"]] for c in dead]
    names = {c["Name"].lstrip("/") for c in containers if c not in dead}
    for container in containers:
        match = HALF_MADE.fullmatch(container["Name"].lstrip("/"))
        if match is None or container["State"]["Status"] != "created":
            continue
        if match[1] in names:
            argvs.append(["docker", "rm", container["Id"]])
        else:  # it has the volumes without a name of the one that is gone
            argvs.append(["docker", "rename", container["Id"], match[1]])
    return argvs


def stop_killed_again(containers: list[dict], services: list[str]) -> bool:
    """Stop what Docker kills whenever it has started it; whether there was anything."""
    found = killed_again(containers, services)
    if found:
        run(["docker", "stop", *found], 60)
    return bool(found)


def killed_again(containers: list[dict], services: list[str]) -> list[str]:
    """Containers, of `services` or of all, that Docker starts and kills for ever.

    A dockerd that was killed while it stopped a container may, when it is back, take the end of one life for that of
    the next: each lasts two seconds and ends with SIGKILL (seen with 26.1, without any canaryctl; its log says `task
    must be stopped before deletion`). Compose leaves such a container as it is; a stop puts an end to it.
    """
    return [
        c["Id"]
        for c in containers
        if c["State"]["Status"] == "restarting"
        and c["State"]["ExitCode"] == KILLED
        and not c["State"].get("OOMKilled")
        and (not services or service_of(c) in services)
    ]


def lost(container: dict) -> bool:
    """Whether Docker cannot start this container any more: it has forgotten a life of it that containerd knows of.

    Seen where dockerd (26.1) was killed while it stopped a container; neither a stop nor Docker's restart helps.
    """
    return not container["State"]["Running"] and bool(LOST.search(container["State"].get("Error") or ""))


def remake_stale(base: list[str], directory: str, containers: list[dict], seconds: float) -> None:
    """Replace containers that mount a file which was put back in the release: they would go on seeing the other one.

    And those that Docker cannot start any more, whatever is done with them. What goes wrong here goes wrong again in
    the `up` that follows, which tells it.
    """
    healed = healed_before(directory)
    stale = {service_of(c) for c in containers if healed and mounts_one_of(c, directory, healed)}
    if stale := sorted(stale | {service_of(c) for c in containers if lost(c)}):
        argv = [*base, "up", "--detach", "--no-deps", "--force-recreate", "--no-build", "--pull", "never"]
        run([*argv, *stale], seconds)


def unready(containers: list[dict], before: dict[str, str], services: list[str]) -> list[str]:
    """Services that do not serve although compose ended well, of `services` or of all.

    Compose 2 and 5 say that all is well where the time to wait ends between two of its polls, not during one ("wait
    timeout surfaced only by luck", their fix says). `before`: when each container started, before compose did anything.
    What did its work and ended well is well.
    """
    started = [c for c in containers if c["State"]["Running"] or before.get(c["Id"]) != c["State"]["StartedAt"]]
    ended = [c["Id"] for c in started if c["State"]["Status"] == "exited" and not c["State"]["ExitCode"]]
    unwell = {service_of(c) for c in started if not well(c) and c["Id"] not in ended}
    return sorted(unwell & set(services) if services else unwell)


def diagnose(base: list[str], services: list[str], containers: list[dict]) -> dict:
    """Per service that does not run healthily: its state, last health output and the end of its log."""
    code, out, _ = run([*base, "config", "--services"], 60)
    expected = set(services) or (set(out.split()) if code == 0 else set())
    found = {}
    for container in containers:
        service, state = service_of(container), container["State"]
        health = state.get("Health") or {}
        expected.discard(service)
        if well(container) or (services and service not in services):
            continue
        probes = health.get("Log") or []
        _, log, errors = run(["docker", "logs", "--tail", str(LOG_LINES), container["Id"]], 30)
        found[service] = {
            "state": state["Status"],
            "exit_code": state["ExitCode"],
            "restarts": container.get("RestartCount", 0),
            "oom_killed": state.get("OOMKilled", False),
            "error": NOISE.sub("", state.get("Error", "")),
            "health": health.get("Status", ""),
            "health_output": probes[-1].get("Output", "").strip()[-2000:] if probes else "",
            "log": (log + errors)[-8000:],
        }
    for service in sorted(expected):
        found[service] = {"state": "missing", "health": "", "health_output": "", "log": ""}
    return {"services": found}


def summary(failure: dict) -> str:
    """One sentence per service that is to blame; compose's own words where they say more."""
    parts = []
    for service, found in sorted(failure["services"].items()):
        if found["state"] in ("created", "missing") and not found.get("error"):
            continue
        if found["state"] == "created":
            parts.append(f"{service} could not start: {found['error']}")
        elif found["health"] and found["state"] == "running":
            reason = found["health_output"].splitlines()[-1:] or ["no health check has answered yet"]
            parts.append(f"{service} is {found['health']}: {reason[0]}")
        else:
            reason = found.get("error") or (found["log"].strip().splitlines() or ["it left no log"])[-1]
            parts.append(f"{service} is {found['state']} (exit code {found.get('exit_code')}): {reason}")
    engine = re.findall(r"(?:Error response from daemon|[Ee]rror): *(.+)", failure["message"])
    if engine and not any(engine[-1].strip() in part for part in parts):
        parts.insert(0, engine[-1].strip())
    return "; ".join(parts) or failure["message"]
