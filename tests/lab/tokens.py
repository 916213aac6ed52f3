"""Runs on the registry's lab host: gives out tokens as Docker Hub and others do, to who knows the password.

Format: distribution.github.io/distribution/spec/auth/jwt. Arguments: port, folder with tls.crt and tls.key, user,
password, identity token.
"""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

PORT, FOLDER, USER, PASSWORD, IDENTITY = sys.argv[1:]
CERTIFICATE = f"{FOLDER}/tls.crt"


def plain(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(claims: dict[str, object]) -> str:
    with open(CERTIFICATE, encoding="ascii") as file:  # noqa: PTH123  as a script of another machine
        der = base64.b64encode(ssl.PEM_cert_to_DER_cert(file.read())).decode()
    header = {"typ": "JWT", "alg": "RS256", "x5c": [der]}
    text = ".".join(plain(json.dumps(part).encode()) for part in (header, claims))
    argv = ["openssl", "dgst", "-sha256", "-sign", f"{FOLDER}/tls.key"]
    return f"{text}.{plain(subprocess.run(argv, input=text.encode(), stdout=subprocess.PIPE, check=True).stdout)}"


class Tokens(BaseHTTPRequestHandler):
    """GET with a password, POST with an identity token."""

    def do_GET(self) -> None:
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        self.answer(parse_qs(urlsplit(self.path).query), self.headers.get("Authorization") == f"Basic {login}")

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.answer(form, form.get("refresh_token") == [IDENTITY])

    def answer(self, asked: dict[str, list[str]], welcome: bool) -> None:
        kind, name, actions = asked["scope"][0].split(":")
        now = int(time.time())
        access = [{"type": kind, "name": name, "actions": actions.split(",")}]
        claims = {"iss": "lab", "sub": USER, "aud": asked["service"][0], "access": access, "jti": str(time.time_ns())}
        token = signed({**claims, "nbf": now - 10, "iat": now, "exp": now + 300})
        body = json.dumps({"token": token, "access_token": token} if welcome else {"details": "who are you?"}).encode()
        self.send_response(200 if welcome else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = HTTPServer(("", int(PORT)), Tokens)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERTIFICATE, f"{FOLDER}/tls.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
