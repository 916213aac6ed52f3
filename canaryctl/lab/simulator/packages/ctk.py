"""nvidia-ctk, simulated: registers the runtime in daemon.json, writes and lists the CDI specification."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import devices

SPEC = Path("/etc/cdi/nvidia.yaml")
VERSION = Path(__file__).with_name("version")


def say(level: str, text: str) -> None:
    """A log line, on standard error as the real program writes it."""
    sys.stderr.write(f'level={level} msg="{text}"\n')


def configure(options: argparse.Namespace) -> int:
    """Merge the runtime into the daemon's configuration; every other key stays."""
    file = Path(options.config or "/etc/docker/daemon.json")
    if options.runtime != "docker":
        say("error", f"the simulator configures docker alone, not {options.runtime}")
        return 1
    say("info", f"Loading config from {file}")
    try:
        found: dict[str, Any] = json.loads(file.read_text() or "{}") if file.exists() else {}
    except ValueError as error:
        say("error", f"unable to load config: unable to read config: {error}")
        return 1
    runtimes = found.setdefault("runtimes", {})
    runtimes[options.name] = {"args": [], "path": options.path}
    if options.set_as_default:
        found["default-runtime"] = options.name
    if options.cdi:
        found.setdefault("features", {})["cdi"] = True
    text = json.dumps(found, indent=4) + "\n"
    if options.dry_run:
        sys.stdout.write(text)
        return 0
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    say("info", f"Wrote updated config to {file}")
    say("info", "It is recommended that docker daemon be restarted.")
    return 0


def device(name: str, nodes: list[Path]) -> str:
    """One device of the specification."""
    listed = "".join(f"\n    - path: {node}" for node in nodes)
    return f'- name: "{name}"\n  containerEdits:\n    deviceNodes:{listed}\n'


def specification() -> str:
    """The CDI specification of this host's GPUs.

    Raises:
        devices.UnavailableError: there is nothing to describe.
    """
    indices = devices.gpus()
    named = [(name, [Path(f"/dev/nvidia{index}")]) for index in indices for name in (index, devices.uuid(index))]
    named.append(("all", [Path(f"/dev/nvidia{index}") for index in indices]))
    mounts = "".join(
        f"  - hostPath: {path}\n    containerPath: {path}\n    options: [ro, nosuid, nodev, rbind, rprivate]\n"
        for path in devices.mounts(utility=True)
    )
    return (
        "# Written by the simulator of canaryctl's lab.\ncdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n"
        + "".join(device(name, nodes) for name, nodes in named)
        + f"containerEdits:\n  env:\n  - NVIDIA_VISIBLE_DEVICES=void\n  - {devices.MARK}\n"
        + f"  deviceNodes:\n  - path: /dev/nvidiactl\n  mounts:\n{mounts}"
    )


def generate(options: argparse.Namespace) -> int:
    """Write the CDI specification."""
    try:
        text = specification()
    except devices.UnavailableError as refused:
        say("error", f"failed to generate CDI spec: failed to initialize NVML: {refused}")
        return 1
    if options.output:
        file = Path(options.output)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        say("info", f"Generated CDI spec with version 0.5.0 in {file}")
    else:
        sys.stdout.write(text)
    return 0


def listing(_options: argparse.Namespace) -> int:
    """Names of the devices that a specification on this host offers."""
    found: list[str] = []
    for file in sorted([*Path("/etc/cdi").glob("nvidia*"), *Path("/var/run/cdi").glob("nvidia*")]):
        found += re.findall(r'^- name: "?([^"\n]+)"?', file.read_text(), re.MULTILINE)
    say("info", f"Found {len(found)} CDI devices")
    sys.stdout.write("".join(f"nvidia.com/gpu={name}\n" for name in found))
    return 0


def parser() -> argparse.ArgumentParser:
    """The part of nvidia-ctk's command line that is used."""
    top = argparse.ArgumentParser(
        prog="nvidia-ctk", description="simulator of canaryctl's lab", formatter_class=argparse.RawTextHelpFormatter
    )
    version = VERSION.read_text().strip()
    shown = f"NVIDIA Container Toolkit CLI version {version.partition('-')[0]}\nsimulator of canaryctl's lab: {version}"
    top.add_argument("--version", action="version", version=shown)
    top.add_argument("--quiet", "-q", action="store_true")
    commands = top.add_subparsers(required=True)
    runtime = commands.add_parser("runtime").add_subparsers(required=True).add_parser("configure")
    runtime.add_argument("--runtime", default="docker")
    runtime.add_argument("--config")
    runtime.add_argument("--nvidia-runtime-name", dest="name", default="nvidia")
    runtime.add_argument("--nvidia-runtime-path", dest="path", default="nvidia-container-runtime")
    runtime.add_argument("--set-as-default", "--nvidia-set-as-default", action="store_true")
    runtime.add_argument("--cdi.enabled", "--enable-cdi", dest="cdi", action="store_true")
    runtime.add_argument("--dry-run", action="store_true")
    runtime.set_defaults(work=configure)
    cdi = commands.add_parser("cdi").add_subparsers(required=True)
    made = cdi.add_parser("generate")
    made.add_argument("--output")
    made.add_argument("--format", choices=["yaml"], default="yaml")
    made.set_defaults(work=generate)
    cdi.add_parser("list").set_defaults(work=listing)
    return top


def main() -> int:
    """Returns the exit code."""
    options = parser().parse_args()
    code: int = options.work(options)
    return code


sys.exit(main())
