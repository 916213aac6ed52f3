"""HTTP through an SSH connection: no port is opened on the operator's machine, none need be open to it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator

import httpcore
import httpx

Dial = Callable[[str, int, float], socket.socket]  # host, port, seconds


class _Stream(httpcore.NetworkStream):
    """A socket on which every operation ends by one deadline, however slowly the other side drips."""

    def __init__(self, sock: socket.socket, left: Callable[[], float]) -> None:
        self._sock, self._left = sock, left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            self._sock.settimeout(self._left())
            return self._sock.recv(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout(str(error)) from None
        except OSError as error:
            raise httpcore.ReadError(str(error)) from None

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            self._sock.settimeout(self._left())
            self._sock.sendall(buffer)
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from None
        except OSError as error:
            raise httpcore.WriteError(str(error)) from None

    def close(self) -> None:
        self._sock.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            self._sock.settimeout(self._left())
            return _Stream(ssl_context.wrap_socket(self._sock, server_hostname=server_hostname), self._left)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from None
        except OSError as error:
            raise httpcore.ConnectError(f"TLS: {error}") from None

    def get_extra_info(self, info: str) -> None:
        return None


class _Backend(httpcore.NetworkBackend):
    """Dials through the host. HostError and Refused pass through: they say more than any of httpcore's errors."""

    def __init__(self, dial: Dial, left: Callable[[], float]) -> None:
        self._dial, self._left = dial, left

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            return _Stream(self._dial(host, port, self._left()), self._left)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from None
        except ConnectionRefusedError:
            raise httpcore.ConnectError("connection refused") from None
        except (OSError, ValueError, OverflowError) as error:  # a name or port that no resolver takes is no OSError
            raise httpcore.ConnectError(f"cannot connect ({error})") from None


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Iterable[bytes], close: Callable[[], None]) -> None:
        self._stream, self._close = stream, close

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        self._close()


class Tunnel(httpx.BaseTransport):
    """An httpx transport whose connections start at a host.

    Args:
        dial: makes a connection from there.
        deadline: `time.monotonic()` by which everything ends; what is late raises httpcore's timeouts.
    """

    def __init__(self, dial: Dial, deadline: float) -> None:
        self._dial, self._deadline = dial, deadline
        self._pools: dict[str, httpcore.ConnectionPool] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; the answer's body is read as it is iterated over."""
        answer = self._pool(request.url.scheme).handle_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream if isinstance(request.stream, httpx.SyncByteStream) else None,
            )
        )
        body = answer.stream if isinstance(answer.stream, Iterable) else ()
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(body, answer.close))

    def close(self) -> None:
        """Close what is still open."""
        for pool in self._pools.values():
            with contextlib.suppress(httpcore.NetworkError):
                pool.close()

    def _pool(self, scheme: str) -> httpcore.ConnectionPool:
        if scheme not in self._pools:
            # Loading the certificate authorities takes longer than most answers: only where TLS is spoken.
            context = ssl.create_default_context() if scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._pools[scheme] = httpcore.ConnectionPool(
                ssl_context=context, network_backend=_Backend(self._dial, self._left)
            )
        return self._pools[scheme]

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left
