"""From a reference to one image: indexes, platforms, hashes; and the words of those who refuse."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from canaryctl.config.reference import Reference, parse_reference
from canaryctl.errors import ConfigError
from canaryctl.images.distribution import parse_challenges, parse_token
from canaryctl.images.pull import refused
from canaryctl.images.registry import resolve
from canaryctl.plan.release import ImageFact

REF = parse_reference("registry.test/web:1")
LAYERS = (f"sha256:{'1' * 64}", f"sha256:{'2' * 64}")
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Shelf:
    """What a registry holds, by digest; `tags` by name."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self.asked: list[str] = []

    def put(self, document: Any) -> str:
        content = json.dumps(document).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.objects[digest] = content
        return digest

    def image(self, architecture: str, layers: tuple[str, ...] = LAYERS) -> tuple[str, str]:
        """(manifest digest, config digest)."""
        config = self.put({"os": "linux", "architecture": architecture, "rootfs": {"diff_ids": list(layers)}})
        sizes = [{"size": 100 * number} for number in range(1, len(layers) + 1)]
        return self.put({"mediaType": MANIFEST, "config": {"digest": config}, "layers": sizes}), config

    def index(self, *architectures: str) -> dict[str, str]:
        """Tag `1` becomes an index; architecture -> manifest digest."""
        made = {architecture: self.image(architecture)[0] for architecture in architectures}
        entries = [{"digest": d, "platform": {"os": "linux", "architecture": a}} for a, d in made.items()]
        record = {"digest": f"sha256:{'0' * 64}", "platform": {"os": "unknown", "architecture": "unknown"}}
        self.tags["1"] = self.put({"mediaType": INDEX, "manifests": [record, *entries]})
        return made

    def fetch(self, reference: Reference, kind: str, name: str) -> tuple[bytes, str]:
        self.asked.append(name)
        return self.objects[self.tags.get(name, name)], ""


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return Shelf()


def test_a_single_image(shelf: Shelf) -> None:
    shelf.tags["1"], config = shelf.image("amd64")
    found = resolve(REF, "linux/amd64", shelf.fetch)
    assert (found.id, found.reference) == (config, f"registry.test/web@{shelf.tags['1']}")
    assert (found.layers, found.sizes, found.platform) == (LAYERS, (100, 200), "linux/amd64")


def test_an_index_gives_the_image_of_the_platform_asked_for(shelf: Shelf) -> None:
    made = shelf.index("amd64", "arm64")
    found = resolve(REF, "linux/arm64", shelf.fetch)
    assert found.reference.endswith(made["arm64"]) and found.platform == "linux/arm64"
    assert found.platforms == ("linux/amd64", "linux/arm64")


def test_an_index_without_the_platform_says_which_there_are(shelf: Shelf) -> None:
    shelf.index("amd64", "arm64")
    with pytest.raises(ConfigError, match="no image for linux/s390x") as raised:
        resolve(REF, "linux/s390x", shelf.fetch)
    assert "linux/amd64, linux/arm64" in raised.value.hint


def test_where_there_is_no_choice_the_only_image_is_taken(shelf: Shelf) -> None:
    shelf.index("arm64")
    assert resolve(REF, "linux/amd64", shelf.fetch).platform == "linux/arm64"


def test_what_is_named_by_its_hash_is_asked_for_once(shelf: Shelf) -> None:
    shelf.index("amd64")
    resolve(REF, "linux/amd64", shelf.fetch)
    first = len(shelf.asked)
    resolve(REF, "linux/amd64", shelf.fetch)
    assert shelf.asked[first:] == ["1"]


def test_a_kept_object_that_was_damaged_is_asked_for_again(shelf: Shelf, tmp_path: Path) -> None:
    shelf.index("amd64")
    resolve(REF, "linux/amd64", shelf.fetch)
    for kept in (tmp_path / "canaryctl/manifests").iterdir():
        kept.write_bytes(b"{}")
    assert resolve(REF, "linux/amd64", shelf.fetch).layers == LAYERS


@pytest.mark.parametrize("which", ["manifest", "config"])
def test_changed_content_is_refused(shelf: Shelf, which: str) -> None:
    manifest, config = shelf.image("amd64")
    shelf.objects[manifest if which == "manifest" else config] += b" "
    with pytest.raises(ConfigError, match="other content"):
        resolve(parse_reference(f"registry.test/web@{manifest}"), "linux/amd64", shelf.fetch)


@pytest.mark.parametrize(
    "document",
    [
        {"schemaVersion": 1, "fsLayers": []},
        {"mediaType": MANIFEST, "layers": []},
        [],
    ],
)
def test_what_is_no_image_is_refused(shelf: Shelf, document: Any) -> None:
    shelf.tags["1"] = shelf.put(document)
    with pytest.raises(ConfigError) as raised:
        resolve(REF, "linux/amd64", shelf.fetch)
    assert raised.value.hint


def test_an_artifact_without_layers_is_refused(shelf: Shelf) -> None:
    config = shelf.put({})
    shelf.tags["1"] = shelf.put({"mediaType": MANIFEST, "config": {"digest": config}, "layers": [{"size": 1}]})
    with pytest.raises(ConfigError, match="its layers are not told"):
        resolve(REF, "linux/amd64", shelf.fetch)


@pytest.mark.parametrize(
    "digest", ["evil", "", None, 5, "sha256:", f"sha256:{'a' * 64}\n", f"sha256:{'A' * 64}", "sha512:" + "a" * 128]
)
@pytest.mark.parametrize("which", ["entry", "config", "layer"])
def test_what_is_not_named_by_its_sha256_is_refused(shelf: Shelf, digest: Any, which: str) -> None:
    manifest, config = shelf.image("amd64", (digest,) if which == "layer" else LAYERS)
    if which == "entry":
        entry = {"digest": digest, "platform": {"os": "linux", "architecture": "amd64"}}
        manifest = shelf.put({"mediaType": INDEX, "manifests": [entry]})
    elif which == "config":
        manifest = shelf.put({"mediaType": MANIFEST, "config": {"digest": digest}, "layers": [{"size": 1}]})
    shelf.tags["1"] = manifest
    for name in (digest, str(digest)):
        shelf.objects[name] = shelf.objects[config]
    with pytest.raises(ConfigError) as raised:
        resolve(REF, "linux/amd64", shelf.fetch)
    assert raised.value.where == str(REF)


@pytest.mark.parametrize(
    "document",
    [
        {"mediaType": INDEX, "manifests": 5},
        {"mediaType": INDEX, "manifests": [5]},
        {"mediaType": INDEX, "manifests": [{"platform": []}]},
        {"mediaType": INDEX, "manifests": [{"platform": {"os": [], "architecture": {}}}]},
        {"mediaType": MANIFEST, "config": [], "layers": [{}]},
        {"mediaType": MANIFEST, "config": {"digest": {}}, "layers": [{}]},
        {"mediaType": MANIFEST, "config": {"digest": "x"}, "layers": {"x": 1}},
        {"mediaType": [], "config": None, "layers": None},
    ],
)
def test_a_malformed_manifest_is_an_error_with_a_place(shelf: Shelf, document: Any) -> None:
    shelf.tags["1"] = shelf.put(document)
    with pytest.raises(ConfigError) as raised:
        resolve(REF, "linux/amd64", shelf.fetch)
    assert raised.value.where == str(REF)


@pytest.mark.parametrize(
    ("content", "token"),
    [
        (b'{"token": "abc.def"}', "abc.def"),
        (b'{"access_token": "abc"}', "abc"),
        (b'{"token": "a\\r\\nX-Evil: 1"}', ""),
        (b'{"token": "\\u00e9"}', ""),
        (b'{"token": 5}', ""),
        (b'{"token": []}', ""),
        (b"{}", ""),
        (b"[]", ""),
        (b"nonsense", ""),
        (b"[" * 100_000, ""),
    ],
)
def test_a_token_is_what_may_stand_in_a_header(content: bytes, token: str) -> None:
    assert parse_token(content) == token


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        (['Basic realm="Registry"'], {"basic": {"realm": "Registry"}}),
        (
            ['Bearer realm="https://auth.test/token",service="registry.test",scope="repository:a/b:pull,push"'],
            {
                "bearer": {
                    "realm": "https://auth.test/token",
                    "service": "registry.test",
                    "scope": "repository:a/b:pull,push",
                }
            },
        ),
        (["bearer realm=x, error=invalid_token"], {"bearer": {"realm": "x", "error": "invalid_token"}}),
        (
            ['Basic realm="a b"', 'Bearer realm="https://t"'],
            {"basic": {"realm": "a b"}, "bearer": {"realm": "https://t"}},
        ),
        ([], {}),
    ],
)
def test_challenges(headers: list[str], found: dict[str, Any]) -> None:
    assert parse_challenges(headers) == found


@pytest.mark.parametrize(
    ("said", "what", "hint"),
    [
        (
            'Get "https://registry.test/v2/": x509: certificate signed by unknown authority',
            "does not trust",
            "/etc/docker/certs.d/registry.test/ca.crt",
        ),
        ("unauthorized: authentication required", "refuses the credential", "docker login registry.test"),
        ("no basic auth credentials", "refuses the credential", "docker login registry.test"),
        ("manifest for registry.test/web@sha256:1 not found: manifest unknown", "does not have it", "deploy again"),
        ("dial tcp 10.0.0.1:443: connect: connection refused", "cannot reach", "canary_delivery: push"),
        ("net/http: request canceled (Client.Timeout exceeded)", "cannot reach", "canary_delivery: push"),
        ("http: server gave HTTP response to HTTPS client", "plain HTTP", "certificate"),
        ("write /var/lib/docker/tmp/x: no space left on device", "no room", "docker system df"),
        ("toomanyrequests: You have reached your pull rate limit", "no more for now", "mirror"),
        ("something new", "could not pull", "Docker log"),
    ],
)
def test_why_a_host_did_not_pull(said: str, what: str, hint: str) -> None:
    image = ImageFact("web", "sha256:1", "x", 1, (), "linux/amd64", source="registry.test/web@sha256:1")
    error = refused(image, "alpha", said)
    assert what in error.what and said in error.what and hint in error.hint
    assert (error.stage, error.host, error.exit_code) == ("push", "alpha", 6)
