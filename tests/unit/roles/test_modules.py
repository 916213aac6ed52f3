"""The pure halves of the roles' own modules, and the files they render."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from ansible.plugins.filter.core import FilterModule
from rolemodules import ROLES, load

from canaryctl.plan.cuda import minimum_driver

TOOLKIT = ROLES / "nvidia_container_toolkit"


daemon = load(ROLES / "docker_engine" / "module_utils" / "daemon_options.py", "ansible.module_utils.daemon_options")
signing = load(ROLES / "docker_engine" / "library" / "signing_key.py", "signing_key")
host = load(TOOLKIT / "library" / "nvidia_host.py", "nvidia_host")


def test_options_are_merged_and_what_was_there_stays() -> None:
    current = {"max-concurrent-downloads": 7, "features": {"buildkit": True}, "registry-mirrors": ["https://a"]}
    wanted = {"features": {"cdi": True}, "registry-mirrors": ["https://b"]}
    assert daemon.merge(current, wanted) == {
        "max-concurrent-downloads": 7,
        "features": {"buildkit": True, "cdi": True},
        "registry-mirrors": ["https://b"],
    }


@pytest.mark.parametrize(
    ("before", "wanted"),
    [
        ({}, {"runtimes": {"nvidia": {"path": "x", "args": []}}}),
        ({"runtimes": {"other": {"path": "y"}}, "debug": True}, {"runtimes": {"nvidia": {"path": "x"}}}),
        ({"log-driver": "journald"}, {"log-driver": "json-file", "log-opts": {"max-size": "10m"}}),
        ({"log-opts": {}}, {"log-opts": {"max-size": "10m"}}),
    ],
)
def test_a_change_taken_back_leaves_what_was_there_before(before: dict[str, Any], wanted: dict[str, Any]) -> None:
    after = daemon.merge(before, wanted)
    undone = daemon.undo(after, daemon.changes(before, after))
    assert undone == {key: value for key, value in before.items() if value != {}}


def test_what_somebody_changed_since_is_not_taken_back() -> None:
    record = daemon.changes({}, {"log-driver": "json-file", "debug": True})
    assert daemon.undo({"log-driver": "local", "debug": True}, record) == {"log-driver": "local"}


def test_a_runtime_that_means_the_same_is_left_as_it_is() -> None:
    current = {"runtimes": {"nvidia": {"path": "/usr/bin/nvidia-container-runtime", "runtimeArgs": []}}}
    edited = {"runtimes": {"nvidia": {"path": "nvidia-container-runtime", "args": []}}, "features": {"cdi": True}}
    assert daemon.settle(current, edited) == current | {"features": {"cdi": True}}


def test_another_runtime_under_that_name_is_replaced() -> None:
    edited = {"runtimes": {"nvidia": {"path": "nvidia-container-runtime", "args": []}}}
    assert daemon.settle({"runtimes": {"nvidia": {"path": "/opt/mine"}}}, edited) == edited


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{\n  // why\n  "debug": true\n}', "JSON has no comments"),
        ('{"debug": true,}', "not valid JSON"),
        ("[]", "no JSON object"),
    ],
)
def test_a_file_that_docker_would_refuse_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        daemon.parse(text)


def test_an_empty_file_has_no_options() -> None:
    assert daemon.parse(" \n") == {}


def test_the_configuration_file_that_the_service_names_counts() -> None:
    argv = ["-H", "fd://", "--config-file=/etc/other.json", "--log-level", "debug"]
    assert daemon.flags(argv) == (["-H", "fd://", "--log-level", "debug"], "/etc/other.json")
    assert daemon.flags(["--config-file", "/etc/other.json", "-D"]) == (["-D"], "/etc/other.json")


def test_packages_are_told_by_state_and_hold() -> None:
    there = host.parse_packages(
        "nvidia-container-toolkit hold installed 1.17.8-1\nnvidia-docker2 deinstall config-files 2.13.0-1\n"
        "sick install half-configured 1\npython3-debian install installed 1.0\nnever unknown not-installed \n"
    )
    found = host.about_packages(there)
    assert found == {
        "toolkit": "1.17.8-1",
        "legacy": "",
        "python_debian": True,
        "held": ["nvidia-container-toolkit"],
        "broken": ["sick"],
    }


@pytest.mark.parametrize(
    ("release", "distribution", "family"),
    [
        ('PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\n', "Debian", "Debian"),
        ("ID=ubuntu\nID_LIKE=debian\n", "Ubuntu", "Debian"),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', "Linuxmint", "Debian"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "Rocky", "RedHat"),
        ("ID=fedora\n", "Fedora", "RedHat"),
        ('ID="amzn"\nID_LIKE="fedora"\n', "Amzn", "RedHat"),
        ("ID=arch\n", "Arch", ""),
        ("", "Linux", ""),
    ],
)
def test_a_distribution_is_told_by_what_it_is_like(release: str, distribution: str, family: str) -> None:
    assert host.system(release) == {"distribution": distribution, "family": family}


def test_a_unit_that_is_not_enabled_refreshes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "UNITS", str(tmp_path))
    unit, wants = tmp_path / host.UNIT, tmp_path / "multi-user.target.wants"
    unit.write_text("[Unit]\n")
    assert host.about_cdi()["cdi_unit"] == ""
    wants.mkdir()
    (wants / host.UNIT).symlink_to(unit)
    assert host.about_cdi()["cdi_unit"] == "[Unit]\n"


def render_repo(**variables: Any) -> str:
    values = yaml.safe_load((TOOLKIT / "vars" / "main.yml").read_text())
    values |= yaml.safe_load((TOOLKIT / "defaults" / "main.yml").read_text())
    values |= {"nvidia_container_toolkit_repository": {"RedHat": "https://mirror.example/rpm/$basearch"}, **variables}
    template = (TOOLKIT / "templates" / "nvidia-container-toolkit.repo.j2").read_text()
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, autoescape=False)  # noqa: S701
    environment.filters["bool"] = FilterModule().filters()["bool"]
    return environment.from_string(template).render(values)


def test_the_rpm_repository_is_checked_with_its_key() -> None:
    text = render_repo()
    assert "baseurl=https://mirror.example/rpm/$basearch\n" in text
    # the key was fetched before, and compared with its pinned fingerprint
    assert "gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-nvidia-container-toolkit\n" in text
    assert "gpgcheck=1\nrepo_gpgcheck=1\n" in text
    assert "excludepkgs" not in text


def test_an_armoured_key_and_a_hold_are_written_for_rpm() -> None:
    text = render_repo(
        nvidia_container_toolkit_repository_key="-----BEGIN PGP PUBLIC KEY BLOCK-----",
        nvidia_container_toolkit_hold=True,
    )
    assert "gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-nvidia-container-toolkit\n" in text
    assert "excludepkgs=nvidia-container-toolkit,nvidia-container-toolkit-base" in text


KEY = (Path(__file__).parents[2] / "fixtures/apt/expired-key.asc").read_text()
PRINT = "1319D6F44E683C9824EF03AFC5E67877284586C2"  # gpg --show-keys


def test_a_fetched_key_is_the_pinned_one_or_refused_by_name() -> None:
    spaced = " ".join(PRINT[at : at + 4].lower() for at in range(0, 40, 4))
    assert signing.fingerprints(KEY) == [PRINT]
    assert signing.refusal(KEY, [PRINT], "https://x/key") == signing.refusal(KEY, ["0" * 40, spaced], "x") == ""
    said = signing.refusal(KEY, ["0" * 40], "https://x/key")
    assert "https://x/key" in said and PRINT in said and "0" * 40 in said
    assert "no fingerprint says" in signing.refusal(KEY, [], "https://x/key")


def test_a_second_key_beside_the_pinned_one_is_refused() -> None:
    body = b"\x04" + bytes(20)
    block = base64.b64encode(b"\x98" + bytes([len(body)]) + body).decode()
    other = f"{signing.BEGIN}\n\n{block}\n{signing.END}\n"
    assert len(signing.fingerprints(KEY + other)) == 2
    assert "not the pinned" in signing.refusal(KEY + other, [PRINT], "x")
    inner = base64.b64encode(signing.dearmoured(KEY) + b"\x98" + bytes([len(body)]) + body).decode()
    assert "not the pinned" in signing.refusal(f"{signing.BEGIN}\n\n{inner}\n{signing.END}", [PRINT], "x")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>",
        KEY.replace(signing.END, ""),
        KEY.replace("=", "!"),
        KEY[: len(KEY) // 2] + signing.END,
        f"{signing.BEGIN}\n\n\n{signing.END}",
        f"{signing.BEGIN}\n\nmDM=\n{signing.END}",
        f"{signing.BEGIN}\n\nxv8=\n{signing.END}",
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    assert "gives no key" in signing.refusal(text, [PRINT], "https://x/key")


def test_the_keys_of_docker_and_nvidia_are_pinned() -> None:
    for role, pinned in {
        "docker_engine": "9DC858229FC7DD38854AE2D88D81803C0EBFCD88",
        "nvidia_container_toolkit": "C95B321B61E88C1809C4F759DDCAE044F796ECB0",
    }.items():
        defaults = yaml.safe_load((ROLES / role / "defaults/main.yml").read_text())
        assert defaults[f"{role}_repository_key_fingerprint"] == pinned


def role_asks_for(cuda: str) -> str:
    """The least driver that the role wants for a CUDA version."""
    values = yaml.safe_load((TOOLKIT / "vars" / "main.yml").read_text())
    expression = values["nvidia_container_toolkit_least_driver"]
    values |= {"nvidia_container_toolkit_cuda": cuda, "nvidia_container_toolkit_driver_minimum": ""}
    return jinja2.Environment(autoescape=False).from_string(expression).render(values)  # noqa: S701


@pytest.mark.parametrize("major", range(8, 16))
def test_the_role_asks_for_the_driver_that_the_plan_asks_for(major: int) -> None:
    versions = [f"{major}.{minor}" for minor in range(11)] + [f"{major}.0.1", f"{major}"]
    assert {cuda: role_asks_for(cuda) for cuda in versions} == {cuda: minimum_driver(cuda) for cuda in versions}


def test_drivers_are_known_from_cuda_9_on() -> None:
    known = [major for major in range(8, 16) if role_asks_for(f"{major}.0")]
    assert known == [9, 10, 11, 12, 13]


@pytest.mark.parametrize("role", ["docker_engine", "nvidia_container_toolkit"])
def test_every_variable_of_a_role_is_described(role: str) -> None:
    defaults = yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text())
    described = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text())
    assert set(defaults) == set(described["argument_specs"]["main"]["options"])


def test_options_are_shown_without_what_is_secret() -> None:
    options = {
        "proxies": {"http-proxy": "http://me:pr0xy/p@ss@proxy.example:3128", "https-proxy": "me:pr0xy@proxy:1"},
        "log-opts": {"splunk-token": "t0ken", "tag": "x", "labels": ["api_key=k3y"], "splunk-insecure-key": ""},
        "registry-mirrors": ["https://robot:m1rror@mirror.example/v2"],
        "tlskey": "/etc/docker/key.pem",
        "authorization-plugins": ["opa"],
        "max-concurrent-downloads": 7,
    }
    assert daemon.hidden(options) == {
        "proxies": {"http-proxy": "http://[hidden]@proxy.example:3128", "https-proxy": "[hidden]@proxy:1"},
        "log-opts": {"splunk-token": "[hidden]", "tag": "x", "labels": ["api_key=[hidden]"], "splunk-insecure-key": ""},
        "registry-mirrors": ["https://[hidden]@mirror.example/v2"],
        "tlskey": "[hidden]",
        "authorization-plugins": ["opa"],
        "max-concurrent-downloads": 7,
    }
    assert daemon.hidden("--log-opt=splunk-token=t0ken") == "--log-opt=splunk-token=[hidden]"


@pytest.mark.parametrize("flags", [[], ["--diff"]])
def test_the_real_module_shows_no_secret_of_the_daemons(tmp_path: Path, flags: list[str]) -> None:
    """As Ansible runs it, on a copy of daemon.json: what comes back goes into evidence."""
    program = tmp_path / "library" / "docker_daemon_config.py"
    program.parent.mkdir()
    text = (ROLES / "docker_engine" / "library" / "docker_daemon_config.py").read_text()
    file, record = tmp_path / "daemon.json", tmp_path / "record.json"
    text = text.replace("/usr/sbin:/usr/local/sbin", "").replace("/etc/docker/daemon.json", str(file))
    program.write_text(text)
    file.write_text(
        '{"proxies": {"http-proxy": "http://me:pr0xy-pass@proxy:1"}, "log-opts": {"splunk-token": "t0ken-1"}}'
    )
    file.chmod(0o600)
    # Without a dockerd, docker and systemctl: this machine's own are not to be asked.
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "mkdir", "chmod", "rm", "sleep"):
        (programs / name).symlink_to(shutil.which(name) or name)
    options = {"debug": True, "proxies": {"https-proxy": "http://me:0ther-pass@proxy:1"}}
    arguments = json.dumps({"owner": "test", "record": str(record), "options": options, "allow_restart": True})
    utilities = tmp_path / "module_utils"
    utilities.symlink_to(ROLES / "docker_engine" / "module_utils")
    done = subprocess.run(
        [
            *(str(Path(sys.executable).parent / "ansible"), "localhost", "-c", "local", "-i", "localhost,", "-vvv"),
            *("-M", str(program.parent), "-m", "docker_daemon_config", "-a", arguments, *flags),
            *("-e", f"ansible_python_interpreter={sys.executable}"),
        ],
        env={
            "PATH": str(programs),
            "HOME": str(tmp_path),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_MODULE_UTILS": str(utilities),
            "ANSIBLE_NOCOLOR": "1",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0 and '"changed": true' in done.stdout, done.stdout + done.stderr
    assert "0ther-pass" in file.read_text() and record.stat().st_mode & 0o077 == 0
    shown = done.stdout.split("CHANGED", 1)[1]
    for secret in ("pr0xy-pass", "0ther-pass", "t0ken-1"):
        assert secret not in shown
    assert ("before_header" in shown) == bool(flags)


def test_a_file_with_another_mode_is_told_and_one_that_is_not_there_is_not(tmp_path: Path) -> None:
    as_written, loosened = tmp_path / "as_written", tmp_path / "loosened"
    for path, mode in ((as_written, 0o644), (loosened, 0o666)):
        path.write_text("key")
        path.chmod(mode)
    assert host.with_other_mode([str(as_written), str(loosened), str(tmp_path / "none")]) == [str(loosened)]


def test_a_key_that_others_may_write_gets_its_mode_back_once(tmp_path: Path) -> None:
    key = tmp_path / "key.asc"
    text = (ROLES.parent / "tests/fixtures/apt/expired-key.asc").read_text()
    key.write_text(text)
    key.chmod(0o666)
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "tasks": [{"signing_key": {"key": text, "dest": str(key)}}] * 2,
        "vars": {"ansible_python_interpreter": sys.executable},
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", "play.yml"],
        cwd=tmp_path,
        env={
            **os.environ,
            "ANSIBLE_LIBRARY": str(ROLES / "docker_engine" / "library"),
            "ANSIBLE_LOCAL_TEMP": str(tmp_path / "tmp"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "changed=1" in done.stdout, done.stdout + done.stderr
    assert key.stat().st_mode & 0o7777 == 0o644 and key.read_text().strip() == text.strip()
