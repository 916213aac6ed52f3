"""What is taken of an archive that another machine's `docker save` made: one image by its content, and nothing else."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from canaryctl.errors import HostError
from canaryctl.hosts.process import LocalConnection
from canaryctl.images import fetch
from canaryctl.images.archive import read_members, read_saved, write_saved

TAG = "canaryctl/shop/web:sha256-0123456789ab"
LAYERS = (b"first layer" * 200, b"second layer" * 200)
MOST = 1 << 20
Members = list[tuple[str, bytes]]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


CONFIG = json.dumps({"rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest(one)}" for one in LAYERS]}}).encode()
ID = f"sha256:{digest(CONFIG)}"


def tar(members: Members, *more: tarfile.TarInfo, format: int = tarfile.PAX_FORMAT) -> io.BytesIO:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in more:
            archive.addfile(member)
    return file


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def manifest(*tags: str, images: int = 1) -> tuple[str, bytes]:
    entry = {"Config": f"{ID[7:]}.json", "RepoTags": list(tags) or None, "Layers": ["a/layer.tar", "b/layer.tar"]}
    return "manifest.json", json.dumps([entry] * images).encode()


def classic(*tags: str) -> Members:
    repositories: dict[str, dict[str, str]] = {}
    for tag in tags or (TAG,):
        name, _, version = tag.rpartition(":")
        repositories.setdefault(name, {})[version] = "b"
    return [
        ("a/VERSION", b"1.0"),
        ("a/json", b"{}"),
        ("a/layer.tar", LAYERS[0]),
        ("b/layer.tar", LAYERS[1]),
        (f"{ID[7:]}.json", CONFIG),
        manifest(*(tags or (TAG,))),
        ("repositories", json.dumps(repositories).encode()),
    ]


def oci(pack: Callable[[bytes], bytes]) -> Members:
    blobs = [CONFIG, *map(pack, LAYERS)]
    return [
        *((f"blobs/sha256/{digest(blob)}", blob) for blob in blobs),
        ("index.json", b'{"manifests": [{"annotations": {"io.containerd.image.name": "docker.io/debian:trixie"}}]}'),
        manifest(TAG),
        ("oci-layout", b"{}"),
    ]


def loaded(file: io.BytesIO) -> dict[str, bytes]:
    """What Docker gets, by name."""
    written = io.BytesIO(b"".join(write_saved(file, read_saved(file, ID, TAG, MOST), TAG)))
    with tarfile.open(fileobj=written) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(content)


@pytest.mark.parametrize("members", [classic(), oci(lambda b: b), oci(gzip.compress), oci(zstd)])
def test_the_image_is_passed_on_under_its_tag_and_nothing_else(members: Members) -> None:
    found = loaded(tar(members))
    assert json.loads(found.pop("manifest.json")) == [
        {
            "Config": f"{ID[7:]}.json",
            "RepoTags": [TAG],
            "Layers": [f"{digest(layer)}/layer.tar" for layer in LAYERS],
        }
    ]
    assert found.pop(f"{ID[7:]}.json") == CONFIG
    assert found == {f"{digest(layer)}/layer.tar": layer for layer in LAYERS}


def test_an_archive_without_names_is_fine_and_a_layer_may_be_twice_in_an_image() -> None:
    loaded(tar([*[entry for entry in classic() if entry[0] != "repositories"][:-1], manifest()]))
    loaded(tar(classic(), special("c/layer.tar", tarfile.SYMTYPE, "../a/layer.tar")))


def replaced(name: str, content: bytes) -> Members:
    return [(path, content if path == name else old) for path, old in classic()]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        (classic(TAG, "debian:trixie-slim"), "debian:trixie-slim"),
        (classic("debian:trixie-slim"), "debian:trixie-slim"),
        (replaced("manifest.json", manifest(TAG, images=2)[1]), "2 images"),
        (replaced("manifest.json", b"[]"), "0 images"),
        (replaced("manifest.json", b"{"), "no JSON"),
        (replaced("manifest.json", b"[" * 100_000), "no JSON"),
        (replaced("repositories", b'{"python": {"3.12-slim": "b"}}'), "python:3.12-slim"),
        ([*classic(), manifest("debian:trixie-slim")], "debian:trixie-slim"),
        ([entry for entry in classic() if entry[0] != "manifest.json"], "no manifest.json"),
        (replaced(f"{ID[7:]}.json", CONFIG + b" "), "no configuration"),
        (replaced("b/layer.tar", b"another"), "lacks 1 of the image's 2 layers"),
        (replaced("b/layer.tar", gzip.compress(bytes(MOST + 1))), "more than"),
        (replaced("b/layer.tar", b"\x1f\x8bdamaged"), "cannot be unpacked"),
        (replaced("b/layer.tar", b"\x28\xb5\x2f\xfddamaged"), "cannot be unpacked"),
        ([("../x", b""), *classic()], "points out of it"),
        ([("/etc/x", b""), *classic()], "points out of it"),
        ([(f"{number}", b"") for number in range(4097)], "more than 4096 members"),
    ],
)
def test_an_archive_that_is_anything_else_is_refused(members: Members, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_saved(tar(members), ID, TAG, MOST)


@pytest.mark.parametrize(
    "member",
    [
        special("manifest.json", tarfile.SYMTYPE, "/etc/passwd"),
        special("x", tarfile.LNKTYPE, "manifest.json"),
        special("x", tarfile.CHRTYPE),
        special("x", tarfile.FIFOTYPE),
    ],
)
def test_links_and_devices_are_refused(member: tarfile.TarInfo) -> None:
    with pytest.raises(ValueError, match="neither a file nor a folder"):
        read_saved(tar(classic(), member), ID, TAG, MOST)


def test_an_images_layers_are_bounded_even_where_nothing_is_packed() -> None:
    with pytest.raises(ValueError, match="more than"):
        read_saved(tar(classic()), ID, TAG, 1000)


@pytest.mark.parametrize(
    "config", [{}, {"rootfs": {}}, {"rootfs": {"diff_ids": ["evil"]}}, [], {"rootfs": {"diff_ids": [1]}}]
)
def test_a_configuration_without_layers_by_sha256_is_refused(config: Any) -> None:
    content = json.dumps(config).encode()
    with pytest.raises(ValueError, match="configuration"):
        read_saved(tar([("c.json", content), manifest(TAG)]), f"sha256:{digest(content)}", TAG, MOST)


def test_sizes_and_paths_of_extended_headers_count() -> None:
    long = "x" * 150 + "/layer.tar"
    file = tar([(long, b"content"), ("after", b"more")])
    assert [(member.name, member.size) for member in read_members(file)] == [(long, 7), ("after", 4)]
    with pytest.raises(ValueError, match="neither a file"):  # the other way to write a long name, which Docker has not
        list(read_members(tar([(long, b"content")], format=tarfile.GNU_FORMAT)))


def test_a_member_that_does_not_end_within_the_archive_is_refused() -> None:
    content = tar([("a", bytes(5000))]).getvalue()[:2048]
    with pytest.raises(ValueError, match="does not end"):
        list(read_members(io.BytesIO(content)))
    with pytest.raises(ValueError, match="no tar"):
        list(read_members(io.BytesIO(b"x" * 1024)))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("exec cat /dev/zero", "too much for that image"),
        ("echo nonsense", "something else"),
        ("exit 3", "failed there"),
    ],
)
def test_what_a_host_sends_is_bounded_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, said: str
) -> None:
    docker = tmp_path / "bin" / "docker"  # the host's; this machine's is not reached
    docker.parent.mkdir()
    docker.write_text(f'#!/bin/sh\n[ "$*" = "save -- {TAG}" ] && {answer}\n')
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(fetch, "_SPARE", 1 << 20)
    with pytest.raises(HostError, match=said) as raised:
        fetch.fetch_image(LocalConnection("alpha"), TAG, ID, 1 << 20)
    assert raised.value.where == "alpha" and list((tmp_path / "canaryctl/incoming").iterdir()) == []
