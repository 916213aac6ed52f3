"""Build the simulator's packages and the index of their repository. Runs in the builder's image, standard library only.

build.py DIRECTORY
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

SOURCES = Path(__file__).parent
DRIVER_VERSION = "570.124.06-0+simulator"
TOOLKIT_VERSIONS = ("1.16.2-1+simulator", "1.17.8-1+simulator")
TOOLKIT_LIBRARY = "usr/lib/nvidia-container-toolkit-simulator"

# A host that is not a lab's must never believe that it has this GPU.
PREINST = """#!/bin/sh
if [ ! -e /etc/canaryctl-lab ]; then
  echo "PACKAGE is a simulator for canaryctl's lab: it installs only on lab hosts, and this is none" >&2
  exit 1
fi
"""
WRAPPER = f'#!/bin/sh\nexec python3 /{TOOLKIT_LIBRARY}/PROGRAM.py "$@"\n'


class Package(NamedTuple):
    """A package: its files by path (a source's name, or `=text`), and the shell of its maintainer scripts."""

    name: str
    version: str
    summary: str
    files: dict[str, str]
    depends: str = ""
    postinst: str = ""
    prerm: str = ""
    postrm: str = ""


def driver() -> Package:
    """What a driver's package gives a host: nvidia-smi and the device nodes."""
    return Package(
        "canaryctl-gpu-simulator",
        DRIVER_VERSION,
        "simulator of an NVIDIA driver for canaryctl's lab: no GPU, no libcuda",
        {
            "usr/bin/nvidia-smi": "nvidia-smi",
            "usr/sbin/canaryctl-gpu-simulator": "canaryctl-gpu-simulator",
            "usr/lib/systemd/system/canaryctl-gpu-simulator.service": "canaryctl-gpu-simulator.service",
        },
        postinst="canaryctl-gpu-simulator apply\nsystemctl enable --quiet canaryctl-gpu-simulator.service || true\n",
        prerm="systemctl disable --quiet canaryctl-gpu-simulator.service || true\nrm -f /dev/nvidia*\n",
        postrm='[ "$1" != purge ] || rm -rf /etc/canaryctl-gpu-simulator.conf /var/log/canaryctl-gpu-simulator\n',
    )


def toolkit(version: str) -> list[Package]:
    """The container toolkit's packages, under the names and with the dependencies that the real ones have."""
    programs = {"nvidia-ctk": "ctk", "nvidia-container-runtime": "runtime", "nvidia-container-runtime-hook": "hook"}
    wrapped = {name: "=" + WRAPPER.replace("PROGRAM", program) for name, program in programs.items()}
    library = {f"{TOOLKIT_LIBRARY}/{name}.py": f"{name}.py" for name in ("ctk", "runtime", "hook", "devices")}
    base = {f"usr/bin/{name}": wrapped[name] for name in ("nvidia-ctk", "nvidia-container-runtime")}
    told = {f"{TOOLKIT_LIBRARY}/version": f"={version}\n"}
    about = "simulator for canaryctl's lab of NVIDIA's container toolkit"
    return [
        Package("nvidia-container-toolkit-base", version, f"{about} (runtime, nvidia-ctk)", base | library | told,
                "python3, util-linux"),
        Package("nvidia-container-toolkit", version, f"{about} (hook)",
                {"usr/bin/nvidia-container-runtime-hook": wrapped["nvidia-container-runtime-hook"]},
                f"nvidia-container-toolkit-base (= {version}), libnvidia-container-tools (>= {version})"),
        Package("libnvidia-container-tools", version, f"{about} (empty)", {}, f"libnvidia-container1 (>= {version})"),
        Package("libnvidia-container1", version, f"{about} (empty)", {}),
    ]  # fmt: skip


def legacy() -> Package:
    """What hosts that were set up years ago have: its package and the runtime it registered."""
    return Package(
        "nvidia-docker2", "2.13.0-1+simulator", "simulator for canaryctl's lab of the legacy nvidia-docker2",
        {"usr/share/doc/nvidia-docker2/README": "=A simulator's package.\n"}, "nvidia-container-toolkit",
    )  # fmt: skip


def build(package: Package, directory: Path) -> None:
    """Write one package into the repository."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        root.chmod(0o755)
        for path, source in package.files.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(source[1:] if source.startswith("=") else (SOURCES / source).read_text())
            target.chmod(0o755 if "bin/" in path else 0o644)
        control = root / "DEBIAN"
        control.mkdir()
        fields = {
            "Package": package.name,
            "Version": package.version,
            "Architecture": "all",
            "Maintainer": "canaryctl lab <lab@canaryctl.invalid>",
            "Depends": package.depends,
            "Description": f"{package.summary}\n For rehearsal and tests alone; it refuses to install on other hosts.",
        }
        (control / "control").write_text("".join(f"{name}: {text}\n" for name, text in fields.items() if text))
        scripts = {"postinst": package.postinst, "prerm": package.prerm, "postrm": package.postrm}
        for name, text in {"preinst": PREINST.replace("PACKAGE", package.name), **scripts}.items():
            if text:
                script = control / name
                script.write_text(text if text.startswith("#!") else f"#!/bin/sh\nset -e\n{text}")
                script.chmod(0o755)
        argv = ["dpkg-deb", "--root-owner-group", "--build", "-Zgzip", str(root), str(directory)]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


def index(directory: Path) -> None:
    """Write Packages and Release of a flat repository (suite `/`)."""
    entries = []
    for file in sorted(directory.glob("*.deb")):
        control = subprocess.run(["dpkg-deb", "--field", str(file)], check=True, capture_output=True, text=True).stdout
        content = file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        entries.append(f"{control.strip()}\nFilename: ./{file.name}\nSize: {len(content)}\nSHA256: {digest}\n")
    packages = "\n".join(entries).encode()
    (directory / "Packages").write_bytes(packages)
    date = time.strftime("%a, %d %b %Y %H:%M:%S UTC", time.gmtime())
    (directory / "Release").write_text(
        f"Origin: canaryctl lab\nLabel: GPU simulator\nSuite: simulator\nArchitectures: all amd64 arm64\nDate: {date}\n"
        f"SHA256:\n {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n"
    )


def main() -> None:
    """Build everything into the directory named on the command line."""
    directory = Path(sys.argv[1])
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for package in [driver(), legacy(), *(one for version in TOOLKIT_VERSIONS for one in toolkit(version))]:
        build(package, directory)
    index(directory)


main()
