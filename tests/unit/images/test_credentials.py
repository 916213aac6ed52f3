"""Credentials as `docker login` and credential helpers keep them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from canaryctl.errors import ConfigError
from canaryctl.images.credentials import Credential, find_credential

AUTH = base64.b64encode(b"anna:geheim:x").decode()
HELPER = """\
#!/bin/sh
read -r key
case "$key" in
  registry.test) echo '{"ServerURL": "registry.test", "Username": "hans", "Secret": "tresor"}' ;;
  token.test) echo '{"Username": "<token>", "Secret": "identity"}' ;;
  broken.test) echo 'the key ring is locked' >&2; exit 1 ;;
  *) echo 'credentials not found in native keychain'; exit 1 ;;
esac
"""


@pytest.fixture
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    helper = tmp_path / "docker-credential-ring"
    helper.write_text(HELPER)
    helper.chmod(0o755)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def write(document: object) -> None:
        (tmp_path / "config.json").write_text(document if isinstance(document, str) else json.dumps(document))

    return write


@pytest.mark.parametrize(
    ("config", "registry", "found"),
    [
        ({}, "registry.test", None),
        ({"auths": {"registry.test": {"auth": AUTH}}}, "registry.test", Credential("anna", "geheim:x")),
        ({"auths": {"https://registry.test/v1/": {"auth": AUTH}}}, "registry.test", Credential("anna", "geheim:x")),
        ({"auths": {"registry.test": {"auth": AUTH}}}, "registry.test:5000", None),
        ({"auths": {"registry.test": {}}}, "registry.test", None),
        ({"auths": {"https://index.docker.io/v1/": {"auth": AUTH}}}, "docker.io", Credential("anna", "geheim:x")),
        (
            {"auths": {"registry.test": {"auth": AUTH, "identitytoken": "it"}}},
            "registry.test",
            Credential(identity_token="it"),
        ),
        ({"credsStore": "ring"}, "registry.test", Credential("hans", "tresor")),
        ({"credHelpers": {"token.test": "ring"}}, "token.test", Credential(identity_token="identity")),
        ({"credsStore": "ring", "auths": {"other.test": {}}}, "other.test", None),
        (
            {"credsStore": "none", "credHelpers": {"registry.test": "ring"}},
            "registry.test",
            Credential("hans", "tresor"),
        ),
    ],
)
def test_where_a_credential_comes_from(
    docker_config: Any, config: dict[str, Any], registry: str, found: Credential | None
) -> None:
    docker_config(config)
    assert find_credential(registry) == found


@pytest.mark.parametrize(
    ("config", "registry", "said"),
    [
        ("{", "registry.test", "cannot be read"),
        ("[]", "registry.test", "no JSON object"),
        ({"auths": {"registry.test": {"auth": "%%"}}}, "registry.test", "not base64"),
        ({"credsStore": "missing"}, "registry.test", "docker-credential-missing, which is not on this machine"),
        ({"credsStore": "ring"}, "broken.test", "the key ring is locked"),
    ],
)
def test_a_faulty_configuration_is_said(docker_config: Any, config: object, registry: str, said: str) -> None:
    docker_config(config)
    with pytest.raises(ConfigError, match=said) as raised:
        find_credential(registry)
    assert raised.value.hint


def test_nothing_prints_a_credential() -> None:
    credential = Credential("anna", "geheim", "it")
    assert "geheim" not in repr(credential) and "it'" not in repr(credential)


def test_the_header_that_docker_takes() -> None:
    header = json.loads(base64.urlsafe_b64decode(Credential("anna", "geheim").as_header("registry.test")))
    assert header == {"username": "anna", "password": "geheim", "serveraddress": "registry.test"}
    header = json.loads(base64.urlsafe_b64decode(Credential(identity_token="it").as_header("docker.io")))
    assert header == {"identitytoken": "it", "serveraddress": "https://index.docker.io/v1/"}
