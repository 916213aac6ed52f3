"""Inventories as Ansible reads them, and how their faults are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from canaryctl.config.environment import load_environment, match_hosts
from canaryctl.config.policy import load_policies
from canaryctl.config.project import Project
from canaryctl.errors import ConfigError

HOSTS = """\
all:
  children:
    core: {hosts: {alpha: {ansible_host: 192.0.2.1}}}
    workers: {hosts: {beta: {canary_address: "{{ net }}.7", own: 1}}}
  vars: {net: 192.0.2, canary_provision: auto}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "inventories" / "prod" / "group_vars").mkdir(parents=True)
    (tmp_path / "inventories" / "prod" / "hosts.yml").write_text(HOSTS)
    return Project(tmp_path, tmp_path / "stack.yml", tmp_path / "inventories", tmp_path / "runs")


def test_hosts_groups_and_templated_variables(project: Project) -> None:
    environment = load_environment(project, "prod")
    assert list(environment.hosts) == ["alpha", "beta"]
    assert environment.groups["workers"] == ("beta",)
    assert environment.hosts["beta"].address == "192.0.2.7"
    assert environment.hosts["alpha"].address == "192.0.2.1"
    assert environment.vars["canary_provision"] == "auto"
    assert "own" not in environment.vars


def test_an_unknown_environment_lists_those_there_are(project: Project) -> None:
    with pytest.raises(ConfigError) as caught:
        load_environment(project, "nowhere")
    assert "nowhere" in caught.value.what and "prod" in caught.value.hint


def test_yaml_that_does_not_parse_names_file_and_line(project: Project) -> None:
    (project.inventories / "prod" / "group_vars" / "all.yml").write_text("a: 1\nb: [\n")
    with pytest.raises(ConfigError) as caught:
        load_environment(project, "prod")
    assert "group_vars/all.yml:3" in caught.value.where


def test_an_ini_inventory_that_does_not_parse_gives_ansibles_words(project: Project) -> None:
    (project.inventories / "prod" / "hosts.yml").unlink()
    (project.inventories / "prod" / "hosts").write_text("[core]\nalpha bad thing\n")
    with pytest.raises(ConfigError) as caught:
        load_environment(project, "prod")
    assert "key=value" in caught.value.what


def test_one_source_that_does_not_parse_is_enough(project: Project) -> None:
    (project.inventories / "prod" / "more").write_text("[core]\nalpha bad thing\n")
    with pytest.raises(ConfigError) as caught:
        load_environment(project, "prod")
    assert "key=value" in caught.value.what


def test_what_ansible_only_warns_of_is_no_fault_whatever_its_words(project: Project) -> None:
    (project.inventories / "prod" / "more.yml").write_text("all: {hosts: {gamma: {}}, parse: x}\n")
    assert "gamma" in load_environment(project, "prod").hosts


def test_a_connection_variable_that_cannot_be_templated_is_named(project: Project) -> None:
    (project.inventories / "prod" / "group_vars" / "all.yml").write_text(
        'ansible_port: "{{ nope }}"\nfree: "{{ nope }}"\n'
    )
    with pytest.raises(ConfigError) as caught:
        load_environment(project, "prod")
    assert "ansible_port" in caught.value.what and "nope" in caught.value.what


def test_limit_takes_ansible_patterns(project: Project) -> None:
    environment = load_environment(project, "prod")
    assert match_hosts(environment, "all:!alpha") == ["beta"]
    assert match_hosts(environment, None) == ["alpha", "beta"]
    with pytest.raises(ConfigError, match="selects no host"):
        match_hosts(environment, "gamma")


@pytest.mark.parametrize("pattern", ["!", "all:&", "alpha[99]", "alpha[a:b]", "@/nonexistent", "²[²]"])
def test_a_limit_that_is_no_pattern_is_told_as_one(project: Project, pattern: str) -> None:
    with pytest.raises(ConfigError) as caught:
        match_hosts(load_environment(project, "prod"), pattern)
    assert pattern in caught.value.what and caught.value.where


def test_a_policy_with_a_wrong_value_lists_the_right_ones(project: Project) -> None:
    (project.inventories / "prod" / "group_vars" / "core.yml").write_text("canary_provision: sometimes\n")
    with pytest.raises(ConfigError) as caught:
        load_policies(load_environment(project, "prod"))
    assert "alpha" in caught.value.what and "auto, check, never" in caught.value.hint


@pytest.mark.parametrize("given", ["registry.test", "[registry.test/]", "['https://registry.test']", "[1]", "['a b']"])
def test_registries_of_earlier_releases_are_a_list_of_names(project: Project, given: str) -> None:
    file = project.inventories / "prod" / "group_vars" / "all.yml"
    file.write_text("canary_registries: [registry.test, 'old.test:5000/shop']\n")
    policies = load_policies(load_environment(project, "prod"))
    assert policies["alpha"].registries == ("registry.test", "old.test:5000/shop")
    file.write_text(f"canary_registries: {given}\n")
    with pytest.raises(ConfigError, match="canary_registries of"):
        load_policies(load_environment(project, "prod"))


def test_an_environment_without_hosts_says_so(project: Project) -> None:
    (project.inventories / "prod" / "hosts.yml").write_text("all: {children: {core: {}}}\n")
    with pytest.raises(ConfigError, match="no host"):
        load_environment(project, "prod")


def test_the_rules_of_a_verdict_are_read_from_variables(project: Project) -> None:
    (project.inventories / "prod" / "group_vars" / "all.yml").write_text(
        "canary_gates: [Health, slow]\n"
        "canary_inconclusive: pass\n"
        "canary_soak: 10m\n"
        "canary_disposable: true\n"
        "canary_metrics:\n"
        "  - name: queue\n"
        '    url: "http://{{ canary_address | default(ansible_host) }}/metrics"\n'
        "    on: core\n"
        '    prometheus: queue{kind="a"}\n'
        "    statistic: max\n"
        "    at_most: 5\n"
    )
    policies = load_policies(load_environment(project, "prod"))
    policy = policies["alpha"]
    assert policy.rules() == {"gates": ["Health", "slow"], "inconclusive": "pass", "soak": 600.0, "soak_every": 30.0}
    assert policy.disposable
    assert [policies[host].metrics[0].url for host in policies] == [
        "http://192.0.2.1/metrics",
        "http://192.0.2.7/metrics",
    ]


@pytest.mark.parametrize(("line", "devices"), [("all", "all"), ("2", 2), ("[0, GPU-5, '1:0']", ("0", "GPU-5", "1:0"))])
def test_the_gpus_that_services_get(project: Project, line: str, devices: object) -> None:
    (project.inventories / "prod" / "group_vars" / "all.yml").write_text(
        f"canary_gpu_devices: {line}\nnvidia_container_toolkit_install_driver: true\n"
    )
    policy = load_policies(load_environment(project, "prod"))["alpha"]
    assert (policy.gpu_devices, policy.gpu_driver, policy.busy) == (devices, True, "refuse")


@pytest.mark.parametrize(
    "line, said",
    [
        ("canary_inconclusive: maybe", "canary_inconclusive"),
        ("canary_soak: 10", "no unit|not a duration"),
        ("canary_soak_every: 0s", "canary_soak_every"),
        ("canary_soak: -1.5", "no unit|not a duration"),
        ("canary_confirm: 0s", "longer than nothing"),
        ("canary_confirm: 1ms", "between 1 s and 30 days"),
        ("canary_confirm: 31d", "between 1 s and 30 days"),
        ("canary_confirm: 9999999999d", "between 1 s and 30 days"),
        ("canary_gates: []", "canary_gates"),
        ("canary_gates: {a: 1}", "canary_gates"),
        ("canary_disposable: 'yes please'", "canary_disposable"),
        ("canary_metrics: [{name: x}]", "canary_metrics 'x'"),
        ("canary_busy: maybe", "canary_busy"),
        ("canary_gpu_devices: 0", "canary_gpu_devices"),
        ("canary_gpu_devices: [[1]]", "canary_gpu_devices"),
        ("canary_busy_wait: soon", "canary_busy_wait"),
        ("canary_promotes_from: [canary]", "canary_promotes_from"),
        ("canary_max_age: 0s", "canary_max_age"),
        ("canary_simulated: never", "canary_simulated"),
    ],
)
def test_a_faulty_rule_is_named(project: Project, line: str, said: str) -> None:
    (project.inventories / "prod" / "group_vars" / "all.yml").write_text(line + "\n")
    with pytest.raises(ConfigError, match=said) as caught:
        load_policies(load_environment(project, "prod"))
    assert caught.value.where and caught.value.hint
