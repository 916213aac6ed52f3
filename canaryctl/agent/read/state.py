"""What earlier deployments left under the canary root."""

from __future__ import annotations

import json
import os
from typing import Any, Callable

from canaryctl.agent.read.change import CHANGE_FILE, about_change
from canaryctl.agent.read.envfile import line_macs, secrets_mac
from canaryctl.agent.read.held import about_lock
from canaryctl.agent.read.installed import hash_files
from canaryctl.agent.read.regular import open_regular, read_regular

HISTORY_LINES = 50
LARGEST_JSON = 4 << 20  # bytes
RELEASES = 50  # the newest this many are listed


def about_state(config: dict[str, Any], errors: dict[str, str]) -> dict[str, Any]:
    """Everything about the stack; what is not there is null, what is not readable an error of its own."""
    base = os.path.join(config["root"], config["stack"])

    def part(name: str, find: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return find()
        except FileNotFoundError:
            return otherwise
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            # Of another form than ours as well: it is told, and hides nothing of the rest.
            errors["state." + name] = str(error)
            return otherwise

    current = part("current", lambda: os.path.basename(os.readlink(base + "/current")), None)
    wanted = set(config.get("releases", [])) | {current}
    return {
        "current": current,
        "releases": part("releases", lambda: list_releases(base + "/releases", wanted, errors), {}),
        "secrets": part("secrets", lambda: mac(config["nonce"], base + "/secrets.env"), None),
        "secret_macs": part("secret_macs", lambda: macs(config["nonce"], base), {}),
        "secrets_unused": part("secrets_unused", lambda: changed_since_start(base), []),
        "started": part("started", lambda: load_json(base + "/started.json"), None),
        "migrated": part("migrated", lambda: load_dated(base + "/migrated.json"), None),
        "history": part("history", lambda: last_lines(base + "/history.jsonl"), []),
        "lock": part("lock", lambda: about_lock(base + "/lock"), None),
        "change": part("change", lambda: about_change(load_json(base + "/" + CHANGE_FILE)), None),
    }


def load_dated(path: str) -> Any:
    """A JSON object, and when its file was written, by this host's clock, as `time`."""
    document = load_json(path)
    return dict(document, time=os.stat(path).st_mtime) if isinstance(document, dict) else document


def list_releases(directory: str, wanted: set[str | None], errors: dict[str, str]) -> dict[str, Any]:
    """By directory name its release.json and, of those `wanted`, its files' hashes; the newest, and those."""
    names = [name for name in os.listdir(directory) if not name.startswith(".")]
    names.sort(key=lambda name: os.stat(directory + "/" + name).st_mtime, reverse=True)
    found: dict[str, Any] = {}
    for position, name in enumerate(names):
        where = directory + "/" + name
        if position >= RELEASES and name not in wanted:
            continue
        try:
            release = load_json(where + "/release.json")
        except (OSError, ValueError) as error:
            release = None
            errors["state.releases/" + name] = str(error)
        found[name] = {"release": release, "files": hash_files(where) if name in wanted else {}}
    return found


def mac(nonce: str, path: str) -> str:
    """`secrets_mac` of a file."""
    return secrets_mac(nonce, read_regular(path))


def macs(nonce: str, base: str) -> dict[str, str]:
    """`line_macs` of secrets.env; without a nonce they would be bare digests, which can be guessed from."""
    return line_macs(nonce, read_regular(base + "/secrets.env")) if nonce else {}


def changed_since_start(base: str) -> list[str]:
    """Secrets that are written and that the services have not been started with: see the role's applied_secrets."""
    applied = load_json(base + "/secrets.applied.json")
    written = macs(applied["key"], base)
    return sorted(name for name in written if applied["macs"].get(name) != written[name])


def load_json(path: str) -> Any:
    """A document of ours. Raises OSError, ValueError."""
    with open_regular(path) as file:
        return json.loads(file.read(LARGEST_JSON).decode("utf-8"))


def last_lines(path: str, most: int = HISTORY_LINES) -> list[Any]:
    """The objects in the last `most` lines of a file, oldest first. Raises OSError."""
    with open_regular(path) as file:
        file.seek(0, 2)
        size = file.tell()
        file.seek(max(0, size - max(1 << 18, most << 11)))
        lines = file.read().splitlines()[-most:]
    found = []
    for line in lines:
        try:
            found.append(json.loads(line.decode("utf-8")))
        except (ValueError, RecursionError):
            continue  # a line cut by our own window, or by a crash while it was written; or none of ours
    return found
