"""Remove what earlier releases left: images under our own tags, and release directories. Never anybody else's.

Some releases stay: the current one, the one before, and the last three that passed. So does what a container uses, and
a directory in which somebody has written: only what was installed is ever removed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from typing import Any

from canaryctl.agent.read.docker import Docker, DockerError, open_docker, trouble_words
from canaryctl.agent.read.held import LockLost, require_locks
from canaryctl.agent.read.installed import read_release, written_by_others
from canaryctl.agent.read.passed import passed_ids
from canaryctl.agent.write.loading import clear_abandoned

PASSED_KEPT = 3
RELEASE_NAME = re.compile(r"([0-9a-f]{64})-[0-9a-f]{8}")


def kept_releases(current: str, history: list[dict[str, Any]]) -> set[str]:
    """Ids of the releases that stay. `history` is oldest first; its `from` is what was served before."""
    lines = [line for line in history if isinstance(line, dict)]
    before = [line["from"] for line in reversed(lines) if line.get("from") not in (None, current)]
    return {current, *before[:1], *passed_ids(lines)[:PASSED_KEPT]}


def prunable(
    stack: str,
    current: str,
    history: list[dict[str, Any]],
    releases: dict[str, dict[str, Any] | None],
    tags: dict[str, str],
    used: set[str],
) -> tuple[list[str], list[str]]:
    """What may go, from what is there: (tags, release directories).

    current: id of the release that is served. releases: directory name -> its release.json, None where it cannot be
    read. tags: every tag on the host -> its image's id. used: what containers refer to: image names and ids,
    directory names.
    """
    keep = kept_releases(current, history)
    staying = [name for name in releases if name.split("-")[0] in keep or name in used]
    needed = {tag for name in staying for tag in tags_of(releases[name])}
    # What runs on an image that no release above has, may need the folder it came with.
    staying += [name for name in releases if name not in staying and tags_of(releases[name]) & used - needed]
    directories = sorted(name for name in releases if name not in staying and RELEASE_NAME.fullmatch(name))
    if any(releases[name] is None for name in staying):
        return [], directories  # which images it needs is not known
    needed = {tag for name in staying for tag in tags_of(releases[name])}
    ours = {tag for tag in tags if tag.startswith("canaryctl/" + stack + "/") and tag not in needed | used}
    # An image that a container uses may lose a name, but not its last one.
    named = {image for tag, image in tags.items() if tag not in ours}
    return sorted(tag for tag in ours if tags[tag] in named or tags[tag] not in used), directories


def tags_of(release: dict[str, Any] | None) -> set[str]:
    """The tags of a release's images."""
    images = (release or {}).get("images")
    found = images.values() if isinstance(images, dict) else ()
    return {image["tag"] for image in found if isinstance(image, dict) and isinstance(image.get("tag"), str)}


def answer_prune(config: dict[str, Any]) -> None:
    """Prune one stack; the answer says what went, and why something did not."""
    answer: dict[str, Any] = {"agent": 1, "images": [], "releases": [], "kept": {}, "faults": {}}
    base = os.path.join(config["root"], config["stack"])
    try:
        daemon = open_docker()
        current = RELEASE_NAME.fullmatch(os.path.basename(os.readlink(base + "/current")))
        if daemon is not None and current is not None:
            history, releases = read_history(base + "/history.jsonl"), read_releases(base + "/releases")
            tags, used = tags_and_uses(daemon, set(releases))
            gone = prunable(config["stack"], current[1], history, releases, tags, used)
            require_locks(config["locks"])
            remove_tags(daemon, gone[0], answer)
            require_locks(config["locks"])
            remove_directories(base + "/releases", gone[1], releases, answer)
            answer["images"] += clear_abandoned(daemon, config["root"])
    except LockLost as lost:
        answer["lost"] = [lost.holder]
    except (DockerError, OSError, ValueError, KeyError) as error:
        answer["faults"][base] = trouble_words(error)
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


def read_history(path: str) -> list[dict[str, Any]]:
    lines = []
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                lines.append(json.loads(line))
            except ValueError:
                continue  # cut by a crash while it was written
    return lines


def read_releases(directory: str) -> dict[str, dict[str, Any] | None]:
    """release.json by directory name; None where it cannot be read, or names no images."""
    found: dict[str, dict[str, Any] | None] = {}
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if os.path.islink(path) or not os.path.isdir(path):
            continue
        document = read_release(path)
        found[name] = document if document and isinstance(document.get("images"), dict) else None
    return found


def tags_and_uses(daemon: Docker, releases: set[str]) -> tuple[dict[str, str], set[str]]:
    """Every tag with its image's id, and what containers refer to, stopped ones too."""
    tags = {tag: image["Id"] for image in daemon.get("/images/json") for tag in image.get("RepoTags") or []}
    used: set[str] = set()
    for container in daemon.get("/containers/json?all=1"):
        used.update((container.get("Image", ""), container.get("ImageID", "")))
        references = json.dumps([container.get("Labels"), container.get("Mounts")])
        used.update(name for name in releases if name in references)
    return tags, used - {""}


def remove_tags(daemon: Docker, tags: list[str], answer: dict[str, Any]) -> None:
    for tag in tags:
        try:
            daemon.delete("/images/" + tag)
            answer["images"].append(tag)
        except DockerError as error:
            answer["faults"][tag] = str(error)


def remove_directories(
    base: str, names: list[str], releases: dict[str, dict[str, Any] | None], answer: dict[str, Any]
) -> None:
    """Remove releases that are as they were installed; the others are noted as kept."""
    for name in names:
        try:
            written = written_by_others(os.path.join(base, name), releases[name])
            if written:
                answer["kept"][name] = written[:5]
                continue
            shutil.rmtree(os.path.join(base, name))
            answer["releases"].append(name)
        except OSError as error:
            answer["faults"][name] = str(error)
