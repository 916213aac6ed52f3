"""Kind `tcp`: a port that accepts, or why not."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from faultyapp import Loopback
from probed import scope_on

from canaryctl.config.probes.tcp import Tcp
from canaryctl.errors import HostError
from canaryctl.probe import tcp


class Failing(Loopback):
    def __init__(self, error: Exception) -> None:
        self._error = error

    def dial(self, address: str, port: int, timeout: float) -> socket.socket:
        raise self._error


def probe(**more: Any) -> Tcp:
    return Tcp.model_validate({"kind": "tcp", "name": "Port", "on": "core", "address": "127.0.0.1", "port": 1, **more})


def test_a_port_that_accepts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        scope = scope_on(Loopback())
        assert tcp.run(probe(port=server.getsockname()[1]), scope).verdict == "passed"
    (exchange,) = scope.exchanges
    assert (exchange.method, exchange.error) == ("CONNECT", "")


@pytest.mark.parametrize(
    ("error", "words", "lost"),
    [
        (ConnectionRefusedError(), "connection refused", False),
        (TimeoutError(), "did not accept", False),
        (OSError("no route"), "cannot connect", False),
        (ValueError("embedded null byte"), "cannot connect", False),
        (OverflowError("port must be"), "cannot connect", False),
        (HostError("broken pipe", "h1"), "cannot be reached over SSH", True),
    ],
)
def test_each_way_not_to_accept_fails_and_is_recorded(error: Exception, words: str, lost: bool) -> None:
    scope = scope_on(Failing(error))
    outcome = tcp.run(probe(), scope)
    assert (outcome.verdict, scope.lost) == ("failed", lost)
    assert words in outcome.reason and scope.exchanges[0].error in outcome.reason


def test_an_address_that_the_application_gave_is_none_of_the_hosts_own() -> None:
    scope = scope_on(Loopback())
    scope.saved["at"] = "127.0.0.1"
    outcome = tcp.run(probe(address="{{ at }}"), scope)
    assert outcome.verdict == "failed" and "may not send a probe" in outcome.reason
