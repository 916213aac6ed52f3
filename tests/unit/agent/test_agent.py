"""The agent's parsers, its bundling, and the facts made of what it says."""

from __future__ import annotations

import ast
import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from canaryctl import agent
from canaryctl.agent.read import collect, facts, state, system
from canaryctl.agent.read.envfile import secrets_mac
from canaryctl.config.environment import Host
from canaryctl.errors import HostError
from canaryctl.facts.host import HostFacts, parse
from canaryctl.hosts.ask import PROGRAMS, become_mode, bundle, interpreter, wrapper


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_bundle_stands_alone_on_an_old_python(program: str) -> None:
    source = bundle(program)
    assert "from canaryctl" not in source
    assert source.count("from __future__") == 1
    tree = ast.parse(source, feature_version=(3, 7))
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    names += [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
    assert len(names) == len(set(names))
    imported = {n for node in tree.body if isinstance(node, ast.Import) for n in (a.name for a in node.names)}
    assert imported <= set(sys.stdlib_module_names)


def test_a_module_is_known_by_its_name_alone() -> None:
    modules = [path.stem for path in Path(agent.__file__).parent.glob("*/*.py") if path.stem != "__init__"]
    assert len(modules) == len(set(modules))
    assert {module for program in PROGRAMS.values() for module in program} <= set(modules)


def test_the_facts_program_answers_for_this_machine(tmp_path: Path) -> None:
    config = {"stack": "shop", "root": str(tmp_path), "nonce": "00", "releases": []}
    source = bundle("facts") + f"\nanswer_facts(json.loads({json.dumps(config)!r}))\n"
    done = subprocess.run(
        [sys.executable, "-IS", "-", "none", ""], input=source, capture_output=True, text=True, check=True
    )
    document = json.loads(done.stdout)
    expected = {
        "agent", "time", "hostname", "user", "uid", "become", "become_reason", "os", "kernel", "arch", "python", "cpu",
        "memory", "disks", "docker", "compose", "images", "containers", "volumes", "ports", "gpus", "gpu", "mounts",
        "state", "errors",
    }  # fmt: skip
    assert set(document) == expected
    assert document["memory"]["total"] > 0 and str(tmp_path) in document["disks"]
    assert parse("here", document).cpu_count > 0


def test_the_wrapper_is_one_line_of_shell() -> None:
    assert "\n" not in wrapper()
    subprocess.run(["sh", "-n", "-c", wrapper()], check=True)


@pytest.mark.parametrize(
    ("value", "mode"),
    [(None, "auto"), ("", "auto"), (True, "always"), ("yes", "always"), (False, "never"), ("no", "never")],
)
def test_become(value: object, mode: str) -> None:
    assert become_mode(Host("h", (), {"ansible_become": value})) == mode


def test_interpreter() -> None:
    assert interpreter(Host("h", (), {"ansible_python_interpreter": "auto_silent"})) == "python3"
    assert interpreter(Host("h", (), {"ansible_python_interpreter": "/opt/py/bin/python"})) == "/opt/py/bin/python"


def test_addresses_of_the_kernels_tables() -> None:
    assert system.decode_address("0100007F") == "127.0.0.1"
    assert system.decode_address("00000000000000000000000001000000") == "::1"


def test_times() -> None:
    assert facts.epoch("2025-01-01T00:00:01.123456789Z") == 1735689601
    assert facts.epoch("2025-01-01T01:00:01+01:00") == 1735689601
    assert facts.epoch("0001-01-01T00:00:00Z") is None


def test_log_streams_are_joined() -> None:
    data = b"".join(struct.pack(">BxxxI", stream, len(text)) + text for stream, text in [(1, b"out\n"), (2, b"err\n")])
    assert collect.without_headers(data) == b"out\nerr\n"


def test_the_state_of_a_stack(tmp_path: Path) -> None:
    base = tmp_path / "shop"
    for name in ("old", "new"):
        (base / "releases" / name / "assets").mkdir(parents=True)
        (base / "releases" / name / "release.json").write_text(json.dumps({"id": name}))
        (base / "releases" / name / "assets" / "a.yml").write_text("a")
    (base / "releases" / "damaged").mkdir()
    (base / "releases" / ".new.partial").mkdir()
    (base / "current").symlink_to("releases/new")
    (base / "secrets.env").write_text("A=b\n")
    (base / "history.jsonl").write_text('{"what": 1}\nhalf a li\n{"what": 2}\n')
    errors: dict[str, str] = {}
    found = state.about_state({"root": str(tmp_path), "stack": "shop", "nonce": "ab12"}, errors)
    assert found["current"] == "new"
    assert set(found["releases"]) == {"old", "new", "damaged"}
    assert set(found["releases"]["new"]["files"]) == {"release.json", "assets/a.yml"}
    assert found["releases"]["old"] == {"release": {"id": "old"}, "files": {}}
    assert found["secrets"] == secrets_mac("ab12", b"A=b\n")
    assert found["secret_macs"] == {"A": secrets_mac("ab12", b"A=b")}
    assert found["history"] == [{"what": 1}, {"what": 2}]
    assert found["migrated"] is None
    assert list(errors) == ["state.releases/damaged"]


def test_a_host_without_the_stack_has_an_empty_state(tmp_path: Path) -> None:
    errors: dict[str, str] = {}
    found = state.about_state({"root": str(tmp_path / "none"), "stack": "shop", "nonce": "00"}, errors)
    empty = {"current": None, "releases": {}, "secrets": None, "secret_macs": {}, "secrets_unused": []}
    assert found == {**empty, "started": None, "migrated": None, "history": [], "lock": None, "change": None}
    assert not errors


def facts_of(**document: object) -> HostFacts:
    return parse("web-1", document)


def test_an_empty_document_reads() -> None:
    assert facts_of().docker is None and facts_of().state.current is None


def test_unknown_keys_and_nulls_are_tolerated() -> None:
    found = facts_of(docker={"running": True, "version": "29", "new": 1, "error": None}, os=None, gpus=None)
    assert found.docker is not None and found.docker.version == "29" and found.os.id == ""


def test_images_are_found_by_id_tag_and_layers() -> None:
    identity = "sha256:" + "a" * 64
    tagged = [{"id": "sha256:f", "tags": ["canaryctl/shop/web:aaaaaaaaaaaa"], "layers": ["l1"]}]
    containerd = {"running": True, "containerd_store": True}
    assert facts_of(images=[{"id": identity, "tags": []}]).has_image(identity)
    assert not facts_of(images=tagged).has_image(identity)
    other_store = facts_of(images=tagged, docker=containerd)
    assert other_store.has_image(identity)
    assert other_store.has_image(identity, ["l1"]) and not other_store.has_image(identity, ["l2"])
    foreign = facts_of(images=[{"id": "sha256:f", "tags": ["web:aaaaaaaaaaaa"]}], docker=containerd)
    assert not foreign.has_image(identity)


def test_a_tag_counts_only_on_the_image_that_is_meant() -> None:
    identity, tag = "sha256:" + "a" * 64, "canaryctl/shop/web:sha256-aaaaaaaaaaaa"
    moved = [{"id": identity, "tags": ["kept:1"]}, {"id": "sha256:other", "tags": [tag], "layers": ["l1"]}]
    assert not facts_of(images=moved).has_tagged(identity, tag)
    assert facts_of(images=[{"id": identity, "tags": [tag]}]).has_tagged(identity, tag)
    store = facts_of(images=moved, docker={"running": True, "containerd_store": True})
    assert store.has_tagged(identity, tag, ["l1"]) and not store.has_tagged(identity, tag, ["l2"])


def test_the_service_container_is_neither_a_one_off_nor_a_stopped_twin() -> None:
    common = {"service": "web", "project": "shop-canary"}
    found = facts_of(
        containers=[
            {**common, "name": "migrate", "oneoff": True, "state": "running"},
            {**common, "name": "old", "state": "exited"},
            {**common, "name": "new", "state": "running", "ports": [{"port": 80, "container_port": 8000}]},
        ]
    )
    container = found.container("web", "shop-canary")
    assert container is not None and container.name == "new" and container.ports[0].port == 80
    assert found.projects("shop") == ("shop-canary",)


def test_a_listener_is_in_the_way_only_where_the_addresses_meet() -> None:
    found = facts_of(ports=[{"address": "127.0.0.1", "port": 80}, {"address": "::", "port": 443}])
    assert found.listener(80) and found.listener(80, "::") and found.listener(443, "10.0.0.1")
    assert not found.listener(80, "10.0.0.1") and not found.listener(81)


def test_refused_sudo_is_an_error_on_demand() -> None:
    facts_of(become="none").require_privilege()
    with pytest.raises(HostError, match="a password is required"):
        facts_of(become="refused", become_reason="sudo: a password is required", user="ops").require_privilege()
