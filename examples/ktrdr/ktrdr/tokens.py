"""Signed tokens (JWT, HS256) with which the backend and the workers know each other."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping

LIFETIME = 300.0  # seconds; long enough for the clocks of two hosts to differ a little
_HEADER = {"alg": "HS256", "typ": "JWT"}


class TokenError(Exception):
    """The token is missing, not ours or too old."""


def issue(subject: str, secret: str, now: float | None = None) -> str:
    """A token that says its bearer is `subject`."""
    expires = (time.time() if now is None else now) + LIFETIME
    signed = f"{_encode(_HEADER)}.{_encode({'sub': subject, 'exp': expires})}"
    return f"{signed}.{_signature(signed, secret)}"


def verify(authorization: str | None, secret: str, now: float | None = None) -> str:
    """The subject of an Authorization header's token; raises TokenError."""
    scheme, _, token = (authorization or "").partition(" ")
    signed, _, signature = token.rpartition(".")
    if scheme.lower() != "bearer" or not signed:
        raise TokenError("a bearer token is required")
    if not hmac.compare_digest(signature.encode(), _signature(signed, secret).encode()):
        raise TokenError("the token's signature is wrong: do both sides have the same JWT_SECRET?")
    claims = _decode(signed.rpartition(".")[2])
    if claims["exp"] < (time.time() if now is None else now):
        raise TokenError("the token has expired: do the hosts' clocks agree?")
    return str(claims["sub"])


def _encode(value: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).rstrip(b"=").decode()


def _decode(text: str) -> dict[str, float]:
    loaded: dict[str, float] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return loaded


def _signature(signed: str, secret: str) -> str:
    digest = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
