"""What hosts, registries, credential helpers and image archives say of images."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest
from fuzzing import fuzzed, mutations, texts
from hypothesis import strategies as st

from canaryctl.config.reference import Reference, parse_reference
from canaryctl.config.stack import Stack
from canaryctl.images import docker
from canaryctl.images.archive import read_saved, write_saved
from canaryctl.images.credentials import credential_in, parse_helper
from canaryctl.images.distribution import parse_challenges, parse_token
from canaryctl.images.layers import Layers
from canaryctl.images.pull import PullAnswers
from canaryctl.images.registry import resolve
from canaryctl.images.source import read_tar_split
from canaryctl.images.streams import LayerStream, Packed
from canaryctl.images.transfer import Limiter, Transfer
from canaryctl.plan.release import recorded_image, source_allowed

LAYER, OTHER = (f"sha256:{letter * 64}" for letter in "ab")
STACK = Stack.model_validate(
    {
        "stack": "shop",
        "images": {"web": {"ref": "registry.test/web:1"}},
        "variants": {"only": {"web": "web"}},
        "placement": {"all": ["web"]},
        "compose": "compose.yml.j2",
    }
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept from one input to the next, nor in the user's own folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


# the conversations with hosts

OPENING = {"missing": [LAYER], "staged": {LAYER: [0, ""]}, "disks": {"/a": [10**12, 1], "/docker": [10**12, 1]}}
ANSWERS = [OPENING, {"layer": LAYER, "ok": True}, {"images": {"sha256:1": ""}}]
PULLED = [{"image": "sha256:1", "bytes": 1, "total": 2}, {"images": {"sha256:1": ""}, "error": "", "lost": None}]


def lines(answers: Any) -> bytes:
    """As a host would write them; what is no list of answers is one."""
    return b"".join(json.dumps(one).encode() + b"\n" for one in (answers if isinstance(answers, list) else [answers]))


def hear_pushed(said: bytes) -> None:
    order = {
        "ask": False,
        "form": "zst",
        "images": [{"name": "web", "id": "sha256:1", "layers": [LAYER, OTHER]}],
    }
    layers, whole = Layers([]), LayerStream()
    with tempfile.NamedTemporaryFile() as file:
        whole.finish(Packed(Path(file.name), 0, "0" * 64, 0))
        layers._work[LAYER, "zst"] = whole
        talk = Transfer("alpha", layers, order, Limiter(), lambda _: None)
        talk.hear(said)
        talk.silence()
        assert b"hidden" not in b"".join(talk.speak(b""))
    assert set(talk.missing) <= {LAYER, OTHER}


@fuzzed(mutations(ANSWERS).map(lines))
def test_push_answers(value: bytes) -> None:
    hear_pushed(value)


@fuzzed(texts(lines(ANSWERS).decode()).map(lambda text: text.encode("utf-8", "replace")))
def test_push_lines(value: bytes) -> None:
    hear_pushed(value)


@fuzzed(mutations(PULLED).map(lines))
def test_pull_answers(value: bytes) -> None:
    PullAnswers("alpha", {"sha256:1": "web"}, lambda *_: None).hear(value)


@fuzzed(texts(lines(PULLED).decode()).map(lambda text: text.encode("utf-8", "replace")))
def test_pull_lines(value: bytes) -> None:
    PullAnswers("alpha", {"sha256:1": "web"}, lambda *_: None).hear(value)


# archives of images, and Docker's own records


def tar(members: list[tuple[str, bytes]]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


TAG = "canaryctl/shop/web:sha256-0"
CONTENT = b"a layer" * 100
CONFIG = {"rootfs": {"diff_ids": [f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"]}}
MANIFEST = [{"Config": "c.json", "RepoTags": [TAG], "Layers": ["l/layer.tar"]}]


def saved(config: Any, manifest: Any) -> tuple[str, bytes]:
    """The identity that a configuration has, and the archive with it."""
    content = json.dumps(config).encode()
    members = [
        ("c.json", content),
        ("l/layer.tar", gzip.compress(CONTENT, mtime=0)),
        ("manifest.json", json.dumps(manifest).encode()),
    ]
    return f"sha256:{hashlib.sha256(content).hexdigest()}", tar(members)


def read_archive(given: tuple[str, bytes]) -> None:
    identity, content = given
    file = io.BytesIO(content)
    found = read_saved(file, identity, TAG, 1 << 20)
    written = b"".join(write_saved(file, found, TAG))
    assert f"sha256:{hashlib.sha256(found.config).hexdigest()}" == identity
    again = read_saved(io.BytesIO(written), identity, TAG, 1 << 20)
    assert set(again.layers) == set(found.layers)


@fuzzed(
    mutations([CONFIG, MANIFEST]).map(lambda d: saved(*(d if isinstance(d, list) and len(d) == 2 else (d, d)))),
    allowed=(ValueError,),
)
def test_archive_documents(value: tuple[str, bytes]) -> None:
    read_archive(value)


@st.composite
def spoilt(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes with a few places changed, cut or repeated."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        end = min(at + draw(st.integers(0, 600)), len(content))
        put = draw(st.one_of(st.binary(max_size=16), st.sampled_from((content[at:end] * 2, b"9" * 12, b"\0" * 512))))
        content = content[:at] + put + content[end:]
    return content


@fuzzed(
    spoilt(saved(CONFIG, MANIFEST)[1]).map(lambda content: (saved(CONFIG, MANIFEST)[0], content)), allowed=(ValueError,)
)
def test_archive_bytes(value: tuple[str, bytes]) -> None:
    read_archive(value)


RECORD = [
    {"type": 2, "payload": "aGVhZGVy", "position": 0},
    {"type": 1, "name": "etc/file", "size": 4, "payload": "AAAAAAAAAAA=", "position": 1},
    {"type": 1, "name_raw": "ZXRjL2ZpbGU=", "size": 4, "position": 2},
]


def read_record(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        layer = Path(folder) / "diff"
        (layer / "etc").mkdir(parents=True)
        (layer / "etc/file").write_text("file and more")
        (Path(folder) / "secret").write_text("secret")
        (layer / "out").symlink_to(folder)
        record = Path(folder) / "record"
        record.write_bytes(content)
        assert b"secret" not in b"".join(read_tar_split(record, layer))


@fuzzed(mutations(RECORD).map(lines).map(lambda said: gzip.compress(said, 1, mtime=0)), allowed=(ValueError, OSError))
def test_tar_split(value: bytes) -> None:
    read_record(value)


@fuzzed(spoilt(gzip.compress(lines(RECORD), mtime=0)), allowed=(ValueError, OSError))
def test_tar_split_bytes(value: bytes) -> None:
    read_record(value)


INSPECTED = [
    {
        "Id": f"sha256:{'c' * 64}",
        "Size": 100,
        "Os": "linux",
        "Architecture": "amd64",
        "RootFS": {"Type": "layers", "Layers": [LAYER]},
        "GraphDriver": {"Name": "overlay2", "Data": {"MergedDir": "/x"}},
    }
]


@fuzzed(mutations(INSPECTED))
def test_docker_inspect(value: Any) -> None:
    for found in docker.parse_inspected(json.dumps(value), ["web:1"]).values():
        if (found.get("GraphDriver") or {}).get("Data") and not found.get("Descriptor"):  # else Docker would be asked
            docker._image_fact("web", "web:1", found)


# registries

MEDIA = "application/vnd.oci.image."


class Shelf:
    """A registry whose objects are what the test says; named by their hashes, as they have to be."""

    def __init__(self, index: Any, manifest: Any, config: Any) -> None:
        self.objects: dict[str, bytes] = {}
        config_digest = self._put(config)
        if isinstance(manifest, dict) and isinstance(manifest.get("config"), dict):
            manifest["config"].setdefault("digest", config_digest)
        digest = self._put(manifest)
        entries = index.get("manifests") if isinstance(index, dict) else None
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, dict):
                entry.setdefault("digest", digest)
        self.objects["1"] = json.dumps(index).encode()

    def _put(self, document: Any) -> str:
        content = json.dumps(document).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.objects[digest] = content
        return digest

    def fetch(self, reference: Reference, kind: str, name: str) -> tuple[bytes, str]:
        return self.objects.get(name, b"{}"), "application/json"


PUBLISHED = [
    {"mediaType": f"{MEDIA}index.v1+json", "manifests": [{"platform": {"os": "linux", "architecture": "amd64"}}]},
    {"mediaType": f"{MEDIA}manifest.v1+json", "config": {}, "layers": [{"size": 5}]},
    {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [LAYER]}},
]


@fuzzed(mutations(PUBLISHED).map(lambda d: d if isinstance(d, list) and len(d) == 3 else [d, d, d]))
def test_manifests(value: list[Any]) -> None:
    found = resolve(parse_reference("registry.test/web:1"), "linux/amd64", Shelf(*value).fetch)
    assert all(layer.startswith("sha256:") and len(layer) == 71 for layer in (found.id, *found.layers))


@fuzzed(texts("registry.example.com:5000/shop/web:1.4", f"web@{LAYER}", "localhost/a/b"), allowed=(ValueError,))
def test_references(value: str) -> None:
    assert str(parse_reference(str(found := parse_reference(value)))) == str(found)


@fuzzed(texts(f"registry.test/web@{LAYER}", f"ghcr.io/x@{LAYER}"))
def test_sources(value: str) -> None:
    assert not source_allowed(STACK, value) or value.startswith("registry.test/web@sha256:")


RELEASED = {"id": LAYER, "tag": TAG, "size": 5, "source": f"registry.test/web@{LAYER}"}


@fuzzed(mutations(RELEASED).filter(lambda d: isinstance(d, dict) and {"id", "tag"} <= set(d)))
def test_recorded_images(value: Any) -> None:
    assert 0 <= recorded_image("web", value).size < 1 << 50


@fuzzed(texts('Bearer realm="https://auth.test/token",service="registry.test",scope="a:b:pull"', 'Basic realm="x"'))
def test_challenges(value: str) -> None:
    parse_challenges([value])


@fuzzed(st.one_of(mutations({"token": "abc", "expires_in": 60}).map(json.dumps), texts('{"token": "a"}')))
def test_tokens(value: str) -> None:
    token = parse_token(value.encode("utf-8", "replace"))
    assert token.isascii() and not set(token) & set(" \r\n\0")


DOCKER_CONFIG = {
    "auths": {"registry.test": {"auth": "bWU6c2VjcmV0"}, "https://other.test/v1/": {"identitytoken": "x"}},
    "credHelpers": {"elsewhere.test": "nothing"},
}


@fuzzed(mutations(DOCKER_CONFIG))
def test_docker_config(value: Any) -> None:
    if found := credential_in(value, "registry.test", "config.json"):
        found.as_header("registry.test")


@fuzzed(st.tuples(texts('{"ServerURL": "x", "Username": "me", "Secret": "s"}'), st.integers(0, 1)))
def test_credential_helpers(value: tuple[str, int]) -> None:
    parse_helper("docker-credential-x", "registry.test", subprocess.CompletedProcess([], value[1], value[0], ""))
