"""Kind `gpu`: a program in the service's container tries its GPUs, and the host tells of their state."""

from __future__ import annotations

import json
import time
from functools import cache
from pathlib import Path
from typing import Any

from canaryctl.config.durations import show_duration
from canaryctl.config.probes.gpu import Gpu
from canaryctl.probe.expect import start
from canaryctl.probe.incontainer.gpu_rules import in_words, judge_gpu, lost_devices
from canaryctl.probe.incontainer.gpu_shape import read_gpu_answer
from canaryctl.probe.precondition import check_precondition
from canaryctl.probe.results import Exchange, Outcome, Unanswered, Unusable, failed, passed
from canaryctl.probe.scope import Scope, until_passed
from canaryctl.probe.service import Ran, find_containers, in_container, run_script

_LOOK_EVERY = 0.5  # seconds
_INTERPRETERS = ("python3", "python")
_SMI = ["nvidia-smi", "--query-gpu=name,uuid", "--format=csv,noheader"]


def run(probe: Gpu, scope: Scope) -> Outcome:
    """Try the GPUs, or watch them while a lifecycle runs."""
    if probe.during:
        return _watch(probe, probe.during, scope)
    return until_passed(probe, scope, _attempt)


def _attempt(probe: Gpu, scope: Scope) -> Outcome:
    if (outcome := check_precondition(scope, probe.precondition, probe.timeout)) is not None:
        return outcome
    found = _try_inside(probe, scope, quick=False)
    host = _ask_host(probe, scope, log=True)
    before = scope.context.gpus_before(probe.name, scope.host)
    judged = judge_gpu(found, host, probe.devices, before, probe.slower_than)
    scope.found = {key: judged[key] for key in ("gpus", "figures", "simulated")}
    if not judged["faults"] and probe.after_daemon_reload:
        after = _ask_host(probe, scope, reload=True)
        if after["reloaded"]:
            raise Unusable(f"systemd on {scope.host} could not be made to reload its units: {after['reloaded']}")
        judged["faults"] = lost_devices(found, _try_inside(probe, scope, quick=True), host["cgroup_driver"])
        judged["remarks"].append("the devices are still there after systemctl daemon-reload")
    reason = scope.context.scrub(in_words(judged, found, host))
    return failed(reason) if judged["faults"] else passed(reason)


def _watch(probe: Gpu, during: str, scope: Scope) -> Outcome:
    """Wait for the lifecycle, and while it runs look for a process of the container on a GPU."""
    scope.attempts, looks, simulated = 1, 0, ""
    while (stage := scope.stage_of(during)) in ("", "running"):
        if stage:
            host = _ask_host(probe, scope)
            simulated = "simulated: " if host["gpu"].get("simulated") else ""
            looks += 1
            if found := processes_in(host):
                return passed(f"{simulated}while '{during}' ran, {', '.join(found)}")
        if not scope.wait(_LOOK_EVERY):
            return failed(f"{simulated}'{during}' did not end in time, and no process of {probe.on} was on a GPU")
    if stage == "skipped":
        return Outcome("skipped", f"'{during}' was skipped, so there was nothing to watch")
    if not looks:
        return Outcome("inconclusive", f"'{during}' was over before a look at the GPUs: let it run longer", "probe")
    return failed(
        f"{simulated}no process of {probe.on} was on a GPU while '{during}' ran ({looks} looks): "
        "the job ran on another worker, or fell back to the CPU without a word"
    )


def processes_in(host: dict[str, Any]) -> list[str]:
    """The processes of the service's containers that compute on a GPU, in words."""
    return [
        f"process {process['pid']} ({process['name']}) was on GPU {gpu['index']}"
        for gpu in host["gpus"]
        for process in gpu["processes"]
        if "C" in process["type"] and process["container"] in host["containers"]
    ]


def _ask_host(probe: Gpu, scope: Scope, *, log: bool = False, reload: bool = False) -> dict[str, Any]:
    began = time.monotonic()
    host = scope.context.look_at_gpus(scope.host, probe.on, log, reload)
    side = f"{probe.on}: the host's side{' after systemctl daemon-reload' if reload else ''}"
    scope.record(Exchange("request", "GPU", side, body=json.dumps(host)), began)
    return host


def _try_inside(probe: Gpu, scope: Scope, *, quick: bool) -> dict[str, Any]:
    """What the program found; where the image has no Python, what its nvidia-smi says."""
    source = f"{_program()}\nanswer_gpu_check({quick})\n".encode()
    for interpreter in _INTERPRETERS:
        ran = _run(probe, scope, [interpreter, "-"], "gpu check", source)
        if not _is_absent(ran):
            return _document(ran, scope)
    ran = _run(probe, scope, _SMI, "nvidia-smi", b"")
    if _is_absent(ran):
        return {"python": None, "smi": {"missing": True}}
    output = (ran.stdout.decode("utf-8", "replace") + ran.complaint).strip()
    if ran.code:
        return {"python": None, "smi": {"error": start(output, 240)}}
    rows = [line.rpartition(",") for line in output.splitlines()]
    return {"python": None, "smi": {"gpus": [{"name": n.strip(), "uuid": u.strip()} for n, comma, u in rows if comma]}}


def _run(probe: Gpu, scope: Scope, inside: list[str], shown: str, source: bytes) -> Ran:
    left = max(scope.ends(probe.timeout) - time.monotonic(), 0.1)
    script = find_containers(scope.context.project, probe.on, sudo=scope.sudo) + in_container(
        inside, sudo=scope.sudo, timeout=left, feed=True
    )
    return run_script(scope, script, service=probe.on, shown=shown, method="GPU", timeout=left, stdin=source)


def _is_absent(ran: Ran) -> bool:
    return ran.code in (126, 127) and "executable file not found" in ran.complaint + ran.stdout.decode(
        "utf-8", "replace"
    )


def _document(ran: Ran, scope: Scope) -> dict[str, Any]:
    text = ran.stdout.decode("utf-8", "replace").strip().rpartition("\n")[2]
    try:
        return read_gpu_answer(text)
    except ValueError as error:
        if ran.code == 0:
            raise Unanswered(
                f"the gpu check in the container answered what it cannot: it {error}: {start(text)}"
            ) from None
        output = start((ran.complaint or ran.stdout.decode("utf-8", "replace"))[-400:], 240)
        late = f" within {show_duration(scope.elapsed())}" if ran.code in (124, 137) else ""
        raise Unanswered(
            f"the gpu check in the container gave no answer{late} (exit code {ran.code}): {output}"
        ) from None


@cache
def _program() -> str:
    return (Path(__file__).parent / "incontainer/gpu_check.py").read_text(encoding="utf-8")
