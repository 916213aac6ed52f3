"""Delivery to real hosts: only what is missing, from where it stopped, and never anything else than what was built.

The images are random bytes and nothing else: none of them is started, but for one, which is the example's.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from conftest import CTL, Box, Ctl, Result, processes_mentioning
from toy import Toy

pytestmark = pytest.mark.whole_lab

BIG, AT_ONCE = 32_000_000, "6MB"  # five seconds
SMALL = 3_000_000
HOST = "canary-1"
INCOMING = "/opt/canaryctl/.incoming"
BASE = "canaryctl-test-push-base:test"


@pytest.fixture(autouse=True)
def nothing_staged(box: Callable[[str], Box]) -> None:
    """A push that another test interrupted leaves layers on the host, as it should."""
    box(HOST).run(f"rm -rf {INCOMING}")


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Build an image on top of another one with one layer of random bytes; its reference."""
    built = []

    def build(name: str, size: int, base: str = BASE) -> str:
        folder = tmp_path_factory.mktemp(name)
        (folder / "blob").write_bytes(os.urandom(size))
        (folder / "Dockerfile").write_text(f"FROM {base}\nCOPY blob /{'base' if base == 'scratch' else 'blob'}\n")
        reference = f"canaryctl-test-{name}:test"
        env = {**os.environ, "DOCKER_BUILDKIT": "0"}
        subprocess.run(
            ["docker", "build", "-q", "-t", reference, str(folder)], check=True, capture_output=True, env=env
        )
        built.append(reference)
        return reference

    yield build
    for reference in built:
        subprocess.run(["docker", "rmi", "-f", reference], capture_output=True)


@pytest.fixture(scope="module")
def toy(
    tmp_path_factory: pytest.TempPathFactory,
    ctl: Ctl,
    box: Callable[[str], Box],
    overlay: Callable[..., str],
) -> Iterator[Toy]:
    """A stack whose hosts have the image that all others are made from."""
    made = Toy(tmp_path_factory.mktemp("push"), "toypush", 18851, ctl, box)
    made.edit("stack.yml", "ktrdr-backend:test", overlay("push-base", 10 * SMALL, "scratch"))
    made.environment("one", HOST)
    made.environment("fleet", "staging-core", "staging-cpu")
    try:
        done = made.run("push", "one")
        assert done.code == 0, done.text[-2000:]
        yield made
    finally:
        made.clean()


def identity(reference: str) -> str:
    argv = ["docker", "image", "inspect", reference, "--format", "{{.Id}}"]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def layers(reference: str) -> list[str]:
    argv = ["docker", "image", "inspect", reference, "--format", "{{json .RootFS.Layers}}"]
    return list(json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout))


def tag(reference: str) -> str:
    return f"canaryctl/toypush/web:sha256-{identity(reference)[7:19]}"


def forget(box: Box, reference: str) -> None:
    box.run(f"docker rmi {tag(reference)} 2>/dev/null; rm -rf {INCOMING}; true")


def push_stage(result: Result) -> Mapping[str, object]:
    stages = [stage for stage in result.document["stages"] if stage["name"] == "push"]
    return dict(stages[-1])


def test_a_new_layer_alone_is_sent_and_the_image_is_the_one_built(
    toy: Toy, box: Callable[[str], Box], overlay: Callable[..., str]
) -> None:
    image = overlay("small", SMALL)
    dry = toy.run("push", "one", "--image", f"web={image}", "--dry-run", "--output", "json")
    assert 0.97 * SMALL < dry.document["hosts"][HOST]["bytes"] < 1.1 * SMALL
    done = toy.run("push", "one", "--image", f"web={image}", "--output", "json")
    assert done.code == 0, done.text[-2000:]
    assert push_stage(done)["bytes"] == dry.document["hosts"][HOST]["bytes"]
    assert box(HOST).run(f"docker image inspect {tag(image)} --format '{{{{.Id}}}}'").strip() == identity(image)
    assert box(HOST).run(f"ls {INCOMING}").split() == []
    again = toy.run("push", "one", "--image", f"web={image}", "--dry-run", "--output", "json")
    assert again.document["hosts"][HOST] == {"bytes": 0, "images": [], "layers": []}
    forget(box(HOST), image)


def interrupted_push(
    toy: Toy, lab_env: Mapping[str, str], image: str, box: Box, how: Callable[[subprocess.Popen[str]], object]
) -> tuple[int, int, str]:
    """Start a slow push, wait until bytes are staged, disturb it; bytes staged after it, its exit code and output."""
    process = subprocess.Popen(
        [CTL, "push", "one", "--image", f"web={image}", "--bwlimit", AT_ONCE],
        cwd=toy.folder,
        env=lab_env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        for _ in range(300):
            staged = int(box.run(f"cat {INCOMING}/*.zst 2>/dev/null | wc -c").strip())
            if staged > 2_000_000:
                break
            time.sleep(0.1)
        how(process)
        text, _ = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return int(box.run(f"cat {INCOMING}/*.zst 2>/dev/null | wc -c").strip()), process.returncode, text


@pytest.mark.parametrize("how", ["killed", "cut"])
def test_a_stopped_push_goes_on_where_it_stopped(
    how: str,
    toy: Toy,
    box: Callable[[str], Box],
    overlay: Callable[..., str],
    lab_env: dict[str, str],
) -> None:
    image, host = overlay(f"big-{how}", BIG), box(HOST)

    def stop(process: subprocess.Popen[str]) -> None:
        if how == "killed":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            host.cut_ssh()

    try:
        staged, code, _ = interrupted_push(toy, lab_env, image, host, stop)
    finally:
        host.mend_ssh()
    assert code == (-signal.SIGKILL if how == "killed" else 3)
    assert 2_000_000 < staged < BIG
    done = toy.run("push", "one", "--image", f"web={image}", "--output", "json")
    assert done.code == 0, done.text[-2000:]
    stage = push_stage(done)
    assert int(str(stage["resumed"])) >= 2_000_000
    assert abs(int(str(stage["resumed"])) + int(str(stage["bytes"])) - BIG) < 0.01 * BIG
    assert host.run(f"docker image inspect {tag(image)} --format '{{{{.Id}}}}'").strip() == identity(image)
    forget(host, image)


def test_what_a_killed_push_had_loaded_goes_with_the_next_one_and_nothing_of_others(
    toy: Toy, box: Callable[[str], Box], overlay: Callable[..., str]
) -> None:
    image, host = overlay("after", SMALL), box(HOST)
    ours, others = (host.run(f"tar -c -C /etc {file} | docker import -").strip() for file in ("hostname", "group"))
    note = json.dumps({"new": [ours], "wanted": [ours]})
    host.run(f"mkdir -p {INCOMING}; echo '{note}' >{INCOMING}/loading-1_ab.json")
    listed = toy.run("audit", "one", "--output", "json").document["findings"]
    named = [finding["what"] for finding in listed if finding["id"] == "leftover"]
    assert len([what for what in named if ours in what]) == 1 and others not in str(named)
    done = toy.run("push", "one", "--image", f"web={image}", "--output", "json")
    assert done.code == 0, done.text[-2000:]
    untagged = host.run("docker images -q --no-trunc -f dangling=true").split()
    assert ours not in untagged and others in untagged
    assert host.run(f"ls {INCOMING}").split() == []
    host.run(f"docker rmi {others}")
    forget(host, image)


def test_a_damaged_beginning_is_not_built_upon(
    toy: Toy,
    box: Callable[[str], Box],
    overlay: Callable[..., str],
    lab_env: dict[str, str],
) -> None:
    image, host = overlay("damaged", BIG), box(HOST)
    interrupted_push(toy, lab_env, image, host, lambda process: os.killpg(process.pid, signal.SIGKILL))
    host.run(f"for f in {INCOMING}/*.zst; do printf x | dd of=$f bs=1 seek=1000000 conv=notrunc status=none; done")
    done = toy.run("push", "one", "--image", f"web={image}", "--output", "json")
    assert done.code == 0 and push_stage(done)["resumed"] == 0
    assert host.run(f"docker image inspect {tag(image)} --format '{{{{.Id}}}}'").strip() == identity(image)
    forget(host, image)


def test_a_layer_damaged_on_its_way_is_thrown_away_and_named(
    toy: Toy,
    box: Callable[[str], Box],
    overlay: Callable[..., str],
    lab_env: dict[str, str],
) -> None:
    image, host = overlay("spoilt", BIG), box(HOST)
    layer = layers(image)[-1]
    spoil = f"printf x | dd of={INCOMING}/{layer.replace(':', '-')}.zst bs=1 seek=1000000 conv=notrunc status=none"
    _, code, text = interrupted_push(toy, lab_env, image, host, lambda _: host.run(spoil))
    assert code == 6 and layer in text and "damaged" in text
    assert host.run(f"docker images -q {tag(image)}").strip() == ""
    assert host.run(f"ls {INCOMING}").split() == []
    assert toy.run("push", "one", "--image", f"web={image}").code == 0
    forget(host, image)


def test_a_full_disk_is_refused_with_the_figures_before_any_byte(
    toy: Toy, box: Callable[[str], Box], overlay: Callable[..., str]
) -> None:
    image, host = overlay("toolarge", 30_000_000), box(HOST)
    host.run(f"mkdir -p {INCOMING} && mount -t tmpfs -o size=10m none {INCOMING}")
    try:
        full = toy.run("push", "one", "--image", f"web={image}")
        assert full.code == 6 and "MB are needed in /opt/canaryctl/.incoming" in full.err, full.text
        assert host.run(f"du -sb {INCOMING}/* | cut -f1").split() == ["0"]
        host.run(f"mount -o remount,size=100m {INCOMING}")
        assert toy.run("push", "one", "--image", f"web={image}").code == 0
    finally:
        host.run(f"umount {INCOMING}")
    forget(host, image)


def test_a_host_that_is_down_does_not_keep_the_others_waiting(
    toy: Toy, box: Callable[[str], Box], overlay: Callable[..., str]
) -> None:
    assert toy.run("provision", "fleet", timeout=300).code == 0
    image, up, down = overlay("partly", SMALL), box("staging-core"), box("staging-cpu")
    down.cut_ssh()
    try:
        dry = toy.run("push", "fleet", "--image", f"web={image}", "--dry-run", "--output", "json")
        assert dry.code == 3 and "staging-core" in dry.document["hosts"] and "staging-cpu" in dry.err
        done = toy.run("push", "fleet", "--image", f"web={image}", "--output", "json")
        assert done.code == 3 and "staging-cpu" in done.text
        assert up.run(f"docker image inspect {tag(image)} --format '{{{{.Id}}}}'").strip() == identity(image)
    finally:
        down.mend_ssh()
    assert toy.run("push", "fleet", "--image", f"web={image}", timeout=300).code == 0
    forget(up, image)
    forget(down, image)


@pytest.fixture
def containerd(ctl: Ctl, box: Callable[[str], Box], tmp_path: Path) -> Iterator[Toy]:
    """A stack on a host whose Docker keeps images in containerd's store."""
    toy = Toy(tmp_path, "toystore", 18861, ctl, box)
    toy.environment("store", "staging-gpu")
    host = box("staging-gpu")
    assert toy.run("provision", "store").code == 0
    host.run("test ! -e /etc/docker/daemon.json || mv /etc/docker/daemon.json /root/")
    host.run("""systemctl stop docker.socket docker containerd || true; mkdir -p /etc/docker /var/lib/docker/store
        echo '{"features": {"containerd-snapshotter": true}}' >/etc/docker/daemon.json
        mkdir -p /var/lib/containerd; mount --bind /var/lib/docker/store /var/lib/containerd; systemctl start docker""")
    yield toy
    toy.clean()
    host.run("""systemctl stop docker.socket docker containerd || true; umount /var/lib/containerd
        rm -rf /etc/docker/daemon.json /var/lib/docker/store
        test ! -e /root/daemon.json || mv /root/daemon.json /etc/docker/; systemctl start docker""")


def test_containerds_store_too_gets_only_what_it_lacks(
    containerd: Toy, box: Callable[[str], Box], overlay: Callable[..., str]
) -> None:
    first = containerd.run("push", "store", "--output", "json")
    assert first.code == 0, first.text[-2000:]
    image = overlay("stored", SMALL, "ktrdr-backend:test")
    more = ["--image", f"web={image}", "--output", "json"]
    dry = containerd.run("push", "store", "--dry-run", *more).document["hosts"]["staging-gpu"]["bytes"]
    done = containerd.run("push", "store", *more)
    assert done.code == 0, done.text[-2000:]
    assert push_stage(done)["bytes"] == dry < 1.1 * SMALL
    there = f"canaryctl/toystore/web:sha256-{identity(image)[7:19]}"
    found = box("staging-gpu").run(f"docker image inspect {there} --format '{{{{json .RootFS.Layers}}}}'")
    assert json.loads(found) == layers(image)
    assert box("staging-gpu").run(f"docker run --rm --entrypoint wc {there} -c /blob").split() == [str(SMALL), "/blob"]


def test_two_operators_at_once_both_succeed(
    toy: Toy,
    box: Callable[[str], Box],
    overlay: Callable[..., str],
    lab_env: dict[str, str],
) -> None:
    image, host = overlay("shared", 30_000_000), box(HOST)
    argv = [CTL, "push", "one", "--image", f"web={image}", "--output", "json"]
    both = [
        subprocess.Popen(argv, cwd=toy.folder, env=lab_env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert host.run(f"docker image inspect {tag(image)} --format '{{{{.Id}}}}'").strip() == identity(image)
    assert host.run(f"ls {INCOMING}").split() == []
    forget(host, image)


def test_nothing_is_left_running_or_listening(toy: Toy, box: Callable[[str], Box]) -> None:
    assert processes_mentioning("canaryctl", "push") == []
    assert box(HOST).run("pgrep -fa '[i].read.int.i.readline' || true").strip() == ""
    listening = box(HOST).run("ss -ltnpH | grep sshd | grep -cE '127\\.0\\.0\\.1:|\\[::1\\]:' || true")
    assert listening.strip() == "0"


def test_a_limit_of_nonsense_is_refused(ctl: Ctl) -> None:
    done = ctl("push", "canary", "--bwlimit", "fast")
    assert done.code == 2 and "--bwlimit" in done.err
