"""Where an application may not send a probe: to the host's own addresses, or to an origin the probe does not name."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faultyapp import App, Loopback, prober, serving

from canaryctl.config.probes import load_probes
from canaryctl.errors import ConfigError
from canaryctl.probe.reach import Refused, dial_elsewhere, is_guarded, literal
from canaryctl.probe.templates import is_moved


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def inner() -> Iterator[App]:
    """What listens on the host's loopback and trusts it: another origin."""
    with serving() as server:
        yield server


@pytest.fixture
def run(app: App, inner: App, tmp_path: Path) -> Any:
    app.status, inner.noted[:] = 302, []
    return prober(app, tmp_path)


@pytest.mark.parametrize(
    "written",
    [
        "127.0.0.1", "127.1", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.0.0.1.", "0.0.0.0", "0",  # noqa: S104
        "169.254.169.254", "0xa9fea9fe", "100.100.100.200", "255.255.255.255", "224.0.0.1", "::", "::1", "fe80::1",
        "fe80::1%eth0", "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
        "fd00:ec2::254",
    ],
)  # fmt: skip
def test_the_hosts_own_addresses_are_known_however_they_are_written(written: str) -> None:
    address = literal(written)
    assert address is not None and is_guarded(address)


@pytest.mark.parametrize("written", ["10.0.0.5", "192.168.1.1", "8.8.8.8", "fd00::1", "2001:db8::1", "::ffff:10.0.0.5"])
def test_what_others_reach_too_is_not_guarded(written: str) -> None:
    assert not is_guarded(ipaddress.ip_address(written))


@pytest.mark.parametrize("name", ["localhost", "a.example", "dead.beef.example", "0x", "1.2.3.4.5", "x"])
def test_a_name_is_no_address(name: str) -> None:
    assert literal(name) is None


def test_a_name_is_looked_up_on_the_host_and_what_was_found_is_dialled() -> None:
    with pytest.raises(Refused, match=r"localhost:2375 \((127\.0\.0\.1|::1)\) is an address of the host's own"):
        dial_elsewhere(Loopback(), "python3", "localhost", 2375, 5)
    with pytest.raises(OSError, match=r"there is no nope\.invalid, as the host looks names up"):
        dial_elsewhere(Loopback(), "python3", "nope.invalid", 80, 5)

    class Changing(Loopback):
        """A name that is another address by the time it is dialled."""

        def run(self, command: str, **_: Any) -> Any:
            assert "canary.example" in command
            return SimpleNamespace(code=0, stdout=b'["10.0.0.1", "10.0.0.2"]', stderr=b"")

        def dial(self, address: str, port: int, timeout: float) -> socket.socket:
            asked.append(address)
            raise ConnectionRefusedError

    asked: list[str] = []
    with pytest.raises(ConnectionRefusedError):
        dial_elsewhere(Changing(), "python3", "canary.example", 80, 5)
    assert asked == ["10.0.0.1", "10.0.0.2"]


def http(more: str = "") -> str:
    return (
        '- {name: p, kind: http, on: core, url: "{{ base }}/sent", redirects: 3, timeout: 3s, '
        f"headers: {{x-api-key: s3cret, authorization: Bearer s3cret, cookie: a=s3cret}}{more}}}"
    )


def test_a_redirect_stays_on_its_origin(run: Any, app: App, inner: App) -> None:
    app.location = f"http://127.0.0.1:{inner.server_port}/noted"
    (row,) = run(http())
    assert row.verdict == "failed" and "is of another origin, where the probe does not go" in row.reason
    assert inner.noted == []


@pytest.mark.parametrize("place", ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]", "169.254.169.254"])
def test_and_wherever_it_may_lead_never_to_the_hosts_own_addresses(run: Any, app: App, inner: App, place: str) -> None:
    app.location = f"http://{place}:{inner.server_port}/noted"
    (row,) = run(http(", redirects_to: any"))
    assert row.verdict == "failed" and "is an address of the host's own" in row.reason, row.reason
    assert inner.noted == [] and "inner" not in str(row.as_dict())


def test_another_origin_that_the_probe_lists_gets_nothing_of_it(run: Any, app: App, inner: App) -> None:
    app.location = f"http://127.0.0.1:{inner.server_port}/noted"
    (row,) = run(http(f', redirects_to: "http://127.0.0.1:{inner.server_port}"'))
    assert row.verdict == "passed", row.reason
    ((method, headers, sent),) = inner.noted
    assert method == "GET" and sent == {} and "s3cret" not in str(headers)
    assert set(map(str.lower, headers)) == {"host", "accept", "accept-encoding", "connection", "user-agent"}


def test_the_same_origin_gets_what_the_probe_sends_and_its_cookies(run: Any, app: App) -> None:
    app.location, app.noted[:] = "/noted", []
    (row,) = run(http())
    ((_, headers, _),) = app.noted
    headers = {name.lower(): value for name, value in headers.items()}
    assert row.verdict == "passed" and (headers["x-api-key"], headers.get("cookie")) == ("s3cret", "session=own")


def test_a_cookie_that_no_header_can_carry_is_told(run: Any, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    app.location = "/noted"
    monkeypatch.setattr("faultyapp.COOKIE", "session=\xb2")
    (row,) = run(http())
    assert row.verdict == "failed" and "a cookie that no header can carry" in row.reason


def test_another_origin_is_sent_no_body(run: Any, app: App, inner: App) -> None:
    app.location, app.status = f"http://127.0.0.1:{inner.server_port}/noted", 307
    listed = f', redirects_to: "http://127.0.0.1:{inner.server_port}"'
    (row,) = run(http(f", method: POST, json: {{password: s3cret}}{listed}"))
    assert row.verdict == "failed" and "is of another origin, which is not sent a POST" in row.reason
    assert inner.noted == []


def test_an_endpoint_that_an_application_registers_is_not_the_hosts_own(run: Any, app: App, inner: App) -> None:
    app.told = f'[{{"type": "a", "endpoint": "http://127.0.0.1:{inner.server_port}"}}]'
    probe = (
        '- {name: p, kind: registered, on: core, timeout: 3s, url: "{{ base }}/told", kind_field: type, kinds: {a: 1},'
        " reachable: {endpoint_field: endpoint, path: /noted%s}}"
    )
    (row,) = run(probe % "")
    assert row.verdict == "failed" and "is an address of the host's own" in row.reason
    assert inner.noted == []
    (row,) = run(probe % f', origins: ["http://127.0.0.1:{inner.server_port}"]')
    assert row.verdict == "passed" and len(inner.noted) == 1


SAVED = """
- {name: saves, kind: http, on: core, url: "{{ base }}/told", save: {place: at, path: path}, timeout: 3s}
- {name: follows, kind: http, on: core, url: "%s", needs: saves, timeout: 3s}
- {name: connects, kind: tcp, on: core, address: "{{ place }}", port: PORT, needs: saves, timeout: 3s}
"""


@pytest.mark.parametrize("url", ["http://{{ place }}:PORT/noted", "http://127.0.0.1{{ path }}", "{{ path }}"])
def test_nor_is_a_place_that_a_saved_value_names(run: Any, app: App, inner: App, url: str) -> None:
    port = str(inner.server_port)
    path = f"http://127.0.0.1:{port}/noted" if url == "{{ path }}" else f":{port}/noted"
    app.told = f'{{"at": "127.0.0.1", "path": "{path}"}}'
    _, follows, connects = run((SAVED % url).replace("PORT", port))
    assert (follows.verdict, connects.verdict) == ("failed", "failed") and inner.noted == []
    assert "is an address of the host's own" in follows.reason and "address of the host's own" in connects.reason


def test_a_saved_value_in_a_path_names_no_place(run: Any, app: App) -> None:
    app.told = '{"at": "x", "path": "noted"}'
    _, follows, _ = run((SAVED % "{{ base }}/{{ path }}").replace("PORT", "1"))
    assert follows.verdict == "passed", follows.reason


@pytest.mark.parametrize(
    "place, moved",
    [
        ("http://a/{{ saved }}", False),
        ("http://a/{{ saved.id[0] | int }}?q={{ saved }}#{{ saved }}", False),
        ("http://a{{ saved }}", True),
        ("http://{{ saved }}/", True),
        ("{{ saved }}://a/", True),
        ("http://a:{{ saved }}/", True),
        ("http://{{ own }}/", False),
        ("{{ saved }}", True),
        ("{{ own }}", False),
    ],
)
def test_whether_a_value_decides_the_server(place: str, moved: bool) -> None:
    names = {"own": "b", "saved": {"id": ["7"]}}
    assert is_moved(place, names, {"saved"}) == moved


@pytest.mark.parametrize(
    ("path", "moved"),
    [
        ("/jobs/1?x=//y", False),
        ("?page=2", False),
        ("/@evil/", False),
        ("@evil/", True),
        (".evil/", True),
        (":81/", True),
        ("\t@evil/", True),
        ("\\@evil/", True),  # httpx goes to evil
        ("\\@127.0.0.1:2375/", True),
        ("81/", True),
    ],
)
def test_a_path_right_behind_the_server_does_not_decide_it(path: str, moved: bool) -> None:
    assert is_moved("http://127.0.0.1:80{{ saved }}", {"saved": path}, {"saved"}) == moved
    assert is_moved("http://{{ saved | replace('/', '') }}/x", {"saved": "/127.0.0.1"}, {"saved"})


@pytest.mark.parametrize("origin", ["login.example", "ftp://x", "http://x/path", "http:///", "http://x/?q", "7"])
def test_an_origin_is_a_url_without_a_path(tmp_path: Path, origin: str) -> None:
    (tmp_path / "p.yml").write_text(f'- {{name: p, kind: http, on: core, url: "http://x", redirects_to: ["{origin}"]}}')
    with pytest.raises(ConfigError, match="is no origin"):
        load_probes(tmp_path / "p.yml")
