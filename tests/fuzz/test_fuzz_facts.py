"""What hosts say: the facts, what is decided by them, and every other answer of an agent program."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from fuzzing import LOOKUP, every_string, fuzzed, mutations, texts
from hypothesis import strategies as st

from canaryctl.agent.read import audit, gpu, gpuwatch, gpuxml, mounts
from canaryctl.ansible.results import Tally
from canaryctl.commands.history import made_current, merge
from canaryctl.config.policy import Policy
from canaryctl.config.stack import Stack
from canaryctl.deploy import backups
from canaryctl.deploy.stages import last_words
from canaryctl.errors import CanaryError
from canaryctl.facts import describe_containers
from canaryctl.facts.answers import read_answer
from canaryctl.facts.documents import migration_record
from canaryctl.facts.host import HostFacts, parse
from canaryctl.facts.lock import lock_lost
from canaryctl.facts.programs import HeldSecrets, LockAnswer, PruneAnswer, believed, collected, watched
from canaryctl.hosts.knownhosts import parse as parse_known_hosts
from canaryctl.hosts.target import parse as parse_ssh
from canaryctl.plan.drift import drift
from canaryctl.plan.operations.provision import readiness
from canaryctl.plan.operations.start import StopProject
from canaryctl.plan.plan import make_plan, plan_provision
from canaryctl.plan.release import ImageFact, Release
from canaryctl.plan.rendering import Rendering
from canaryctl.plan.rollback import RollbackPlan, back_from, back_to, choose_release, known_releases, passed_releases
from canaryctl.plan.target import Target
from canaryctl.plan.verdicts import Trust

FIXTURES = Path(__file__).parents[1] / "fixtures"
FACTS = json.loads((FIXTURES / "facts/canary.json").read_text())
DIRECTORY = FACTS["state"]["current"]
RECORDED = FACTS["state"]["releases"][DIRECTORY]["release"]
STACK = Stack.model_validate(
    {
        "stack": "ktrdr",
        "images": {name: {"tag": f"{name}:1"} for name in RECORDED["images"]},
        "variants": {"only": RECORDED["services"]},
        "placement": {"all": RECORDED["placed"]},
        "compose": "compose.yml.j2",
        "migrations": {"service": "backend", "upgrade": "up", "current": "now", "database": "db"},
    }
)
IMAGES = {
    name: ImageFact(name, image["id"], image["tag"], 1000, (), "linux/amd64")
    for name, image in RECORDED["images"].items()
}
RELEASE = Release(
    RECORDED["id"], "ktrdr", "only", {service: IMAGES[name] for service, name in RECORDED["services"].items()}, {}
)
TARGET = Target(
    Rendering("one", DIRECTORY, tuple(RECORDED["placed"]), {"compose.yml": b"x"}, (("192.0.2.1", 18000, "backend"),)),
    "ktrdr-canary",
    "mac",
    secret_macs={"DB_PASSWORD": "1"},
)

TRUST = Trust(4e9)


def decide(facts: HostFacts) -> None:
    """Everything that is decided by one host's facts."""
    hosts = {"one": facts}
    plan = make_plan(STACK, RELEASE, {"one": TARGET}, hosts, {"one": Policy()})
    json.dumps([operation.as_dict() for operation in plan.operations])
    for name in (*(stop.project for stop in plan.of(StopProject)), facts.state.current or "x"):
        assert name.replace("-", "").replace("_", "").isalnum()
    plan_provision(hosts, {"one": Policy()})
    readiness(facts)
    drift(facts, "ktrdr-canary")
    made_current(RECORDED["id"], facts.state.history)
    merge({"one": facts.state.history, "two": facts.state.history})
    list(passed_releases(hosts, "canary", TRUST))
    known_releases([facts], "canary")
    if facts.state.lock:
        json.dumps([facts.state.lock.as_dict(), facts.state.lock.words()])
    for decided in (
        lambda: choose_release(hosts, "canary", None, TRUST),
        lambda: choose_release(hosts, "canary", RECORDED["id"][:8], TRUST),
        lambda: back_to(RECORDED["id"], hosts, "canary", "ktrdr"),
        lambda: back_from(hosts, hosts, ["one"], "canary", "ktrdr", TRUST),
        lambda: back_from({"one": parse("one", {})}, hosts, ["one"], "canary", "ktrdr", TRUST),
    ):
        try:
            found = decided()
            if isinstance(found, RollbackPlan):
                json.dumps([operation.as_dict() for operation in found.operations])
                _ = [step.missing(facts) for step in found.steps.values()]
        except CanaryError as error:
            assert error.where


@fuzzed(mutations(FACTS))
def test_facts_and_what_is_decided_by_them(value: Any) -> None:
    decide(parse("one", value))


def test_a_lookup_in_every_string_reaches_no_name() -> None:
    for path, document in every_string(FACTS, LOOKUP):
        try:
            facts = parse("one", document)
        except CanaryError as error:
            assert error.where == "one", path
            continue
        decide(facts)
        names = [facts.state.current or "", *facts.state.releases, *(v.name for v in facts.volumes)]
        for container in facts.containers:
            names += [container.project, container.service, container.id, container.name, container.image]
        for entry in facts.state.releases.values():
            release = entry.release or {"images": {}, "services": {}, "placed": []}
            names += [str(release.get("environment")), *release["placed"], *release["images"]]
            names += [name for pair in release["services"].items() for name in pair]
            names += [str(image[key]) for image in release["images"].values() for key in ("id", "tag")]
        assert not any("{{" in name for name in names), path


@fuzzed(
    st.one_of(
        mutations(FACTS).map(lambda document: json.dumps(document, default=str)),
        texts(json.dumps({"agent": 1, "a": [1, 2.5, "\ud800", None, True, {"b": []}]}), "[[[[", "1e999", "NaN"),
    ),
    allowed=(ValueError,),
)
def test_json_of_hosts(value: str) -> None:
    def look(found: Any) -> None:
        if isinstance(found, dict):
            for key, item in found.items():
                key.encode()
                look(item)
        elif isinstance(found, list):
            for item in found:
                look(item)
        elif isinstance(found, str):
            found.encode()
        elif isinstance(found, int | float):
            assert math.isfinite(found)

    look(read_answer(value))


@fuzzed(mutations(FACTS["state"]["lock"]))
def test_a_lock_that_is_lost(value: Any) -> None:
    assert lock_lost("one", value).where == "one"


INSPECTED = {
    "Id": "c" * 64,
    "Name": "/ktrdr-canary-db-1",
    "Image": "sha256:" + "1" * 64,
    "RestartCount": 0,
    "State": {
        "Status": "running",
        "StartedAt": "2026-11-30T00:00:00.123456789Z",
        "OOMKilled": False,
        "Health": {"Status": "healthy", "Log": [{"End": "2026-11-30T00:00:01.5Z", "ExitCode": 0, "Output": "ok"}]},
    },
    "Config": {"Image": "db:1", "Labels": {"com.docker.compose.service": "db"}, "Env": ["A=b"]},
}
COLLECTED = {
    "logs": {"db": "2026-11-30T00:00:00Z ready\n"},
    "containers": [INSPECTED],
    "memory": {"c" * 64: 1 << 20},
    "became_healthy": {"c" * 64: [1764460800.5]},
    "compose": "services: {}\n",
    "errors": {},
}


@fuzzed(mutations(COLLECTED))
def test_evidence(value: Any) -> None:
    found = collected("one", value)
    json.dumps(describe_containers("one", found.containers, found.memory, found.became_healthy))


LOCK = FACTS["state"]["lock"]
ANSWERS: dict[type[Any], Any] = {
    LockAnswer: {
        "holder": LOCK, "path": "/opt/x/lock", "displaced": [LOCK], "touched": 1.5, "released": [LOCK],
        "locks": {"/a": LOCK, "/b": None}, "lost": {"/a": LOCK, "/b": None},
    },
    HeldSecrets: {"error": "", "become_reason": "", "secrets": {"A": {"mac": "1", "fingerprint": "2"}}},
    PruneAnswer: {"images": ["a:1"], "releases": ["r"], "faults": {"a": "b"}, "lost": [LOCK]},
}  # fmt: skip


@fuzzed(st.sampled_from(list(ANSWERS)).flatmap(lambda kind: st.tuples(st.just(kind), mutations(ANSWERS[kind]))))
def test_answers_of_other_programs(value: Any) -> None:
    kind, answer = value
    believed("one", kind, answer)


@fuzzed(
    mutations({"gpus": FACTS["gpus"], "gpu": FACTS["gpu"], "containers": ["c"], "xids": [{"time": 1.5, "number": 79}]})
)
def test_gpus_as_seen_from_their_host(value: Any) -> None:
    watched("one", value)


RECORD = {
    "time": "2026-11-30T00:00:00Z", "project": "p", "image": "i", "release": "1" * 64, "revision": "0001",
    "backward_compatible": True,
}  # fmt: skip


@fuzzed(mutations([RECORD, {**RECORD, "time": 1764460800.5}, RECORD]))
def test_records_of_migrations(value: Any) -> None:
    lines = [line for line in value if migration_record(line)] if isinstance(value, list) else []
    for order in (lines, lines[::-1]):
        backups.schema_from(backups.in_order(order, order[0] if order else None), "1" * 64, "i", None)


BACKUP = {
    "name": "canary-20261130T000000Z-none.dump", "path": "/opt/x", "bytes": 5, "sha256": "1", "revision": None,
    "taken": "2026-11-30T00:00:00Z", "database": "d", "environment": "canary", "from_release": "1" * 64,
}  # fmt: skip


@fuzzed(mutations(BACKUP))
def test_documents_of_backups(value: Any) -> None:
    found = backups.backup_of(value, "one") if isinstance(value, dict) else None
    assert found is None or "/" not in found.name
    backups.choose([found] * 2 if found else [], "1" * 64, "0001")


GPUS = FIXTURES / "gpu"


@fuzzed(
    texts(*((GPUS / name).read_text() for name in ("mig.xml", "two-gpus.xml", "old-driver.xml"))), allowed=(ValueError,)
)
def test_nvidia_smi_xml(value: str) -> None:
    found = gpuxml.parse_smi_xml(value)
    parse("one", {"gpus": found["gpus"], "gpu": {"driver": found["driver"], "cuda": found["cuda"]}})


@fuzzed(texts((GPUS / "table.csv").read_text(), (GPUS / "mig-list.txt").read_text()))
def test_nvidia_smi_tables(value: str) -> None:
    found = gpu.parse_smi_csv(value)
    gpu.name_mig_instances(found, value)
    parse("one", {"gpus": found})


CDI = (
    'cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n- name: "0"\n  x: /usr/lib/libcuda.so.550.54.15\n- name: all\n'
)
XID = "2026-11-30T00:00:00+0000 h kernel: NVRM: Xid (PCI:0000:01:00): 79, pid=1, GPU has fallen off the bus.\n"


@fuzzed(texts(CDI, XID, "[  12.345678] NVRM: Xid (PCI:0000:01:00): 31, x\n"))
def test_cdi_specifications_and_kernel_logs(value: str) -> None:
    gpu.parse_cdi(value, "550.54.15")
    for xid in gpuwatch.parse_xids(value, 0.0, 1e9):
        assert isinstance(xid["number"], int)


MOUNTINFO = "36 35 98:0 / /mnt\\040a rw,noatime - nfs4 server:/x rw\n"


@fuzzed(texts(MOUNTINFO))
def test_mountinfo(value: str) -> None:
    mounts.holder_of("/mnt a/b", mounts.parse_mountinfo(value))


@fuzzed(texts("permitrootlogin no\nPasswordAuthentication=yes\n"))
def test_sshd_options(value: str) -> None:
    audit.parse_sshd(value)


@fuzzed(texts("/usr/bin/dockerd -H fd:// --data-root=/x --tls\n"), allowed=(ValueError,))
def test_dockerd_flags(value: str) -> None:
    audit.parse_flags(value)


KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIJxx"


@fuzzed(texts(f"[web]:2222,!x ssh-ed25519 {KEY} c\n@revoked * ssh-rsa {KEY}\n|1|a2V5|aGFzaA==| ssh-ed25519 {KEY}\n"))
def test_known_hosts(value: str) -> None:
    parse_known_hosts(value, "web", "known_hosts")


@fuzzed(texts("host web\nhostname 192.0.2.1\nport 22\nproxyjump a@b:22,c\nuserknownhostsfile ~/a ~/b\n"))
def test_ssh_configuration(value: str) -> None:
    parse_ssh(value)


EVENT = {
    "event": "runner_on_failed",
    "event_data": {
        "host": "one",
        "task": "Start the services",
        "duration": 1.5,
        "res": {
            "changed": True,
            "msg": "it failed",
            "canary_gaps": {"db": {"from": 1764460800.5, "until": None}},
            "canary_failure": {"hint": "see", "lost": None, "services": {"db": {"health_output": "x", "log": "y"}}},
            "diff": [{"before": "a\n", "after": "b\n"}],
        },
    },
}


@fuzzed(mutations(EVENT["event_data"]["res"]))  # type: ignore[index]
def test_results_of_modules(value: Any) -> None:
    tally = Tally("start", ["one"])
    tally.add({**EVENT, "event_data": {**EVENT["event_data"], "res": value}})  # type: ignore[dict-item]
    (result,) = tally.results().values()
    last_words(result.detail or {})
    for gap in result.gaps.values():
        assert gap["from"] is None or gap["until"] is None or gap["from"] - gap["until"] < 1e15
