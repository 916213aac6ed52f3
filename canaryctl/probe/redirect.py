"""Where an answer redirects to, as the next request. What it names is the application's word, to be judged as such."""

from __future__ import annotations

import ipaddress
import re

import httpx

from canaryctl.probe.expect import Answer, start

_REDIRECTS = (301, 302, 303, 307, 308)
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_OF_BODY = ("content-length", "content-type", "transfer-encoding")


class Nowhere(Exception):  # noqa: N818
    """A redirect that cannot be followed; says where it leads."""


def following(message: httpx.Request, answer: Answer, cookies: httpx.Cookies) -> httpx.Request | None:
    """The request that an answer redirects to; None where it is no redirect.

    Raises:
        Nowhere: it names no http or https URL.
    """
    location = answer.headers.get("location")
    if answer.status not in _REDIRECTS or location is None:
        return None
    url = usable_url(message.url, location)
    method = _method(message.method, answer.status)
    headers = httpx.Headers(message.headers)
    headers["host"] = url.netloc.decode("ascii")
    headers.pop("cookie", None)  # the jar knows which go where
    if not _is_same_origin(message.url, url):
        headers.pop("authorization", None)
    if method != message.method:
        for name in _OF_BODY:
            headers.pop(name, None)
    stream = message.stream if method == message.method else None
    following = httpx.Request(method, url, headers=headers, stream=stream)
    cookies.set_cookie_header(following)
    return following


def usable_url(base: httpx.URL | None, location: str) -> httpx.URL:
    """An http or https URL that an application wrote, relative to `base`, with a host that can be looked up.

    Raises:
        Nowhere: it is none.
    """
    try:
        url = base.join(location) if base else httpx.URL(location)
        host = url.raw_host.decode("ascii")
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        raise Nowhere(f"{start(location)} is no URL ({start(str(error), 80)})") from None
    if url.scheme not in ("http", "https"):
        raise Nowhere(f"{start(location)} is no http or https URL")
    if not is_host_name(host) or not 0 < _port(url) < 65536:
        raise Nowhere(f"{start(location)} names no host and port there can be")
    return url.copy_with(fragment=None)


def is_host_name(host: str) -> bool:
    """Whether it is an address or a name that can be looked up: resolvers break on some that are neither."""
    if ":" in host:
        try:
            return bool(ipaddress.IPv6Address(host))
        except ValueError:
            return False
    return len(host) <= 253 and all(map(_LABEL.fullmatch, host.removesuffix(".").split(".")))


def _is_same_origin(one: httpx.URL, other: httpx.URL) -> bool:
    return (one.scheme, one.raw_host.lower(), _port(one)) == (other.scheme, other.raw_host.lower(), _port(other))


def _port(url: httpx.URL) -> int:
    return url.port if url.port is not None else {"https": 443}.get(url.scheme, 80)


def _method(method: str, status: int) -> str:
    """As browsers do: what was sent is repeated by 307 and 308 alone."""
    if method == "HEAD" or status in (307, 308) or (status == 301 and method != "POST"):
        return method
    return "GET"
