"""The images the lab stands on: a plain Debian base, shared with the example's images, and the lab host on top."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from canaryctl.errors import ConfigError
from canaryctl.lab import state
from canaryctl.lab.docker import Say, docker, exists, has_buildx

RELEASE = "trixie"
BASE = f"canaryctl/base:{RELEASE}"
_RECIPE = Path(__file__).with_name("host.Dockerfile")
# What provisioning installs there, and the package lists it leaves: it then finds the host ready. A host that boots has
# Docker before it answers SSH.
_DOCKER = """\
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \\
      docker.io docker-cli docker-compose python3-apt \\
 && apt-get clean && mkdir -p /etc/systemd/system/ssh.service.d \\
 && printf '[Unit]\\nAfter=docker.service\\n' >/etc/systemd/system/ssh.service.d/docker.conf
"""


def base_image(say: Say) -> str:
    """The base image's name: what BASE_IMAGE names, else our own, made with debootstrap where it is missing.

    Raises:
        ConfigError: it cannot be pulled or made here.
    """
    chosen = os.environ.get("BASE_IMAGE")
    if chosen:
        if not exists("image", chosen):
            say(f"pulling {chosen}")
            docker("pull", chosen)
        return chosen
    if not exists("image", BASE):
        with state.locked("base-image", say):
            if not exists("image", BASE):
                _bootstrap(say)
    return BASE


def host_image(base: str, say: Say, *, with_docker: bool = False) -> str:
    """The lab host's image on top of `base`, built where this recipe on this base has none yet."""
    bare = _built("lab-host", _RECIPE.read_text(), base, say)
    return _built("lab-host-docker", _DOCKER, bare, say) if with_docker else bare


def _built(name: str, recipe: str, base: str, say: Say) -> str:
    identity = docker("image", "inspect", "-f", "{{.Id}}", base)
    tag = f"canaryctl/{name}:{recipe_hash(recipe, identity)}"
    if not exists("image", tag):
        with state.locked("host-image", say):
            if not exists("image", tag):
                say(f"building the lab host's image {tag}")
                build = ["build", "-q", "-t", tag, "--build-arg", f"BASE_IMAGE={base}", "-"]
                docker(*build, stdin=recipe, buildkit=has_buildx())
    return tag


def recipe_hash(recipe: str, base_identity: str) -> str:
    """Twelve hex digits that name a recipe on a base."""
    return hashlib.sha256(f"{base_identity}\n{recipe}".encode()).hexdigest()[:12]


def _bootstrap(say: Say) -> None:
    no_base = "or name a base image that this machine has or can pull: BASE_IMAGE=debian:trixie-slim"
    if os.geteuid() != 0:
        raise ConfigError(
            f"making {BASE} needs root (debootstrap)", hint=f"run `canaryctl lab up` once as root, {no_base}"
        )
    if shutil.which("debootstrap", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
        raise ConfigError("debootstrap is not installed", hint=f"apt-get install debootstrap, {no_base}")
    say(f"making {BASE} with debootstrap (once, under a minute)")
    work = state.root() / "base-rootfs"
    log = state.root() / "debootstrap.log"
    _remove_tree(work)
    try:
        with log.open("wb") as out:
            made = subprocess.run(
                ["debootstrap", "--variant=minbase", RELEASE, str(work)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        if made.returncode != 0:
            last = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise ConfigError(f"debootstrap failed: {' '.join(last)}", str(log), no_base)
        for leftover in [*work.glob("var/cache/apt/archives/*.deb"), *work.glob("var/lib/apt/lists/*_*")]:
            leftover.unlink()
        _import(work)
    finally:
        _remove_tree(work)


def _import(tree: Path) -> None:
    """Import a root directory; only a complete one is ever given the name."""
    argv = ["tar", "-C", str(tree), "--numeric-owner", "--exclude=./dev/*", "-c", "."]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as pack:
        load = ["docker", "import", "-c", 'CMD ["bash"]', "-"]
        done = subprocess.run(load, stdin=pack.stdout, capture_output=True, text=True)
        packed = pack.wait()
    if packed != 0 or done.returncode != 0:
        raise ConfigError(f"docker import failed: {done.stderr.strip() or f'tar ended with {packed}'}", "docker")
    docker("tag", done.stdout.strip(), BASE)


def _remove_tree(tree: Path) -> None:
    """Remove a half-made root; a killed debootstrap leaves /proc and /sys mounted in it."""
    if not tree.exists():
        return
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{tree.resolve()}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount])
    subprocess.run(["rm", "-rf", "--one-file-system", str(tree)], check=True)
