"""Inventory variables and ssh's own configuration become one target."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from canaryctl.config.environment import Host
from canaryctl.config.pins import KEEPALIVES, NOTHING_LENT, pin_variables, ssh_args, with_pins
from canaryctl.errors import ConfigError
from canaryctl.hosts.openssh import askpass_script
from canaryctl.hosts.target import Target, arguments, jump_of, parse, parse_hop, target_of


def host(**variables: object) -> Host:
    return Host("web-1", ("all",), variables)


def target(**options: str) -> Target:
    return Target("web-1", "web-1", (), {name: (value,) for name, value in options.items()})


def test_a_bare_host_is_reached_by_its_name() -> None:
    assert arguments(host()) == ("web-1", [])


def test_variables_become_arguments_in_ansibles_order() -> None:
    variables = {
        "ansible_host": "192.0.2.7",
        "ansible_port": 2222,
        "ansible_user": "ops",
        "ansible_ssh_private_key_file": "/keys/my key",
        "ansible_ssh_common_args": "-o ProxyJump=gate",
        "ansible_ssh_extra_args": "-o 'UserKnownHostsFile=/a b'",
    }
    assert arguments(host(**variables)) == (
        "192.0.2.7",
        [
            *("-o", "Port=2222"),
            *("-o", 'IdentityFile="/keys/my key"'),
            *("-o", 'User="ops"'),
            *("-o", "ProxyJump=gate"),
            *("-o", "UserKnownHostsFile=/a b"),
        ],
    )


def test_unbalanced_quotes_are_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="ansible_ssh_common_args"):
        arguments(host(ansible_ssh_common_args="-o 'ProxyJump=gate"))


def test_values_keep_their_order() -> None:
    assert parse("host web\nidentityfile ~/a\nidentityfile ~/b\nport 22\n") == {
        "host": ("web",),
        "identityfile": ("~/a", "~/b"),
        "port": ("22",),
    }


@pytest.mark.parametrize(
    ("hop", "parts"),
    [
        ("gate", ("", "gate", "")),
        ("me@gate:2222", ("me", "gate", "2222")),
        ("ssh://me@gate:22/", ("me", "gate", "22")),
        ("me@[2001:db8::1]:22", ("me", "2001:db8::1", "22")),
        ("2001:db8::1", ("", "2001:db8::1", "")),
        ("user@realm@gate", ("user@realm", "gate", "")),
    ],
)
def test_jump_specifications(hop: str, parts: tuple[str, str, str]) -> None:
    assert parse_hop(hop) == parts


def test_tokens_are_expanded() -> None:
    found = target(hostname="web.example", port="2200", user="ops").expand("%h %p %r %n %% %d/x")
    assert found == f"web.example 2200 ops web-1 % {Path.home()}/x"


def test_a_file_with_a_space_is_one_file(tmp_path: Path) -> None:
    spaced = tmp_path / "known hosts"
    spaced.touch()
    assert target(userknownhostsfile=str(spaced)).files("userknownhostsfile") == [spaced]
    assert target(userknownhostsfile="/a /b").files("userknownhostsfile") == [Path("/a"), Path("/b")]


def test_known_hosts_names() -> None:
    assert target(hostname="Web", port="22").known_as == ["web"]
    assert target(hostname="web", port="2222").known_as == ["[web]:2222", "web"]
    assert target(hostname="web", port="2222", hostkeyalias="db").known_as == ["db"]


@pytest.mark.parametrize(
    ("options", "asks"),
    [
        ({}, False),
        ({"pkcs11provider": "none", "hostbasedauthentication": "no"}, False),
        ({"pkcs11provider": "/usr/lib/p11.so"}, True),
        ({"revokedhostkeys": "/etc/ssh/revoked"}, True),
        ({"knownhostscommand": "/bin/keys %H"}, True),
    ],
)
def test_what_only_openssh_can_do(options: dict[str, str], asks: bool) -> None:
    assert bool(target(**options).needs_openssh()) is asks


def test_the_ssh_configuration_file_applies(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        "Host gate\n  Port 2022\n  User jumper\nMatch exec true\n  ServerAliveInterval 7\n"
        "Host web-1\n  HostName 192.0.2.9\n  ProxyJump first,gate\n"
    )
    found = target_of(host(ansible_ssh_common_args=f"-F {config}", ansible_user="ops"))
    assert (found.hostname, found.user, found.option("serveraliveinterval")) == ("192.0.2.9", "ops", "7")
    gate = jump_of(found)
    assert gate is not None
    assert (gate.hostname, gate.port, gate.user) == ("gate", 2022, "jumper")
    first = jump_of(gate)
    assert first is not None
    assert (first.hostname, jump_of(first)) == ("first", None)


def test_a_configuration_that_ssh_rejects_is_an_error() -> None:
    with pytest.raises(ConfigError, match="nonsense"):
        target_of(host(ansible_ssh_common_args="-o nonsense=yes"))


def test_a_destination_is_never_an_option() -> None:
    assert target_of(host(ansible_host="127.0.0.1")).hostname == "127.0.0.1"
    with pytest.raises(ConfigError):
        target_of(host(ansible_host="-oProxyCommand=touch /tmp/owned"))


@pytest.mark.parametrize(
    ("prompt", "answered"),
    [
        ("ops@inner.example's password: ", True),
        ("(ops@inner.example) Password: ", True),
        ("ops@gate.example's password: ", False),
        ("(ops@gate.example) ops@inner.example's password: ", False),
        ("Enter passphrase for key '/home/ops/.ssh/id_ed25519': ", False),
        ("The authenticity of host 'x' can't be established. Continue (yes/no)?", False),
    ],
)
def test_a_password_answers_the_prompt_of_its_own_host_alone(tmp_path: Path, prompt: str, answered: bool) -> None:
    secret, script = tmp_path / "password", tmp_path / "askpass"
    secret.write_text("hunter2\n")
    script.write_text(askpass_script(secret, "ops", "Inner.example"))
    done = subprocess.run(["sh", str(script), prompt], capture_output=True, text=True, timeout=10)
    assert (done.stdout == "hunter2\n", done.returncode == 0) == (answered, answered)


@pytest.mark.parametrize("given", ["", "-o ForwardAgent=yes -o ForwardX11=yes -o PermitLocalCommand=yes"])
def test_ansible_lends_nothing_to_a_host_whatever_is_configured(
    tmp_path: Path, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text("Host *\n  ForwardAgent yes\n  ForwardX11 yes\n  PermitLocalCommand yes\n  ProxyJump gate\n")
    monkeypatch.delenv("ANSIBLE_SSH_ARGS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    words = shlex.split(str(with_pins({"ansible_ssh_args": given}, tmp_path)["ansible_ssh_args"]) or ssh_args())
    dump = subprocess.run(["ssh", "-F", str(config), "-G", *words, "web-1"], capture_output=True, text=True, timeout=10)
    said = dict(line.split(" ", 1) for line in dump.stdout.splitlines() if " " in line)
    assert (said["forwardagent"], said["forwardx11"], said["permitlocalcommand"]) == ("no", "no", "no")
    assert said["clearallforwardings"] == "yes" and said["proxyjump"] == "gate"
    assert said["controlpersist"] == ("60" if not given else "no")


def test_ssh_arguments_of_some_hosts_leave_the_others_theirs(tmp_path: Path) -> None:
    own = with_pins({"ansible_ssh_args": "-o ForwardAgent=yes"}, tmp_path)
    chosen = pin_variables({"a": own, "b": {}}, tmp_path)["canary_ssh_arguments"]["ansible_ssh_args"]
    assert chosen["a"] == f"{NOTHING_LENT} -o ForwardAgent=yes {KEEPALIVES}" and chosen["b"] == ssh_args()


@pytest.mark.parametrize(
    ("variables", "everywhere", "said"),
    [
        ({}, "", ("5", "4")),
        ({"ansible_ssh_args": "-C"}, "", ("5", "4")),
        ({"ansible_ssh_args": "-o ServerAliveInterval=60 -C"}, "", ("60", "3")),
        ({"ansible_ssh_common_args": "-o ServerAliveInterval=0"}, "", ("0", "3")),
        ({"ansible_ssh_args": "-C", "ansible_ssh_extra_args": "-oserveralivecountmax=9"}, "", ("0", "9")),
        ({}, "-o ServerAliveInterval=7", ("7", "3")),
    ],
)
def test_ansible_notices_a_silent_host_unless_the_ssh_arguments_say_otherwise(
    tmp_path: Path,
    variables: dict[str, str],
    everywhere: str,
    said: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ANSIBLE_SSH_ARGS", raising=False)
    monkeypatch.setenv("ANSIBLE_SSH_COMMON_ARGS", everywhere)
    monkeypatch.setenv("HOME", str(tmp_path))
    found = with_pins(variables, tmp_path)
    words = [found.get("ansible_ssh_args") or ssh_args(), everywhere]
    words += [found.get(f"ansible_ssh_{name}_args", "") for name in ("common", "extra")]
    given = shlex.split(" ".join(words))
    dump = subprocess.run(["ssh", "-F", "none", "-G", *given, "web"], capture_output=True, text=True, timeout=10)
    options = parse(dump.stdout)
    assert (options["serveraliveinterval"][0], options["serveralivecountmax"][0]) == said
    assert Target("web", "web", tuple(given), {}).keeps_alive
