"""Verdicts signed and checked by ssh-keygen itself: what is believed, and what each forgery is told."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from canaryctl.cli.trust import signer_lines
from canaryctl.commands.signers import Signer, Signers, add, parse_signers
from canaryctl.config.environment import Environment, Host
from canaryctl.config.signing import Signing, load_signing
from canaryctl.deploy.signing import contradiction, settle_rollback, signature, trust_of
from canaryctl.deploy.state import RunState
from canaryctl.errors import ConfigError
from canaryctl.evidence import signatures
from canaryctl.evidence.document import RunIdentity
from canaryctl.evidence.run import Run
from canaryctl.evidence.signatures import (
    find_signer,
    parse_keys,
    principal_of,
    sign,
    signing_key,
    standing,
    standing_words,
)
from canaryctl.facts.host import HostFacts, ReleaseFacts, StateFacts
from canaryctl.hosts.history import history_line
from canaryctl.plan.verdicts import Signed, Verdict, parse_line

NOW = time.time()
RELEASE, WEB = "a" * 64, f"sha256:{'b' * 64}"


def new_key(path: Path, passphrase: str = "") -> Path:
    argv = ["ssh-keygen", "-qt", "ed25519", "-N", passphrase, "-C", "a comment", "-f", str(path)]
    subprocess.run(argv, check=True, timeout=30)
    return path


def public(key: Path) -> str:
    return " ".join(key.with_name(f"{key.name}.pub").read_text().split()[:2])


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_key(tmp_path_factory.mktemp("keys") / "id_ann")


@pytest.fixture
def allowed(tmp_path: Path, key: Path) -> Path:
    path = tmp_path / "allowed_signers"
    path.write_text(f'# who may\nann@desk namespaces="canaryctl" {public(key)}\n')
    return path


def line(at: float = NOW - 60, **more: Any) -> dict[str, Any]:
    line = history_line(
        who="ann@desk",
        environment=more.pop("environment", "canary"),
        what="verdict",
        after=more.pop("to", RELEASE),
        verdict="passed",
        run="20260310T120000Z-deploy-0001",
        extra={"images": {"web": WEB}, "variant": "only", "simulated": False, "placed": ["web"], **more},
    )
    return {**line, "time": datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")}


def typed(given: dict[str, Any]) -> Verdict:
    found = parse_line(given)
    assert found is not None
    return replace(found, hosts=("canary-1",))


def signed(key: Path, given: dict[str, Any], stack: str = "shop") -> dict[str, Any]:
    return {**given, "signature": sign(key, typed(given).content(stack))}


def said(allowed: Path, given: dict[str, Any]) -> Signed | str:
    """What the check says of a line of `canary` and the stack `shop`."""
    trust = trust_of("canary", Signing(allowed, required=True), "shop", allowed.parent / "runs")
    assert trust.check is not None
    return trust.check(typed(given))


def test_what_an_allowed_key_signed_is_believed_and_its_signer_named(allowed: Path, key: Path) -> None:
    made = parse_keys(public(key))[0]
    assert said(allowed, signed(key, line())) == Signed("ann@desk", made.fingerprint)


@pytest.mark.parametrize(
    "change",
    [
        {"time": "2099-01-01T00:00:00Z"},
        {"to": "c" * 64},
        {"environment": "staging"},
        {"images": {"web": f"sha256:{'c' * 64}"}},
        {"simulated": True},
        {"variant": "mono"},
        {"placed": ["web", "db"]},
        {"contracts": {"passed": 1}},
        {"who": "nobody@nowhere"},
        {"run": "forged"},
        {"what": "rollback"},
        {"reason": "because"},
        {"forced": True},
        {"role": "candidate"},
    ],
)
def test_an_altered_line_is_not(allowed: Path, key: Path, change: dict[str, Any]) -> None:
    found = said(allowed, {**signed(key, line()), **change})
    assert isinstance(found, str) and "altered" in found


def test_a_line_of_another_stack_is_not(allowed: Path, key: Path) -> None:
    assert "another stack" in str(said(allowed, signed(key, line(), stack="other")))


def test_what_is_not_relied_on_may_differ(allowed: Path, key: Path) -> None:
    assert isinstance(said(allowed, {**signed(key, line()), "from": "d" * 64, "signer": "x"}), Signed)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ('ann@desk namespaces="git" {key}', "does not count"),
        ('ann@desk valid-before="20200101" {key}', "nobody in allowed_signers"),
        ('ann@desk valid-after="20980101" {key}', "nobody in allowed_signers"),
        ("", "nobody in allowed_signers"),
        ("{key}", "nobody in allowed_signers"),
        ("ann@desk ssh-ed25519 AAAA", "nobody in allowed_signers"),
        ("ann@desk cert-authority {key}", "nobody in allowed_signers"),
    ],
)
def test_the_list_decides_who_may(allowed: Path, key: Path, entry: str, words: str) -> None:
    allowed.write_text(entry.format(key=public(key)) + "\n")
    found = said(allowed, signed(key, line()))
    assert isinstance(found, str) and words in found, found


def test_a_key_counts_for_the_time_in_which_it_was_valid(allowed: Path, key: Path) -> None:
    allowed.write_text(f'ann@desk valid-after="20200101",valid-before="20210101" {public(key)}\n')
    then = datetime(2020, 6, 1, tzinfo=UTC).timestamp()
    assert isinstance(said(allowed, signed(key, line(then))), Signed)
    assert isinstance(said(allowed, signed(key, line())), str)


def test_a_revoked_key_does_not(allowed: Path, key: Path) -> None:
    given = signed(key, line())
    assert isinstance(said(allowed, given), Signed)
    allowed.with_name("revoked_signers").write_text(public(key) + "\n")
    assert isinstance(said(allowed, given), str)


def test_another_namespace_does_not(allowed: Path, key: Path) -> None:
    allowed.write_text(f"ann@desk {public(key)}\n")
    given = line()
    argv = ["ssh-keygen", "-Y", "sign", "-n", "file", "-f", str(key)]
    made = subprocess.run(argv, input=typed(given).content("shop"), capture_output=True, check=True, timeout=30)
    assert isinstance(said(allowed, {**given, "signature": made.stdout.decode()}), str)


@pytest.mark.parametrize("signature", ["x", "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n", "\0"])
def test_what_is_no_signature_is_not(allowed: Path, signature: str) -> None:
    assert isinstance(said(allowed, {**line(), "signature": signature}), str)
    assert signing_key(signature) is None


def test_who_signed_is_told_from_the_signature_alone(allowed: Path, key: Path) -> None:
    found = signing_key(sign(key, b"x"))
    assert found is not None and found.text == public(key)
    assert principal_of(allowed, found) == "ann@desk"


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    socket = tmp_path / "agent"
    server = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    for _ in range(100):
        if socket.exists():
            break
        time.sleep(0.05)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    monkeypatch.setenv("HOME", str(tmp_path))
    yield lambda key: subprocess.run(["ssh-add", "-q", str(key)], check=True, timeout=30, env=dict(os.environ)) and None
    server.terminate()
    server.wait(10)


def test_a_key_of_the_agent_signs_by_its_public_half(
    allowed: Path, key: Path, agent: Callable[[Path], None], tmp_path: Path
) -> None:
    agent(key)
    alone = tmp_path / "alone.pub"
    alone.write_text(public(key) + "\n")
    assert isinstance(said(allowed, signed(alone, line())), Signed)
    found = find_signer(Signing(allowed, required=True))
    assert isinstance(found, signatures.PublicKey) and found.path is None
    given = line()
    made = sign(found, typed(given).content("shop"))
    assert isinstance(said(allowed, {**given, "signature": made}), Signed)


def test_of_our_own_keys_the_one_that_is_listed_is_found(
    allowed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    assert find_signer(Signing(allowed, required=True)) is None
    (tmp_path / ".ssh").mkdir()
    new_key(tmp_path / ".ssh/id_a")
    mine = new_key(tmp_path / ".ssh/id_b")
    allowed.write_text(f"me {public(mine)}\n")
    found = find_signer(Signing(allowed, required=True))
    assert isinstance(found, signatures.PublicKey) and found.path == mine
    assert find_signer(Signing(tmp_path / "none", required=False)) is None


def test_a_key_with_a_passphrase_fails_and_asks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    began = time.monotonic()
    with pytest.raises(ConfigError, match="could not be signed"):
        sign(new_key(tmp_path / "locked", "secret"), b"x")
    assert time.monotonic() - began < 10


def test_no_room_for_a_signature_is_a_reason_and_no_fault(
    allowed: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = signed(key, line(NOW - 77))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    assert "cannot be checked here" in str(said(allowed, given))
    warned: list[str] = []
    run = SimpleNamespace(warn=lambda what, *_, **__: warned.append(what))
    ctx: Any = SimpleNamespace(
        run=run, signer=key, deployment=SimpleNamespace(stack=SimpleNamespace(stack="shop")), state=RunState()
    )
    assert signature(ctx, line()) == {}
    assert "could not be signed" in warned[0]


def test_history_and_status_say_how_a_line_stands(allowed: Path, key: Path) -> None:
    environment = Environment("canary", allowed.parent, {}, {})
    told = standing(signed(key, line()), environment, "shop")
    assert told["signed"]["by"] == "ann@desk" and "signed by ann@desk (SHA256:" in standing_words(told)
    assert standing(line(), environment, "shop") == {"unsigned": "it is not signed"}
    assert "altered" in standing({**signed(key, line()), "run": "x"}, environment, "shop")["unsigned"]
    assert (
        standing({"what": "deploy"}, environment, "shop") == {} == standing(line(environment="b"), environment, "shop")
    )
    allowed.unlink()
    assert standing(line(), environment, "shop") == {} and standing_words({}) == ""
    assert "nobody is listed" in standing(signed(key, line()), environment, "shop")["unsigned"]


@pytest.mark.parametrize(
    ("form", "listed"),
    [
        ("ann@desk {key}", [("ann@desk", "")]),
        ("ann@desk\t{key} a comment", [("ann@desk", "")]),
        ('ann@desk namespaces="canaryctl" {key}', [("ann@desk", 'namespaces="canaryctl"')]),
        (" {key}", []),
        ("{key} ann@desk", []),
        ("# ann@desk {key}", []),
        ("#ann@desk {key}", []),
        ("   \n\nann@desk", []),
    ],
)
def test_a_line_lists_a_signer_only_where_a_name_stands_before_the_key(
    form: str, listed: list[tuple[str, str]], key: Path
) -> None:
    found = parse_signers(form.format(key=public(key)))
    assert [(signer.name, signer.options) for signer in found] == listed
    assert all(parse_keys(signer.line) == [replace(signer.key, comment="")] for signer in found)


def test_this_machines_own_record_of_a_run_must_agree(tmp_path: Path) -> None:
    def recorded(verdict: str, release: str, image: str) -> str:
        run = tmp_path / str(line()["run"])
        run.mkdir(exist_ok=True)
        document = {"verdict": verdict, "release": {"id": release, "images": {"web": {"id": image}}}}
        (run / "run.json").write_text(json.dumps(document))
        return contradiction(typed(line()), tmp_path)

    assert contradiction(typed(line()), tmp_path) == ""
    assert recorded("passed", RELEASE, WEB) == ""
    assert "says failed" in recorded("failed", RELEASE, WEB)
    assert "another release" in recorded("passed", "c" * 64, WEB)
    assert "another release" in recorded("passed", RELEASE, f"sha256:{'c' * 64}")
    (tmp_path / str(line()["run"]) / "run.json").write_text("[")
    assert contradiction(typed(line()), tmp_path) == ""
    assert contradiction(typed(line() | {"run": "../../etc"}), tmp_path) == ""


def test_a_rollback_signs_only_what_was_signed_before(tmp_path: Path, allowed: Path, key: Path) -> None:
    def signs(history: list[dict[str, Any]], image: str = WEB, listed: bool = True) -> bool:
        release = {
            "id": RELEASE,
            "environment": "canary",
            "variant": "only",
            "services": {"web": "web"},
            "files": {},
            "images": {"web": {"id": image, "tag": "t"}},
        }
        state = StateFacts(current="x", releases={"x": ReleaseFacts(release)}, history=tuple(history))
        run = Run.start(tmp_path / "runs", RunIdentity("rollback", "canary"))
        signing = Signing(allowed if listed else tmp_path / "nobody", required=listed)
        ctx: Any = SimpleNamespace(
            facts={"canary-1": HostFacts("canary-1", state=state)},
            run=run,
            state=RunState(),
            signer=key,
            deployment=SimpleNamespace(
                environment=SimpleNamespace(name="canary"),
                stack=SimpleNamespace(stack="shop"),
                project=SimpleNamespace(runs=tmp_path / "runs"),
                configuration=SimpleNamespace(signing=signing),
            ),
        )
        settle_rollback(ctx, release)
        made = signature(ctx, {**line(), "what": "rollback"})
        assert bool(run.document["notes"]) == (listed and not made)
        return bool(made)

    assert signs([signed(key, line())])
    assert not signs([line()]), "the host alone says so"
    assert not signs([signed(key, line())], image=f"sha256:{'c' * 64}"), "the host says which images those were"
    assert not signs([signed(key, line(environment="staging"))])
    assert not signs([signed(key, line())], listed=False), "what is signed counts once somebody is listed"


def environment(folder: Path, **variables: Any) -> Environment:
    host = Host("canary-1", ("all",), variables)
    return Environment("canary", folder, {"canary-1": host}, {"all": ("canary-1",)}, variables)


class TestSettings:
    def test_the_list_makes_signatures_required_unless_the_policy_says_otherwise(self, allowed: Path) -> None:
        assert load_signing(environment(allowed.parent)).required
        for no in (False, "false", "no"):  # an INI inventory has texts
            assert not load_signing(environment(allowed.parent, canary_require_signature=no)).required
        allowed.unlink()
        found = load_signing(environment(allowed.parent))
        assert (found.required, found.listed, found.key) == (False, False, None)

    @pytest.mark.parametrize(
        ("variables", "words"),
        [
            ({"canary_require_signature": "maybe"}, "neither true nor false"),
            ({"canary_require_signature": "True"}, "is not there"),
            ({"canary_require_signature": True}, "is not there"),
            ({"canary_signing_key": "nowhere"}, "no file"),
        ],
    )
    def test_faulty_settings_are_refused_with_their_place(
        self, tmp_path: Path, variables: dict[str, Any], words: str
    ) -> None:
        with pytest.raises(ConfigError, match=words) as refused:
            load_signing(environment(tmp_path, **variables))
        assert refused.value.where and refused.value.hint

    def test_the_operators_own_key_wins(self, tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        other = new_key(tmp_path / "other")
        assert load_signing(environment(tmp_path, canary_signing_key="other")).key == other
        monkeypatch.setenv("CANARYCTL_SIGNING_KEY", str(key))
        assert load_signing(environment(tmp_path, canary_signing_key="other")).key == key


class TestListing:
    def test_lines_are_shown_and_only_added(self, allowed: Path, key: Path, tmp_path: Path) -> None:
        before = allowed.read_text()
        other = parse_keys(public(new_key(tmp_path / "bob")))[0]
        listed = tuple(parse_signers(before))
        assert [(signer.name, signer.options) for signer in listed] == [("ann@desk", 'namespaces="canaryctl"')]
        found = Signers("canary", allowed, listed, (Signer("bob@desk", 'namespaces="canaryctl"', other),))
        add(found)
        assert allowed.read_text() == f'{before}bob@desk namespaces="canaryctl" {other.text}\n'
        assert allowed.stat().st_mode & 0o777 == 0o644
        assert other.fingerprint in "\n".join(signer_lines(found)) and found.as_dict()["added"] == [other.fingerprint]
        odd = b"# Ren\xe9's, in another encoding\n"
        allowed.write_bytes(odd)
        add(Signers("canary", allowed, (), found.added))
        assert allowed.read_bytes().startswith(odd)
        given = signed(tmp_path / "bob", line())
        assert said(allowed, given) == Signed("bob@desk", other.fingerprint)
