"""The test lab: hosts of its own, the example's images, and canaryctl driven as an operator drives it.

A lab has canary-1, and the other hosts where a file is marked `whole_lab`. It outlives the session and is healed by the
next; tests never rely on what an earlier session deployed. Its hosts come with Docker: what provisioning does is tested
on hosts made for that. Where pytest-xdist runs several files at once, each of its workers has a lab of its own.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import schedule
from forked import Warm

from canaryctl import lab as labs
from canaryctl.lab import state

ROOT = Path(__file__).parents[2]
CTL = str(Path(sys.executable).with_name("canaryctl"))
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
LABS = os.environ.get("CANARYCTL_TEST_LAB", "test")  # another name: sessions of two checkouts at once
LAB = LABS if WORKER == "0" else f"{LABS}-{int(WORKER) + 1}"
os.environ["CANARYCTL_LAB"] = LAB  # for all that inherits it
FOUR_ROWS = ["Backend Health", "Workers Registered", "Training Lifecycle", "Backtest Lifecycle"]


@dataclass(frozen=True)
class Result:
    """A finished canaryctl."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def text(self) -> str:
        return self.out + self.err

    @property
    def document(self) -> dict[str, Any]:
        """The JSON document on standard output."""
        try:
            found: dict[str, Any] = json.loads(self.out)
        except ValueError:
            pytest.fail(f"no JSON on standard output (exit {self.code}):\n{self.text[-3000:]}")
        return found

    @property
    def rows(self) -> dict[str, str]:
        """Probe name -> verdict."""
        return {probe["name"]: probe["verdict"] for probe in self.document["probes"]}

    @property
    def four(self) -> dict[str, str]:
        """The same of FOUR_ROWS alone."""
        return {name: verdict for name, verdict in self.rows.items() if name in FOUR_ROWS}


Ctl = Callable[..., Result]


@pytest.fixture(scope="session")
def lab_env() -> Iterator[dict[str, str]]:
    """The environment of everything that works on the test lab; the lab is up and the example's images are built."""
    env = {**os.environ, "CANARYCTL_LAB": LAB}
    env.setdefault("BASE_IMAGE", "canaryctl/base:trixie")
    with state.locked("tests", print):  # the other workers find the images built
        for argv in (lab_up("canary-1"), [CTL, "build", "--build-arg", "BASE_IMAGE"]):
            ran(argv, env)
    yield env
    remove_containers(*labs.require(LAB).hosts)


def remove_containers(*hosts: str) -> None:
    """Let nothing serve on hosts, which costs CPU as long as nobody looks."""
    left = "command -v docker >/dev/null && docker ps -aq | xargs -r docker rm -f"
    for host in hosts:
        subprocess.run(
            ["docker", "exec", labs.require(LAB).hosts[host].container, "sh", "-c", left], capture_output=True
        )


def lab_up(*hosts: str) -> list[str]:
    """The command line that makes sure of hosts of the test lab."""
    return [CTL, "lab", "up", "--with-docker", "--name", LAB, "--hosts", ",".join(hosts)]


def ran(argv: list[str], env: Mapping[str, str]) -> None:
    """Run a command that has to work."""
    done = subprocess.run(argv, cwd=ROOT, env=dict(env), capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@dataclass
class Example:
    """What is known of the example in the environment canary: tests that leave it otherwise say so here."""

    first: Result | None = None  # of this session's deploys
    serves: bool = False
    as_deployed: bool = False

    def alter(self) -> None:
        """Something else serves there from now on."""
        self.serves, self.as_deployed = True, False

    def restored(self, ctl: Ctl, box: Callable[[str], Box]) -> Result:
        """The first deploy, and what it left, which is deployed again only where a test left something else.

        It has something to start, which it had not where another file or session deployed the same.
        """
        if self.first is None:
            box("canary-1").run("docker ps -aq --filter name=^ktrdr-canary-backtest-worker | xargs -r docker rm -f")
        if self.first is None or not self.as_deployed:
            done = ctl("deploy", "canary", "--yes", "--output", "json", timeout=900)
            assert done.code == 0, done.text[-3000:]
            if self.first is None:
                assert "start" in {change["stage"] for change in done.document["plan"]["changes"]}
                self.first = done
            self.serves = self.as_deployed = True
        return self.first

    def rest(self) -> None:
        """Let it not serve, which its health checks make dear."""
        if self.serves:
            remove_containers("canary-1")
        self.serves = self.as_deployed = False


@pytest.fixture(scope="session")
def example() -> Example:
    """The example in the environment canary, whatever it serves."""
    return Example()


@pytest.fixture(scope="module", autouse=True)
def whole_lab(request: pytest.FixtureRequest, example: Example) -> Iterator[None]:
    """A file that is marked `whole_lab` has all hosts; on those that other files do not use, nothing serves later."""
    if not schedule.serves_example(str(request.path.relative_to(ROOT))):
        example.rest()
    wanted = request.node.get_closest_marker("whole_lab")
    if wanted:
        ran(lab_up(*labs.DEFAULT_HOSTS), request.getfixturevalue("lab_env"))
    yield
    if wanted:
        remove_containers(*labs.DEFAULT_HOSTS[1:])


@pytest.fixture(scope="session")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this session's evidence goes, so that a checkout's own runs stay as they are."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def warm(lab_env: dict[str, str]) -> Iterator[Warm]:
    """canaryctl without what it takes to import it."""
    made = Warm(CTL, lab_env)
    yield made
    made.close()


@pytest.fixture(scope="session")
def ctl(lab_env: dict[str, str], runs_dir: Path, warm: Warm) -> Ctl:
    """Run canaryctl from the project's root: `ctl("deploy", "canary", "--yes")`."""

    def run(*argv: str, timeout: float = 600, env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> Result:
        began = time.monotonic()
        variables = {**lab_env, "CANARYCTL_RUNS": str(runs_dir), **(env or {})}
        if warm.fits(cwd, variables):
            done = warm.run(*argv, cwd=cwd, env=variables, timeout=timeout)
        else:
            done = cold(argv, cwd, variables, timeout)
        return Result(done.returncode, done.stdout, done.stderr, time.monotonic() - began)

    return run


def cold(argv: Sequence[str], cwd: Path, env: Mapping[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
    """canaryctl as a shell starts it."""
    return subprocess.run(
        [CTL, *argv],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@pytest.fixture
def canary(ctl: Ctl, box: Callable[[str], Box], example: Example) -> Result:
    """The environment canary serves the split variant, healthy: what this session's first deploy said of it."""
    return example.restored(ctl, box)


@dataclass(frozen=True)
class Box:
    """A lab host, seen from outside as its owner sees it."""

    name: str
    container: str
    address: str
    port: int

    def run(self, command: str, *, check: bool = True, timeout: float = 120) -> str:
        """Run a shell command as root, not through SSH."""
        argv = ["docker", "exec", self.container, "sh", "-c", command]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0 or not check, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def services(self) -> dict[str, str]:
        """Service -> container id of everything of the stack that runs."""
        if not self.run("command -v docker || true").strip():
            return {}
        listed = self.run("docker ps -f name=^ktrdr- --format '{{.Label \"com.docker.compose.service\"}} {{.ID}}'")
        return dict(line.split() for line in listed.splitlines() if len(line.split()) == 2)

    def cut_ssh(self) -> None:
        """Stop the SSH service and its sessions."""
        self.run("systemctl stop ssh.socket ssh.service; pkill sshd || true", check=False)

    def mend_ssh(self) -> None:
        """Start the SSH service again and wait until it listens."""
        self.run(
            "systemctl start ssh.service; for i in $(seq 50); do ss -ltn | grep -q ':22 ' && exit; sleep 0.1; done"
        )


@pytest.fixture(scope="session")
def box(lab_env: dict[str, str]) -> Callable[[str], Box]:
    """A lab host by name."""

    def find(name: str) -> Box:
        host = labs.require(LAB).hosts[name]
        return Box(name, host.container, host.address, host.port)

    return find


def interrupt_when(
    ctl_argv: list[str], env: Mapping[str, str], seen: Callable[[str], bool], *, timeout: float = 300
) -> tuple[int, str]:
    """Start canaryctl, send SIGINT to its process group once its output satisfies `seen`; exit code and output."""
    process = subprocess.Popen(
        [CTL, *ctl_argv],
        cwd=ROOT,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    text = ""
    for line in process.stdout or ():
        text += line
        if seen(text):
            os.killpg(process.pid, signal.SIGINT)
            break
    rest, _ = process.communicate(timeout=timeout)
    return process.returncode, text + rest


def ancestors() -> Iterator[int]:
    """This process and those above it."""
    process = os.getpid()
    while process > 0:
        yield process
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def processes_mentioning(*words: str) -> list[str]:
    """Command lines of living processes that hold all the words, but for those that work on another lab.

    What this one was started by names a test file or a checkout, and is not meant.
    """
    found, ours = [], set(ancestors())
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) in ours:
            continue
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        labs_of = {name.partition(b"=")[2].decode() for name in variables if name.startswith(b"CANARYCTL_LAB=")}
        if labs_of <= {LAB} and all(word in line for word in words):
            found.append(shlex.quote(line.strip()))
    return found
