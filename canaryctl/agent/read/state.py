"""What earlier deployments left under the canary root."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import stat
from typing import Any, Callable

from canaryctl.agent.read.held import about_lock
from canaryctl.agent.read.regular import open_regular

HISTORY_LINES = 50
LARGEST_JSON = 4 << 20  # bytes
LARGEST = 64 << 20  # bytes; no file of a release is as big
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
        "secret_macs": part("secret_macs", lambda: line_macs(config["nonce"], base), {}),
        "secrets_unused": part("secrets_unused", lambda: changed_since_start(base), []),
        "started": part("started", lambda: load_json(base + "/started.json"), None),
        "migrated": part("migrated", lambda: load_dated(base + "/migrated.json"), None),
        "history": part("history", lambda: last_lines(base + "/history.jsonl"), []),
        "lock": part("lock", lambda: about_lock(base + "/lock"), None),
    }


def load_dated(path: str) -> Any:
    """A JSON object, and when its file was written, by this host's clock, as `time`."""
    document = load_json(path)
    return dict(document, time=os.stat(path).st_mtime) if isinstance(document, dict) else document


def list_releases(directory: str, wanted: set[str | None], errors: dict[str, str]) -> dict[str, Any]:
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


def hash_files(directory: str) -> dict[str, str]:
    found = {}
    for parent, folders, names in os.walk(directory):
        for name in names + [folder for folder in folders if os.path.islink(os.path.join(parent, folder))]:
            path = os.path.join(parent, name)
            found[os.path.relpath(path, directory)] = hash_file(path)
    return found


def hash_file(path: str) -> str:
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return "link:" + os.readlink(path)
    if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
        return "other:" + str(status.st_size)  # a pipe would not even let itself be opened
    digest = hashlib.sha256()
    with open_regular(path) as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def mac(nonce: str, path: str) -> str:
    """Proves to who knows the content that it is the same, and tells nobody else anything."""
    with open_regular(path) as file:
        return keyed(nonce, file.read())


def line_macs(nonce: str, base: str) -> dict[str, str]:
    """`macs` of secrets.env; without a nonce they would be bare digests, which can be guessed from."""
    return macs(nonce, base + "/secrets.env") if nonce else {}


def macs(key: str, path: str) -> dict[str, str]:
    """The same for each of its lines by the name that it gives a value."""
    return {name: keyed(key, line) for name, line in env_lines(path).items()}


def env_lines(path: str) -> dict[str, bytes]:
    """An env file as we write it: its lines by name."""
    with open_regular(path) as file:
        lines = [line for line in file.read().split(b"\n") if b"=" in line]
    return {line.split(b"=", 1)[0].decode("utf-8", "replace"): line for line in lines}


def keyed(key: str, content: bytes) -> str:
    return hmac.new(bytes.fromhex(key), content, hashlib.sha256).hexdigest()


def changed_since_start(base: str) -> list[str]:
    """Secrets that are written and that the services have not been started with: see the role's applied_secrets."""
    applied = load_json(base + "/secrets.applied.json")
    there = macs(applied["key"], base + "/secrets.env")
    return sorted(name for name in there if applied["macs"].get(name) != there[name])


def load_json(path: str) -> Any:
    with open_regular(path) as file:
        return json.loads(file.read(LARGEST_JSON).decode("utf-8"))


def last_lines(path: str, most: int = HISTORY_LINES) -> list[Any]:
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
