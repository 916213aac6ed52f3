"""known_hosts is read as OpenSSH reads it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pytest

from canaryctl.hosts.knownhosts import KnownKey, algorithms, fingerprint, matching, parse, standing

KEY = base64.b64encode(b"one key").decode()
OTHER = base64.b64encode(b"another").decode()


def hashed(name: str) -> str:
    salt = b"0123456789abcdefghij"
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize(
    ("names", "asked", "found"),
    [
        ("web", "web", True),
        ("web,192.0.2.7", "192.0.2.7", True),
        ("[127.0.0.1]:2222", "[127.0.0.1]:2222", True),
        ("[127.0.0.1]:2222", "127.0.0.1", False),
        ("*.example.org", "web.example.org", True),
        ("*.example.org,!bad.example.org", "bad.example.org", False),
        ("web?", "web1", True),
        ("WEB", "web", True),
        (hashed("[web]:2222"), "[web]:2222", True),
        (hashed("web"), "other", False),
        ("|1|broken", "web", False),
        ("|1|!!!|???", "web", False),
    ],
)
def test_which_lines_are_about_a_host(names: str, asked: str, found: bool) -> None:
    assert bool(parse(f"{names} ssh-ed25519 {KEY} comment\n", asked, "kh")) is found


def test_comments_and_damaged_lines_are_passed_over() -> None:
    text = f"# web ssh-ed25519 {KEY}\n\nweb\nweb ssh-ed25519 ###\nweb ssh-ed25519 {KEY}\n"
    assert parse(text, "web", "kh") == [KnownKey("kh:5", "", "ssh-ed25519", b"one key")]


def test_markers_are_kept() -> None:
    found = parse(f"@revoked * ssh-rsa {KEY}\n@cert-authority *.org ssh-rsa {KEY}\n", "web.org", "kh")
    assert [key.marker for key in found] == ["@revoked", "@cert-authority"]


def test_the_bare_name_counts_only_where_the_port_has_none(tmp_path: Path) -> None:
    file = tmp_path / "kh"
    file.write_text(f"web ssh-ed25519 {OTHER}\n")
    assert [key.blob for key in matching([file, tmp_path / "absent"], ["[web]:22", "web"])] == [b"another"]
    file.write_text(f"web ssh-ed25519 {OTHER}\n[web]:2222 ssh-ed25519 {KEY}\n")
    assert [key.blob for key in matching([file], ["[web]:2222", "web"])] == [b"one key"]


def test_what_is_said_of_a_key() -> None:
    known = [KnownKey("kh:1", "", "ssh-ed25519", b"one key")]
    revoked = [*known, KnownKey("kh:2", "@revoked", "ssh-ed25519", b"one key")]
    assert standing(known, "ssh-ed25519", b"one key") == "known"
    assert standing(known, "ssh-ed25519", b"another") == "changed"
    assert standing(known, "ssh-rsa", b"another") == "changed"
    assert standing([], "ssh-ed25519", b"one key") == "unknown"
    assert standing(revoked, "ssh-ed25519", b"one key") == "revoked"


def test_the_known_key_decides_what_to_ask_for() -> None:
    known = [KnownKey("", "", "ssh-rsa", b""), KnownKey("", "", "ssh-ed25519", b"")]
    assert algorithms(known) == ["rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519"]


def test_fingerprints_read_as_ssh_prints_them() -> None:
    assert fingerprint(b"one key").startswith("SHA256:") and not fingerprint(b"one key").endswith("=")
