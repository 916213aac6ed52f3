"""Roles and playbooks take the strings that INI inventories and -e give for booleans as YAML does."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible.plugins.filter.core import FilterModule
from jinja2.nativetypes import NativeEnvironment

from canaryctl.config.environment import load_environment
from canaryctl.config.policy import load_policies
from canaryctl.config.project import Project
from canaryctl.errors import ConfigError

ROOT = Path(__file__).parents[3]


def lint() -> ModuleType:
    spec = importlib.util.spec_from_file_location("boolean_tests", ROOT / "scripts" / "boolean_tests.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_role_and_no_playbook_tests_a_bare_boolean() -> None:
    assert lint().faults(ROOT) == []


def test_the_rule_finds_what_was_planted(tmp_path: Path) -> None:
    role = tmp_path / "roles" / "shop"
    (role / "meta").mkdir(parents=True)
    (role / "tasks").mkdir()
    options = {"shop_purge": {"type": "bool"}, "shop_name": {"type": "str"}}
    specs = {"argument_specs": {"main": {"options": options}}}
    (role / "meta" / "argument_specs.yml").write_text(yaml.safe_dump(specs))
    (role / "tasks" / "main.yml").write_text(
        "- when: shop_purge and shop_name != ''\n"
        "  debug:\n"
        "    msg: set shop_purge to have it purged\n"
        "- when:\n"
        "    - shop_purge | default(false) | bool\n"
        "  command: \"{{ 'rm' if shop_purge else 'ls' }}\"\n"
        "- loop: \"{{ ['x'] if not (shop_purge | bool) else [] }}\"\n"
        "- assert: {that: not shop_purge}\n"
    )
    (role / "templates").mkdir()
    (role / "templates" / "shop.repo.j2").write_text("{% if shop_purge %}\n{% endif %}{{ shop_purge | bool }}\n")
    found = lint().faults(tmp_path)
    places = [f"roles/shop/tasks/main.yml:{n}" for n in (1, 6, 8)] + ["roles/shop/templates/shop.repo.j2"]
    assert [line.split(": ")[0] for line in found] == places


@pytest.mark.parametrize(
    ("given", "volumes"),
    [(v, False) for v in (False, "false", "no", "0", "off", "False")] + [(v, True) for v in (True, "true", "yes", "1")],
)
def test_down_keeps_volumes_whatever_spells_no(given: Any, volumes: bool) -> None:
    tasks = yaml.safe_load((ROOT / "roles/stack_release/tasks/down.yml").read_text())
    given_on = next(task["compose_down"]["volumes"] for task in tasks if "compose_down" in task)
    paths = next(task["loop"] for task in tasks if "ansible.builtin.file" in task and "loop" in task)
    known: dict[str, Any] = {
        "stack_release_project": "p",
        "stack_release_root": "/r",
        "stack_release_marker_file": "/r/migrated.json",
    }
    known |= {"stack_release_current": {"stat": {"islnk": True}}, "stack_release_down_leaves": []}
    assert render(given_on, stack_release_down_volumes=given, **known) is volumes
    assert ("/r/migrated.json" in render(paths, stack_release_down_volumes=given, **known)) is volumes


def render(text: str, **variables: Any) -> Any:
    environment = NativeEnvironment()
    environment.filters["bool"] = FilterModule().filters()["bool"]
    return environment.from_string(text).render(**variables)


@pytest.mark.parametrize(
    ("given", "wanted"), [("true", True), ("yes", True), ("1", True), ("off", False), ("0", False)]
)
def test_an_ini_inventory_says_yes_and_no(tmp_path: Path, given: str, wanted: bool) -> None:
    policy = ini_policy(tmp_path, given)
    assert policy.gpu_driver is wanted
    assert policy.disposable is wanted


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="canary_disposable of canary-1 is 'perhaps'"):
        ini_policy(tmp_path, "perhaps")


def ini_policy(folder: Path, given: str) -> Any:
    project = Project(folder, folder / "stack.yml", folder / "inventories", folder / "runs")
    (project.inventories / "box").mkdir(parents=True)
    names = ("nvidia_container_toolkit_install_driver", "canary_disposable")
    said = "\n".join(f"{name}={given}" for name in names)
    (project.inventories / "box" / "hosts").write_text(f"[all]\ncanary-1\n[all:vars]\n{said}\n")
    return load_policies(load_environment(project, "box"))["canary-1"]
