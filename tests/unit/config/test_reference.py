"""Image references as Docker reads them."""

from __future__ import annotations

import pytest

from canaryctl.config.reference import parse_reference

DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("debian", "docker.io/library/debian:latest"),
        ("debian:trixie-slim", "docker.io/library/debian:trixie-slim"),
        ("acme/web:1", "docker.io/acme/web:1"),
        ("index.docker.io/acme/web", "docker.io/acme/web:latest"),
        ("registry.test/web:1", "registry.test/web:1"),
        ("registry.test:5000/a/b/web_x:1.0-rc", "registry.test:5000/a/b/web_x:1.0-rc"),
        ("localhost/web", "localhost/web:latest"),
        ("[::1]:5000/web", "[::1]:5000/web:latest"),
        (f"registry.test/web@{DIGEST}", f"registry.test/web@{DIGEST}"),
        (f"registry.test/web:1@{DIGEST}", f"registry.test/web@{DIGEST}"),
    ],
)
def test_a_reference(text: str, read: str) -> None:
    assert str(parse_reference(text)) == read


@pytest.mark.parametrize(
    "text",
    (
        "",
        "Web",
        "registry.test/Web:1",
        "web:",
        "web@",
        "web@sha256:12",
        "https://registry.test/web",
        "a//b",
        "web:a b",
        "registry.test/",
        "../web",
        "registry.test/web:1@md5:ab",
    ),
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no image reference"):
        parse_reference(text)


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("localhost:5000/web", True),
        ("127.0.0.1:5000/web", True),
        ("127.9.9.9/web", True),
        ("[::1]:5000/web", True),
        ("10.0.0.1:5000/web", False),
        ("localhost.example.test/web", False),
        ("web", False),
    ],
)
def test_only_this_machine_is_local(text: str, local: bool) -> None:
    assert parse_reference(text).local is local
