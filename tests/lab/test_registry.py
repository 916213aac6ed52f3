"""Images that a registry publishes: pulled by hosts, by digest, with a credential that stays nowhere."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import CTL, Box, Ctl
from published import HOST as REGISTRY_HOST
from published import IDENTITY, PASSWORD, USER, Registry, host_up, tiny
from toy import Toy, evidence, tells

pytestmark = pytest.mark.whole_lab

HOST = "staging-core"
REPOSITORY = "lab/web"
NEVER = "never-published"  # the registry keeps what earlier sessions and other tests published
# The password, and what it looks like inside base64 wherever it begins: Docker's header holds it in JSON.
TRACES = (PASSWORD, *(base64.b64encode(b"-" * n + PASSWORD.encode()).decode()[4:16] for n in range(3)))


@pytest.fixture(scope="module")
def registry(
    lab_env: dict[str, str], box: Callable[[str], Box], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registry]:
    host_up(lab_env)
    found = Registry(tmp_path_factory.mktemp("registry"), box(REGISTRY_HOST))
    forget_session(box(HOST), found)
    found.install()
    found.trust_on(box(HOST))
    yield found
    forget_session(box(HOST), found)
    found.stop()


@pytest.fixture(scope="module")
def image(registry: Registry) -> Iterator[str]:
    """The published image's identity; this machine's Docker does not know it by its published name."""
    built = registry.build("published")
    registry.publish(built, f"{registry.name}/{REPOSITORY}:1")
    yield built
    subprocess.run(["docker", "rmi", "canaryctl-test-published:test"], capture_output=True)


@pytest.fixture(scope="module")
def toy(
    registry: Registry, image: str, ctl: Ctl, box: Callable[[str], Box], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Toy]:
    folder = tmp_path_factory.mktemp("toy")
    env = {"DOCKER_CONFIG": str(registry.folder), "XDG_CACHE_HOME": str(folder / "cache")}
    found = Toy(folder, "regtoy", 18471, ctl, box, env=env)
    tiny(found, f'{{ref: "{registry.name}/{REPOSITORY}:1"}}')
    trusting = {"canary_registry_ca": str(registry.folder / "ca.crt")}
    found.environment("auto", HOST, variables={"all": trusting})
    found.environment("push", HOST, variables={"all": {**trusting, "canary_delivery": "push"}})
    found.environment("strict", HOST, variables={"all": {**trusting, "canary_delivery": "pull"}})
    found.environment("distrust", HOST)
    yield found
    found.clean()


def tag(image: str) -> str:
    return f"canaryctl/regtoy/web:sha256-{image[7:19]}"


def forget(toy: Toy) -> None:
    """The host has neither the service nor the image."""
    toy.clean()


def forget_session(host: Box, registry: Registry) -> None:
    """Whatever a session that was cut off left: names of the registry's own, trust, and what was in its way."""
    names = f"docker images '{registry.name}/*/*' --format '{{{{.Repository}}}}:{{{{.Tag}}}}' | xargs -r docker rmi"
    host.run(f"{names}; ip route del prohibit {registry.box.address}/32", check=False)
    registry.box.run("tc qdisc del dev eth0 root", check=False)
    registry.distrust_on(host)
    subprocess.run(["sh", "-c", names], capture_output=True)
    shutil.rmtree(registry.trusted, ignore_errors=True)


def digests(host: Box) -> str:
    return host.run("docker images --digests --no-trunc --format '{{.Repository}} {{.Tag}} {{.Digest}} {{.ID}}'")


def stage(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(dict(entry) for entry in document["stages"] if entry["name"] == name)


def test_a_host_pulls_what_it_lacks_and_the_credential_stays_nowhere(
    toy: Toy, registry: Registry, image: str, ctl: Ctl
) -> None:
    host = toy.box(HOST)
    done = toy.deploy("auto")
    assert done.code == 0, done.text[-3000:]
    found = done.document["release"]["images"]["web"]
    assert found["id"] == image and found["source"].startswith(f"{registry.name}/{REPOSITORY}@sha256:")
    assert stage(done.document, "push")["pulled"] == [found["source"]] and stage(done.document, "push")["bytes"] == 0
    assert host.run(f"docker image inspect {tag(image)} --format '{{{{.Id}}}}'").strip() == image
    # by its tag alone, so that it goes when its tag goes
    assert [line for line in digests(host).splitlines() if registry.name in line] == []
    for path in evidence(ctl, done.document).rglob("*"):
        assert not path.is_file() or not any(trace in path.read_text(errors="replace") for trace in TRACES), path
    on_host = "grep -rlF -e '{}' /opt/canaryctl /root /home /tmp /run /var/log /etc/docker 2>/dev/null || true"
    assert host.run(on_host.format("' -e '".join(TRACES))).strip() == ""
    again = toy.deploy("auto")
    assert again.code == 0 and again.document["plan"]["changes"] == []


def test_what_would_be_pulled_is_said_before(toy: Toy, registry: Registry) -> None:
    forget(toy)
    found = toy.run("push", "auto", "--dry-run", "--output", "json").document["hosts"][HOST]
    assert found["bytes"] == 0 and found["pulled"][0].startswith(f"{registry.name}/{REPOSITORY}@sha256:")
    assert "pulled from" in toy.run("plan", "auto").out


def test_somebody_elses_name_for_the_image_stays(toy: Toy, registry: Registry, image: str) -> None:
    forget(toy)
    host = toy.box(HOST)
    login = f"printf %s '{PASSWORD}' | docker --config /tmp/theirs login -u {USER} --password-stdin {registry.name}"
    host.run(f"{login} && docker --config /tmp/theirs pull -q {registry.name}/{REPOSITORY}:1; rm -rf /tmp/theirs")
    assert toy.run("push", "auto").code == 0
    assert host.run(f"docker image inspect {tag(image)} --format '{{{{.Id}}}}'").strip() == image
    host.run(f"docker rmi {registry.name}/{REPOSITORY}:1")  # fails where it is gone


def test_a_wrong_password_is_said_before_anything(toy: Toy, registry: Registry) -> None:
    try:
        registry.log_in("wrong")
        tells(toy.run("push", "auto"), 2, registry.name, "docker login", USER)
        (registry.folder / "config.json").unlink()
        tells(toy.run("push", "auto"), 2, registry.name, "docker login")
    finally:
        registry.log_in(PASSWORD)


def test_a_tag_that_is_not_there(toy: Toy, registry: Registry) -> None:
    back = toy.edit("stack.yml", f"{REPOSITORY}:1", f"{REPOSITORY}:{NEVER}")
    try:
        tells(toy.run("push", "auto"), 2, f"{registry.name}/{REPOSITORY}:{NEVER}")
    finally:
        back()


def test_a_certificate_nobody_here_trusts(toy: Toy, registry: Registry) -> None:
    tells(toy.run("push", "distrust"), 2, registry.name, "canary_registry_ca")


def test_a_certificate_the_host_does_not_trust(toy: Toy, registry: Registry) -> None:
    forget(toy)
    try:
        registry.distrust_on(toy.box(HOST))
        tells(toy.run("push", "auto"), 6, HOST, f"/etc/docker/certs.d/{registry.name}/ca.crt")
    finally:
        registry.trust_on(toy.box(HOST))
    assert toy.run("push", "auto").code == 0


def test_a_registry_that_hosts_cannot_reach(toy: Toy, registry: Registry) -> None:
    forget(toy)
    host = toy.box(HOST)
    address = registry.box.address
    try:
        host.run(f"ip route add prohibit {address}/32")
        tells(toy.run("push", "auto"), 6, HOST, "cannot reach the registry", "canary_delivery: push")
    finally:
        host.run(f"ip route del prohibit {address}/32")


@pytest.mark.parametrize("identity", ["", IDENTITY])
def test_a_registry_that_wants_tokens(toy: Toy, registry: Registry, image: str, identity: str) -> None:
    forget(toy)
    back = toy.edit("stack.yml", registry.name, registry.by_token)
    try:
        registry.log_in("wrong", "wrong" if identity else "")
        tells(toy.run("push", "auto"), 2, registry.by_token, "docker login")
        registry.log_in("unused" if identity else PASSWORD, identity)
        done = toy.run("push", "auto", "--output", "json")
        assert done.code == 0, done.text[-2000:]
        assert toy.box(HOST).run(f"docker image inspect {tag(image)} --format '{{{{.Id}}}}'").strip() == image
    finally:
        back()
        registry.log_in(PASSWORD)


def test_an_interrupted_pull_leaves_nothing_running(
    toy: Toy, registry: Registry, lab_env: dict[str, str], runs_dir: Path
) -> None:
    heavy = f"{registry.name}/{REPOSITORY}:heavy"
    registry.publish(registry.build("heavy", ballast=8_000_000), heavy)
    subprocess.run(["docker", "rmi", "canaryctl-test-heavy:test"], capture_output=True)
    host, back = toy.box(HOST), toy.edit("stack.yml", f"{REPOSITORY}:1", f"{REPOSITORY}:heavy")
    argv = [CTL, "push", "auto", "--output", "ndjson"]
    env = {**lab_env, **toy.env, "CANARYCTL_RUNS": str(runs_dir)}
    try:
        registry.box.run("tc qdisc add dev eth0 root tbf rate 8mbit burst 64kb latency 400ms")
        process = subprocess.Popen(
            argv, cwd=toy.folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for line in process.stdout or ():
            event = json.loads(line)
            if event["type"] == "push.progress" and 0 < event["bytes"] < event["total"]:
                assert event["image"] == "web" and event["host"] == HOST
                listed = host.run("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' ' '", check=False)
                assert "sys.stdin" in listed and not any(trace in listed for trace in TRACES)
                process.send_signal(signal.SIGINT)
                break
        process.communicate(timeout=30)
        assert process.returncode == 130
        agent = "pgrep -f '[i]mport sys; i = sys.stdin' >/dev/null"
        host.run(f"for i in $(seq 100); do {agent} || exit 0; sleep 0.1; done; exit 1")
        size = "sleep 1; du -sb /var/lib/docker/tmp | cut -f1"
        assert host.run(size) == host.run(size), "Docker has given the pull up"
    finally:
        back()
        registry.box.run("tc qdisc del dev eth0 root")


def test_pushed_from_here_where_hosts_may_not_pull(toy: Toy, registry: Registry, image: str) -> None:
    forget(toy)
    reference = f"{registry.name}/{REPOSITORY}:1"
    tells(toy.run("push", "push"), 2, f"docker pull {reference}")
    subprocess.run(["docker", "tag", image, reference], check=True)
    try:
        registry.distrust_on(toy.box(HOST))
        done = toy.run("push", "push", "--output", "json")
        assert done.code == 0, done.text[-2000:]
        assert stage(done.document, "push")["bytes"] > 0
        registry.box.run("systemctl stop docker-registry")
        assert toy.run("push", "push").code == 0, "what is here already needs no registry"
        tells(toy.run("push", "auto"), 2, registry.name)
        other = registry.build("another")
        subprocess.run(["docker", "tag", other, reference], check=True)
        registry.box.run("systemctl start docker-registry")
        registry.wait()
        tells(toy.run("push", "push"), 2, "at its registry", "docker pull")
    finally:
        subprocess.run(["docker", "rmi", "canaryctl-test-another:test"], capture_output=True)
        registry.box.run("systemctl start docker-registry")
        registry.wait()
        registry.trust_on(toy.box(HOST))
        subprocess.run(["docker", "rmi", reference], capture_output=True)
    assert toy.box(HOST).run(f"docker image inspect {tag(image)} --format '{{{{.Id}}}}'").strip() == image


def test_pull_alone_refuses_what_no_registry_has(toy: Toy) -> None:
    tells(toy.run("push", "strict", "--image", "web=canaryctl-test-published:test"), 2, "canary_delivery", "web")
    assert toy.run("push", "strict").code == 0


def test_the_image_in_place_of_a_published_one_is_pushed(toy: Toy, image: str) -> None:
    done = toy.run("plan", "auto", "--image", "web=canaryctl-test-published:test", "--output", "json")
    found = done.document["release"]["images"]["web"]
    assert found["id"] == image and "source" not in found


def test_an_image_that_hosts_pull_is_checked_there_before_it_starts(toy: Toy, image: str) -> None:
    forget(toy)
    back = toy.edit("stack.yml", ':1"}', ':1", contract: {commands: [{run: [/bin/busybox, "false"]}]}}')
    try:
        done = toy.deploy("auto")
    finally:
        back()
    tells(done, 1, "web: command /bin/busybox false: exit code 1")
    assert stage(done.document, "push")["pulled"] and toy.state(HOST)["containers"] == ""
    fixed = toy.deploy("auto")
    assert fixed.code == 0, fixed.text[-3000:]
    assert {(row["check"], row["where"]) for row in fixed.document["contracts"]} == {
        ("environment without secrets", HOST)
    }


def test_an_earlier_release_comes_back_from_its_registry_and_from_no_other(
    toy: Toy, registry: Registry, image: str
) -> None:
    host = toy.box(HOST)
    assert toy.deploy("auto").code == 0  # nothing to do after the test before
    registry.publish(registry.build("second"), f"{registry.name}/{REPOSITORY}:2")
    back = toy.edit("stack.yml", f"{REPOSITORY}:1", f"{REPOSITORY}:2")
    forged = f"sed -i 's#{{}}/{REPOSITORY}@#{{}}/{REPOSITORY}@#' {toy.root}/releases/*/release.json"
    try:
        done = toy.deploy("auto")
        assert done.code == 0, done.text[-3000:]
        host.run(f"docker rmi {tag(image)}")
        subprocess.run(["docker", "rmi", "-f", image], capture_output=True)  # else it would be sent from here
        host.run(forged.format(registry.name, "evil.test"))
        tells(toy.run("rollback", "auto", "--yes"), 6, "evil.test", "is no registry of this stack", "canary_registries")
        host.run(forged.format("evil.test", registry.name))
        done = toy.run("rollback", "auto", "--yes", "--output", "json")
        assert done.code == 0, done.text[-3000:]
        assert stage(done.document, "push")["pulled"]
        assert host.run(f"docker image inspect {tag(image)} --format '{{{{.Id}}}}'").strip() == image
    finally:
        back()
        subprocess.run(["docker", "rmi", "canaryctl-test-second:test"], capture_output=True)
