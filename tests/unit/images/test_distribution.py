"""What this machine asks a registry, and what it takes of one that answers strangely: a real one, over HTTP."""

from __future__ import annotations

import gzip
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from canaryctl.config.reference import parse_reference
from canaryctl.errors import ConfigError
from canaryctl.images.credentials import Credential
from canaryctl.images.distribution import RegistryClient, UnreachableError

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


class Served:
    """Two servers on loopback, which are two origins; `asked` has (server, method, path, Authorization)."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, str, str, str]] = []
        self.answers: dict[str, Answer] = {}
        self.servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler(n)) for n in range(2)]
        for server in self.servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def _handler(self, number: int) -> type[http.server.BaseHTTPRequestHandler]:
        served = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if length := int(self.headers.get("Content-Length") or 0):
                    self.rfile.read(length)
                authorization = str(self.headers.get("Authorization") or "")
                served.asked.append((number, self.command, self.path, authorization))
                served.answers[self.path.partition("?")[0]](self)

            do_POST = do_GET  # noqa: N815  the name that http.server asks for

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def name(self, number: int = 0) -> str:
        return f"127.0.0.1:{self.servers[number].server_port}"


@pytest.fixture
def served() -> Iterator[Served]:
    found = Served()
    yield found
    for server in found.servers:
        server.shutdown()
        server.server_close()


def answer(status: int, content: bytes = b"", **headers: str) -> Answer:
    def send(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **headers}.items():
            handler.send_header(key.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)

    return send


MANIFEST = "/v2/web/manifests/1"


def fetch(served: Served, credential: Credential | None = None) -> bytes:
    reference = parse_reference(f"{served.name()}/web:1")
    client = RegistryClient(reference, credential, None)
    client._base = f"http://{served.name()}"  # as after TLS was refused
    try:
        return client.fetch(reference, "manifests", "1")[0]
    finally:
        client.close()


def test_what_opens_a_registry_does_not_follow_a_redirect_elsewhere(served: Served) -> None:
    served.answers[MANIFEST] = lambda handler: (
        answer(307, Location=f"http://{served.name(1)}/blob")(handler)
        if handler.headers.get("Authorization")
        else answer(401, WWW_Authenticate='Basic realm="x"')(handler)
    )
    served.answers["/blob"] = answer(200, b"{}")
    assert fetch(served, Credential("me", "secret")) == b"{}"
    assert [(number, bool(authorization)) for number, _, _, authorization in served.asked] == [
        (0, False),
        (0, True),
        (1, False),
    ]


@pytest.mark.parametrize("credential", [Credential("me", "secret"), Credential(identity_token="refresh")])
def test_a_token_server_that_redirects_gets_nothing_more(served: Served, credential: Credential) -> None:
    served.answers[MANIFEST] = answer(401, WWW_Authenticate=f'Bearer realm="http://{served.name()}/token"')
    served.answers["/token"] = answer(307, Location=f"http://{served.name(1)}/token")
    with pytest.raises(ConfigError):
        fetch(served, credential)
    assert {number for number, *_ in served.asked} == {0}


def test_nothing_is_asked_over_plain_http_of_others(served: Served) -> None:
    served.answers[MANIFEST] = answer(307, Location="http://registry.test/blob")
    with pytest.raises(ConfigError, match="where anybody could read or change it"):
        fetch(served)
    served.answers[MANIFEST] = answer(401, WWW_Authenticate='Bearer realm="http://registry.test/token"')
    with pytest.raises(ConfigError, match="where anybody could read or change it"):
        fetch(served, Credential("me", "secret"))
    remote = parse_reference("registry.test/web:1")
    client = RegistryClient(remote, Credential("me", "secret"), None)
    with pytest.raises(ConfigError, match="where anybody could read or change it"):
        client._token(remote, {"realm": f"http://{served.name()}/token"})
    client.close()
    assert len(served.asked) == 2


@pytest.mark.parametrize("location", ["data:,x", "ftp://x/", "https://" + "a" * 64 + ".x/", "http://[", MANIFEST, ""])
def test_a_redirect_to_nowhere_is_said(served: Served, location: str) -> None:
    served.answers[MANIFEST] = answer(302, Location=location)
    with pytest.raises(ConfigError) as raised:
        fetch(served)
    assert raised.value.where == served.name()


def test_an_answer_is_bounded_before_it_is_in_memory(served: Served) -> None:
    def endless(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(bytes(1 << 20))
        except OSError:
            pass

    served.answers[MANIFEST] = endless
    with pytest.raises(ConfigError, match="too big"):
        fetch(served)
    served.answers[MANIFEST] = answer(200, gzip.compress(bytes(1 << 24)), Content_Encoding="gzip")
    with pytest.raises(UnreachableError, match="packs its answers"):
        fetch(served)


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"errors": 5}', b'{"errors": [5]}', b'{"errors": [{"message": {}}]}', b"\xff"]
)
def test_a_refusal_in_any_words_is_a_refusal(served: Served, content: bytes) -> None:
    served.answers[MANIFEST] = answer(403, content)
    with pytest.raises(ConfigError, match="lets a visitor not read"):
        fetch(served)


@pytest.mark.parametrize(
    "challenge", ["Bearer realm=x", 'Bearer realm="https://"', 'Bearer realm="http://["', "Basic", "x" * 9000, ""]
)
def test_a_challenge_that_makes_no_sense_is_refused(served: Served, challenge: str) -> None:
    served.answers[MANIFEST] = answer(401, WWW_Authenticate=challenge)
    with pytest.raises(ConfigError) as raised:
        fetch(served, Credential("me", "secret"))
    assert raised.value.where == served.name()


def test_authorities_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("nonsense")
    with pytest.raises(ConfigError) as raised:
        RegistryClient(parse_reference("registry.test/web:1"), None, tmp_path / "ca.crt")
    assert raised.value.where == str(tmp_path / "ca.crt")
