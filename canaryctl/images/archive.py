"""One image from the archive that another machine's `docker save` made, taken by its content alone.

The archive is data of somebody who may lie. Its configuration is the member whose sha256 is the identity wanted, its
layers are the members that hash to the configuration's diff ids; names and tags in it decide nothing, except that an
archive which names another image is refused. What is given to Docker is an archive of our own making.

Formats: `docker save` before Docker 25 (`<id>.json`, `<layer>/layer.tar`) and since (`blobs/sha256/...`), see
github.com/moby/docker-image-spec; tar: POSIX.1-2008 pax, of which only sizes and paths matter here.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from canaryctl.agent.write.load import header, layer_path, padding
from canaryctl.config.reference import is_digest
from canaryctl.facts.jsontext import parse_json
from canaryctl.images.source import PIECE, unpacked

_BLOCK = tarfile.BLOCKSIZE
_MOST_MEMBERS = 4096  # an image has 127 layers at most, of four members each
_LARGEST_DOCUMENT = 16 << 20  # bytes of a configuration or manifest.json; real ones have some kilobytes
_LARGEST_PAX = 64 << 10


@dataclass(frozen=True)
class Member:
    """A regular file of an archive: its `size` bytes lie at `offset`."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class Layer:
    """A layer in a member, `packed` with gzip or zstd or not; `size` is the bytes of its tar."""

    member: Member
    size: int
    packed: bool = False


@dataclass(frozen=True)
class Saved:
    """One image of an archive: its configuration, and its layers by their diff ids."""

    config: bytes
    layers: Mapping[str, Layer]


def read_saved(file: IO[bytes], identity: str, tag: str, most: int) -> Saved:
    """Find the image with that identity in an archive.

    Args:
        tag: the only name that the archive may give it.
        most: bytes that its unpacked layers may have in all.

    Raises:
        ValueError: the archive is none, names something else, or lacks a part; the text says which.
    """
    members = list(read_members(file))
    _require_one(file, members, tag)
    digests = [_digest_of(file, member) for member in members]
    config = next((m for m, found in zip(members, digests, strict=True) if found == identity), None)
    if config is None or config.size > _LARGEST_DOCUMENT:
        raise ValueError(f"no configuration in it is {identity[:19]}")
    content = _content(file, config)
    wanted = _diff_ids(content)
    found = {digest: Layer(member, member.size) for member, digest in zip(members, digests, strict=True)}
    left = most
    for member in members:
        if all(layer in found for layer in wanted):
            break
        if _is_packed(file, member):
            digest, size = _unpacked_digest(file, member, left)
            left -= size
            found.setdefault(digest, Layer(member, size, packed=True))
    if lacking := [layer for layer in wanted if layer not in found]:
        raise ValueError(f"it lacks {len(lacking)} of the image's {len(wanted)} layers, the first {lacking[0][:19]}")
    layers = {layer: found[layer] for layer in wanted}
    if sum(layer.size for layer in layers.values()) > most:
        raise ValueError(f"its layers are more than {most / 1e6:.0f} MB")
    return Saved(content, layers)


def write_saved(file: IO[bytes], image: Saved, tag: str) -> Iterator[bytes]:
    """The archive of that image alone, under that tag, as every Docker loads it."""
    for name, layer in image.layers.items():
        yield header(layer_path(name), layer.size)
        yield from unpacked(_window(file, layer.member)) if layer.packed else _pieces(file, layer.member)
        yield padding(layer.size)
    config = f"{hashlib.sha256(image.config).hexdigest()}.json"
    paths = [layer_path(layer) for layer in _diff_ids(image.config)]
    manifest = json.dumps([{"Config": config, "RepoTags": [tag], "Layers": paths}]).encode()
    for path, content in ((config, image.config), ("manifest.json", manifest)):
        yield header(path, len(content)) + content + padding(len(content))
    yield bytes(2 * _BLOCK)


def read_members(file: IO[bytes]) -> Iterator[Member]:
    """The regular files of a tar. Folders, and links for layers that are twice in an image, are passed over.

    Raises:
        ValueError: it is no tar, or has a member that no `docker save` writes.
    """
    end, at, count = file.seek(0, io.SEEK_END), 0, 0
    pax: dict[str, str] = {}
    while at + _BLOCK <= end:
        file.seek(at)
        block = file.read(_BLOCK)
        if not block.strip(b"\0"):
            return
        try:
            entry = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise ValueError(f"it is no tar archive: {error}") from None
        size = _size(pax.get("size"), entry.size)
        name, at = pax.get("path", entry.name), at + _BLOCK
        if not 0 <= size <= end - at:
            raise ValueError(f"member {name[:100]!r} does not end within it")
        if entry.type in (tarfile.XHDTYPE, tarfile.XGLTYPE):
            pax = _pax(file.read(size)) if size <= _LARGEST_PAX and entry.type == tarfile.XHDTYPE else {}
        else:
            count, pax = count + 1, {}
            if count > _MOST_MEMBERS:
                raise ValueError(f"it has more than {_MOST_MEMBERS} members")
            _require_ordinary(entry.type, name)
            if entry.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
                yield Member(name, at, size)
        at += size + len(padding(size))


def _require_ordinary(kind: bytes, name: str) -> None:
    parts = name.split("/")
    twice = kind == tarfile.SYMTYPE and parts[-1] == "layer.tar"
    if kind not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE) and not twice:
        raise ValueError(f"member {name[:100]!r} is neither a file nor a folder")
    if name.startswith("/") or ".." in parts:
        raise ValueError(f"member {name[:100]!r} points out of it")


def _require_one(file: IO[bytes], members: Sequence[Member], tag: str) -> None:
    """Refuse an archive that names anything beside the image that was asked for."""
    for member in members:
        if member.name not in ("manifest.json", "repositories"):
            continue
        if member.size > _LARGEST_DOCUMENT:
            raise ValueError(f"its {member.name} is too big")
        names = _names(_parsed(_content(file, member), member.name), member.name)
        if others := sorted(names - {tag}):
            raise ValueError(f"it also names {', '.join(others)[:300]}")
    if not any(member.name == "manifest.json" for member in members):
        raise ValueError("it has no manifest.json")


def _names(document: Any, where: str) -> set[str]:
    """The references in manifest.json, or in `repositories` ({name: {tag: layer}})."""
    if where == "repositories":
        if isinstance(document, dict) and all(isinstance(tags, dict) for tags in document.values()):
            return {f"{name}:{tag}" for name, tags in document.items() for tag in tags}
    elif isinstance(document, list) and len(document) == 1 and isinstance(document[0], dict):
        tags = document[0].get("RepoTags") or []
        if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags):
            return set(tags)
    elif isinstance(document, list):
        raise ValueError(f"it holds {len(document)} images")
    raise ValueError(f"its {where} is none")


def _parsed(content: bytes, what: str) -> Any:
    try:
        return parse_json(content)
    except ValueError:
        raise ValueError(f"its {what} is no JSON") from None


def _diff_ids(config: bytes) -> tuple[str, ...]:
    document = _parsed(config, "configuration")
    rootfs = document.get("rootfs") if isinstance(document, dict) else None
    layers = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(layers, list) or not layers:
        raise ValueError("the image's configuration names no layers")
    if not all(map(is_digest, layers)):
        raise ValueError("the image's configuration names its layers in another way than by sha256")
    return tuple(layers)


def _size(given: str | None, plain: int) -> int:
    if given is None:
        return plain
    if not re.fullmatch(r"[0-9]{1,18}", given):
        raise ValueError("a member's size is no number")
    return int(given)


def _pax(content: bytes) -> dict[str, str]:
    """Records `<length> <key>=<value>\\n` of an extended header."""
    found: dict[str, str] = {}
    at = 0
    while match := re.compile(rb"([0-9]{1,6}) ([^=\0]+)=").match(content, at):
        end = at + int(match[1])
        if end <= match.end() or end > len(content):
            break
        found[match[2].decode("utf-8", "replace")] = content[match.end() : end - 1].decode("utf-8", "replace")
        at = end
    return found


def _pieces(file: IO[bytes], member: Member) -> Iterator[bytes]:
    file.seek(member.offset)
    left = member.size
    while left:
        piece = file.read(min(PIECE, left))
        if not piece:
            raise ValueError(f"member {member.name[:100]!r} became shorter")
        left -= len(piece)
        yield piece


def _content(file: IO[bytes], member: Member) -> bytes:
    return b"".join(_pieces(file, member))


def _digest_of(file: IO[bytes], member: Member) -> str:
    total = hashlib.sha256()
    for piece in _pieces(file, member):
        total.update(piece)
    return f"sha256:{total.hexdigest()}"


def _is_packed(file: IO[bytes], member: Member) -> bool:
    file.seek(member.offset)
    return member.size > 4 and file.read(4).startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd"))


def _unpacked_digest(file: IO[bytes], member: Member, most: int) -> tuple[str, int]:
    """Hash and size of a member's content once it is unpacked, which may be up to `most` bytes."""
    import zstandard

    total, size = hashlib.sha256(), 0
    try:
        for piece in unpacked(_window(file, member)):
            total.update(piece)
            size += len(piece)
            if size > most:
                raise ValueError(f"its layers are more than {most / 1e6:.0f} MB")
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise ValueError(f"member {member.name[:100]!r} cannot be unpacked: {error}") from None
    return f"sha256:{total.hexdigest()}", size


def _window(file: IO[bytes], member: Member) -> io.BufferedReader:
    return io.BufferedReader(_Window(file, member), PIECE)


class _Window(io.RawIOBase):
    """One member as a file of its own. Nothing else may read the archive meanwhile."""

    def __init__(self, file: IO[bytes], member: Member) -> None:
        super().__init__()
        self._pieces = _pieces(file, member)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._rest = self._rest or next(self._pieces, b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
