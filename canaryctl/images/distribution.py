"""Speak to one registry.

Sources: github.com/opencontainers/distribution-spec; for tokens, distribution.github.io/distribution/spec/auth.
"""

from __future__ import annotations

import base64
import re
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from canaryctl.config.reference import DOCKER_HUB, Reference, is_loopback
from canaryctl.errors import ConfigError
from canaryctl.facts.jsontext import parse_json
from canaryctl.images.credentials import Credential

if TYPE_CHECKING:  # an HTTP client takes longer to import than most commands take
    import httpx

INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_TRUSTED_BY_DOCKER = Path("/etc/docker/certs.d")
_LARGEST = 16 << 20  # bytes of a manifest or a configuration; real ones have some kilobytes
_LONGEST_CHALLENGE = 8192
_PATIENCE = 120.0  # seconds for all of one answer
_MOST_REDIRECTS = 5
_TOKEN = re.compile(r"[\x21-\x7e]{1,65536}")


@dataclass(frozen=True)
class _Answer:
    """A registry's answer; `next` is where it redirects to."""

    status_code: int
    reason: str
    headers: httpx.Headers
    content: bytes
    url: httpx.URL
    next: httpx.URL | None


class UnreachableError(ConfigError):
    """A registry cannot be reached from this machine, or does not answer as one."""


class RegistryClient:
    """One registry over one HTTP client; tokens are kept by repository. Safe to use from several threads."""

    def __init__(self, reference: Reference, credential: Credential | None, ca: Path | None) -> None:
        import httpx

        self._name, self._plain_allowed = reference.registry, reference.local
        self._credential = credential
        host = "registry-1.docker.io" if self._name == DOCKER_HUB else self._name
        self._base = f"https://{host}"
        # httpx alone would trust its own list of authorities; an operator's machine has one, and may have added to it.
        trusted = ssl.create_default_context()
        for file in [ca, *sorted((_TRUSTED_BY_DOCKER / self._name).glob("*.crt"))]:
            if file is not None:
                _trust(trusted, file)
        self._client = httpx.Client(
            verify=trusted,
            timeout=httpx.Timeout(30, connect=10),
            headers={"User-Agent": "canaryctl", "Accept-Encoding": "identity"},
        )
        self._tokens: dict[str, str] = {}

    def close(self) -> None:
        """End the connections."""
        self._client.close()

    def fetch(self, reference: Reference, kind: str, name: str) -> tuple[bytes, str]:
        """One object; ("manifests" or "blobs", and a digest or tag): its bytes and media type.

        Raises:
            ConfigError: the registry refuses, or has no such thing.
            UnreachableError: it does not answer as a registry does.
        """
        path = f"/v2/{reference.name}/{kind}/{name}"
        answer = self._get(reference, path)
        if answer.status_code == 401:
            self._log_in(reference, answer)
            answer = self._get(reference, path)
        if answer.status_code in (401, 403):
            raise self._refused(reference, answer)
        if answer.status_code == 404:
            what = f"no image {reference}" if kind == "manifests" else f"no blob {name[:19]} of {reference}"
            raise ConfigError(f"the registry has {what}", self._name, "see which tags it has, or publish the image")
        if answer.status_code == 429:
            raise ConfigError(
                "the registry lets this machine ask no more for now", self._name, f"docker login {self._name}, or wait"
            )
        if answer.status_code != 200:
            raise UnreachableError(
                f"the registry answers {answer.status_code} {answer.reason}: {_words(answer)}",
                self._name,
                "look at the registry, then try again",
            )
        return answer.content, answer.headers.get("content-type", "").partition(";")[0]

    def _get(self, reference: Reference, path: str) -> _Answer:
        headers = {"Accept": ", ".join((*INDEXES, *_MANIFESTS, "*/*"))}
        if authorization := self._tokens.get(reference.name):
            headers["Authorization"] = authorization
        try:
            return self._follow(self._base + path, headers)
        except UnreachableError:
            if not self._plain_allowed or self._base.startswith("http:"):
                raise
            self._base = self._base.replace("https:", "http:", 1)
            return self._follow(self._base + path, headers)

    def _follow(self, url: str, headers: dict[str, str]) -> _Answer:
        """GET, through redirects: registries keep blobs elsewhere. What opens the registry does not go there."""
        answer = self._ask("GET", url, headers=headers)
        for _ in range(_MOST_REDIRECTS):
            if answer.next is None:
                return answer
            if (answer.next.scheme, answer.next.netloc) != (answer.url.scheme, answer.url.netloc):
                headers = {key: value for key, value in headers.items() if key != "Authorization"}
            self._require_tls(str(answer.next), "sends this machine")
            answer = self._ask("GET", str(answer.next), headers=headers)
        raise UnreachableError("the registry redirects in circles", self._name, "look at the registry")

    def _require_tls(self, url: str, what: str) -> None:
        """Only a registry on this very machine may speak of plain HTTP, and of this machine alone."""
        import httpx

        try:
            plain = self._plain_allowed and is_loopback(httpx.URL(url).host)
        except httpx.InvalidURL:
            plain = False
        if not url.startswith("https://") and not plain:
            raise ConfigError(
                f"the registry {what} to {url[:200]}, where anybody could read or change it", self._name, "use TLS"
            )

    def _ask(self, method: str, url: str, **more: Any) -> _Answer:
        """One request, no redirects.

        Raises:
            UnreachableError: there is no answer.
            ConfigError: there is one without end.
        """
        import httpx

        ends = time.monotonic() + _PATIENCE
        content = bytearray()
        try:
            with self._client.stream(method, url, **more) as response:
                if response.headers.get("content-encoding", "identity") != "identity":
                    raise UnreachableError(
                        "the registry packs its answers, although it was asked not to", self._name, "look at its proxy"
                    )
                for piece in response.iter_raw():
                    content += piece
                    if len(content) > _LARGEST or time.monotonic() > ends:
                        raise ConfigError(
                            "the registry's answer is too big for a manifest, or does not end",
                            self._name,
                            "is that a registry?",
                        )
                after = response.next_request
                return _Answer(
                    response.status_code,
                    response.reason_phrase,
                    response.headers,
                    bytes(content),
                    response.url,
                    after.url if after else None,
                )
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise _unreachable(self._name, error) from None

    def _log_in(self, reference: Reference, answer: _Answer) -> None:
        """Get what the registry asks for: a token for this repository, or the password with every request."""
        challenges = parse_challenges(answer.headers.get_list("www-authenticate"))
        if "bearer" in challenges:
            self._tokens[reference.name] = f"Bearer {self._token(reference, challenges['bearer'])}"
        elif "basic" in challenges and self._credential and self._credential.user:
            login = f"{self._credential.user}:{self._credential.password}".encode()
            self._tokens[reference.name] = f"Basic {base64.b64encode(login).decode()}"
        else:
            raise self._refused(reference, answer)

    def _token(self, reference: Reference, challenge: Mapping[str, str]) -> str:
        realm, credential = challenge.get("realm", ""), self._credential
        self._require_tls(realm, "wants the credential sent")
        query = {"service": challenge.get("service", ""), "scope": f"repository:{reference.name}:pull"}
        if credential and credential.identity_token:
            form = {**query, "grant_type": "refresh_token", "client_id": "canaryctl"}
            answer = self._ask("POST", realm, data={**form, "refresh_token": credential.identity_token})
        else:
            login = (credential.user, credential.password) if credential else None
            answer = self._ask("GET", realm, params=query, auth=login)
        if answer.status_code != 200:
            raise self._refused(reference, answer)
        if token := parse_token(answer.content):
            return token
        raise UnreachableError(f"{realm} gives no token", self._name, "look at the registry")

    def _refused(self, reference: Reference, answer: _Answer) -> ConfigError:
        who = f"the credential of {self._credential.user or 'its token'}" if self._credential else "a visitor"
        return ConfigError(
            f"the registry lets {who} not read {reference.name} ({answer.status_code}: {_words(answer)})",
            self._name,
            f"docker login {self._name} on this machine, with a user who may read it",
        )


def parse_token(content: bytes) -> str:
    """The token in a token server's answer, '' where there is none that could stand in a header."""
    try:
        document = parse_json(content)
    except ValueError:
        return ""
    found = (document.get("token") or document.get("access_token")) if isinstance(document, dict) else None
    return found if isinstance(found, str) and _TOKEN.fullmatch(found) else ""


def parse_challenges(headers: Iterable[str]) -> dict[str, dict[str, str]]:
    """WWW-Authenticate headers: scheme in lower case -> its parameters."""
    found: dict[str, dict[str, str]] = {}
    for header in headers:
        scheme = ""
        for match in re.finditer(
            r'([A-Za-z]+)\s+(?=[A-Za-z]+=)|([A-Za-z_]+)=(?:"([^"]*)"|([^",\s]+))', header[:_LONGEST_CHALLENGE]
        ):
            if match[1]:
                scheme = match[1].lower()
                found.setdefault(scheme, {})
            elif scheme:
                found[scheme][match[2].lower()] = match[3] if match[3] is not None else match[4]
    return found


def _trust(context: ssl.SSLContext, file: Path) -> None:
    try:
        context.load_verify_locations(cafile=file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"the certificate authorities cannot be read: {error}", str(file), "give a file of PEM certificates"
        ) from None


def _words(answer: _Answer) -> str:
    try:
        document = parse_json(answer.content)
    except ValueError:
        return answer.content.decode("utf-8", "replace").strip()[:200] or "no reason given"
    errors = document.get("errors") if isinstance(document, dict) else None
    listed = [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    return "; ".join(str(error.get("message") or error.get("code")) for error in listed)[:300] or "no reason given"


def _unreachable(name: str, error: Exception) -> UnreachableError:
    reason = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return UnreachableError(
            f"the registry's certificate is not trusted here: {reason.rpartition('] ')[2]}",
            name,
            "set canary_registry_ca to the file of the authority that signed it, or SSL_CERT_FILE",
        )
    hint = "check its address, the network and proxies (HTTPS_PROXY)"
    return UnreachableError(f"the registry cannot be reached: {reason}", name, hint)
