"""The GPU simulator of the lab: packages that say what they are, in a signed apt repository that each lab host carries.

The packages are built and signed in a container; the signing key is the lab's own and stays in its state:

simulator/
  key.asc           what roles are given as the repository's key
  key.private.asc
  repository/       as it lies in every host's ON_HOST
  served.json       recipe, and the containers that carry it
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Mapping, Set
from pathlib import Path

from canaryctl.errors import ConfigError
from canaryctl.lab import image, state
from canaryctl.lab.docker import Say, docker, exists, has_buildx
from canaryctl.lab.hosts import archive
from canaryctl.lab.state import Lab

ON_HOST = "srv/canaryctl-lab/apt"
# These come with a GPU and its driver, as servers do; on others the driver's package can be installed.
GPU_HOSTS = ("canary-1", "staging-gpu")
_INSTALL_DRIVER = f"dpkg --install /{ON_HOST}/canaryctl-gpu-simulator_*.deb"
_PACKAGES = Path(__file__).with_name("packages")
_PRIVATE = "key.private.asc"


def serve(lab: Lab, say: Say) -> set[str]:
    """Make sure that every host of the lab carries the signed repository of this version's packages.

    Returns the containers that did not: new ones, and those that an earlier version made.

    Raises:
        ConfigError: Docker cannot build it.
    """
    directory, sources = lab.directory / "simulator", _sources()
    recipe = hashlib.sha256(repr(sorted(sources.items())).encode()).hexdigest()[:12]
    served = _served(directory, recipe)
    if served is None:
        say("making the GPU simulator's packages")
        _write(directory, _signed(_builder(recipe, sources, say), directory / _PRIVATE))
        served = set()
    listed = docker("ps", "--no-trunc", "--format", "{{.Names}} {{.ID}}", "--filter", f"label=canaryctl.lab={lab.name}")
    running = dict(line.split() for line in listed.splitlines())
    lacking = {name for name, identity in running.items() if identity not in served}
    if set(running.values()) != served:
        _carry(lacking, lab, directory / "repository")
        record = {"recipe": recipe, "containers": sorted(running.values())}
        state.write(directory / "served.json", json.dumps(record) + "\n")
    return lacking


def _carry(containers: Set[str], lab: Lab, repository: Path) -> None:
    """Put the repository on hosts, and the driver on those that have a GPU."""
    packed = archive({f"{ON_HOST}/{file.name}": file.read_bytes() for file in repository.iterdir()})
    for container in containers:
        docker("cp", "-", f"{container}:/", stdin=packed)
    for host in GPU_HOSTS:
        if host in lab.hosts and lab.hosts[host].container in containers:
            docker("exec", lab.hosts[host].container, "sh", "-c", _INSTALL_DRIVER)


def _sources() -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in _PACKAGES.iterdir() if file.is_file()}


def _served(directory: Path, recipe: str) -> set[str] | None:
    """The containers that carry this recipe's packages; None where they were not built here."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        found = json.loads((directory / "served.json").read_text())
        if found["recipe"] == recipe and (directory / "key.asc").exists():
            return set(found["containers"])
    return None


def _builder(recipe: str, sources: Mapping[str, bytes], say: Say) -> str:
    """The image that holds the unsigned repository and signs it."""
    host = image.host_image(image.base_image(say), say)
    tag = f"canaryctl/lab-simulator:{recipe}-{host.rpartition(':')[2]}"
    if not exists("image", tag):
        with state.locked("simulator-image", say):
            if not exists("image", tag):
                build = ["build", "-q", "-t", tag, "--build-arg", f"HOST_IMAGE={host}", "-"]
                docker(*build, stdin=archive(sources), buildkit=has_buildx())
    return tag


def _signed(builder: str, key: Path) -> bytes:
    """The builder's tar: the repository signed with the lab's key, and the key; a new one where there is none."""
    given = archive({_PRIVATE: key.read_bytes()} if key.exists() else {})
    argv = ["docker", "run", "--rm", "--interactive", "--network", "none", builder]
    done = subprocess.run(argv, input=given, capture_output=True)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[-2000:]
        raise ConfigError(f"the GPU simulator's packages could not be signed: {said}", "docker")
    return done.stdout


def _write(directory: Path, packed: bytes) -> None:
    """Unpack the builder's tar: files of ours alone, whatever names it holds."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    repository = directory / "repository"
    repository.mkdir(exist_ok=True)
    for old in repository.iterdir():
        old.unlink()
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        for entry in tar.getmembers():
            content = tar.extractfile(entry)
            if content is None:
                continue
            where = repository if "repository" in Path(entry.name).parts else directory
            target = where / Path(entry.name).name
            target.touch(0o600)
            target.write_bytes(content.read())
