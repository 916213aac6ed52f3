"""Signatures of verdicts, made and checked by OpenSSH's own `ssh-keygen -Y`. Nothing here asks for a passphrase."""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from canaryctl.agent.read.passed import PROVING
from canaryctl.config.environment import Environment
from canaryctl.config.signing import Signing, allowed_of
from canaryctl.errors import ConfigError
from canaryctl.hosts.scratch import scratch
from canaryctl.plan.verdicts import Signed, parse_line

NAMESPACE = "canaryctl"
_SIGN_SECONDS = 30.0  # a key in hardware may want to be touched
_CHECK_SECONDS = 10.0
_LONGEST = 64 * 1024  # bytes of an answer that are read
_GOOD = re.compile(r'Good "canaryctl" signature (?:for .* )?with \S+ key (SHA256:\S+)')
_KEY = re.compile(r"(?<!\S)((?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+) +([A-Za-z0-9+/]+={0,2})(?!\S)")


@dataclass(frozen=True)
class PublicKey:
    """A public key; `path` is the file that signs with it, None for one that is only in the agent."""

    kind: str
    blob: bytes
    comment: str = ""
    path: Path | None = None

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` shows it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    @property
    def text(self) -> str:
        """Type and key, as in a .pub file."""
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"


def parse_keys(text: str) -> list[PublicKey]:
    """The public keys of a .pub file, of what `ssh-add -L` says, or of a list of allowed signers: one a line."""
    found = []
    for line in text.splitlines():
        if line.lstrip().startswith("#") or not (match := _KEY.search(line)):
            continue
        try:
            blob = base64.b64decode(match[2], validate=True)
        except ValueError:
            continue
        if match[1].encode() in blob[:64]:  # a key begins with its own type
            found.append(PublicKey(match[1], blob, line[match.end() :].strip()))
    return found


def read_keys(path: Path) -> list[PublicKey]:
    """The public keys of a file; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            return parse_keys(file.read(1 << 20).decode("utf-8", "replace"))
    except OSError:
        return []


def public_key(path: Path) -> PublicKey | None:
    """The public half of a key that signs, from its file or the one beside it; None where neither has it."""
    found = read_keys(path) or read_keys(path.with_name(f"{path.name}.pub"))
    return found[0] if found else None


def own_keys() -> list[PublicKey]:
    """The keys that this operator can sign with unasked: the agent's, and ~/.ssh/id_*.pub with a private half."""
    found = []
    if os.environ.get("SSH_AUTH_SOCK"):
        done = _run(["ssh-add", "-L"], b"", _CHECK_SECONDS)
        found = parse_keys(done.stdout) if done.returncode == 0 else []
    for public in sorted((Path.home() / ".ssh").glob("id_*.pub")):
        if public.with_suffix("").is_file():
            found += [PublicKey(k.kind, k.blob, k.comment, public.with_suffix("")) for k in read_keys(public)[:1]]
    return found


def signing_key(signature: str) -> PublicKey | None:
    """The public key that an armoured signature says it was made with; None where it is no signature."""
    body = "".join(line.strip() for line in signature.splitlines() if not line.startswith("-----"))
    try:
        content = base64.b64decode(body, validate=True)
    except ValueError:
        return None
    blob = _field(content[10:]) if content.startswith(b"SSHSIG") else b""
    kind = _field(blob).decode("ascii", "replace")
    return PublicKey(kind, blob) if kind else None


def _field(content: bytes) -> bytes:
    """The first string of SSH's wire format, empty where it is cut off."""
    end = 4 + int.from_bytes(content[:4], "big")
    return content[4:end] if 4 < end <= len(content) else b""


def principal_of(allowed: Path, key: PublicKey) -> str:
    """By what name a list of allowed signers has a key, '' where it has not."""
    try:
        text = allowed.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    for line in text.splitlines():
        if any(found.blob == key.blob for found in parse_keys(line)):
            return line.split()[0].strip('"').split(",")[0]
    return ""


def find_own(listed: Sequence[PublicKey], own: Sequence[PublicKey]) -> PublicKey | None:
    """The first key of ours that is on the list."""
    blobs = {key.blob for key in listed}
    return next((key for key in own if key.blob in blobs), None)


def find_signer(signing: Signing) -> Path | PublicKey | None:
    """The key to sign with: the one that is named; else, where signers are listed, the first of our own among them."""
    if signing.key is not None or not signing.listed:
        return signing.key
    return find_own(read_keys(signing.allowed), own_keys())


def sign(key: Path | PublicKey, content: bytes) -> str:
    """An armoured signature of `content` for the namespace `canaryctl`.

    Args:
        key: a private key, a public one whose private half is in the agent, or a key of the agent.

    Raises:
        ConfigError: it cannot sign, in ssh-keygen's own words.
    """
    with scratch() as folder:
        path = key if isinstance(key, Path) else key.path
        if path is None:
            path = folder / "key.pub"
            path.write_text(f"{key.text}\n" if isinstance(key, PublicKey) else "")
        done = _run(["ssh-keygen", "-Y", "sign", "-n", NAMESPACE, "-f", str(path)], content, _SIGN_SECONDS)
    if done.returncode or "BEGIN SSH SIGNATURE" not in done.stdout:
        raise ConfigError(
            f"the verdict could not be signed: {_words(done)}",
            str(path),
            "is the key in your agent (ssh-add), or without a passphrase?",
        )
    return done.stdout


def check(content: bytes, signature: str, allowed: Path, revoked: Path | None, at: float) -> Signed | str:
    """Who signed `content`, by a list of allowed signers; or why that is not to be believed.

    Args:
        at: epoch at which the key must have been valid (valid-after, valid-before). Revoked keys never are.
    """
    try:
        return _check(content, signature, allowed, _stamp(allowed), revoked, _stamp(revoked), at)
    except OSError as fault:  # no room in /tmp, say
        return f"it cannot be checked here: {fault}"


def standing(line: Any, environment: Environment, stack: str) -> dict[str, Any]:
    """How the line of a verdict stands: `signed` ({"by", "key"}), or `unsigned` (why it is not believed by itself).

    Neither for other lines, lines of other environments, and where nobody signs and nobody is listed who may.
    """
    found, allowed = parse_line(line), allowed_of(environment)
    if found is None or found.line["environment"] != environment.name:
        return {}
    signature, signing = str(found.line.get("signature") or ""), Signing(allowed, required=True)
    if not signature and found.line["what"] not in PROVING:
        return {}
    if not signing.listed:
        return {"unsigned": "it is signed, and nobody is listed who may sign"} if signature else {}
    if not signature:
        return {"unsigned": "it is not signed"}
    signer = check(found.content(stack), signature, allowed, signing.revoked, found.time)
    return {"unsigned": signer} if isinstance(signer, str) else {"signed": signer.as_dict()}


def standing_words(standing: Mapping[str, Any]) -> str:
    """How a line stands, in words; '' where nothing is to be said."""
    if signed := standing.get("signed"):
        return f"signed by {signed['by']} ({signed['key']})"
    return f"proves nothing by itself: {standing['unsigned']}" if standing.get("unsigned") else ""


def _stamp(path: Path | None) -> int:
    try:
        return path.stat().st_mtime_ns if path else 0
    except OSError:
        return 0


@functools.lru_cache(maxsize=256)
def _check(
    content: bytes, signature: str, allowed: Path, _changed: int, revoked: Path | None, _revoked: int, at: float
) -> Signed | str:
    try:
        moment = f"verify-time={datetime.fromtimestamp(at):%Y%m%d%H%M%S}"  # by this machine's zone, as the list's are
    except (ValueError, OverflowError, OSError):
        return "its time cannot be told"
    with scratch() as folder:
        file = folder / "signature"
        file.write_text(signature, encoding="utf-8")
        listed = ["-f", str(allowed), "-s", str(file), "-n", NAMESPACE, "-O", moment]
        who = _run(["ssh-keygen", "-Y", "find-principals", *listed], b"", _CHECK_SECONDS)
        principals = [name for line in who.stdout.splitlines() for name in line.split(",") if name]
        if who.returncode or not principals:
            return f"its signature is of nobody in {allowed.name}, or outside the time its key is valid ({_words(who)})"
        more = ["-r", str(revoked)] if revoked else []
        argv = ["ssh-keygen", "-Y", "verify", *listed, *more, "-I", principals[0]]
        done = _run(argv, content, _CHECK_SECONDS)
    good = _GOOD.search(done.stdout)
    if done.returncode or not good:
        if "incorrect signature" in done.stderr:
            return "its signature is not of what it says: it was altered, or made for another stack or environment"
        return f"its signature does not count: {_words(done)}"
    return Signed(principals[0], good[1])


def _run(argv: list[str], given: bytes, seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a program of OpenSSH without a terminal, so that it cannot ask anything."""
    environment = {**os.environ, "SSH_ASKPASS_REQUIRE": "never", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            argv, input=given, capture_output=True, timeout=seconds, env=environment, start_new_session=True
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(argv, 127, "", f"{argv[0]} is not installed on this machine")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 124, "", f"no answer within {seconds:g} s")
    texts = [output[:_LONGEST].decode("utf-8", "replace") for output in (done.stdout, done.stderr)]
    return subprocess.CompletedProcess(argv, done.returncode, *texts)


def _words(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return lines[0][:200] if lines else f"ssh-keygen ended with {done.returncode}"
