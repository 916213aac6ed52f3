"""Trust on real hosts: pins that both halves obey, and sudo's password for everything that needs root."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import LAB, Box, Ctl
from toy import MIGRATIONS, STACK, Toy, tells

from canaryctl.lab.state import directory

pytestmark = [pytest.mark.lab, pytest.mark.whole_lab]

# Nothing but the environment's own pins is known, whatever this machine's user knows.
ALONE = "-F none -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
PASSWORD = 'it\'s a "pass" $word'


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, ctl: Ctl, box: Callable[[str], Box]) -> Iterator[Toy]:
    made = Toy(tmp_path_factory.mktemp("trust ed"), "trusted", 18433, ctl, box)
    made.environment("one", "canary-1", variables={"all": {"ansible_ssh_common_args": ALONE}})
    yield made
    made.clean()


@pytest.fixture
def pins(toy: Toy) -> Iterator[Path]:
    """The environment's known_hosts, which is not there."""
    path = toy.folder / "inventories/one/known_hosts"
    path.unlink(missing_ok=True)
    yield path
    path.unlink(missing_ok=True)


def fingerprint(toy: Toy, kind: str = "ed25519") -> str:
    """As the host's owner sees it at the host."""
    said = toy.box("canary-1").run(f"ssh-keygen -lf /etc/ssh/ssh_host_{kind}_key.pub")
    return re.findall(r"SHA256:\S+", said)[0]


def policy(toy: Toy, **more: Any) -> Callable[[], None]:
    """Further variables of every host; the answer takes them back."""
    path = "inventories/one/group_vars/all/more.yml"
    toy.write(path, json.dumps(more))
    return (toy.folder / path).unlink


def test_an_unpinned_host_is_refused_and_a_pinned_one_deployed_by_both_halves(toy: Toy, pins: Path) -> None:
    tells(toy.deploy("one"), 3, "host key is not known", "canaryctl trust")
    asked = toy.run("trust", "one")  # nobody is there to say yes
    tells(asked, 2, "not confirmed")
    assert fingerprint(toy) in asked.out and not pins.exists()
    tells(toy.run("trust", "one", "--yes"), 2, "nobody vouches for", "canary_host_fingerprints", "--accept-new")
    assert not pins.exists()
    trusted = toy.run("trust", "one", "--yes", "--accept-new", "--output", "json")
    assert trusted.code == 0, trusted.text
    keys = trusted.document["hosts"]["canary-1"]["keys"]
    assert {key["standing"] for key in keys} == {"new"} and fingerprint(toy) in {key["fingerprint"] for key in keys}
    assert pins.stat().st_mode & 0o777 == 0o644
    done = toy.deploy("one")  # Ansible reads the same pins, or it would not get in
    assert done.code == 0, done.text[-3000:]
    again = toy.run("trust", "one")
    assert again.code == 0 and "nothing to pin" in again.out
    status = toy.run("status", "one", env={})
    assert status.code == 0, status.text


def test_openssh_itself_obeys_the_pins(toy: Toy, pins: Path) -> None:
    back = policy(toy, canary_transport="openssh")
    try:
        tells(toy.run("status", "one"), 3, "host key is not known", "canaryctl trust")
        assert toy.run("trust", "one", "--yes", "--accept-new").code == 0
        assert toy.run("status", "one").code == 0
    finally:
        back()


def test_a_changed_key_stops_with_both_fingerprints_until_it_is_replaced(toy: Toy, pins: Path) -> None:
    other = _new_key(toy.folder)
    port = toy.run("trust", "one", "--output", "json", "--yes", "--accept-new").document["hosts"]["canary-1"]["name"]
    pins.write_text(f"{port} {other}\n")
    changed = toy.run("trust", "one", "--yes")
    tells(changed, 3, "has changed", fingerprint(toy), "SHA256:", "--replace")
    assert len(re.findall(r"SHA256:\S+", changed.err)) >= 2 and other in pins.read_text()
    tells(toy.deploy("one"), 3, "changed")
    assert toy.run("trust", "one", "--replace", "--yes").code == 0
    assert other not in pins.read_text() and toy.run("status", "one").code == 0


def test_fingerprints_of_the_inventory_decide(toy: Toy, pins: Path) -> None:
    back = policy(toy, canary_host_fingerprints=[fingerprint(toy)])
    try:
        trusted = toy.run("trust", "one", "--yes", "--output", "json")
        keys = trusted.document["hosts"]["canary-1"]["keys"]
        assert {key["type"] for key in keys if key["standing"] == "verified"} == {"ssh-ed25519"}
        assert len(pins.read_text().splitlines()) == 1
    finally:
        back()
    pins.unlink()
    back = policy(toy, canary_host_fingerprints="SHA256:AAAAsomebodyelse")
    try:
        tells(toy.run("trust", "one", "--yes"), 3, fingerprint(toy), "SHA256:AAAAsomebodyelse")
        assert not pins.exists()
    finally:
        back()


def _new_key(folder: Path) -> str:
    path = folder / "other_key"
    subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-f", str(path)], check=True, timeout=30)
    kind, blob, *_ = path.with_suffix(".pub").read_text().split()
    return f"{kind} {blob}"


@pytest.fixture
def asking(toy: Toy) -> Iterator[str]:
    """A user of the host whose sudo asks for a password; its name."""
    box, name = toy.box("canary-1"), "asked"
    box.run(
        f"id {name} >/dev/null 2>&1 || useradd -m -s /bin/bash {name}; install -d -m 700 -o {name} /home/{name}/.ssh; "
        f"install -m 600 -o {name} /home/ops/.ssh/authorized_keys /home/{name}/.ssh/authorized_keys; "
        f"echo '{name} ALL=(ALL) ALL' >/etc/sudoers.d/zz-asked; chmod 440 /etc/sudoers.d/zz-asked"
    )
    argv = ["docker", "exec", "-i", box.container, "chpasswd"]
    subprocess.run(argv, input=f"{name}:{PASSWORD}\n", text=True, check=True, timeout=30)
    yield name
    box.run(f"rm -f /etc/sudoers.d/zz-asked; pkill -u {name}; userdel -rf {name} 2>/dev/null || true", check=False)


def test_everything_works_where_sudo_asks_for_a_password(toy: Toy, pins: Path, asking: str) -> None:
    assert toy.run("trust", "one", "--yes", "--accept-new").code == 0
    # A Python where nobody looks for it, the same for both halves.
    toy.box("canary-1").run("install -d /opt/own/bin; ln -sf /usr/bin/python3 /opt/own/bin/python3.own")
    back = policy(
        toy,
        ansible_user=asking,
        ansible_become_password=PASSWORD,
        ansible_python_interpreter="/opt/own/bin/python3.own",
    )
    toy.write("stack.yml", STACK.format(name=toy.name) + MIGRATIONS)
    inside = "- {name: Inside, kind: exec, on: web, command: [cat, /data/revision], eventually: 5s}\n"
    undo = toy.edit("probes.yml", "- name: Front Page", f"{inside}- name: Front Page")
    try:
        done = toy.deploy("one")
        assert done.code == 0, done.text[-3000:]
        assert set(done.rows.values()) == {"passed"} and "Inside" in done.rows
        assert not [w for w in done.document["warnings"] if "history" in str(w) or "revision" in str(w)]
        assert toy.history("canary-1")[-1]["verdict"] == "passed"
        assert PASSWORD not in toy.box("canary-1").run(f"cat {toy.root}/history.jsonl")
        probed = toy.run("probe", "one", "--output", "json")
        assert probed.code == 0 and probed.document["release"]["migration"] == "0002", probed.text[-2000:]
        shown = toy.run("logs", "one", "--tail", "2")
        assert shown.code == 0, shown.text
        assert toy.run("secrets", "diff", "one").code == 0
    finally:
        undo()
        back()


@pytest.fixture
def certified(toy: Toy, tmp_path: Path) -> Iterator[str]:
    """An ssh configuration: a host behind another one, let in by a certificate alone; both only known by pins."""
    lab = json.loads(toy.run("lab", "status", "--output", "json").out)["hosts"]
    state = directory(LAB)
    for name in ("authority", "signed"):
        subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True, timeout=30)
    sign = ["ssh-keygen", "-qs", str(tmp_path / "authority"), "-I", "us", "-n", "ops", str(tmp_path / "signed.pub")]
    subprocess.run(sign, check=True, timeout=30, capture_output=True)
    inner = toy.box("staging-core")
    public = (tmp_path / "authority.pub").read_text().strip()
    inner.run(
        f"echo '{public}' >/etc/ssh/authority.pub; echo 'TrustedUserCAKeys /etc/ssh/authority.pub' "
        ">/etc/ssh/sshd_config.d/00-authority.conf; systemctl restart ssh"
    )
    (tmp_path / "config").write_text(
        f"Host gate\n  HostName 127.0.0.1\n  Port {lab['canary-1']['port']}\n  IdentityFile {state}/id_ed25519\n"
        f"  UserKnownHostsFile {state}/known_hosts\n"
        f"Host inner\n  HostName {lab['staging-core']['address']}\n  ProxyJump gate\n  IdentitiesOnly yes\n"
        f"  IdentityFile {tmp_path}/signed\n  UserKnownHostsFile /dev/null\n"
        "Host *\n  User ops\n"
    )
    yield str(tmp_path / "config")
    inner.run("rm -f /etc/ssh/authority.pub /etc/ssh/sshd_config.d/00-authority.conf; systemctl restart ssh")


def test_a_host_behind_a_jump_host_is_trusted_and_deployed_with_a_certificate(toy: Toy, certified: str) -> None:
    reach = {"ansible_host": "inner", "ansible_ssh_common_args": f"-F {certified}"}
    toy.environment("behind", "staging-core", variables={"staging-core": reach})
    connection = toy.folder / "inventories/behind/group_vars/all/connection.yml"
    text = connection.read_text()
    kept = [line for line in text.splitlines() if not line.startswith(("ansible_port", "ansible_ssh_private_key_file"))]
    connection.write_text("\n".join(kept) + "\n")
    tells(toy.run("status", "behind"), 3, "host key is not known")
    assert toy.run("trust", "behind", "--yes", "--accept-new").code == 0
    done = toy.deploy("behind")
    assert done.code == 0, done.text[-3000:]
