"""Look for values where they must not be: in files, in processes, in what programs print. Runs here and on hosts."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, quote_plus

# Stdlib alone, for any Python 3.7: reads its job from standard input, so that no value is in its own arguments.
SAMPLER = """
import json, os, re, sys, time
job = json.loads(sys.stdin.readline())
patterns = {name: re.compile(b"|".join(re.escape(bytes.fromhex(form)) for form in forms))
            for name, forms in job["forms"].items()}
found, rounds = set(), 0
print("sampling", flush=True)
while not os.path.exists(job["stop"]):
    rounds += 1
    for pid in os.listdir("/proc"):
        if not pid.isdigit():
            continue
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as file:
                words = file.read()
            with open("/proc/%s/environ" % pid, "rb") as file:
                variables = file.read()
        except OSError:
            continue
        for name, pattern in patterns.items():
            if pattern.search(words):
                found.add((name, "arguments", words[:60].decode("ascii", "replace")))
            if pattern.search(variables) and not any(mark.encode() in variables for mark in job["allowed"][name]):
                found.add((name, "environment", words[:60].decode("ascii", "replace")))
    time.sleep(0.05)
print(json.dumps({"rounds": rounds, "found": sorted(found)}))
"""
SEARCH = """
import json, os, re, stat, sys
job = json.loads(sys.stdin.readline())
pattern = re.compile(b"|".join(re.escape(bytes.fromhex(form)) for forms in job["forms"].values() for form in forms))
found, modes = [], {}
for top in job["folders"]:
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            try:
                status = os.lstat(path)
                if not stat.S_ISREG(status.st_mode):
                    continue
                with open(path, "rb") as file:
                    hit = pattern.search(file.read())
            except OSError:
                continue
            if hit:
                found.append(path)
                modes[path] = "%04o %d" % (status.st_mode & 0o7777, status.st_uid)
print(json.dumps({"found": sorted(found), "modes": modes}))
"""


def forms(value: str) -> list[bytes]:
    """A value plain and in the encodings that programs print, each long enough to be no accident."""
    raw = value.encode()
    found = {raw, quote(value, safe="").encode(), quote(value).encode(), quote_plus(value).encode()}
    for escaped in (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]):
        found |= {escaped.encode(), json.dumps(escaped)[1:-1].encode()}
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw)
        found.add(encoded[(0, 2, 3)[before] : (before + len(raw)) * 8 // 6])
    found |= {line.encode() for line in value.splitlines() if len(line) >= 16 and not line.startswith("-----")}
    return sorted(found)


def _job(values: Mapping[str, str], **more: object) -> str:
    encoded = {name: [form.hex() for form in forms(value)] for name, value in values.items()}
    return json.dumps({"forms": encoded, **more}) + "\n"


def in_bytes(values: Mapping[str, str], content: bytes) -> list[str]:
    """Names of the values that a content holds in any form."""
    return [name for name, value in values.items() if any(form in content for form in forms(value))]


def in_files(values: Mapping[str, str], folder: Path) -> list[str]:
    """`NAME in PATH` for every file below a folder that holds a value; the folder may be in use, and its files go."""
    found = []
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in sorted(names)):
            try:
                content = path.read_bytes() if path.is_file() else b""
            except FileNotFoundError:
                continue
            found += [f"{name} in {path}" for name in in_bytes(values, content)]
    return found


def on_host(container: str, values: Mapping[str, str], folders: Sequence[str]) -> dict[str, str]:
    """Files of a lab host that hold a value, with their mode and owner's uid."""
    argv = ["docker", "exec", "-i", container, "python3", "-c", SEARCH]
    job = _job(values, folders=list(folders))
    done = subprocess.run(argv, input=job, capture_output=True, text=True, timeout=120, check=True)
    modes: dict[str, str] = json.loads(done.stdout)["modes"]
    return modes


class Sampler:
    """Watches the arguments and environments of all processes, every 50 ms, until it is stopped.

    Args:
        allowed: by value, marks of environments that may hold it.
        container: a lab host; this machine without one.
    """

    def __init__(
        self, values: Mapping[str, str], allowed: Mapping[str, Sequence[str]], stop: str, container: str = ""
    ) -> None:
        self._stop, self._container = stop, container
        subprocess.run([*self._inside(), "rm", "-f", stop], check=True, timeout=30)
        self._process = subprocess.Popen(
            [*self._inside("-i"), *(["python3"] if container else [sys.executable]), "-c", SAMPLER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(_job(values, stop=stop, allowed={name: list(allowed[name]) for name in values}))
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "sampling\n"

    def _inside(self, *options: str) -> list[str]:
        return ["docker", "exec", *options, self._container] if self._container else []

    def findings(self) -> Iterator[str]:
        """Stop, and say what was seen. It must have looked often."""
        subprocess.run([*self._inside(), "touch", self._stop], check=True, timeout=30)
        out, _ = self._process.communicate(timeout=60)
        subprocess.run([*self._inside(), "rm", "-f", self._stop], check=True, timeout=30)
        seen = json.loads(out)
        assert seen["rounds"] > 20, "the sampler hardly ran"
        for name, where, words in seen["found"]:
            yield f"{name} in the {where} of `{words}`"
