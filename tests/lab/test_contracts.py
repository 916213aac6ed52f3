"""What images promise, checked by running them: the hand-off's gotchas and others, each caught with its own words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import CTL, Box, Ctl
from toy import Toy, evidence, tells

HOST = "canary-1"
PORT = 18851
# Overlays on the example's images: name -> Dockerfile. The first three are the gotchas of the hand-off.
OVERLAYS = {
    # expects its source as a volume mount: the package's folder is there, its source is not
    "dev": "FROM ktrdr-backend:test\nUSER root\nRUN rm -rf /app/ktrdr && mkdir /app/ktrdr\nUSER ktrdr\n",
    "lean": "FROM ktrdr-worker-cpu:test\nUSER root\nRUN rm -rf $(python3 -c 'import alembic, os; "
    "print(os.path.dirname(alembic.__file__))')\nUSER ktrdr\n",
    "fat": "FROM ktrdr-worker-cpu:test\nLABEL role=backend\n",
    "bare": "FROM ktrdr-backend:test\nUSER root\nRUN rm -rf /app/*\nUSER ktrdr\n",
    "broken": "FROM ktrdr-backend:test\nUSER root\nWORKDIR /app\n"
    "RUN echo 'raise RuntimeError(\"no licence\")' > breaks.py && echo 'import nosuchthing' > needs.py\n"
    "RUN echo 'import os; os.abort()' > crashes.py && echo 'import time; time.sleep(600)' > hangs.py\n"
    "RUN echo 'x = bytearray(10**9)' > hungry.py && echo x > foreign && chmod +x foreign\nUSER ktrdr\n",
    "leaky": "FROM ktrdr-backend:test\nENV DB_PASSWORD=hunter2-in-env\nARG API_TOKEN=token-in-history\n"
    "RUN touch /tmp/x\n",
    "empty": "FROM scratch\nCOPY Dockerfile /Dockerfile\n",
    "rootly": "FROM ktrdr-backend:test\nUSER root\nENTRYPOINT []\nEXPOSE 9000\n",
    "drops": "FROM ktrdr-backend:test\nUSER root\n"
    'ENTRYPOINT ["setpriv", "--reuid=ktrdr", "--regid=ktrdr", "--init-groups", "--"]\n',
}
STACK = """\
stack: oath
secrets: [DB_PASSWORD]
compose: compose.yml.j2
placement: {all: [s]}
variants: {only: {s: dev}}
images:
  dev: {tag: "oath-dev:test", contract: {modules: {present: [ktrdr, ktrdr.backend.app]}}}
  bare: {tag: "oath-bare:test", contract: {modules: {present: [ktrdr]}}}
  lean: {tag: "oath-lean:test", contract: {modules: {present: [alembic]}, commands: [python3 -m alembic --version]}}
  fat: {tag: "oath-fat:test", contract: {modules: {absent: [torch]}}}
  broken:
    tag: "oath-broken:test"
    contract: {modules: {present: [breaks, needs, crashes, hangs, hungry]}, timeout: 4s, memory: 200MB}
  slow: {tag: "oath-rootly:test", contract: {commands: [{run: "echo on it; sleep 600", timeout: 2s}, "true"]}}
  leaky: {tag: "oath-leaky:test", contract: {commands: ["env; exit 3"]}}
  empty: {tag: "oath-empty:test", contract: {modules: {present: [os], absent: [torch]}, commands: ["true"]}}
  rootly:
    tag: "oath-rootly:test"
    contract: {user: nonroot, platform: linux/arm64, max_size: 100MB, ports: [8000], labels: {owner: me},
               env: {absent: [LC_ALL]}, commands: ["touch /here", "test ! -e /sys/class/net/eth0", "touch /tmp/there"]}
  drops: {tag: "oath-drops:test", contract: {user: nonroot, modules: {present: [os]}}}
"""


def docker(*argv: str) -> str:
    return subprocess.run(["docker", *argv], check=True, capture_output=True, text=True).stdout.strip()


def leftovers() -> str:
    """Containers that checks of this file's images have made and not removed."""
    ours = [argument for name in OVERLAYS for argument in ("--filter", f"ancestor=oath-{name}:test")]
    return docker("ps", "-aq", "--filter", "label=canaryctl.contract", *ours)


@pytest.fixture(scope="module")
def overlays(lab_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The images, built for real as oath-NAME:test."""
    folder = tmp_path_factory.mktemp("overlays")
    for name, text in OVERLAYS.items():
        (folder / "Dockerfile").write_text(text)
        argv = ["docker", "build", "-q", "-t", f"oath-{name}:test", str(folder)]
        subprocess.run(argv, check=True, capture_output=True, env={**os.environ, "DOCKER_BUILDKIT": "0"})
    yield
    for name in OVERLAYS:
        subprocess.run(["docker", "rmi", f"oath-{name}:test"], capture_output=True)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("oath")
    (folder / "canaryctl.yml").write_text("stack: stack.yml\n")
    (folder / "stack.yml").write_text(STACK)
    (folder / "compose.yml.j2").write_text("services: {}\n")
    return folder


@pytest.fixture(scope="module")
def checked(overlays: None, project: Path, cache: dict[str, str], ctl: Ctl) -> dict[str, dict[str, dict[str, Any]]]:
    """What `canaryctl contract` says of all of them: image -> check -> row."""
    done = ctl("contract", "--output", "json", cwd=project, env=cache)
    assert done.code == 1, done.text[-3000:]
    assert "hunter2-in-env" not in done.text and "token-in-history" not in done.text
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in done.document["contracts"]:
        found.setdefault(row["image"], {})[row["check"]] = row
    return found


def test_the_examples_images_keep_their_contracts(ctl: Ctl, lab_env: dict[str, str]) -> None:
    done = ctl("contract", "--output", "json")
    assert done.code == 0, done.text[-3000:]
    assert {row["verdict"] for row in done.document["contracts"]} == {"passed"}
    assert set(done.document["images"]) == {"backend", "worker_cpu", "worker_gpu", "db"}
    text = ctl("contract", "db").out
    assert "pg_isready --version" in text and "biggest layers" in text


def failed(row: dict[str, Any], *words: str) -> None:
    assert row["verdict"] == "failed", row
    assert all(word in row["reason"] for word in words), row["reason"]


@pytest.mark.parametrize(
    ("image", "check", "words"),
    [
        ("dev", "module ktrdr present", ("ktrdr is found", "/app/ktrdr holds no source", "volume mount")),
        ("dev", "module ktrdr.backend.app present", ("/app/ktrdr holds no source", "volume mount")),
        ("lean", "module alembic present", ("alembic is not in the image", "ModuleNotFoundError")),
        ("lean", "command python3 -m alembic --version", ("exit code 1", "No module named alembic")),
        ("fat", "module torch absent", ("torch (", "is in the image and imports")),
        ("bare", "module ktrdr present", ("ktrdr is not in the image", "/app is empty", "volume mount")),
        (
            "broken",
            "module breaks present",
            ("breaks when it is imported", "RuntimeError: no licence", "/app/breaks.py"),
        ),
        ("broken", "module needs present", ("needs is in the image, but needs nosuchthing",)),
        ("broken", "module crashes present", ("kills Python (SIGABRT)",)),
        ("broken", "module hangs present", ("did not end within 4 s",)),
        ("slow", "command echo on it; sleep 600", ("did not end within 2 s", "on it")),
        ("leaky", "environment without secrets", ("DB_PASSWORD holds the stack's secret", "build history, API_TOKEN")),
        ("leaky", "command env; exit 3", ("exit code 3",)),
        ("empty", "module os present", ("neither python3 nor python",)),
        ("empty", "command true", ("has no sh",)),
        ("rootly", "user nonroot", ("runs as root",)),
        ("rootly", "platform linux/arm64", ("is for linux/",)),
        ("rootly", "size at most 100 MB", ("more than promised", "base image")),
        ("rootly", "ports 8000/tcp", ("exposes 9000/tcp as well",)),
        ("rootly", "label owner", ("there is no label",)),
        ("rootly", "variable LC_ALL absent", ("the image sets LC_ALL",)),
        ("rootly", "command touch /here", ("Read-only file system",)),
    ],
)
def test_each_broken_promise_is_caught_with_its_own_words(
    checked: dict[str, dict[str, dict[str, Any]]], image: str, check: str, words: tuple[str, ...]
) -> None:
    failed(checked[image][check], *words)


def test_an_import_may_use_no_more_memory_than_the_contract_says(
    checked: dict[str, dict[str, dict[str, Any]]],
) -> None:
    row = checked["broken"]["module hungry present"]
    assert row["verdict"] == "failed" and ("memory" in row["reason"] or "MemoryError" in row["reason"]), row


def test_what_holds_beside_what_does_not_still_passes(checked: dict[str, dict[str, dict[str, Any]]]) -> None:
    assert checked["empty"]["module torch absent"]["verdict"] == "passed"
    assert checked["slow"]["command true"]["verdict"] == "passed"
    assert checked["rootly"]["command test ! -e /sys/class/net/eth0"]["verdict"] == "passed"
    assert checked["rootly"]["command touch /tmp/there"]["verdict"] == "passed"


def test_an_entry_point_that_lets_root_go_makes_an_image_nonroot(
    checked: dict[str, dict[str, dict[str, Any]]],
) -> None:
    row = checked["drops"]["user nonroot"]
    assert row["verdict"] == "passed" and row["found"] == "uid 10001 by its entry point", row


def test_no_container_is_left(checked: object) -> None:
    assert leftovers() == ""


def test_the_same_image_is_not_run_twice_but_what_was_late_is(
    checked: object, project: Path, cache: dict[str, str], ctl: Ctl
) -> None:
    again = ctl("contract", "fat", "lean", "slow", "--output", "json", cwd=project, env=cache)
    known = {row["image"]: row["cached"] for row in again.document["contracts"]}
    assert again.code == 1 and known == {"fat": True, "lean": True, "slow": False}
    anew = ctl("contract", "lean", "--no-cache", "--output", "json", cwd=project, env=cache)
    assert [row["cached"] for row in anew.document["contracts"]] == [False] * 3


def test_an_unknown_image_and_one_that_is_not_built_are_usage_errors(project: Path, ctl: Ctl, overlays: None) -> None:
    tells(ctl("contract", "nope", cwd=project), 2, "no image 'nope'", "fat")
    tells(ctl("contract", "fat", "--image", "fat=oath-gone:test", cwd=project), 2, "not on this machine", "oath-gone")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_check_that_was_cut_short_leaves_no_container(
    overlays: None, tmp_path: Path, lab_env: dict[str, str], how: signal.Signals
) -> None:
    stack = "{tag: \"oath-rootly:test\", contract: {commands: [{run: 'sleep 500', timeout: 100s}]}}"
    (tmp_path / "stack.yml").write_text(STACK.partition("  dev:")[0] + f"  dev: {stack}\n")
    (tmp_path / "compose.yml.j2").write_text("services: {}\n")
    (tmp_path / "canaryctl.yml").write_text("stack: stack.yml\n")
    process = subprocess.Popen([CTL, "contract"], cwd=tmp_path, env=lab_env, start_new_session=True)
    for _ in range(200):
        if leftovers():
            break
        time.sleep(0.1)
    os.killpg(process.pid, how)
    assert process.wait(30) == (130 if how == signal.SIGINT else -how)
    for _ in range(100):  # killed, it could not clean up: what it started notices
        if not leftovers():
            return
        time.sleep(0.1)
    raise AssertionError(leftovers())


# deploy and push


@pytest.fixture(scope="module")
def toy(
    overlays: None, ctl: Ctl, box: Callable[[str], Box], cache: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Toy]:
    made = Toy(tmp_path_factory.mktemp("toy"), "toyoath", PORT, ctl, box, env=cache)
    made.edit(
        "stack.yml",
        '{tag: "ktrdr-backend:test"}',
        '{tag: "ktrdr-backend:test", contract: {modules: {present: [ktrdr.backend.app]}}}',
    )
    made.environment("one", HOST)
    yield made
    made.clean()


@pytest.fixture(scope="module")
def served(toy: Toy) -> dict[str, Any]:
    """The toy serves the good image."""
    done = toy.deploy("one")
    assert done.code == 0, done.text[-3000:]
    return done.document


def test_a_deploy_records_what_it_checked_and_what_images_are_made_of(served: dict[str, Any]) -> None:
    checks = {row["check"]: row["verdict"] for row in served["contracts"]}
    assert checks == {"module ktrdr.backend.app present": "passed", "environment without secrets": "passed"}
    layers = served["release"]["images"]["web"]["layers"]
    assert layers[0]["created_by"] == "base image" and all(layer["size"] > 0 for layer in layers)


def test_images_that_every_host_has_are_not_checked_again(served: dict[str, Any], toy: Toy) -> None:
    again = toy.deploy("one")
    assert again.code == 0
    assert [(row["verdict"], row["cached"]) for row in again.document["contracts"]] == [("passed", True)] * 2
    assert again.document["release"]["images"]["web"]["layers"]


@pytest.mark.parametrize("command", ["deploy", "push"])
def test_a_broken_contract_stops_before_any_host_is_changed(
    served: dict[str, Any], toy: Toy, ctl: Ctl, command: str
) -> None:
    before, history = toy.state(HOST), toy.history(HOST)
    done = toy.run(command, "one", "--yes", "--image", "web=oath-dev:test", "--output", "json")
    tells(done, 1, "web: module ktrdr.backend.app present", "volume mount", "oath-dev:test", "--no-contract")
    document = done.document
    assert document["verdict"] == "failed" and document["stages"] == [] and document["changed_from"] is None
    assert any(change["stage"] == "push" for change in document["plan"]["changes"])
    assert [row["check"] for row in document["contracts"] if row["verdict"] == "failed"] == [
        "module ktrdr.backend.app present"
    ]
    assert toy.state(HOST) == before and toy.history(HOST) == history
    report = (evidence(ctl, document) / "report.md").read_text()
    assert "volume mount" in report and "Held back by" in report


def test_without_a_terminal_the_contract_comes_before_the_question(served: dict[str, Any], toy: Toy) -> None:
    assert toy.run("deploy", "one", "--image", "web=oath-dev:test").code == 1


def test_no_contract_goes_on_and_the_report_says_so(served: dict[str, Any], toy: Toy, ctl: Ctl) -> None:
    done = toy.run("push", "one", "--yes", "--no-contract", "--image", "web=oath-dev:test", "--output", "json")
    assert done.code == 0, done.text[-3000:]
    assert done.document["contracts"] == []
    assert "contracts were not checked (--no-contract)" in done.document["notes"]
    report = (evidence(ctl, done.document) / "report.md").read_text()
    assert "contracts were not checked (--no-contract)" in report
    later = toy.deploy("one", "--image", "web=oath-dev:test")
    tells(later, 1, "web: module ktrdr.backend.app present")  # there by now, and known to be broken


def test_a_contract_that_cannot_be_judged_stops_as_well_but_blames_nobody(
    served: dict[str, Any], toy: Toy, ctl: Ctl
) -> None:
    image = '{tag: "oath-broken:test", contract: {commands: [{run: [/app/foreign]}]}}'
    back, before = toy.edit("stack.yml", toy_image(toy), image), toy.state(HOST)
    try:
        done = toy.deploy("one")
    finally:
        back()
    tells(done, 4, "contract not judged", "command /app/foreign", "exec format error", "--no-contract")
    assert done.document["verdict"] == "inconclusive" and done.document["stages"] == []
    assert toy.state(HOST) == before
    assert "could not be told" in (evidence(ctl, done.document) / "report.md").read_text()


GPU = "{tag: \"%s\", contract: {commands: [{run: '%s', where: gpu}]}}"


@pytest.fixture
def no_gpu(box: Callable[[str], Box]) -> Iterator[None]:
    """The host's simulated GPU has no driver: nothing there tells of a GPU that works."""
    box(HOST).run("canaryctl-gpu-simulator set no-driver")
    yield
    box(HOST).run("canaryctl-gpu-simulator set healthy")


def test_a_check_that_needs_a_gpu_is_skipped_where_there_is_none(
    served: dict[str, Any], toy: Toy, no_gpu: None
) -> None:
    back = toy.edit("stack.yml", toy_image(toy), GPU % ("oath-rootly:test", "true"))
    try:
        done = toy.run("push", "one", "--yes", "--output", "json")
    finally:
        back()
    rows = {row["check"]: row for row in done.document["contracts"]}
    assert done.code == 0, done.text[-3000:]
    assert rows["command true"]["verdict"] == "skipped" and HOST in rows["command true"]["reason"]


def test_a_check_on_the_gpu_host_stops_before_anything_starts(
    served: dict[str, Any], toy: Toy, box: Callable[[str], Box]
) -> None:
    before = toy.state(HOST)
    back = toy.edit("stack.yml", toy_image(toy), GPU % ("oath-bare:test", "echo no CUDA here; exit 9"))
    try:
        # the second finds the image on the host and must not start it for that
        for words in ("The hosts serve now", "Nothing was changed; the hosts serve"):
            done = toy.deploy("one")
            tells(done, 1, "exit code 9: no CUDA here", words)
            row = next(row for row in done.document["contracts"] if row["verdict"] == "failed")
            assert row["where"] == HOST and done.document["simulated"]
            assert not {"render", "migrate", "start"} & {stage["name"] for stage in done.document["stages"]}
            assert toy.state(HOST) == before
    finally:
        back()
    assert box(HOST).run("docker ps -aq --filter label=canaryctl.contract").strip() == ""


def toy_image(toy: Toy) -> str:
    line = next(line for line in (toy.folder / "stack.yml").read_text().splitlines() if line.startswith("images:"))
    return line.removeprefix("images: {web: ").removesuffix("}")


def test_a_finished_run_still_fits_its_schema(served: dict[str, Any], toy: Toy, ctl: Ctl) -> None:
    import jsonschema
    from conftest import ROOT

    schema = json.loads((ROOT / "canaryctl/evidence/schema/run.schema.json").read_text())
    jsonschema.validate(served, schema)
    refused = toy.run("push", "one", "--yes", "--image", "web=oath-leaky:test", "--output", "json")
    assert refused.code == 1
    jsonschema.validate(refused.document, schema)
