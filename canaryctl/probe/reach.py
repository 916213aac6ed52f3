"""Where the application under test may send a probe: to no address that only the host itself reaches.

A probe asks from the host. What listens on its loopback or on a link-local address (Docker, a cloud's metadata) trusts
the host, and an application that names such an address in a redirect, a registration or a saved value would read it
through the probe. The address that is dialled decides: names are looked up on the host, once, and what was found is
dialled.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
import socket
import time
from dataclasses import dataclass

import httpx

from canaryctl.facts.jsontext import parse_json
from canaryctl.probe.context import Connection

Origin = tuple[str, str, int]  # scheme, host, port
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_NUMERIC = re.compile(r"(?:0[xX][0-9a-fA-F]*|[0-9]+)(?:\.(?:0[xX][0-9a-fA-F]*|[0-9]+))*")
# Where clouds keep what only the host should read, beside the link-local addresses.
_METADATA = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254")))
_EMBEDDING = tuple(map(ipaddress.IPv6Network, ("::/96", "64:ff9b::/96", "64:ff9b:1::/48")))
_LOOK_UP = (
    "import json, socket, sys; "
    "print(json.dumps([a[4][0] for a in socket.getaddrinfo(sys.argv[1], 0, type=socket.SOCK_STREAM)]))"
)
_MOST = 16  # addresses of one name that are looked at


class Refused(Exception):  # noqa: N818
    """The application named a place that a probe does not go to; says which and why."""


@dataclass(frozen=True)
class Elsewhere:
    """Where a probe goes beside the origin of its own request.

    `origins` are named by the probe and as good as its own; with `anywhere` it follows redirects to every address that
    others reach too.
    """

    origins: frozenset[Origin] = frozenset()
    anywhere: bool = False


NOWHERE_ELSE = Elsewhere()


def origin_of(url: httpx.URL) -> Origin:
    """What two URLs of one server have in common."""
    port = url.port if url.port is not None else {"https": 443}.get(url.scheme, 80)
    return url.scheme, url.raw_host.decode("ascii", "replace").lower(), port


def is_host_name(host: str) -> bool:
    """Whether it is an address or a name that can be looked up: resolvers break on some that are neither."""
    if ":" in host:
        try:
            return bool(ipaddress.IPv6Address(host))
        except ValueError:
            return False
    return len(host) <= 253 and all(map(_LABEL.fullmatch, host.removesuffix(".").split(".")))


def is_guarded(address: Address) -> bool:
    """Whether an address is the host's own business: loopback, link-local, a cloud's metadata, or no address at all."""
    if address in _METADATA or address.is_loopback or address.is_link_local:
        return True
    if address.is_unspecified or address.is_multicast:
        return True
    if isinstance(address, ipaddress.IPv4Address):
        return address in ipaddress.IPv4Network("0.0.0.0/8") or int(address) == 2**32 - 1
    if inner := address.ipv4_mapped or address.sixtofour:
        return is_guarded(inner)
    return any(address in net for net in _EMBEDDING) and is_guarded(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))


def literal(host: str) -> Address | None:
    """The address that a host is written as, in any form that resolvers take (`0x7f.1`, `2130706433`); None: a name."""
    host = host.removesuffix(".")
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    if not _NUMERIC.fullmatch(host):
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def dial_elsewhere(connection: Connection, python: str, host: str, port: int, timeout: float) -> socket.socket:
    """Connect from the host to a place that the application named.

    Args:
        python: the host's own Python, which looks names up there.
        timeout: seconds for everything.

    Raises:
        Refused: it is, or is looked up as, an address that only the host should reach.
        OSError: it refuses, does not answer, or there is no such name.
        HostError: the host is lost.
    """
    ends = time.monotonic() + timeout
    known = literal(host)
    found = [known] if known else _looked_up(connection, python, host, timeout)
    for address in found:
        if is_guarded(address):
            where = f"{host}:{port}" if known else f"{host}:{port} ({address})"
            raise Refused(f"{where} is an address of the host's own, where the application may not send a probe")
    refused: OSError = OSError(f"no address of {host} answers")
    for address in found:
        left = ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        try:
            return connection.dial(str(address), port, left)
        except OSError as error:
            refused = error
    raise refused


def _looked_up(connection: Connection, python: str, host: str, timeout: float) -> list[Address]:
    done = connection.run(f"{shlex.quote(python)} -IS -c {shlex.quote(_LOOK_UP)} {shlex.quote(host)}", timeout=timeout)
    try:
        found = parse_json(done.stdout) if done.code == 0 else []
        addresses = [ipaddress.ip_address(str(one).partition("%")[0]) for one in found[:_MOST]]
    except (ValueError, TypeError):
        addresses = []
    if not addresses:
        raise OSError(f"there is no {host}, as the host looks names up")
    return list(dict.fromkeys(addresses))
