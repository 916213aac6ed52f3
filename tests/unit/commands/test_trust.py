"""Pinned host keys: what is believed, what is refused, and how both halves learn of the pins."""

from __future__ import annotations

import base64
import shlex
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from canaryctl.commands.trust import OfferedKeys, Trust, assess, expected_of, pin, pinned_text, require_vouched
from canaryctl.config.environment import Host
from canaryctl.config.pins import pin_variables, with_pins
from canaryctl.errors import ConfigError, HostError
from canaryctl.hosts.hostkeys import HostKey
from canaryctl.hosts.knownhosts import KnownKey, parse
from canaryctl.hosts.target import parse as parse_dump
from canaryctl.hosts.target import target_of

ED, RSA = HostKey("ssh-ed25519", b"ed"), HostKey("ssh-rsa", b"rsa")
NAME = "[192.0.2.1]:2222"


def known(key: HostKey, where: str = "mine:3", marker: str = "") -> KnownKey:
    return KnownKey(where, marker, key.kind, key.blob)


def judged(*, expected: tuple[str, ...] = (), pinned: Any = (), others: Any = (), **more: Any) -> Trust:
    return assess("web-1", NAME, [ED, RSA], expected, pinned, others, **more)


def standings(trust: Trust) -> list[str]:
    return [standing for _, standing in trust.keys]


def refusal(**more: Any) -> HostError:
    with pytest.raises(HostError) as caught:
        judged(**more)
    assert caught.value.exit_code == 3 and caught.value.where == "web-1" and caught.value.hint
    return caught.value


class TestYesAlone:
    """--yes stands for an answer, and nobody can answer for a key that nobody vouches for."""

    @staticmethod
    def asked(*hosts: Trust) -> None:
        require_vouched(OfferedKeys("prod", Path("known_hosts"), hosts, ()))

    def test_a_new_key_is_refused_with_its_fingerprint(self) -> None:
        with pytest.raises(ConfigError, match="nobody vouches for web-1") as refused:
            self.asked(judged())
        assert ED.fingerprint in refused.value.what and "--accept-new" in refused.value.hint

    @pytest.mark.parametrize(
        "vouched",
        [{"expected": (ED.fingerprint,)}, {"pinned": [known(ED), known(RSA)]}, {"others": [known(ED), known(RSA)]}],
    )
    def test_what_somebody_vouches_for_is_not(self, vouched: dict[str, Any]) -> None:
        self.asked(judged(**vouched))

    def test_nor_what_replace_says_is_right(self) -> None:
        other = HostKey("ssh-ed25519", b"was")
        self.asked(judged(pinned=[known(other)], replace=True))


class TestJudging:
    def test_an_unknown_host_is_new(self) -> None:
        trust = judged()
        assert standings(trust) == ["new", "new"] and trust.to_pin == [ED, RSA]

    def test_what_is_pinned_needs_nothing(self) -> None:
        trust = judged(pinned=[known(ED), known(RSA)])
        assert standings(trust) == ["pinned", "pinned"] and not trust.to_pin

    def test_a_key_known_elsewhere_is_said_and_pinned(self) -> None:
        trust = judged(others=[known(ED, "~/.ssh/known_hosts:7")])
        assert standings(trust) == ["known", "new"] and trust.places == ("~/.ssh/known_hosts:7",)
        assert ED in trust.to_pin

    def test_only_keys_with_a_given_fingerprint_are_pinned(self) -> None:
        trust = judged(expected=(ED.fingerprint,))
        assert standings(trust) == ["verified", "unlisted"] and trust.to_pin == [ED]

    def test_another_fingerprint_than_the_inventorys_is_refused_with_both(self) -> None:
        error = refusal(expected=("SHA256:other",))
        assert ED.fingerprint in error.what and "SHA256:other" in error.what

    @pytest.mark.parametrize("where", ["pinned", "others"])
    def test_a_changed_key_is_refused_with_both_fingerprints(self, where: str) -> None:
        old = HostKey("ssh-ed25519", b"old")
        error = refusal(**{where: [known(old), known(RSA)]})
        assert error.reason == "host-key-changed" and "mine:3" in error.what
        assert old.fingerprint in error.what and ED.fingerprint in error.what and "--replace" in error.hint

    def test_a_host_none_of_whose_known_keys_is_offered_has_changed(self) -> None:
        refusal(pinned=[known(HostKey("ecdsa-sha2-nistp256", b"gone"))])

    def test_a_further_kind_of_key_is_no_change(self) -> None:
        assert standings(judged(pinned=[known(ED)])) == ["pinned", "new"]

    def test_replacing_takes_the_old_key_out(self) -> None:
        old = known(HostKey("ssh-ed25519", b"old"))
        trust = judged(pinned=[old, known(RSA)], replace=True)
        assert trust.replaced == (old,) and trust.to_pin == [ED]

    def test_a_revoked_key_is_refused_whatever_is_asked(self) -> None:
        refusal(others=[known(ED, marker="@revoked")], replace=True)


@pytest.mark.parametrize(
    "given", [["SHA256:a", "b"], "SHA256:a b", "SHA256:a, SHA256:b"], ids=["list", "words", "commas"]
)
def test_fingerprints_are_a_list_or_a_text(given: Any) -> None:
    assert expected_of(Host("h", (), {"canary_host_fingerprints": given})) == ["SHA256:a", "SHA256:b"]


class TestTheFile:
    def test_it_reads_back_as_pinned_and_is_readable_by_all(self, tmp_path: Path) -> None:
        pins = tmp_path / "known_hosts"
        pin(OfferedKeys("prod", pins, (judged(),), ()))
        assert [key.blob for key in parse(pins.read_text(), NAME, "")] == [ED.blob, RSA.blob]
        assert pins.stat().st_mode & 0o777 == 0o644 and list(tmp_path.iterdir()) == [pins]

    def test_replacing_touches_the_one_host(self) -> None:
        old = base64.b64encode(b"old").decode()
        text = f"# ours\nother,{NAME} ssh-ed25519 {old}\n{NAME} ssh-ed25519 {old}\nother ssh-rsa {old}\n"
        trust = replace(judged(), replaced=(known(HostKey("ssh-ed25519", b"old")),), keys=((ED, "new"),))
        assert pinned_text(text, trust).splitlines() == [
            "# ours",
            f"other ssh-ed25519 {old}",
            f"other ssh-rsa {old}",
            f"{NAME} ssh-ed25519 {base64.b64encode(b'ed').decode()}",
        ]


class TestBothHalves:
    @pytest.fixture(params=["env", "a name with spaces"])
    def directory(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        directory = tmp_path / request.param
        directory.mkdir()
        (directory / "known_hosts").touch()
        return directory

    def test_without_pins_nothing_is_added(self, tmp_path: Path) -> None:
        variables = {"ansible_ssh_common_args": "-F none"}
        assert with_pins(variables, tmp_path) == variables
        assert pin_variables({"web-1": variables}, tmp_path) == {}

    @pytest.mark.parametrize(
        "given",
        [{}, {"ansible_ssh_common_args": "-o UserKnownHostsFile=/mine"}, {"ansible_ssh_extra_args": "-C"}],
        ids=["nothing", "common", "extra"],
    )
    def test_ssh_reads_the_pins_beside_the_usual_files(self, directory: Path, given: dict[str, str]) -> None:
        variables = with_pins({"ansible_ssh_args": "-F none", **given}, directory)
        target = target_of(Host("192.0.2.1", (), variables))
        files = target.files("globalknownhostsfile")
        assert files == [
            Path("/etc/ssh/ssh_known_hosts"),
            Path("/etc/ssh/ssh_known_hosts2"),
            directory / "known_hosts",
        ]
        if "common" in str(given):
            assert target.files("userknownhostsfile") == [Path("/mine")]

    @pytest.mark.parametrize("name", ["ansible_ssh_args", "ansible_ssh_common_args"])
    def test_system_files_that_the_inventory_names_stay(self, directory: Path, name: str) -> None:
        variables = with_pins({name: "-F none -o GlobalKnownHostsFile=/dev/null"}, directory)
        target = target_of(Host("192.0.2.1", (), variables))
        assert target.files("globalknownhostsfile") == [Path("/dev/null"), directory / "known_hosts"]

    def test_ansible_gets_the_same_arguments_for_each_host(self, directory: Path) -> None:
        hosts = {
            "web-1": with_pins({"ansible_ssh_extra_args": "-C"}, directory),
            "web-2": with_pins({}, directory),
        }
        found = pin_variables(hosts, directory)
        arguments = found["canary_ssh_arguments"]["ansible_ssh_extra_args"]
        assert arguments == {name: variables["ansible_ssh_extra_args"] for name, variables in hosts.items()}
        assert shlex.split(arguments["web-1"])[-1] == "-C"
        assert "inventory_hostname" in found["ansible_ssh_extra_args"]


def test_paths_with_spaces_are_told_by_what_exists(tmp_path: Path) -> None:
    spaced = tmp_path / "a b"
    spaced.touch()
    target = replace(
        target_of(Host("192.0.2.1", (), {"ansible_ssh_args": "-F none"})),
        options=parse_dump(f"globalknownhostsfile /none {spaced} /other"),
    )
    assert target.files("globalknownhostsfile") == [Path("/none"), spaced, Path("/other")]


def test_pins_that_cannot_be_written_are_told_with_their_file(tmp_path: Path) -> None:
    (tmp_path / "prod").write_text("a file where the inventory would be")
    with pytest.raises(ConfigError, match="cannot be pinned") as caught:
        pin(OfferedKeys("prod", tmp_path / "prod" / "known_hosts", (judged(),), ()))
    assert caught.value.where.endswith("prod/known_hosts")


def test_of_two_who_pin_at_once_neither_loses_its_keys(tmp_path: Path) -> None:
    pins = tmp_path / "known_hosts"
    offers = [assess(f"web-{n}", f"web-{n}", [ED, RSA], (), (), ()) for n in range(12)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda trust: pin(OfferedKeys("prod", pins, (trust,), ())), offers))
    assert {line.split()[0] for line in pins.read_text().splitlines()} == {f"web-{n}" for n in range(12)}
