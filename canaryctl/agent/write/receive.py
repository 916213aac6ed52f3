"""Take image layers from standard input, resume what was left half-way, and give Docker only what it lacks.

The operator's side speaks first with lines of JSON, some followed by bytes; each of our answers is one line of JSON:

    us    {"missing": [diff ids], "staged": {diff id: [size, sha256]}, "disks": {path: [bytes free, file system]}}
    them  {"layer": diff id, "offset": n, "size": n}, then size bytes          as often as they like
    them  {"layer": diff id, "total": n, "sha256": hex}                       the layer is whole
    us    {"layer": diff id, "ok": bool}
    them  {"load": true}
    us    an empty line, every few seconds: we are at work, or listen
    us    {"images": {id: ""}}, or {"error": text}, with "lost": who holds it now, where the run's lock is gone, or
          with "whole": true where Docker takes nothing but an archive of all layers

A connection that ends in the middle ends this program; what arrived stays staged for the next time.
Docker unpacks the first layers while others still arrive.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import sys
from typing import Any
from urllib.parse import quote

from canaryctl.agent.read.docker import Docker, DockerError, open_docker, trouble_words
from canaryctl.agent.read.held import LockLost, require_locks
from canaryctl.agent.write.content import Content
from canaryctl.agent.write.load import (
    Ahead,
    Archive,
    chain_ids,
    fill,
    fill_oci,
    forget_partial,
    lacks_layers,
    oci_manifest,
)
from canaryctl.agent.write.loading import UNPACKED, clear_abandoned, loading
from canaryctl.agent.write.pulse import Pulse, Turns, say_line
from canaryctl.agent.write.staging import Staging

LOOKED_IN, TAKEN_IN, UNPACKED_IN = 300.0, 300.0, 1800.0  # seconds without getting any further, see pulse.py


def known_chains(daemon: Docker) -> set[str]:
    """Every layer that some image of the host holds."""
    found: set[str] = set()
    for entry in daemon.get("/images/json"):
        try:
            found.update(chain_ids(daemon.get("/images/" + entry["Id"] + "/json")["RootFS"].get("Layers") or []))
        except (DockerError, KeyError):
            continue  # removed meanwhile
    return found


def missing_layers(config: dict[str, Any], chains: set[str]) -> list[str]:
    """Layers that lie on others than they do in any image of the host; all where the whole is asked for."""
    missing: dict[str, None] = {}
    for image in config["images"]:
        for layer, chain in zip(image["layers"], chain_ids(image["layers"])):
            if config["whole"] or chain not in chains:
                missing[layer] = None
    return list(missing)


def check_and_tag(daemon: Docker, config: dict[str, Any], names: dict[str, str]) -> dict[str, str]:
    """What is wrong with each image, '' for those that are exactly right and carry their tag now.

    names: what Docker here calls each image; its own hash of the content in any case.
    """
    result = {}
    for image in config["images"]:
        try:
            found = daemon.get("/images/" + names[image["id"]] + "/json")
            if found["RootFS"].get("Layers") != image["layers"]:
                result[image["id"]] = "its layers differ from the ones it was built with"
                continue
            if config["oci"]:
                check_unpacked(daemon, names[image["id"]])
            name, _, tag = image["tag"].rpartition(":")
            place = "/tag?repo=" + quote(name, safe="") + "&tag=" + quote(tag, safe="")
            daemon.post("/images/" + names[image["id"]] + place)
            result[image["id"]] = ""
        except DockerError as error:
            result[image["id"]] = str(error)
    return result


def check_unpacked(daemon: Docker, name: str) -> None:
    """Make a container of an image and remove it: containerd keeps images that it could not unpack, without a word."""
    path = "/containers/create?name=" + UNPACKED + secrets.token_hex(4)
    made = json.loads(daemon.post(path, 600, {"Image": name, "Cmd": ["canaryctl: never started"]}))
    try:
        daemon.delete("/containers/" + made["Id"])
    except DockerError as error:
        if error.status != 404:  # somebody who clears away was quicker
            raise


def say(document: dict[str, Any]) -> None:
    say_line(json.dumps(document))


def disk(path: str) -> list[int]:
    """Bytes free for us where `path` is or would be, and which file system that is."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    found = os.statvfs(path)
    return [found.f_bavail * found.f_frsize, os.stat(path).st_dev]


def answer_receive(config: dict[str, Any]) -> None:
    """The whole conversation; see the top of this file."""
    try:
        daemon = open_docker()
        if daemon is None:
            raise DockerError("Docker is not installed")
        pulse = Pulse(lambda: daemon.raw("/_ping", 10))
        pulse.begin()
        pulse.doing("looking at what is there", LOOKED_IN)
        staging = Staging(config["root"], config["form"])
        content = Content(config["docker_root"])
        packed: dict[str, dict[str, Any]] = {}
        if config["oci"]:
            chains: set[str] = set()
            packed = {} if config["whole"] else content.layers(daemon)
            wanted = list(dict.fromkeys(d for image in config["images"] for d in image["layers"] if d not in packed))
        else:
            chains = known_chains(daemon)
            wanted = missing_layers(config, chains)
        if not config["ask"]:
            require_locks(config["locks"])
            staging.make()
        look = staging.glance if config["ask"] else staging.staged
        staged = {}
        for layer in wanted:
            staged[layer] = look(layer)
            pulse.step()
        store = content.path if config["oci"] and content.path else config["docker_root"]
        disks = {path: disk(path) for path in (staging.path, store)}
        say({"missing": wanted, "staged": staged, "disks": disks})
        if not config["ask"]:
            images = [(base64.b64decode(image["config"]), image["layers"]) for image in config["images"]]
            # A Docker that takes nothing but whole archives cannot begin early; containerd unpacks in the end anyway.
            early = not config["whole"] and not config["oci"]
            ahead = Ahead(daemon, images, chains, staging, len(wanted) if early else 0, pulse.step)
            receive(config, ahead, packed, pulse)
    except LockLost as error:
        say({"error": str(error), "lost": error.holder})
    except (DockerError, OSError) as error:
        say({"error": trouble_words(error)})


def receive(config: dict[str, Any], ahead: Ahead, packed: dict[str, dict[str, Any]], pulse: Pulse) -> None:
    """Take what is sent until it is to be loaded."""
    staging = ahead.staging
    source = Turns(sys.stdin.buffer, pulse, "the disk that takes the layers", TAKEN_IN)
    for line in iter(source.readline, b""):
        order = json.loads(line)
        if "offset" in order:
            staging.take(source, order["layer"], order["offset"], order["size"])
        elif "total" in order:
            good = staging.arrived(order["layer"]) == [order["total"], order["sha256"]]
            if good:
                require_locks(config["locks"])  # Docker may begin with it
                ahead.arrived(order["layer"])
            else:
                staging.drop(order["layer"])
            say({"layer": order["layer"], "ok": good})
        else:
            pulse.doing("its unpacking", UNPACKED_IN, docker=True)
            say(settle(config, ahead, packed))
            return


def settle(config: dict[str, Any], ahead: Ahead, packed: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Load, check, tag, and clean up. The last word. `packed`: layers that containerd has already."""
    staging, images = ahead.staging, ahead.images
    require_locks(config["locks"])
    names = {image["id"]: image["id"] for image in config["images"]}
    if config["oci"]:
        for image, (content, layers) in zip(config["images"], images):
            names[image["id"]] = "sha256:" + hashlib.sha256(oci_manifest(content, layers, staging, packed)).hexdigest()

    def write(archive: Archive) -> None:
        if config["oci"]:
            fill_oci(archive, images, staging, packed)
        else:
            fill(archive, images, dict(staging.files))

    with loading(ahead.daemon, config["root"], list(dict.fromkeys(names.values()))):
        refusal = ahead.finish(write)
        if refusal:
            # The layers stay: what is wrong may be fixed without sending them again. Unless they are what is wrong.
            bad = staging.spoilt()
            if bad:
                return {"error": "layers damaged on the disk, thrown away: " + ", ".join(bad)}
            return {"error": refusal, "whole": not config["whole"] and lacks_layers(refusal)}
        require_locks(config["locks"])
        for layer in list(staging.files):
            staging.done_with(layer)
        faults = check_and_tag(ahead.daemon, config, names)
    forget_partial(ahead.daemon, [image["layers"] for image in config["images"] if not faults[image["id"]]])
    clear_abandoned(ahead.daemon, config["root"])
    return {"images": faults}
