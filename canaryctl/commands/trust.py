"""Believe hosts: compare the keys that they present with what is known, and pin those that the operator accepts.

Pins are lines of `inventories/ENV/known_hosts`. A key that differs from a known one is never pinned unasked.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from canaryctl.agent.write.atomic import write_atomic
from canaryctl.agent.write.turn import turn
from canaryctl.config.environment import Host, load_environment, match_hosts
from canaryctl.config.pins import pins_of
from canaryctl.config.yamlfile import shown
from canaryctl.errors import CanaryError, ConfigError, HostError
from canaryctl.hosts import at_once, knownhosts
from canaryctl.hosts.hostkeys import HostKey, offered_keys
from canaryctl.hosts.knownhosts import KnownKey
from canaryctl.plan.deployment import Request

FINGERPRINTS = "canary_host_fingerprints"


@dataclass(frozen=True)
class Trust:
    """What a host presents and how that stands.

    `keys` has a standing for each: verified (the inventory gives its fingerprint), unlisted (the inventory gives
    others), pinned, known (`places` says in which other file) or new. `replaced` are pins that no longer hold.
    """

    host: str
    name: str
    keys: tuple[tuple[HostKey, str], ...]
    places: tuple[str, ...] = ()
    replaced: tuple[KnownKey, ...] = ()
    pinned: frozenset[bytes] = frozenset()

    @property
    def replacing(self) -> list[str]:
        """Pins that no longer hold, as people compare them."""
        return [f"{key.kind} {knownhosts.fingerprint(key.blob)}" for key in self.replaced]

    @property
    def to_pin(self) -> list[HostKey]:
        """Keys that would be pinned."""
        return [key for key, standing in self.keys if standing != "unlisted" and key.blob not in self.pinned]


@dataclass(frozen=True)
class OfferedKeys:
    """The hosts of an environment that can be trusted, and why the others cannot."""

    environment: str
    pins: Path
    hosts: tuple[Trust, ...]
    failures: tuple[CanaryError, ...]

    @property
    def file(self) -> str:
        """Where keys are pinned, as an operator would type it."""
        return shown(self.pins)

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it once the keys have been pinned."""
        return {
            "environment": self.environment,
            "known_hosts": self.file,
            "hosts": {
                trust.host: {
                    "name": trust.name,
                    "pinned": True,
                    "keys": [
                        {"type": key.kind, "fingerprint": key.fingerprint, "standing": standing}
                        for key, standing in trust.keys
                    ],
                }
                for trust in self.hosts
            },
            "errors": [error.as_dict() for error in self.failures],
        }


def offered(request: Request, *, replace: bool = False) -> OfferedKeys:
    """Ask every host for its keys, without logging in.

    Args:
        replace: accept keys that differ from known ones.

    Raises:
        ConfigError: the inventory is faulty.
    """
    environment = load_environment(
        request.project, request.environment, vault_password_file=request.vault_password_file
    )
    chosen = match_hosts(environment, request.limit)
    hosts = [host for host in environment.limited(chosen) if not _is_local(host)]

    pins = pins_of(environment.directory)

    def assessed(name: str) -> Trust:
        host = environment.hosts[name]
        target, keys = offered_keys(host)
        files = target.files("userknownhostsfile") + target.files("globalknownhostsfile")
        others = [file for file in files if file != pins]
        pinned = [key for known_as in target.known_as[:1] for key in knownhosts.matching([pins], [known_as])]
        known = knownhosts.matching(others, target.known_as)
        return assess(name, target.known_as[0], keys, expected_of(host), pinned, known, replace=replace)

    found, errors = at_once([host.name for host in hosts], assessed)
    return OfferedKeys(environment.name, pins, tuple(found.values()), tuple(errors.values()))


def expected_of(host: Host) -> list[str]:
    """The fingerprints that the inventory gives for a host: a list, or a text with spaces or commas between."""
    given: Any = host.vars.get(FINGERPRINTS) or []
    words = re.split(r"[\s,]+", given) if isinstance(given, str) else [str(word).strip() for word in given]
    return [word if word.startswith("SHA256:") else f"SHA256:{word}" for word in words if word]


def assess(
    host: str,
    name: str,
    keys: Sequence[HostKey],
    expected: Sequence[str],
    pinned: Sequence[KnownKey],
    known: Sequence[KnownKey],
    *,
    replace: bool = False,
) -> Trust:
    """How the keys that a host presents stand. Pure.

    Args:
        name: what known_hosts calls it.
        expected: fingerprints from the inventory; none where it gives none.
        pinned: the environment's own entries for it.
        known: those of other files.

    Raises:
        HostError: no key is an expected one, one is revoked, or one differs from what is known and `replace` is false.
    """
    offers = ", ".join(f"{key.kind} {key.fingerprint}" for key in keys)
    if expected and not any(key.fingerprint in expected for key in keys):
        raise HostError(
            f"it offers {offers}; {FINGERPRINTS} says {', '.join(expected)}",
            host,
            "Ask whoever runs the host; correct the inventory only if its fingerprint is wrong.",
            reason="host-key-changed",
        )
    revoked = [k for k in (*pinned, *known) if k.marker == "@revoked" and k.blob in {key.blob for key in keys}]
    if revoked:
        raise HostError(
            f"its key is revoked ({revoked[0].where}): it offers {offers}", host, "Give the host a new key."
        )
    stale = [*_contradicted(keys, pinned), *_contradicted(keys, known)]
    if stale and not replace:
        was = "; ".join(f"{key.kind} {knownhosts.fingerprint(key.blob)} ({key.where})" for key in stale)
        raise HostError(
            f"its host key has changed: it offers {offers}, known is {was}",
            host,
            "If the host was really reinstalled, compare fingerprints, then run canaryctl trust ENV --replace; "
            "else somebody may be listening in.",
            reason="host-key-changed",
        )
    places = {key.blob: key.where for key in known if not key.marker}
    ours = frozenset(key.blob for key in pinned if not key.marker)

    def standing(key: HostKey) -> str:
        if expected:
            return "verified" if key.fingerprint in expected else "unlisted"
        return "pinned" if key.blob in ours else "known" if key.blob in places else "new"

    return Trust(
        host,
        name,
        tuple((key, standing(key)) for key in keys),
        tuple(places[key.blob] for key in keys if key.blob in places),
        tuple(_contradicted(keys, pinned)),
        ours,
    )


def _contradicted(keys: Sequence[HostKey], known: Sequence[KnownKey]) -> list[KnownKey]:
    """Entries that the keys speak against: another key of the same kind, or all where none is offered any more."""
    plain = [entry for entry in known if not entry.marker]
    offered = {key.blob for key in keys}
    if not any(entry.blob in offered for entry in plain):
        return plain
    right = {entry.kind for entry in plain if entry.blob in offered}
    kinds = {key.kind for key in keys} - right
    return [entry for entry in plain if entry.kind in kinds]


def require_vouched(offer: OfferedKeys) -> None:
    """Stop where --yes alone would pin a key that nobody vouches for: whoever listens in could present it.

    Raises:
        ConfigError: a key is new, and the inventory gives no fingerprints of the host.
    """
    unasked = [trust for trust in offer.hosts if not trust.replaced]  # --replace vouches for the others
    new = [f"{trust.host} {key.fingerprint}" for trust in unasked for key, how in trust.keys if how == "new"]
    if new:
        raise ConfigError(
            f"nobody vouches for {', '.join(new)}; nothing was pinned",
            f"environment {offer.environment}",
            f"give the fingerprints in {FINGERPRINTS}; or compare them and add --accept-new; or answer on a terminal",
        )


def pin(offer: OfferedKeys) -> None:
    """Write the keys to the environment's known_hosts (0644), in place of pins that no longer hold.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        with turn(str(offer.pins)):  # of two at once, neither's pins are lost
            before = offer.pins.read_text(encoding="utf-8") if offer.pins.is_file() else ""
            text = before
            for trust in offer.hosts:
                text = pinned_text(text, trust)
            if text != before:
                write_atomic(offer.pins, text.encode(), 0o644, sync=True)
    except OSError as error:
        hint = "make room there, or fix who may write there"
        raise ConfigError(f"the keys cannot be pinned: {error.strerror}", shown(offer.pins), hint) from None


def pinned_text(text: str, trust: Trust) -> str:
    """A known_hosts file with the keys of a host. Pure."""
    gone = {base64.b64encode(key.blob).decode() for key in trust.replaced}
    lines = [kept for line in text.splitlines() if (kept := _without(line, trust.name, gone))]
    lines += [f"{trust.name} {key.kind} {base64.b64encode(key.blob).decode()}" for key in trust.to_pin]
    return "".join(f"{line}\n" for line in lines)


def _without(line: str, name: str, gone: set[str]) -> str:
    """A line without a host's name, '' where it was the only one; only where its key is one of `gone`."""
    words = line.split()
    if len(words) < 3 or words[0].startswith(("#", "@")) or words[2] not in gone:
        return line
    if words[0].startswith("|"):
        return ""
    names = [one for one in words[0].split(",") if one.lower() != name]
    return " ".join([",".join(names), *words[1:]]) if names else ""


def _is_local(host: Host) -> bool:
    return str(host.vars.get("ansible_connection") or "").rpartition(".")[2] == "local"
