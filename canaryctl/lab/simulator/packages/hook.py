"""nvidia-container-runtime-hook, simulated: `prestart` puts nvidia-smi into a container that is about to start.

Docker runs it for `--gpus`, with the container's OCI state on standard input.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import devices

MOUNT = 'mkdir -p "${2%/*}" && touch "$2" && mount --bind -o ro "$1" "$2"'


def main() -> int:
    """Returns the exit code; any but 0 keeps the container from starting."""
    if sys.argv[1:2] != ["prestart"]:
        return 0
    state = json.load(sys.stdin)
    bundle = Path(state.get("bundle") or state["bundlePath"])
    spec = json.loads((bundle / "config.json").read_text())
    if devices.MARK in spec["process"]["env"]:  # the runtime has been here
        return 0
    try:
        indices, utility = devices.wanted(spec["process"]["env"])
    except devices.UnavailableError as refused:
        sys.stderr.write(f"nvidia-container-cli: initialization error: {refused}: unknown (simulator)\n")
        return 1
    root = bundle / spec["root"]["path"]
    for path in [*devices.mounts(utility), *devices.nodes(indices)] if indices else ():
        inside = root / path.relative_to("/")
        enter = ["nsenter", "--target", str(state["pid"]), "--mount"]
        subprocess.run([*enter, "sh", "-ec", MOUNT, "sh", str(path), str(inside)], check=True)
    return 0


sys.exit(main())
