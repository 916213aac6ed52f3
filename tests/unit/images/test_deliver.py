"""Layers on their way: read, packed, resumed, staged, and put together for Docker."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import gzip
import hashlib
import io
import json
import os
import socket
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from canaryctl.agent.write import load, receive
from canaryctl.agent.write.staging import Staging
from canaryctl.errors import ApplyError, HostError
from canaryctl.facts.host import DockerFacts, HostFacts
from canaryctl.images.layers import Layers, compress
from canaryctl.images.pull import PullAnswers
from canaryctl.images.push import _form
from canaryctl.images.source import chain_ids, read_tar_split, unpacked
from canaryctl.images.streams import LayerStream, Packed
from canaryctl.images.transfer import Limiter, Sending, Transfer, lack

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


def a_record(folder: Path, *entries: Any) -> Path:
    record = folder / "record.json.gz"
    record.write_bytes(gzip.compress("\n".join(map(json.dumps, entries)).encode()))
    return record


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("out/secret", 6),  # a folder of the layer that is a link
        ("link", 6),
        ("../secret", 6),
        ("sub/../../secret", 6),
        ("/out/secret", 6),
        ("sub", 6),
        ("pipe", 6),
        ("short", 6),
        ("absent", 6),
        ("", 6),
        ("nul\0", 6),
        ("\ud800", 6),
        ("fine", -1),
        ("fine", "6"),
        ("fine", 0.5),
        (1, 6),
    ],
)
def test_a_record_reaches_nothing_but_its_layers_own_files(tmp_path: Path, name: Any, size: Any) -> None:
    layer = tmp_path / "diff"
    (layer / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (layer / "out").symlink_to(tmp_path)
    (layer / "link").symlink_to(tmp_path / "secret")
    (layer / "short").write_text("no")
    (layer / "fine").write_text("fine and longer")
    os.mkfifo(layer / "pipe")
    with pytest.raises((ValueError, OSError)):
        list(read_tar_split(a_record(tmp_path, {"type": 1, "name": name, "size": size}), layer))
    fine = [{"type": 1, "name": "/./fine", "size": 4}, {"type": 1, "name_raw": "ZmluZQ==", "size": 4}]
    assert b"".join(read_tar_split(a_record(tmp_path, *fine), layer)) == b"finefine"


def test_a_layer_that_points_out_of_itself_is_an_error_of_the_push_and_nothing_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "diff").mkdir()
    (tmp_path / "diff" / "out").symlink_to(tmp_path)
    record = a_record(tmp_path, {"type": 1, "name": "out/secret", "size": 6})
    layers, packing = Layers([]), LayerStream()
    layers._store = FromRecord(record, tmp_path / "diff")  # type: ignore[assignment]
    layers._chains[A_LAYER] = A_LAYER
    layers._pack(A_LAYER, "zst", packing)
    with pytest.raises(ApplyError, match="cannot be read as it was built"):
        list(packing.pieces(0))


class FromRecord:
    """A store with one layer."""

    def __init__(self, record: Path, files: Path) -> None:
        self.record, self.files = record, files

    def read(self, chain: str) -> Iterator[bytes]:
        return read_tar_split(self.record, self.files)


@pytest.mark.parametrize(
    "content", [b"", b"\x1f\x8b\x08", gzip.compress(b'{"type": 2', mtime=0)[:-9], b"no gzip at all"]
)
def test_a_damaged_record_is_told_in_words(tmp_path: Path, content: bytes) -> None:
    record = tmp_path / "record"
    record.write_bytes(content)
    with contextlib.suppress(ValueError, OSError):
        assert b"".join(read_tar_split(record, tmp_path)) == b""


@pytest.mark.parametrize("form", ["plain", "gz", "zst"])
def test_a_saved_layer_is_read_whatever_it_was_packed_with(form: str) -> None:
    content = CONTENT if form == "plain" else b"".join(compress(iter(chunks(CONTENT)), form))
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("blobs/sha256/0")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    archive.seek(0)
    with tarfile.open(fileobj=archive, mode="r|") as tar:
        file = tar.extractfile(next(iter(tar)))
        assert file is not None and b"".join(unpacked(file)) == CONTENT


def packed(tmp_path: Path, content: bytes = CONTENT) -> Packed:
    file = tmp_path / "layer"
    file.write_bytes(content)
    return Packed(file, len(content), hashlib.sha256(content).hexdigest(), 2 * len(content))


def test_a_reader_between_a_files_two_names_waits_for_the_second(tmp_path: Path) -> None:
    packing, part, whole = LayerStream(), tmp_path / "layer.zst.part", tmp_path / "layer.zst"
    part.write_bytes(b"packed")
    packing.grow(part, 6, 100)
    part.replace(whole)  # as a writer does before it says `finish`
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.extend(packing.pieces(0)), daemon=True)
    reader.start()
    reader.join(0.1)
    packing.finish(Packed(whole, 6, hashlib.sha256(b"packed").hexdigest(), 100))
    reader.join(5)
    assert b"".join(read) == b"packed"


def test_only_a_true_beginning_is_resumed(tmp_path: Path) -> None:
    packing = LayerStream()
    packing.finish(packed(tmp_path))
    half = len(CONTENT) // 2
    assert packing.begins_with(half, hashlib.sha256(CONTENT[:half]).hexdigest())
    assert not packing.begins_with(half, hashlib.sha256(b"x" + CONTENT[1:half]).hexdigest())
    assert packing.begins_with(len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    assert not packing.begins_with(0, hashlib.sha256().hexdigest())
    assert not packing.begins_with(len(CONTENT) + 1, hashlib.sha256(CONTENT).hexdigest())


def test_senders_follow_a_layer_that_is_still_being_packed(tmp_path: Path) -> None:
    packing, part = LayerStream(plain=2 * len(CONTENT)), tmp_path / "part"
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.extend(packing.pieces(5)))
    reader.start()
    with part.open("wb", buffering=0) as file:
        for piece in chunks(CONTENT, 999_999):
            file.write(piece)
            packing.grow(part, file.tell(), 2 * file.tell())
            assert packing.expected == len(CONTENT)
    assert reader.is_alive()
    packing.finish(packed(tmp_path))
    reader.join(10)
    assert b"".join(got) == CONTENT[5:]


def test_a_sender_that_comes_while_the_file_gets_its_name_waits(tmp_path: Path) -> None:
    packing, part = LayerStream(), tmp_path / "part"
    part.write_bytes(CONTENT)
    packing.grow(part, len(CONTENT), len(CONTENT))
    part.replace(tmp_path / "layer")  # and only then is it said to be whole
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.extend(packing.pieces(0)))
    reader.start()
    reader.join(0.2)
    assert reader.is_alive()
    packing.finish(packed(tmp_path))
    reader.join(10)
    assert b"".join(got) == CONTENT


def test_senders_hear_that_packing_failed(tmp_path: Path) -> None:
    packing = LayerStream()
    packing.grow(tmp_path / "part", 1, 1)
    (tmp_path / "part").write_bytes(b"x")
    packing.fail(ApplyError("unreadable"))
    with pytest.raises(ApplyError):
        list(packing.pieces(0))
    with pytest.raises(ApplyError):
        packing.wait()


GB = 10**9


@pytest.mark.parametrize(
    ("disks", "staged", "words"),
    [
        ({"/docker": (40 * GB, 1), "/stage": (40 * GB, 2)}, 0, ""),
        ({"/docker": (29 * GB, 1), "/stage": (40 * GB, 2)}, 0, "30067 MB are needed in /docker, 29000 MB are free"),
        ({"/docker": (40 * GB, 1), "/stage": (9 * GB, 2)}, 0, "10000 MB are needed in /stage, 9000 MB are free"),
        ({"/docker": (40 * GB, 1), "/stage": (9 * GB, 2)}, 5 * GB, ""),
        ({"/docker": (35 * GB, 1), "/stage": (35 * GB, 1)}, 0, "40067 MB are needed in /docker, 35000 MB are free"),
    ],
)
def test_room_is_counted_by_file_system(disks: dict[str, tuple[int, int]], staged: int, words: str) -> None:
    packing = LayerStream()
    packing.finish(Packed(Path(), 10 * GB, "", 20 * GB))
    assert lack(disks, "/docker", [packing], staged).endswith(words)
    assert bool(lack(disks, "/docker", [packing], staged)) == bool(words)
    assert lack(disks, "/docker", [], 0) == ""


@pytest.mark.parametrize(
    ("version", "form"),
    [("20.10.24+dfsg1", "gz"), ("22.06.0-beta", "gz"), ("23.0.0", "zst"), ("29.1", "zst"), ("", "gz")],
)
def test_old_docker_gets_gzip(version: str, form: str) -> None:
    facts = HostFacts(host="h", docker=DockerFacts(version=version))
    assert _form(facts) == form


def test_both_ends_name_chains_alike() -> None:
    layers = tuple(f"sha256:{digit * 64}" for digit in "abc")
    assert chain_ids(layers) == load.chain_ids(list(layers))
    assert chain_ids(layers)[0] == layers[0]
    below = f"{layers[0]} {layers[1]}"
    assert chain_ids(layers)[1] == f"sha256:{hashlib.sha256(below.encode()).hexdigest()}"


def test_a_layer_on_another_base_is_missing() -> None:
    shared, top = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
    config = {"images": [{"layers": [shared, top]}, {"layers": [shared]}], "whole": False}
    known = set(load.chain_ids([shared]))
    assert receive.missing_layers(config, known) == [top]
    assert receive.missing_layers(config, set(load.chain_ids([f"sha256:{'c' * 64}", top]))) == [shared, top]
    assert receive.missing_layers({**config, "whole": True}, known) == [shared, top]


def stream(content: bytes) -> io.BufferedReader:
    return io.BufferedReader(io.BytesIO(content))


def test_staged_bytes_are_ours_alone_and_resumed(tmp_path: Path) -> None:
    layer = f"sha256:{'a' * 64}"
    staging = Staging(str(tmp_path / "root"), "zst")
    assert staging.glance(layer) == [0, ""] and not (tmp_path / "root").exists()
    staging.make()
    assert staging.staged(layer) == [0, hashlib.sha256().hexdigest()]
    staging.take(stream(b"01234"), layer, 0, 5)
    staging.take(stream(b"56789"), layer, 5, 5)
    assert staging.arrived(layer) == staging.staged(layer) == [10, hashlib.sha256(b"0123456789").hexdigest()]
    staging.take(stream(b"abc"), layer, 4, 3)
    assert staging.arrived(layer) == staging.staged(layer) == [7, hashlib.sha256(b"0123abc").hexdigest()]
    assert staging.spoilt() == []
    folder = tmp_path / "root" / ".incoming"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [file.stat().st_mode & 0o777 for file in folder.iterdir()] == [0o600]
    staging.drop(layer)
    assert list(folder.iterdir()) == []


def test_two_operators_on_one_layer_do_not_mix(tmp_path: Path) -> None:
    layer = f"sha256:{'a' * 64}"
    first = Staging(str(tmp_path), "zst")
    first.make()
    first.staged(layer)
    first.take(stream(b"first"), layer, 0, 5)
    with pytest.raises(BlockingIOError), Path(first.place(layer)).open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    second = Staging(str(tmp_path), "zst")
    second.staged(layer)
    second.take(stream(b"second"), layer, 0, 6)
    assert first.staged(layer)[0] == 5 and second.staged(layer)[0] == 6
    assert len(list((tmp_path / ".incoming").iterdir())) == 1  # the second one's leaves nothing behind
    second.done_with(layer)
    assert list((tmp_path / ".incoming").iterdir()) == [], (
        "the first may have been cut off: nobody would come back for it"
    )
    first.done_with(layer)


def test_what_is_spoilt_on_the_disk_is_found_and_thrown_away(tmp_path: Path) -> None:
    good, bad = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
    staging = Staging(str(tmp_path), "zst")
    staging.make()
    for layer in (good, bad):
        staging.staged(layer)
        staging.take(stream(b"content"), layer, 0, 7)
    Path(staging.place(bad)).write_bytes(b"Content")
    assert staging.spoilt() == [bad]
    assert [file.name for file in (tmp_path / ".incoming").iterdir()] == [Path(staging.place(good)).name]


def unchunked(link: socket.socket) -> bytes:
    """The body of a chunked request (RFC 9112, section 7.1)."""
    body = b""
    with link.makefile("rb") as sent:
        while size := int(sent.readline(), 16):
            body += sent.read(size)
            assert sent.read(2) == b"\r\n"
    return body


def test_the_archive_for_docker_holds_what_was_sent_and_names_what_was_not(tmp_path: Path) -> None:
    shared, top = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
    (tmp_path / "blob").write_bytes(b"packed")
    ours, theirs = socket.socketpair()
    with (tmp_path / "blob").open("rb") as blob, ours:
        archive = load.Archive(ours, lambda: None)
        load.fill(archive, [(b"{}", [shared, top])], {top: blob})
        archive.close()
    with theirs, tarfile.open(fileobj=io.BytesIO(unchunked(theirs))) as tar:
        manifest = json.loads((tar.extractfile("manifest.json") or io.BytesIO()).read())
        assert manifest[0]["Config"] == f"{hashlib.sha256(b'{}').hexdigest()}.json"
        below, above = manifest[0]["Layers"]
        assert above in tar.getnames() and below not in tar.getnames()
        assert (tar.extractfile(above) or io.BytesIO()).read() == b"packed"


OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FAR = b'5f\r\n{"status":"Loading layer","progressDetail":{"current":1,"total":3},"id":"aaa"}\r\n'


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ([OK, FAR * 9, b'20\r\n{"stream":"Loaded image ID"}\r\n\r\n0\r\n\r\n'], ""),
        ([OK, FAR * 3000, b'{"errorDetail":{"message":"no space"},"error":"no space"}\r\n'], "no space"),
        ([OK, FAR * 3000, b'{"error":"open a/layer.tar: no such file or directory"}\r\n', FAR], "no such file"),
        ([b'HTTP/1.1 500 Internal Server Error\r\n\r\n{"message":"unexpected EOF"}'], "unexpected EOF"),
        ([b""], "no answer"),
    ],
)
def test_dockers_answer_is_heard_to_its_end_and_each_part_is_a_step(answer: list[bytes], complaint: str) -> None:
    ours, theirs = socket.socketpair()
    steps: list[None] = []
    sending = threading.Thread(target=lambda: [theirs.sendall(part) for part in answer] and theirs.close())
    with ours:
        sending.start()
        found = load.complaint_of(load.told(ours, lambda: steps.append(None)))
        sending.join()
    assert complaint in found and bool(found) == bool(complaint) and len(found) <= 600
    assert bool(steps) == any(answer)


def test_a_beginning_ends_where_a_layer_is_missing() -> None:
    one, two, three = (f"sha256:{digit * 64}" for digit in "abc")
    chains = set(load.chain_ids([one]))
    assert load.beginning([one, two, three], chains, {three}) == [one]
    assert load.beginning([one, two, three], chains, {two}) == [one, two]
    assert load.beginning([two, one], chains, {two}) == [two]  # on another base the same layer is another thing
    config = json.loads(
        load.partial_config(b'{"architecture": "arm64", "os": "linux", "config": {"Env": ["A=b"]}}', [one])
    )
    assert config["rootfs"]["diff_ids"] == [one] and config["architecture"] == "arm64"
    assert list(config["config"]["Labels"]) == [load.PARTIAL] and "Env" not in config["config"]


def order(layers: list[str], *, ask: bool) -> dict[str, object]:
    images = [{"name": "web", "id": "sha256:1", "layers": layers}]
    return {"ask": ask, "form": "zst", "docker_root": "/docker", "images": images}


def test_what_the_host_said_counts_even_when_it_hangs_up_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    talk = Transfer("alpha", Layers([]), order(["sha256:a"], ask=True), Limiter(), lambda _: None)
    talk.hear(b'Welcome\n{"missing": ["sha256:a"], "sta')
    talk.hear(b'ged": {"sha256:a": [0, ""]}, "disks": {"/": [1, 1]}}\n')
    talk.silence()
    assert talk.missing == ("sha256:a",) and not talk.error
    assert list(talk.speak(b"program")) == [b"program"]


def test_a_conversation_sends_what_is_missing_from_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    layer = f"sha256:{'a' * 64}"
    layers, told = Layers([]), list[Sending]()
    whole = LayerStream()
    whole.finish(packed(tmp_path))
    layers._work[layer, "zst"] = whole
    talk = Transfer("alpha", layers, order([f"sha256:{'0' * 64}", layer], ask=False), Limiter(), told.append)
    half = len(CONTENT) // 2
    opening = {
        "missing": [layer],
        "staged": {layer: [half, hashlib.sha256(CONTENT[:half]).hexdigest()]},
        "disks": {"/docker": [10**12, 1]},
    }
    for answer in (opening, {"layer": layer, "ok": True}, {"images": {"sha256:1": ""}}):
        talk.hear(json.dumps(answer).encode() + b"\n")
    said = io.BytesIO(b"".join(talk.speak(b"")))
    got, last = b"", {}
    while line := said.readline():
        last = json.loads(line)
        if "offset" in last:
            assert last["offset"] == half + len(got)
            got += said.read(last["size"])
    assert got == CONTENT[half:] and last == {"load": True}
    assert (talk.sent, talk.resumed, talk.loaded) == (len(CONTENT) - half, half, {"sha256:1": ""})
    assert told[-1].arrived and told[-1].skipped == 1 and told[-1].total == talk.sent


A_LAYER = f"sha256:{'a' * 64}"
OPENING = {"missing": [A_LAYER], "staged": {A_LAYER: [0, ""]}, "disks": {"/docker": [10**12, 1]}}


@pytest.mark.parametrize(
    "answers",
    [
        [{**OPENING, "missing": [f"sha256:{'b' * 64}"]}],  # a layer of somebody else's image
        [{**OPENING, "missing": ["/root/.cache/x"], "staged": {"/root/.cache/x": [0, ""]}}],
        [{**OPENING, "missing": [A_LAYER, A_LAYER]}],
        [{**OPENING, "missing": A_LAYER}],
        [{**OPENING, "missing": [[]]}],
        [{**OPENING, "staged": {}}],
        [{**OPENING, "staged": {A_LAYER: [-1, ""]}}],
        [{**OPENING, "staged": {A_LAYER: [True, ""]}}],
        [{**OPENING, "staged": {A_LAYER: [10**30, ""]}}],
        [{**OPENING, "staged": {A_LAYER: [0, None]}}],
        [{**OPENING, "disks": {}}],
        [{**OPENING, "disks": {"/docker": ["many", 1]}}],
        [{**OPENING, "disks": 1}],
        [{"images": {"sha256:1": ""}}],  # nothing was sent yet
        [OPENING, OPENING],
        [OPENING, {"layer": f"sha256:{'b' * 64}", "ok": True}],
        [OPENING, {"layer": [], "ok": True}],
        [OPENING, {"layer": A_LAYER, "ok": True}, {"images": {}}],
        [OPENING, {"layer": A_LAYER, "ok": True}, {"images": {"sha256:1": 1}}],
        [OPENING, {"layer": A_LAYER, "ok": True}, {"images": []}],
        [{"error": {"x": 1}}],
        [{"error": "x", "lost": "x"}],
        [{}] * 1000,
    ],
)
def test_a_host_that_answers_otherwise_than_our_program_is_named_and_gets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: list[dict[str, Any]]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    layers, whole = Layers([]), LayerStream()
    whole.finish(packed(tmp_path))
    layers._work[A_LAYER, "zst"] = whole
    talk = Transfer("alpha", layers, order([A_LAYER], ask=False), Limiter(), lambda _: None)
    with pytest.raises(HostError) as caught:
        for answer in answers:
            talk.hear(json.dumps(answer).encode() + b"\n")
        list(talk.speak(b""))
    assert caught.value.where == "alpha" and "cannot be believed" in caught.value.what


@pytest.mark.parametrize(
    "said", [b"{x\n", b"{" * 5_000_000, b'{"a":' + b"[" * 100_000 + b"\n", b"x" * 5_000_000 + b"\n"]
)
def test_what_is_no_answer_or_has_no_end_is_not_kept(said: bytes) -> None:
    talk = Transfer("alpha", Layers([]), order([A_LAYER], ask=False), Limiter(), lambda _: None)
    with pytest.raises(HostError, match="cannot be believed"):
        for piece in chunks(said, 1 << 18):
            talk.hear(piece)


def test_layers_of_other_images_cannot_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ApplyError, match="no image that is to be sent has it"):
        Layers([]).ask("../../x", "zst")


@pytest.mark.parametrize(
    "said",
    [
        {"image": "sha256:2", "bytes": 1, "total": 1},
        {"image": [], "bytes": 1, "total": 1},
        {"image": "sha256:1", "bytes": "1", "total": 1},
        {"image": "sha256:1"},
        {"error": ""},
        {"images": {}, "error": ""},
        {"images": {"sha256:1": 1}, "error": ""},
        {"images": [], "error": "x"},
        {"images": {}, "error": 5},
        {"images": {}, "error": "x", "lost": 5},
    ],
)
def test_a_host_that_pulls_and_says_something_else_is_named(said: dict[str, Any]) -> None:
    talk = PullAnswers("alpha", {"sha256:1": "web"}, lambda *_: None)
    with pytest.raises(HostError, match="cannot be believed") as caught:
        talk.hear(json.dumps(said).encode() + b"\n")
    assert caught.value.where == "alpha"


def test_a_pull_that_failed_need_not_know_of_every_image() -> None:
    told: list[tuple[str, int, int]] = []
    talk = PullAnswers("alpha", {"sha256:1": "web", "sha256:2": "db"}, lambda *far: told.append(far))
    talk.hear(b'Welcome\n{"image": "sha256:1", "bytes": 1, "total": 2}\n\n{"images": {"sha256:1": "no ro')
    talk.hear(b'om"}, "error": "gone"}\n')
    assert told == [("web", 1, 2)]
    assert (talk.over, talk.error, talk.faults, talk.lost) == (True, "gone", {"sha256:1": "no room"}, [])


def test_no_byte_is_sent_where_there_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    layers, whole = Layers([]), LayerStream()
    whole.finish(packed(tmp_path))
    layers._work["sha256:a", "zst"] = whole
    talk = Transfer("alpha", layers, order(["sha256:a"], ask=False), Limiter(), lambda _: None)
    talk.hear(b'{"missing": ["sha256:a"], "staged": {"sha256:a": [0, ""]}, "disks": {"/docker": [1000, 1]}}\n')
    with pytest.raises(ApplyError, match="not enough room"):
        list(talk.speak(b""))


def test_a_limit_holds_senders_back() -> None:
    limiter = Limiter(rate=1000.0, _began=0.0)  # began long ago: nothing to wait for
    limiter.wait(100)
    assert limiter._sent == 100
    Limiter().wait(10**9)
