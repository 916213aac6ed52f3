"""Layers on their way: read, packed, resumed, staged, and put together for Docker."""

from __future__ import annotations

import base64
import fcntl
import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
import zstandard

from canaryctl.deliver.layers import Packed, chain_ids, compress, read_tar_split
from canaryctl.deliver.push import Limiter, _resumable
from canaryctl.observe.agent import receive

CONTENT = bytes(range(256)) * 50_000  # 12.8 MB: several gzip members


def chunks(content: bytes, size: int = 1 << 20) -> list[bytes]:
    return [content[at : at + size] for at in range(0, len(content), size)]


@pytest.mark.parametrize("form", ["zst", "gz"])
def test_packing_is_lossless_and_the_same_every_time(form: str) -> None:
    first, second = (b"".join(compress(iter(chunks(CONTENT)), form)) for _ in range(2))
    assert first == second
    plain = gzip.decompress(first) if form == "gz" else zstandard.ZstdDecompressor().decompressobj().decompress(first)
    assert plain == CONTENT


def test_packing_does_not_depend_on_how_a_gzip_layer_was_read() -> None:
    assert b"".join(compress(iter(chunks(CONTENT)), "gz")) == b"".join(compress(iter(chunks(CONTENT, 777_777)), "gz"))


def test_a_layer_is_put_together_from_its_record_and_files(tmp_path: Path) -> None:
    archive = io.BytesIO()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "a").write_bytes(b"hello")
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(tmp_path / "etc" / "a", arcname="etc/a")
    whole = archive.getvalue()
    at = whole.index(b"hello")
    entries = [
        {"type": 2, "payload": base64.b64encode(whole[:at]).decode()},
        {"type": 1, "name": "etc/a", "size": 5},
        {"type": 2, "payload": base64.b64encode(whole[at + 5 :]).decode()},
    ]
    record = tmp_path / "tar-split.json.gz"
    record.write_bytes(gzip.compress("\n".join(map(json.dumps, entries)).encode()))
    assert b"".join(read_tar_split(record, tmp_path)) == whole


def test_only_a_true_beginning_is_resumed(tmp_path: Path) -> None:
    file = tmp_path / "layer"
    file.write_bytes(CONTENT)
    packed = Packed(file, len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    half = len(CONTENT) // 2
    assert _resumable(packed, half, hashlib.sha256(CONTENT[:half]).hexdigest()) == half
    assert _resumable(packed, half, hashlib.sha256(b"x" + CONTENT[1:half]).hexdigest()) == 0
    assert _resumable(packed, len(CONTENT), packed.sha256) == len(CONTENT)
    assert _resumable(packed, 0, "") == 0
    assert _resumable(packed, len(CONTENT) + 1, packed.sha256) == 0


def test_both_ends_name_chains_alike() -> None:
    layers = tuple(f"sha256:{digit * 64}" for digit in "abc")
    assert chain_ids(layers) == receive.chain_ids(list(layers))
    assert chain_ids(layers)[0] == layers[0]
    below = f"{layers[0]} {layers[1]}"
    assert chain_ids(layers)[1] == f"sha256:{hashlib.sha256(below.encode()).hexdigest()}"


def test_a_layer_on_another_base_is_missing() -> None:
    shared, top = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
    config = {"images": [{"layers": [shared, top]}, {"layers": [shared]}], "whole": False}
    known = set(receive.chain_ids([shared]))
    assert receive.missing_layers(config, known) == [top]
    assert receive.missing_layers(config, set(receive.chain_ids([f"sha256:{'c' * 64}", top]))) == [shared, top]
    assert receive.missing_layers({**config, "whole": True}, known) == [shared, top]


def test_staged_bytes_are_ours_alone_and_resumed(tmp_path: Path) -> None:
    layer = f"sha256:{'a' * 64}"
    staging = receive.Staging(str(tmp_path / "root"), "zst")
    receive.take(io.BufferedReader(io.BytesIO(b"0123456789")), staging.open(layer), 0, 10)
    assert staging.staged(layer) == [10, hashlib.sha256(b"0123456789").hexdigest()]
    receive.take(io.BufferedReader(io.BytesIO(b"abc")), staging.open(layer), 4, 3)
    assert staging.staged(layer) == [7, hashlib.sha256(b"0123abc").hexdigest()]
    folder = tmp_path / "root" / ".incoming"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [file.stat().st_mode & 0o777 for file in folder.iterdir()] == [0o600]
    staging.drop(layer)
    assert list(folder.iterdir()) == []


def test_two_operators_on_one_layer_do_not_mix(tmp_path: Path) -> None:
    layer = f"sha256:{'a' * 64}"
    first = receive.Staging(str(tmp_path), "zst")
    file = first.open(layer)
    receive.take(io.BufferedReader(io.BytesIO(b"first")), file, 0, 5)
    with pytest.raises(BlockingIOError), Path(first.path_of(layer)).open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    second = receive.Staging(str(tmp_path), "zst")
    receive.take(io.BufferedReader(io.BytesIO(b"second")), second.open(layer), 0, 6)
    assert first.staged(layer)[0] == 5 and second.staged(layer)[0] == 6


def test_the_archive_for_docker_holds_what_was_sent_and_names_what_was_not(tmp_path: Path) -> None:
    shared, top = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
    staging = receive.Staging(str(tmp_path), "zst")
    receive.take(io.BufferedReader(io.BytesIO(b"packed")), staging.open(top), 0, 6)
    image = {"id": f"sha256:{'1' * 64}", "config": base64.b64encode(b"{}").decode(), "layers": [shared, top]}
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w|") as tar:
        receive.fill(tar, {"images": [image]}, staging)
    with tarfile.open(fileobj=io.BytesIO(archive.getvalue())) as tar:
        manifest = json.loads((tar.extractfile("manifest.json") or io.BytesIO()).read())
        names = tar.getnames()
        assert manifest[0]["Config"] == f"{'1' * 64}.json" and len(manifest[0]["Layers"]) == 2
        below, above = manifest[0]["Layers"]
        assert above in names and below not in names
        assert (tar.extractfile(above) or io.BytesIO()).read() == b"packed"


def test_a_limit_holds_senders_back() -> None:
    limiter = Limiter(rate=1000.0, _began=0.0)  # began long ago: nothing to wait for
    limiter.wait(100)
    assert limiter._sent == 100
    Limiter().wait(10**9)
