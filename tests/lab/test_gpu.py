"""A host with a simulated GPU, as an operator meets it: healthy, lost, hung, without driver; the gpu probe's words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from conftest import LAB, Box, Ctl, Result
from toy import Toy, tells

from canaryctl import lab as labs

pytestmark = pytest.mark.lab

SERVER = """\
import http.server, json, time
began = time.time()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global began
        if self.path == "/start":
            began = time.time()
        body = json.dumps({"done": time.time() - began > 3}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""
PROBES = """\
- {name: GPU, kind: gpu, on: web, tags: [state]}
- {name: Reload, kind: gpu, on: web, after_daemon_reload: true, tags: [reload]}
- name: Job
  kind: lifecycle
  on: all
  tags: [job]
  start: {url: "http://{{ address }}:PORT/start", method: GET}
  status: {url: "http://{{ address }}:PORT/status", until: done, timeout: 20s}
- {name: Used, kind: gpu, on: web, during: Job, tags: [job]}
"""
LOG = "/var/log/canaryctl-gpu-simulator/kernel.log"


@pytest.fixture(scope="module")
def gpu_host(lab_env: dict[str, str], box: Callable[[str], Box]) -> Iterator[Box]:
    """canary-1, which has a simulated GPU and its driver; the toolkit comes by provisioning."""
    host = box("canary-1")
    yield host
    host.run(f"canaryctl-gpu-simulator set healthy 1; rm -f {LOG}")


def policy(busy: str, **more: str) -> dict[str, dict[str, str]]:
    """The lab's toolkit, and what to do where others use the GPU: the example's worker may, on the same host."""
    return {
        "all": {
            "canary_busy": busy,
            **more,
            "nvidia_container_toolkit_repository_url": "file:/srv/canaryctl-lab/apt",
            "nvidia_container_toolkit_repository_key": (labs.require(LAB).directory / "simulator/key.asc").read_text(),
        }
    }


@pytest.fixture(scope="module")
def toy(
    gpu_host: Box, tmp_path_factory: pytest.TempPathFactory, ctl: Ctl, box: Callable[[str], Box]
) -> Iterator[tuple[Toy, Result]]:
    """A service that requires a GPU, deployed and judged."""
    made = Toy(tmp_path_factory.mktemp("toygpu"), "toygpu", 18191, ctl, box)
    made.edit("stack.yml", '"ktrdr-backend:test"', '"ktrdr-backend:test", gpu: required, gpu_memory: 1GB, cuda: "12.4"')
    made.edit("stack.yml", "start_timeout", "assets: [server.py]\nstart_timeout")
    made.edit("compose.yml.j2", 'python3, -m, http.server, "8000"', "python3, /app/server.py")
    made.edit("compose.yml.j2", "[data:/data]", '[data:/data, "./assets/server.py:/app/server.py:ro"]')
    made.write("server.py", SERVER)
    made.write("probes.yml", PROBES.replace("PORT", "18191"))
    made.environment("one", "canary-1", variables=policy("proceed"))
    try:
        yield made, made.deploy("one")
    finally:
        made.clean()


@pytest.fixture
def simulated(gpu_host: Box) -> Iterator[Callable[[str], None]]:
    """Put the simulated GPU into a state; it is healthy again afterwards."""
    yield lambda state: (gpu_host.run(f"canaryctl-gpu-simulator set {state}"), None)[1]
    gpu_host.run(f"canaryctl-gpu-simulator set healthy 1; rm -f {LOG}")


def test_a_service_gets_the_gpu_and_the_probe_says_that_it_is_simulated(toy: tuple[Toy, Result]) -> None:
    project, done = toy
    assert done.code == 0, done.text[-3000:]
    document = done.document
    assert document["simulated"] is True
    assert done.rows == {"GPU": "passed", "Reload": "passed", "Job": "passed", "Used": "passed"}
    reasons = {row["name"]: row["reason"] for row in document["probes"] if row["kind"] == "gpu"}
    assert all(reason.startswith("simulated: ") for reason in reasons.values()), reasons
    assert "the CPU computed" in reasons["GPU"]
    assert "still there after systemctl daemon-reload" in reasons["Reload"]
    assert "while 'Job' ran, process" in reasons["Used"]
    box = project.box("canary-1")
    devices = box.run("docker inspect -f '{{json .HostConfig.DeviceRequests}}' toygpu-one-web-1")
    assert all(word in devices for word in ('"nvidia"', '"Count":-1', '"compute"', '"utility"')), devices
    assert "GPU 0" in box.run("docker exec toygpu-one-web-1 nvidia-smi -L")
    again = project.deploy("one")
    assert again.code == 0 and again.document["plan"]["changes"] == [], again.text[-2000:]


def reason_of(done: Result, name: str) -> str:
    return str(next(row["reason"] for row in done.document["probes"] if row["name"] == name))


def probe(project: Toy, tag: str) -> Result:
    return project.run("probe", "one", "--only", tag, "--output", "json")


def test_a_job_that_falls_back_to_the_cpu_is_noticed(toy: tuple[Toy, Result], gpu_host: Box) -> None:
    conf = "/etc/canaryctl-gpu-simulator.conf"
    gpu_host.run(f"sed -i s/^PROCESSES=.*/PROCESSES=none/ {conf}")
    try:
        done = probe(toy[0], "job")
    finally:
        gpu_host.run(f"sed -i s/^PROCESSES=.*/PROCESSES=containers/ {conf}")
    assert done.code == 1 and done.rows == {"Job": "passed", "Used": "failed"}
    assert "fell back to the CPU without a word" in reason_of(done, "Used")


def test_gpus_that_others_use_refuse_a_deploy_and_are_left_alone(toy: tuple[Toy, Result], gpu_host: Box) -> None:
    project = toy[0]
    image = gpu_host.run("docker inspect -f '{{.Config.Image}}' toygpu-one-web-1").strip()
    gpu_host.run(f"docker run -d --name theirs --gpus all --entrypoint sleep {image} 600")
    back = project.edit("server.py", "import http.server", "import  http.server")
    project.environment("one", "canary-1", variables=policy("refuse"))
    try:
        tells(project.run("deploy", "one", "--yes"), 6, "are in use: canary-1: process", "in container theirs on GPU 0")
        project.environment("one", "canary-1", variables=policy("proceed"))
        done = project.deploy("one", "--only", "state")
    finally:
        gpu_host.run("docker rm -f theirs")
        project.environment("one", "canary-1", variables=policy("proceed"))
        back()
    assert done.code == 0, done.text[-2000:]
    left = " ".join(done.document["left_alone"])
    assert "canary-1: container theirs" in left and "in container theirs on GPU 0" in left


@pytest.fixture
def theirs(toy: tuple[Toy, Result], gpu_host: Box, request: pytest.FixtureRequest) -> Iterator[Callable[[int], None]]:
    """Let a container of others compute on the GPU for some seconds, and give the stack something to start."""
    project = toy[0]
    image = gpu_host.run("docker inspect -f '{{.Config.Image}}' toygpu-one-web-1").strip()
    back = project.edit("server.py", "import http", f"# {request.node.name}\nimport http")
    # Other tests' releases on this host compute too, and would never end.
    others = gpu_host.run("docker ps -q --filter name=gpu-training-worker").split()
    gpu_host.run(f"docker stop {' '.join(others)}" if others else "true")

    def compute(seconds: int) -> None:
        gpu_host.run(f"docker run -d --name theirs --gpus all --entrypoint sleep {image} {seconds}")

    yield compute
    gpu_host.run("docker rm -f theirs")
    gpu_host.run(f"docker start {' '.join(others)}" if others else "true")
    project.environment("one", "canary-1", variables=policy("proceed"))
    back()


def test_a_deploy_waits_for_gpus_that_others_use_until_they_are_free(
    toy: tuple[Toy, Result], gpu_host: Box, theirs: Callable[[int], None]
) -> None:
    project = toy[0]
    project.environment("one", "canary-1", variables=policy("wait", canary_busy_wait="3m"))
    theirs(25)
    done = project.deploy("one", "--only", "state")
    assert done.code == 0, done.text[-3000:]
    waited = [note for note in done.document["notes"] if "waited for GPUs in use, at most 3 m" in note]
    assert len(waited) == 1 and "in container theirs on GPU 0" in waited[0], done.document["notes"]
    ended = gpu_host.run("docker inspect -f '{{.State.FinishedAt}}' theirs")
    assert gpu_host.run("docker inspect -f '{{.State.StartedAt}}' toygpu-one-web-1") > ended


def test_a_deploy_waits_no_longer_than_it_was_told(
    toy: tuple[Toy, Result], gpu_host: Box, theirs: Callable[[int], None]
) -> None:
    project = toy[0]
    project.environment("one", "canary-1", variables=policy("wait", canary_busy_wait="1s"))
    theirs(600)
    before = project.state("canary-1")
    done = project.run("deploy", "one", "--yes")
    tells(done, 6, "in container theirs on GPU 0", "a deploy waits 1 s for them (canary_busy_wait)")
    assert project.state("canary-1") == before
    assert gpu_host.run("docker inspect -f '{{.State.Running}}' theirs").strip() == "true"


def test_an_xid_since_the_deploy_fails(
    toy: tuple[Toy, Result], gpu_host: Box, simulated: Callable[[str], None]
) -> None:
    gpu_host.run("canaryctl-gpu-simulator xid 48")
    done = probe(toy[0], "state")
    assert done.code == 1 and "Xid 48 (double-bit ECC error)" in reason_of(done, "GPU")


def test_a_lost_gpu_fails_the_probe_and_forbids_a_deploy(
    toy: tuple[Toy, Result], simulated: Callable[[str], None]
) -> None:
    simulated("lost")
    done = probe(toy[0], "state")
    reason = reason_of(done, "GPU")
    assert done.code == 1 and done.document["simulated"] is True
    assert all(word in reason for word in ("simulated: ", "the host has lost a GPU", "Xid 79")), reason
    tells(toy[0].run("deploy", "one", "--yes"), 6, "service web (image web)", "the host has lost one", "Xid")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("no-driver", ("without a working driver", "install the driver")),
        ("old-driver", ("is made with CUDA 12.4, which needs driver 525.60.13 or newer",)),
    ],
)
def test_a_driver_that_will_not_do_is_an_error_before_anything_is_changed(
    toy: tuple[Toy, Result], simulated: Callable[[str], None], state: str, words: tuple[str, ...]
) -> None:
    before = toy[0].state("canary-1")
    simulated(state)
    tells(toy[0].run("deploy", "one", "--yes"), 6, "service web (image web)", *words)
    assert toy[0].state("canary-1") == before


def test_an_nvidia_smi_that_hangs_holds_back_no_other_fact(toy: tuple[Toy, Result], gpu_host: Box) -> None:
    smi, kept = "/usr/bin/nvidia-smi", "/usr/bin/nvidia-smi.kept"
    gpu_host.run(f"mv {smi} {kept}; printf '#!/bin/sh\\nsleep 300\\n' >{smi}; chmod +x {smi}")
    try:
        seen = toy[0].run("status", "one", "--output", "json")
        planned = toy[0].run("plan", "one")
    finally:
        gpu_host.run(f"mv {kept} {smi}")
    assert seen.code == 0 and seen.document["release"]["id"], seen.text[-2000:]
    assert "web" in json.dumps(seen.document["hosts"]["canary-1"])
    tells(planned, 6, "gives no answer", "did not answer within 10 s")
