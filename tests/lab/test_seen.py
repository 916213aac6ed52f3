"""What operators see and hook in: history, status of all, merged logs, exec, hooks, the webhook, deleting volumes."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import socket
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import CTL, Box, Ctl
from toy import Toy, evidence, tells

pytestmark = [pytest.mark.lab, pytest.mark.whole_lab]

SECRET = "distinctive-s3cret-value"
SECRETS = {"canary_secrets": {"WEB_TOKEN": {"env": "WEB_TOKEN"}}}


@pytest.fixture(scope="module")
def webhook() -> Iterator[tuple[str, list[Any]]]:
    """A URL on this machine, and what was posted there."""
    got: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hidden-path", got
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def toy(
    tmp_path_factory: pytest.TempPathFactory,
    ctl: Ctl,
    box: Callable[[str], Box],
    webhook: tuple[str, list[Any]],
) -> Iterator[Toy]:
    """A toy with a secret, on two hosts, deployed and healthy; environment `two` would share one of them."""
    made = Toy(tmp_path_factory.mktemp("seen"), "toyseen", 18851, ctl, box, env={"WEB_TOKEN": SECRET})
    made.environment("one", "canary-1", "staging-core", variables={"all": {"canary_webhook": webhook[0], **SECRETS}})
    made.environment("two", "canary-1", variables={"all": SECRETS})
    made.write("stack.yml", (made.folder / "stack.yml").read_text() + "secrets: [WEB_TOKEN]\n")
    try:
        done = made.deploy("one")
        assert done.code == 0, done.text[-3000:]
        yield made
    finally:
        made.clean()


def hook(toy: Toy, name: str, text: str) -> Path:
    toy.write(f"hooks/{name}", f"#!/bin/sh\n{text}\n")
    path = toy.folder / "hooks" / name
    path.chmod(0o755)
    return path


@pytest.fixture
def no_hooks(toy: Toy) -> Iterator[None]:
    """Hooks last as long as their test."""
    yield
    for path in (toy.folder / "hooks").iterdir():
        path.unlink()


def test_the_webhook_was_told_and_its_url_is_in_no_record(toy: Toy, ctl: Ctl, webhook: tuple[str, list[Any]]) -> None:
    last = toy.run("history", "one", "--output", "json").document["lines"][0]
    (told,) = [post for post in webhook[1] if post["id"] == last["run"]]
    assert told["verdict"] == "passed" and told["environment"] == "one"
    assert told["probes"] == [{"name": "Front Page", "verdict": "passed"}]
    directory = evidence(ctl, ctl("runs", "show", last["run"], "--output", "json").document)
    assert [f for f in directory.rglob("*") if f.is_file() and b"hidden-path" in f.read_bytes()] == []


def test_history_has_one_row_for_both_hosts(toy: Toy) -> None:
    rows = toy.run("history", "one", "--output", "json").document["lines"]
    assert [(row["what"], row["verdict"]) for row in rows][:2] == [("verdict", "passed"), ("deploy", None)]
    assert rows[0]["hosts"] == ["canary-1", "staging-core"] and rows[0]["time"] >= rows[1]["time"]
    said = toy.run("history", "one", "--limit-lines", "1").out
    row, signer = said.splitlines()
    assert signer.startswith("    signed by ") and rows[0]["to"][:12] in row and rows[0]["to"][:13] not in said


def test_status_shows_every_environment(toy: Toy, box: Callable[[str], Box]) -> None:
    said = toy.run("status", "--output", "json")
    assert said.code == 0, said.text
    one, two = (said.document["environments"][name] for name in ("one", "two"))
    deployed = toy.history("canary-1")[-2]
    assert one["release"]["id"] == deployed["to"] and one["by"] == deployed["who"] and one["since"] <= deployed["time"]
    assert (one["healthy"], one["services"], one["drift"]) == (2, 2, False)
    assert two["replaced_by"] == ["one"]
    box("staging-core").run(f"echo '# by hand' >> {toy.root}/current/compose.yml")
    try:
        drifted = toy.run("status")
        assert "drift: yes" in drifted.out and "2 of 2 healthy" in drifted.out
        assert "files of the release were changed" in toy.run("status", "one").out
    finally:
        box("staging-core").run(f"sed -i '$d' {toy.root}/current/compose.yml")
    assert "drift: no" in toy.run("status").out


def test_logs_of_both_hosts_are_one_stream_by_time(toy: Toy) -> None:
    for host in ("staging-core", "canary-1"):
        toy.run("exec", "one", "web", "--limit", host, "--", "sh", "-c", f"echo said on {host} > /proc/1/fd/1")
    said = toy.run("logs", "one", "--since", "10m").out.splitlines()
    times = [line.split()[2] for line in said]
    assert times == sorted(times) and {line.split()[0] for line in said} == {"canary-1", "staging-core"}
    assert all(line.split()[1] == "web" for line in said) and "\x1b" not in "".join(said)


def test_a_webhook_that_is_not_told_is_a_warning(toy: Toy, webhook: tuple[str, list[Any]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    nobody = f"http://127.0.0.1:{port}/hidden-path"
    back = toy.edit("inventories/one/group_vars/all/policy.yml", webhook[0], nobody)
    try:
        done = toy.deploy("one")
    finally:
        back()
    assert done.code == 0, done.text[-3000:]
    (warning,) = [w for w in done.document["warnings"] if w["where"] == "canary_webhook"]
    assert "was not told" in warning["what"] and "hidden-path" not in done.text


def test_exec_gives_output_apart_and_the_exit_code(toy: Toy, lab_env: dict[str, str]) -> None:
    done = subprocess.run(
        [CTL, "exec", "one", "web", "--limit", "canary-1", "--", "sh", "-c", "cat; echo aside >&2; exit 7"],
        cwd=toy.folder,
        env={**lab_env, **toy.env},
        input=b"\x00\xff given",
        capture_output=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, b"\x00\xff given", b"aside\n")


@pytest.mark.parametrize("transport", ["auto", "openssh"])
def test_exec_from_a_terminal_has_one_in_the_container(toy: Toy, lab_env: dict[str, str], transport: str) -> None:
    rules = "inventories/one/group_vars/all/policy.yml"
    back = toy.edit(rules, '{"canary_provision"', f'{{"canary_transport": "{transport}", "canary_provision"')
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 123, 0, 0))
    before = termios.tcgetattr(theirs)
    asking = "tty; sleep 1; stty size; read line; echo got $line; trap 'exit 7' INT; while :; do sleep 0.1; done"
    try:
        process = subprocess.Popen(
            [CTL, "exec", "one", "web", "--limit", "canary-1", "--", "sh", "-c", asking],
            cwd=toy.folder,
            env={**lab_env, **toy.env},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(theirs, termios.TIOCSCTTY, 0),
        )
        late = threading.Timer(120, process.kill)
        late.start()
        heard = b""

        def hear(what: bytes) -> None:
            nonlocal heard
            while what not in heard:
                heard += os.read(ours, 4096)

        hear(b"40 123")
        assert b"/dev/pts/" in heard
        os.write(ours, b"spoken\r")
        hear(b"got spoken")
        os.write(ours, b"\x03")
        assert process.wait(60) == 7, heard
        late.cancel()
        assert termios.tcgetattr(theirs) == before
    finally:
        back()
        os.close(ours)
        os.close(theirs)


def test_exec_of_no_service_lists_those_there_are(toy: Toy) -> None:
    tells(toy.run("exec", "one", "wob", "--", "true"), 2, "no service 'wob'", "web")


@pytest.mark.usefixtures("no_hooks")
def test_a_pre_hook_that_refuses_stops_before_any_change(toy: Toy, ctl: Ctl) -> None:
    hook(toy, "pre-deploy", f"cat > seen.json; echo 'not today, {SECRET}'; exit 9")
    hook(toy, "on-failure", "touch failed")
    before = toy.state("canary-1")
    done = toy.deploy("one")
    tells(done, 2, "pre-deploy refused", "exit code 9", "not today, [secret WEB_TOKEN]")
    assert toy.state("canary-1") == before and not (toy.folder / "failed").exists()
    (row,) = done.document["hooks"]
    assert (row["name"], row["code"], row["output_tail"]) == ("pre-deploy", 9, "not today, [secret WEB_TOKEN]\n")
    assert done.document["changed_from"] is None
    assert (evidence(ctl, done.document) / "hooks/pre-deploy.log").read_text() == row["output_tail"]
    given = json.loads((toy.folder / "seen.json").read_text())
    assert given["id"] == done.document["id"] and given["verdict"] is None and SECRET not in json.dumps(given)


@pytest.mark.usefixtures("no_hooks")
def test_hooks_run_in_order_and_a_late_one_after_the_deploy_only_warns(toy: Toy) -> None:
    hook(toy, "pre-deploy", 'echo "pre $CANARYCTL_ENVIRONMENT $CANARYCTL_RUN" >> order')
    hook(toy, "post-deploy", "echo post >> order; sleep 60")
    rules = "inventories/one/group_vars/all/policy.yml"
    policy = toy.edit(rules, '{"canary_provision"', '{"canary_hook_timeout": "1s", "canary_provision"')
    try:
        done = toy.deploy("one")
    finally:
        policy()
    assert done.code == 0, done.text[-3000:]
    assert (toy.folder / "order").read_text() == f"pre one {done.document['id']}\npost\n"
    assert [(row["name"], row["code"]) for row in done.document["hooks"]] == [("pre-deploy", 0), ("post-deploy", None)]
    assert any("post-deploy failed: it did not end within 1 s" in w["what"] for w in done.document["warnings"])


@pytest.mark.usefixtures("no_hooks")
def test_a_hook_that_is_not_executable_names_chmod(toy: Toy) -> None:
    hook(toy, "on-failure", "true").chmod(0o644)
    tells(toy.deploy("one"), 2, "on-failure is not executable", "chmod +x")


def test_down_deletes_volumes_only_where_the_name_is_written(toy: Toy, box: Callable[[str], Box]) -> None:
    box("canary-1").run("docker volume create not-ours")
    try:
        tells(toy.run("down", "one", "--volumes", "--yes"), 2, "--confirm-volumes one")
        tells(toy.run("down", "one", "--volumes", "--yes", "--confirm-volumes", "two"), 2, "nothing was changed")
        kept = toy.run("down", "one", "--yes", "--output", "json")
        assert kept.code == 0 and kept.document["removed"] is None
        assert "toyseen-one_data" in box("canary-1").run("docker volume ls -q")
        done = toy.run("down", "one", "--volumes", "--yes", "--confirm-volumes", "one", "--output", "json")
        assert done.code == 0, done.text[-3000:]
        assert done.document["removed"] == {
            "volumes": {"canary-1": ["toyseen-one_data"], "staging-core": ["toyseen-one_data"]}
        }
        left = box("canary-1").run("docker volume ls -q").split()
        assert "not-ours" in left and "toyseen-one_data" not in left
        assert toy.history("canary-1")[-1]["volumes"] == ["toyseen-one_data"]
    finally:
        box("canary-1").run("docker volume rm not-ours")
