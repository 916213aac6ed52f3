"""Calls between the backend and its workers: JSON over HTTP."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any

# Services talk to each other directly, whatever proxy the environment names.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class PeerError(Exception):
    """The other side could not be reached, or refused; the message says which."""


def call(method: str, url: str, *, token: str = "", body: Any = None, timeout: float = 3.0) -> dict[str, Any]:
    """The JSON object that the other side answers with. `timeout` is in seconds."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=headers, method=method)  # noqa: S310  http by contract
    try:
        with _OPENER.open(request, timeout=timeout) as answer:
            loaded = json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            raise PeerError(f"{url} answered {refused.code}: {refused.read(500).decode(errors='replace')}") from refused
    except (OSError, ValueError, http.client.HTTPException) as failed:
        raise PeerError(f"{url}: {failed}") from failed
    if not isinstance(loaded, dict):
        raise PeerError(f"{url} did not answer with a JSON object")
    return loaded
