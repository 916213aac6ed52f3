"""Imports modules for real, each in a process of its own, and says what came of it.

Run as `python3 -c SOURCE JSON` in an image's working directory; JSON is {"modules": [name], "timeout": seconds}. The
last line of its output is MARK and a JSON document: {"uid", "python", "bare", "dangling", "modules": {name: answer}}.
`bare` is the working directory where it holds nothing; `dangling` are paths that site-packages points to in vain: both
tell of an image that expects its source as a volume mount. An answer has `fault`: "" (imported), "missing" (no such
module: `name` is the one), "broken", "hollow" (an empty folder stands for it), "late", "died" (`signal` or `code`).
"""

from __future__ import annotations

import glob
import importlib
import importlib.util
import json
import os
import re
import select
import signal
import site
import sys
import time
import traceback
from typing import Any

MARK = "canaryctl-contract: "
LOOKED_AT = 5000  # files of a folder, at most, in the search for source


def main() -> None:
    asked = json.loads(sys.argv[1])
    sys.argv = ["-c"]
    answers = {name: in_child(name, asked["timeout"]) for name in asked["modules"]}
    document = {
        "uid": os.getuid(),
        "python": sys.version.split()[0],
        "bare": bare_directory(),
        "dangling": dangling_paths(),
        "modules": answers,
    }
    print("\n" + MARK + json.dumps(document), flush=True)


def in_child(name: str, timeout: float) -> dict[str, Any]:
    """Import a module in a copy of this process: what it breaks there breaks nothing here."""
    began = time.monotonic()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        os.write(writing, json.dumps(importing(name)).encode())
        os._exit(0)
    os.close(writing)
    output, late = listen(reading, began + timeout)
    os.close(reading)
    if late:
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if late:
        answer: dict[str, Any] = {"fault": "late"}
    elif output:
        answer = json.loads(output.decode())
    elif os.WIFSIGNALED(status):
        answer = {"fault": "died", "signal": os.WTERMSIG(status)}
    else:
        answer = {"fault": "died", "code": os.WEXITSTATUS(status)}
    answer["seconds"] = round(time.monotonic() - began, 3)
    return answer


def listen(pipe: int, deadline: float) -> tuple[bytes, bool]:
    """What comes through a pipe until it closes, and whether that took too long."""
    output = b""
    while True:
        if not select.select([pipe], [], [], max(deadline - time.monotonic(), 0))[0]:
            return output, True
        data = os.read(pipe, 65536)
        if not data:
            return output, False
        output += data


def importing(name: str) -> dict[str, Any]:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        fault = "missing" if error.name else "broken"
        return {"fault": fault, "name": error.name, "text": last_line(error), "hollow": hollow_parent(name)}
    except SystemExit as error:
        return {"fault": "broken", "text": f"it ends Python (SystemExit: {error.code})"}
    except BaseException as error:
        return {"fault": "broken", "text": last_line(error)}
    folders = list(getattr(module, "__path__", []))
    if folders and not getattr(module, "__file__", None) and not any(has_source(folder) for folder in folders):
        return {"fault": "hollow", "hollow": folders[0]}
    return {"fault": "", "version": str(getattr(module, "__version__", ""))[:40]}


def last_line(error: BaseException) -> str:
    """The last line of the traceback, and where in the image it points."""
    text = traceback.format_exception_only(type(error), error)[-1].strip().splitlines()[-1]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    frames = [frame for frame in frames if frame.filename[:1] != "<"]
    if frames:
        text += f" ({frames[-1].filename}, line {frames[-1].lineno or 0})"
    return text[:500]


def hollow_parent(name: str) -> str:
    """The folder of the nearest package around a module that is there, but without any source; else ''."""
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        try:
            spec = importlib.util.find_spec(".".join(parts[:end]))
        except Exception:  # noqa: S112  a parent that breaks is told of by its own import
            continue
        if spec is not None:
            folders = list(spec.submodule_search_locations or [])
            return "" if spec.origin or not folders or any(map(has_source, folders)) else folders[0]
    return ""


def has_source(folder: str) -> bool:
    """Whether Python finds any code below a folder."""
    looked = 0
    for _, _, names in os.walk(folder):
        looked += len(names)
        if any(name.endswith((".py", ".pyc", ".so", ".zip")) for name in names) or looked > LOOKED_AT:
            return True
    return False


def bare_directory() -> str:
    here = os.getcwd()
    try:
        return here if here != "/" and not os.listdir(here) else ""
    except OSError:
        return ""


def dangling_paths() -> list[str]:
    """Source folders that editable installations name and the image does not have."""
    missing = set()
    for packages in {*site.getsitepackages(), *(path for path in sys.path if path.endswith("-packages"))}:
        for path in glob.glob(packages + "/*.pth") + glob.glob(packages + "/__editable__*.py"):
            try:
                with open(path, encoding="utf-8", errors="replace") as file:
                    named = re.findall(r"(?:^|(?<=['\"]))/[^\s'\"]+", file.read(100000), re.M)
            except OSError:
                continue
            missing |= {
                place
                for place in named
                if not os.path.exists(place) or (os.path.isdir(place) and not has_source(place))
            }
    return sorted(missing)[:5]


if __name__ == "__main__":
    main()
