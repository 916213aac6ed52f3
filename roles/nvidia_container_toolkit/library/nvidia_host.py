#!/usr/bin/python
"""Look at a host's NVIDIA driver, its GPUs and what Docker it has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
---
module: nvidia_host
short_description: Look at a host's NVIDIA driver, its GPUs and what Docker it has
description:
  - Reads afresh each time and changes nothing.
options: {}
author: canaryctl
"""

EXAMPLES = r"""
- name: Look at the GPU host
  nvidia_host:
  register: seen
"""

RETURN = r"""
distribution:
  description: The distribution's name, such as Debian.
  type: str
  returned: always
family:
  description: Debian or RedHat where the distribution is of their kind; empty elsewhere.
  type: str
  returned: always
driver:
  description: Version of the driver that answers; empty where none does.
  type: str
  returned: always
trouble:
  description: Why no driver answers.
  type: str
  returned: always
gpus:
  description: What says that there is a GPU, PCI addresses or /dev/nvidiactl.
  type: list
  returned: always
toolkit:
  description: Version of the installed toolkit; empty where there is none.
  type: str
  returned: always
legacy:
  description: Version of the installed nvidia-docker2; empty where there is none.
  type: str
  returned: always
docker_version:
  description: Version of the Docker that answers; 0 where none does.
  type: str
  returned: always
cgroup_driver:
  description: Docker's cgroup driver.
  type: str
  returned: always
runtimes:
  description: The names of the runtimes that the Docker that answers knows.
  type: list
  returned: always
rootless:
  description: Users whose rootless Docker runs beside or instead of the system's.
  type: list
  returned: always
broken:
  description: Packages that dpkg has left half-configured.
  type: list
  returned: always
held:
  description: Packages that are kept from being upgraded.
  type: list
  returned: always
python_debian:
  description: Whether python3-debian is installed, which describes repositories.
  type: bool
  returned: always
cdi_refresh:
  description: Whether the toolkit refreshes a CDI specification by a unit of its own.
  type: bool
  returned: always
cdi_unit:
  description: The role's own unit that does so, where it is enabled; empty elsewhere.
  type: str
  returned: always
cdi:
  description: The CDI specification that is there; empty where none is.
  type: str
  returned: always
repository:
  description: What is in the files that describe the toolkit's repository to apt, by their paths; empty where none is.
  type: dict
  returned: always
other_mode:
  description: Those of the role's files that are there with another mode than 0644.
  type: list
  returned: always
"""

REPOSITORY = (
    "/etc/apt/sources.list.d/nvidia-container-toolkit.sources",
    "/etc/apt/keyrings/nvidia-container-toolkit.asc",
)
UNITS = "/etc/systemd/system"
UNIT = "canaryctl-cdi-refresh.service"
SPECIFICATION = "/etc/cdi/nvidia.yaml"
FAMILIES = {"Debian": {"debian", "ubuntu"}, "RedHat": {"rhel", "fedora", "centos"}}

# A driver that hangs answers never.
SMI_SECONDS = 20


def run(argv: list[str], seconds: int = 30) -> tuple[int, str]:
    """Exit code (127: not to be had, 124: no answer in time) and output."""
    try:
        done = subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return 124, f"no answer within {seconds} s"
    except OSError as error:
        return 127, str(error)
    return done.returncode, done.stdout.strip()


def text(path: str) -> str:
    """What is in a file, '' where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def system(release: str) -> dict[str, str]:
    """The distribution and its family, by what /etc/os-release says. Ansible's own facts take a second of a core."""
    said = dict(line.partition("=")[::2] for line in release.splitlines())
    name, *like = [said.get(key, "").strip("\"'").lower() for key in ("ID", "ID_LIKE")]
    kin = {name, *" ".join(like).split()}
    return {
        "distribution": name.capitalize() or "Linux",
        "family": next((family for family, names in FAMILIES.items() if names & kin), ""),
    }


def about_cdi() -> dict:
    """The part of the answer that the CDI specification and what refreshes it give."""
    places = ("/usr/lib/systemd/system", UNITS)
    enabled = Path(UNITS, "multi-user.target.wants", UNIT).is_symlink()
    return {
        "cdi": text(SPECIFICATION),
        "cdi_refresh": any(Path(place, "nvidia-cdi-refresh.service").exists() for place in places),
        "cdi_unit": text(UNITS + "/" + UNIT) if enabled else "",
    }


def with_other_mode(paths: list[str]) -> list[str]:
    """Which of the files are there, but not with mode 0644."""
    return [path for path in paths if Path(path).is_file() and Path(path).stat().st_mode & 0o7777 != 0o644]


def driver() -> tuple[str, str]:
    """The driver's version, or why there is none."""
    code, output = run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], SMI_SECONDS)
    if code == 0 and re.fullmatch(r"[\d.]+", output.splitlines()[0] if output else ""):
        return output.splitlines()[0], ""
    if code == 127:
        return "", "there is no nvidia-smi"
    return "", f"nvidia-smi says: {output}"


def gpus() -> list[str]:
    """What says that there is a GPU, whether or not a driver answers."""
    found = []
    for device in sorted(Path("/sys/bus/pci/devices").glob("*")):
        vendor, kind = device / "vendor", device / "class"
        if vendor.read_text().strip() == "0x10de" and kind.read_text().startswith("0x03"):
            found.append(device.name)
    return found + [str(node) for node in [Path("/dev/nvidiactl")] if node.exists()]


def packages() -> dict[str, tuple[str, str, str]]:
    """What dpkg or rpm knows: package -> what is wanted of it, its state, its version."""
    if shutil.which("dpkg-query"):
        form = "${Package} ${db:Status-Want} ${db:Status-Status} ${Version}\\n"
        _, output = run(["dpkg-query", "--show", "--showformat", form])
    else:
        _, output = run(
            ["rpm", "--query", "--all", "--queryformat", "%{NAME} install installed %{VERSION}-%{RELEASE}\\n"]
        )
    return parse_packages(output)


def parse_packages(output: str) -> dict[str, tuple[str, str, str]]:
    lines = [line.split(" ") for line in output.splitlines()]
    return {words[0]: (words[1], words[2], words[3]) for words in lines if len(words) == 4}


def about_packages(installed: dict[str, tuple[str, str, str]]) -> dict:
    """The part of the answer that packages give."""

    def version(package: str) -> str:
        _, state, found = installed.get(package, ("", "", ""))
        return found if state == "installed" else ""

    halfway = ("half-configured", "half-installed", "unpacked")
    return {
        "toolkit": version("nvidia-container-toolkit"),
        "legacy": version("nvidia-docker2"),
        "python_debian": bool(version("python3-debian")),
        "held": sorted(package for package, (want, _, _) in installed.items() if want == "hold"),
        "broken": sorted(package for package, (_, state, _) in installed.items() if state in halfway),
    }


def docker() -> dict:
    """Docker's version, cgroup driver and runtimes."""
    code, output = run(["docker", "info", "--format", "{{json .}}"])
    found = json.loads(output.splitlines()[-1]) if code == 0 and output else {}
    version = re.match(r"[\d.]+", found.get("ServerVersion") or "")
    return {
        "docker_version": version.group().rstrip(".") if version else "0",
        "cgroup_driver": found.get("CgroupDriver", ""),
        "runtimes": sorted(found.get("Runtimes") or {}),
    }


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    version, trouble = driver()
    rootless = sorted(path.parent.name for path in Path("/run/user").glob("*/docker.sock"))
    module.exit_json(
        changed=False,
        driver=version,
        trouble=trouble,
        gpus=gpus(),
        rootless=rootless,
        other_mode=with_other_mode([*REPOSITORY, SPECIFICATION, UNITS + "/" + UNIT]),
        repository={path: text(path) for path in REPOSITORY},
        **system(text("/etc/os-release")),
        **about_cdi(),
        **about_packages(packages()),
        **docker(),
    )


if __name__ == "__main__":
    main()
