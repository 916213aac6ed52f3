"""Ask over HTTP through the host's SSH connection: bounded in time and size, and always recorded."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Set
from dataclasses import replace

import httpcore
import httpx

from canaryctl.config.durations import show_duration
from canaryctl.config.probes import Request
from canaryctl.errors import HostError
from canaryctl.probe.expect import MAX_READ, Answer
from canaryctl.probe.reach import NOWHERE_ELSE, Elsewhere, Origin, Refused, dial_elsewhere, is_host_name, origin_of
from canaryctl.probe.redirect import USUAL, following
from canaryctl.probe.results import Exchange, Unanswered, Unusable
from canaryctl.probe.scope import Scope
from canaryctl.probe.tunnel import Dial, Tunnel

NOT_KEPT = "[not kept: it comes from an address that the application named]"


def ask(
    scope: Scope,
    request: Request,
    what: str,
    timeout: float,
    *,
    redirects: int = 0,
    ends: float | None = None,
    elsewhere: Elsewhere = NOWHERE_ELSE,
    foreign: bool = False,
) -> Answer:
    """Send a request whose templates are rendered already and read at most MAX_READ bytes of the answer.

    Args:
        what: the part it plays, for the evidence: `request`, `start`, `status` ...
        timeout: seconds for everything, redirects included.
        redirects: how many to follow; the one after the last is the answer.
        ends: a deadline of its own, for cleaning up after the set's deadline.
        elsewhere: where redirects may lead beside the request's own origin.
        foreign: the application named the URL, as it did where its host comes of a saved value.

    Raises:
        Unanswered: refused, late, closed, host lost, or a place where the application may not send a probe.
        Unusable: the request cannot be made as it is written.
    """
    ends = scope.ends(timeout) if ends is None else ends
    sent = _sent(request)
    url, host = request.url, scope.host
    began = time.monotonic()
    allowed = show_duration(max(ends - began, 0.001))
    message = _message(scope, request)
    own = elsewhere.origins | (set() if foreign or request.url in scope.foreign else {origin_of(message.url)})
    try:
        with Tunnel(_dialling(scope, own), ends) as tunnel:
            cookies = httpx.Cookies()
            for left in range(redirects, -1, -1):
                url, began = str(message.url), time.monotonic()
                answer = _one(tunnel, message, cookies)
                body = answer.text if elsewhere.anywhere or origin_of(message.url) in own else NOT_KEPT
                scope.record(_answered(Exchange(what, message.method, url, sent=sent), answer, body), began)
                onward = _onward(scope, message, answer, cookies, elsewhere) if left else None
                if onward is None:
                    return answer
                message, sent = onward, ""
            raise AssertionError("unreachable")
    except Refused as error:
        reason, lost = str(error), False
    except HostError as error:
        reason, lost = f"{error.where or host} cannot be reached over SSH: {error.what}", True
    except (httpcore.TimeoutException, TimeoutError):
        reason, lost = f"no complete answer from {url} within {allowed}", False
    except httpcore.ConnectError as error:
        reason, lost = f"{error}: {url} from {host}", False
    except httpcore.LocalProtocolError as error:
        raise scope.blamed(Unusable(f"the request cannot be sent: {error}")) from None
    except httpcore.RemoteProtocolError as error:
        reason, lost = f"{url} closed the connection or does not speak HTTP: {error}", False
    except (httpcore.NetworkError, OSError) as error:
        reason, lost = f"the connection to {url} broke: {error}", False
    scope.record(Exchange(what, request.method, url, sent=sent, error=reason), began)
    raise Unanswered(scope.context.scrub(reason), lost=lost)


def _answered(exchange: Exchange, answer: Answer, body: str) -> Exchange:
    return replace(exchange, status=answer.status, body=body, truncated=answer.truncated)


def _sent(request: Request) -> str:
    return request.body or ("" if request.json_body is None else json.dumps(request.json_body, ensure_ascii=False))


def _message(scope: Scope, request: Request) -> httpx.Request:
    headers = {**USUAL, **{name.lower(): value for name, value in request.headers.items()}}
    try:
        message = httpx.Request(
            request.method.upper(),
            request.url,
            headers=headers,
            json=request.json_body,
            content=None if request.body is None else request.body.encode(),
        )
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        raise scope.blamed(Unusable(f"the request to '{request.url}' cannot be made: {error}")) from None
    if message.url.scheme not in ("http", "https") or not is_host_name(message.url.raw_host.decode("ascii", "replace")):
        raise scope.blamed(Unusable(f"'{request.url}' is no http or https URL"))
    if message.url.userinfo and "authorization" not in message.headers:
        next(httpx.BasicAuth(message.url.username, message.url.password).auth_flow(message))
    return message


def _dialling(scope: Scope, own: Set[Origin]) -> Dial:
    """How a request's connections are made: freely to the probe's own places, guardedly to all others."""
    places = {(host, port) for _, host, port in own}

    def dial(host: str, port: int, timeout: float) -> socket.socket:
        if (host.lower(), port) in places:
            return scope.connection().dial(host, port, timeout)
        return dial_elsewhere(scope.connection(), scope.python, host, port, timeout)

    return dial


def _onward(
    scope: Scope, message: httpx.Request, answer: Answer, cookies: httpx.Cookies, elsewhere: Elsewhere
) -> httpx.Request | None:
    try:
        return following(message, answer, cookies, elsewhere)
    except Refused as error:
        raise Unanswered(scope.context.scrub(f"{message.url} redirects to {error}")) from None


def _one(tunnel: Tunnel, message: httpx.Request, cookies: httpx.Cookies) -> Answer:
    # By the transport itself: httpx's client would read the place that a redirect names, and break on some.
    response = tunnel.handle_request(message)
    try:
        body = bytearray()
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > MAX_READ:
                break
    finally:
        response.close()
    response.request = message
    cookies.extract_cookies(response)
    cut = len(body) > MAX_READ
    return Answer(response.status_code, bytes(body[:MAX_READ]), response.headers, cut)
