"""What hosts and files say of trust: histories, release.json, lists of signers, signatures, known_hosts."""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import Any

from fuzzing import fuzzed, mutations, texts
from hypothesis import strategies as st

from canaryctl.cli.history import history_lines
from canaryctl.commands.history import History, merge
from canaryctl.commands.signers import parse_signers
from canaryctl.config.stack import load_stack
from canaryctl.evidence.signatures import parse_keys, signing_key
from canaryctl.facts.documents import release_document
from canaryctl.facts.host import HostFacts, ReleaseFacts, StateFacts
from canaryctl.facts.odd import Odd
from canaryctl.facts.odd import history_lines as history_lines_of
from canaryctl.plan.promotion import Rules, Wanted, choose, lines_of
from canaryctl.plan.release import ImageFact, make_release
from canaryctl.plan.releasedocuments import parse_release
from canaryctl.plan.rollback import back_from, choose_release, has_passed
from canaryctl.plan.verdicts import Signed, Trust, Verdict, Witness, parse_line, signed_content

NOW = 1_773_144_000.0
FILES = {"compose.yml.j2": b"services: {}", "assets/a.txt": b"a"}
_STACK = "stack: shop\nimages: {web: {tag: w}}\nvariants: {only: {web: web}}\nplacement: {all: [web]}\ncompose: c\n"


def _stack() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "c").touch()
        (Path(folder) / "stack.yml").write_text(_STACK)
        return load_stack(Path(folder) / "stack.yml")


STACK = _stack()
WEB = ImageFact("web", f"sha256:{'b' * 64}", "w", 1, ("l",), "linux/amd64")
RELEASE = make_release(STACK, "only", {"web": WEB}, FILES)
DOCUMENT = {**RELEASE.as_dict(), "variant": "only", "stack": "shop", "environment": "canary", "placed": ["web"]}
KEY = "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + b"k" * 32).decode()
_BLOB = b"SSHSIG\0\0\0\1\0\0\0\x33" + base64.b64decode(KEY.split()[1]) + b"\0\0\0\x09canaryctl"
SIGNATURE = f"-----BEGIN SSH SIGNATURE-----\n{base64.b64encode(_BLOB).decode()}\n-----END SSH SIGNATURE-----\n"
LINE = {
    "time": "2026-03-10T11:00:00.000000Z", "who": "ann@desk", "environment": "canary", "what": "verdict", "from": None,
    "to": RELEASE.id, "verdict": "passed", "run": "20260310T110000Z-deploy-0001", "variant": "only", "simulated": False,
    "contracts": {"passed": 3}, "images": {"web": WEB.id}, "placed": ["web"], "probes_file": True, "reason": None,
    "signer": "SHA256:x", "signature": SIGNATURE,
}  # fmt: skip
BAD = {**LINE, "verdict": "failed", "time": "2026-03-10T10:00:00Z", "signature": None}
TOLD = {"history": [BAD, LINE], "documents": [DOCUMENT], "clock": NOW}
WANTED = Wanted("staging", STACK, FILES, placed={"only": frozenset(("web",))})


def _witness(told: Any, host: str = "canary-1") -> Witness:
    """What an observed host gives: its lists are lists of objects by then, whatever is in these."""
    told = told if isinstance(told, dict) else {}
    history, documents = (told.get(key) if isinstance(told.get(key), list) else [] for key in ("history", "documents"))
    clock = told.get("clock")
    return Witness(host, history or [], documents or [], clock if isinstance(clock, float) else NOW)


@fuzzed(mutations(TOLD))
def test_promotion_choose(told: Any) -> None:
    honest = _witness(TOLD, "canary-2")
    for trust in (Trust(NOW, ["canary-1"]), Trust(NOW, ["canary-1"], check=lambda _: Signed("ann", "SHA256:x"))):
        for witnesses in ([_witness(told)], [honest, _witness(told)]):
            found = choose("canary", witnesses, WANTED, Rules(3600.0, "refuse"), trust)
            if found.proof and not found.refusals:
                assert found.proof.line["to"] == RELEASE.id and found.proof.images == {"web": WEB.id}
                lines_of(found.proof.as_dict())


@fuzzed(mutations(TOLD))
def test_rollback_choose(told: Any) -> None:
    found = _witness(told)
    kept = {
        f"{RELEASE.id}-0000000{number}": ReleaseFacts(document)
        for number, document in enumerate(found.documents)
        if isinstance(document, dict) and isinstance(document.get("id"), str)
    }
    seen = HostFacts("h", time=found.clock, state=StateFacts(releases=kept, history=tuple(found.history)))
    choose_release({"h": seen}, "canary", None, Trust(NOW))


def _facts(told: Any, host: str) -> HostFacts:
    """A host as it was observed, which serves the first of its releases."""
    releases = {}
    for number, document in enumerate(_witness(told).documents):
        if fitting := release_document(document):
            releases[f"{RELEASE.id}-0000000{number}"] = ReleaseFacts(fitting)
    history = history_lines_of(_witness(told).history, Odd())
    state = StateFacts(current=next(iter(releases), None), releases=releases, history=tuple(history))
    return HostFacts(host, time=NOW, state=state)


@fuzzed(mutations(TOLD))
def test_automatic_rollback(told: Any) -> None:
    """A liar moves no other host, and nothing is signed but what was."""

    def check(verdict: Verdict) -> Signed | str:
        mine = verdict.content("shop") == signed_content(LINE, "shop") and verdict.line["signature"] == SIGNATURE
        return Signed("ann", "SHA256:x") if mine else "altered"

    trust, honest = Trust(NOW, check=check), _facts(TOLD, "h")
    for order in (("liar", "h"), ("h", "liar")):
        facts = {"h": honest, "liar": _facts(told, "liar")}
        facts = {host: facts[host] for host in order}
        back = back_from(facts, facts, list(facts), "canary", "shop", trust, "f" * 64)
        assert back.steps["h"].directory == f"{RELEASE.id}-00000000"
        if has_passed(back.release, facts, "canary", trust):
            assert back.id == RELEASE.id and back.release["images"]["web"]["id"] == WEB.id


@fuzzed(mutations(LINE))
def test_history_line(line: Any) -> None:
    if found := parse_line(line):
        assert parse_line(dict(found.line)) == found
        signed_content(found.line, "shop")
        found.words.encode()


@fuzzed(mutations(DOCUMENT))
def test_release_json(document: Any) -> None:
    if found := parse_release(document):
        assert all(image["id"].startswith("sha256:") for image in found["images"].values())


@fuzzed(mutations([LINE, BAD]))
def test_history_shown(lines: Any) -> None:
    lines = json.loads(json.dumps(lines))  # what came as JSON has texts for keys
    given = [line for line in lines if isinstance(line, dict)] if isinstance(lines, list) else []
    history_lines(History("canary", "shop", merge({"canary-1": given})))


@fuzzed(texts(f'# who\nann@desk,bob namespaces="canaryctl",valid-after="20260101" {KEY} a comment\n*@desk {KEY}\n'))
def test_allowed_signers(text: str) -> None:
    for signer in parse_signers(text):
        assert parse_keys(signer.line) and "\n" not in signer.line


@fuzzed(st.one_of(texts(SIGNATURE), st.binary(max_size=200).map(lambda b: base64.b64encode(b).decode())))
def test_signature_blob(text: str) -> None:
    if key := signing_key(text):
        assert key.fingerprint.startswith("SHA256:")
