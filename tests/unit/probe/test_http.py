"""Kind `http`, and what is asked over HTTP: an application on loopback, this machine as the host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from faultyapp import App, Loopback, serving
from probed import scope_on

from canaryctl.config.probes.http import Http
from canaryctl.config.probes.parts import Request
from canaryctl.errors import HostError
from canaryctl.probe import http
from canaryctl.probe.exchange import NOT_KEPT, ask
from canaryctl.probe.reach import Elsewhere
from canaryctl.probe.results import Unanswered, Unusable


class Lost(Loopback):
    def dial(self, address: str, port: int, timeout: float) -> Any:
        raise HostError("no route to host", "h1")


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    with serving() as server:
        yield server


@pytest.fixture
def base(app: App) -> str:
    app.location, app.status = "", 302
    app.noted.clear()
    return f"http://127.0.0.1:{app.server_port}"


def probe(url: str, **more: Any) -> Http:
    return Http.model_validate({"kind": "http", "name": "Front", "on": "core", "url": url, **more})


@pytest.mark.parametrize(
    ("path", "expect", "verdict"),
    [
        ("/health", {}, "passed"),
        ("/health", {"jmespath": ["status == 'healthy'"]}, "passed"),
        ("/health", {"jmespath": ["status == 'ill'"]}, "failed"),
        ("/health", {"headers": {"content-type": "application/json"}}, "passed"),
        ("/health", {"headers": {"x-missing": "1"}}, "failed"),
        ("/broken", {}, "failed"),
        ("/broken", {"status": 500}, "passed"),
        ("/html", {"body": {"regex": "<title>docs"}}, "passed"),
        ("/moved", {"status": 307}, "passed"),
    ],
)
def test_an_answer_is_held_against_what_is_expected(base: str, path: str, expect: dict[str, Any], verdict: str) -> None:
    scope = scope_on(Loopback())
    assert http.run(probe(f"{base}{path}", expect=expect), scope).verdict == verdict
    assert "s3cret" not in str(scope.exchanges)


def test_the_answer_that_counts_is_behind_as_many_redirects_as_may_be_followed(base: str) -> None:
    scope = scope_on(Loopback())
    assert http.run(probe(f"{base}/moved", redirects=1), scope).verdict == "passed"
    assert [(one.status, one.url.removeprefix(base)) for one in scope.exchanges] == [(307, "/moved"), (200, "/health")]
    assert http.run(probe(f"{base}/loop", redirects=2), scope).verdict == "failed"
    assert [one.status for one in scope.exchanges[2:]] == [302] and scope.exchanges[2].times == 3


def test_values_are_kept_and_templates_filled(base: str) -> None:
    scope = scope_on(Loopback(), names={"base": base})
    assert http.run(probe("{{ base }}/health", save={"was": "status"}), scope).verdict == "passed"
    assert scope.saved == {"was": "healthy"}
    assert http.run(probe("{{ base }}/health", save={"was": "missing"}), scope).verdict == "failed"


@pytest.mark.parametrize(
    ("url", "connection", "lost", "words"),
    [
        ("{base}/close", Loopback(), False, "closed the connection or does not speak HTTP"),
        ("{base}/short", Loopback(), False, "closed the connection or does not speak HTTP"),
        ("{base}/drip", Loopback(), False, "no complete answer"),
        ("{base}/health", Lost(), True, "cannot be reached over SSH"),
        ("http://127.0.0.1:1/", Loopback(), False, "connection refused"),
        ("http://nobody.invalid/", Loopback(), False, "cannot connect"),
    ],
)
def test_what_keeps_an_answer_from_coming_is_recorded_and_told(
    base: str, url: str, connection: Loopback, lost: bool, words: str
) -> None:
    scope = scope_on(connection)
    with pytest.raises(Unanswered) as caught:
        ask(scope, Request(url=url.format(base=base)), "request", 0.4)
    assert words in caught.value.reason and caught.value.lost == lost
    (exchange,) = scope.exchanges
    assert (exchange.status, exchange.what) == (None, "request") and exchange.error and exchange.ms < 5000


def test_a_body_is_cut_where_it_grows_too_long(base: str) -> None:
    scope = scope_on(Loopback())
    answer = ask(scope, Request(url=f"{base}/huge"), "request", 10)
    assert answer.truncated and scope.exchanges[0].truncated
    assert len(answer.body) < 2**23 and len(scope.exchanges[0].body) <= 64 * 1024


@pytest.mark.parametrize("url", ["ftp://x/", "http://[::1", "no url", "http:///nowhere"])
def test_what_cannot_be_asked_blames_the_probe_and_where_a_value_of_the_application_did_it_the_application(
    url: str,
) -> None:
    with pytest.raises(Unusable):
        ask(scope_on(Loopback()), Request(url=url), "request", 1)
    scope = scope_on(Loopback())
    scope.depends = True
    with pytest.raises(Unanswered):
        ask(scope, Request(url=url), "request", 1)


def test_another_origin_gets_nothing_of_the_probes_and_keeps_its_answer_to_itself(app: App, base: str) -> None:
    with serving() as other:
        app.location = f"http://127.0.0.1:{other.server_port}/noted"
        asked = Request(url=f"{base}/sent", headers={"authorization": "Bearer s3cret"})
        with pytest.raises(Unanswered, match="another origin"):
            ask(scope_on(Loopback()), asked, "request", 5, redirects=1)
        assert not other.noted
        origins = frozenset({("http", "127.0.0.1", other.server_port)})
        ask(scope_on(Loopback()), asked, "request", 5, redirects=1, elsewhere=Elsewhere(origins))
        ((method, headers, _),) = other.noted
        assert method == "GET" and not {"authorization", "cookie"} & {name.lower() for name in headers}


def test_a_request_that_the_application_named_goes_to_no_address_of_the_hosts_own(app: App, base: str) -> None:
    before = len(app.calls)
    with pytest.raises(Unanswered, match="may not send a probe"):
        ask(scope_on(Loopback()), Request(url=f"{base}/health"), "request", 5, foreign=True)
    assert len(app.calls) == before and NOT_KEPT
