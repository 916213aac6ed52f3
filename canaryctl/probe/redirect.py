"""Where an answer redirects to, as the next request. What it names is the application's word, to be judged as such."""

from __future__ import annotations

from collections.abc import Iterable

import httpx

from canaryctl.probe.expect import Answer, start
from canaryctl.probe.reach import Elsewhere, Origin, Refused, is_host_name, origin_of
from canaryctl.probe.results import Unusable

_REDIRECTS = (301, 302, 303, 307, 308)
_OF_BODY = ("content-length", "content-type", "transfer-encoding")
# Of canaryctl itself, so that any server may have them. A compressed answer could unfold to any size.
USUAL = {"accept": "*/*", "accept-encoding": "identity", "connection": "keep-alive", "user-agent": "canaryctl"}


def following(
    message: httpx.Request, answer: Answer, cookies: httpx.Cookies, elsewhere: Elsewhere
) -> httpx.Request | None:
    """The request that an answer redirects to; None where it is no redirect.

    Another origin gets nothing of the probe's: no header, cookie or body.

    Raises:
        Refused: it names no http or https URL, or one where the probe does not go.
    """
    location = answer.headers.get("location")
    if answer.status not in _REDIRECTS or location is None:
        return None
    url = usable_url(message.url, location)
    method = _method(message.method, answer.status)
    if origin_of(url) == origin_of(message.url):
        onward = _same(message, method, url)
    else:
        if origin_of(url) not in elsewhere.origins and not elsewhere.anywhere:
            raise Refused(f"{_shown(url)} is of another origin, where the probe does not go without redirects_to")
        if method not in ("GET", "HEAD"):
            raise Refused(f"{_shown(url)} is of another origin, which is not sent a {method}")
        cookies.clear()
        onward = httpx.Request(method, url, headers=USUAL)
    try:
        cookies.set_cookie_header(onward)
    except UnicodeError:
        raise Refused(f"{_shown(url)} with a cookie that no header can carry") from None
    return onward


def _same(message: httpx.Request, method: str, url: httpx.URL) -> httpx.Request:
    headers = httpx.Headers(message.headers)
    headers.pop("cookie", None)  # the jar knows which are meant
    if method == message.method:
        return httpx.Request(method, url, headers=headers, stream=message.stream)
    for name in _OF_BODY:
        headers.pop(name, None)
    return httpx.Request(method, url, headers=headers)


def usable_url(base: httpx.URL | None, location: str) -> httpx.URL:
    """An http or https URL that an application wrote, relative to `base`, with a host that can be looked up.

    Raises:
        Refused: it is none.
    """
    try:
        url = base.join(location) if base else httpx.URL(location)
        host, port = url.raw_host.decode("ascii"), origin_of(url)[2]
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        raise Refused(f"nowhere usable: {start(location)} is no URL ({start(str(error), 80)})") from None
    if url.scheme not in ("http", "https"):
        raise Refused(f"nowhere usable: {start(location)} is no http or https URL")
    if not is_host_name(host) or not 0 < port < 65536:
        raise Refused(f"nowhere usable: {start(location)} names no host and port there can be")
    return url.copy_with(fragment=None)


def named_origins(urls: Iterable[str]) -> frozenset[Origin]:
    """The origins that a probe itself names.

    Raises:
        Unusable: one is no http or https URL.
    """
    try:
        return frozenset(origin_of(usable_url(None, url)) for url in urls)
    except Refused as error:
        raise Unusable(str(error).removeprefix("nowhere usable: ")) from None


def _shown(url: httpx.URL) -> str:
    return start(str(url.copy_with(username=None, password=None)), 160)


def _method(method: str, status: int) -> str:
    """As browsers do: what was sent is repeated by 307 and 308 alone."""
    if method == "HEAD" or status in (307, 308) or (status == 301 and method != "POST"):
        return method
    return "GET"
