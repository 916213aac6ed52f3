"""The command line: which commands there are, what they take, how faults leave it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from canaryctl.cli.main import app

CTL = str(Path(sys.executable).with_name("canaryctl"))
STACK = """\
stack: shop
images: {web: {tag: "shop-web:test"}}
variants: {only: {web: web}}
placement: {all: [web]}
compose: compose.yml
"""
COMMANDS = [
    *("build", "plan", "provision", "push", "render", "migrate", "start", "probe", "collect", "deploy"),
    *("status", "history", "exec", "logs", "down", "runs", "lab", "doctor"),
]


def test_the_package_runs_as_the_command_does() -> None:
    done = subprocess.run([sys.executable, "-m", "canaryctl", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == subprocess.run([CTL, "--version"], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"])
    assert shown.exit_code == 0 and "Usage" in shown.output


@pytest.mark.parametrize("command", ["deploy", "plan", "push", "probe", "status", "history", "exec", "logs", "down"])
def test_commands_on_an_environment_share_their_options(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"]).output
    for option in ("ENV", "--stack", "--inventories", "--limit", "--output", "--vault-password-file"):
        assert option in shown


def run(*argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([CTL, *argv], cwd=cwd, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def test_wrong_usage_exits_2_and_names_what_is_missing(tmp_path: Path) -> None:
    done = run("deploy", cwd=tmp_path)
    assert done.returncode == 2 and "ENV" in done.stderr
    done = run("deploy", "canary", "--imgae", "a=b", cwd=tmp_path)
    assert done.returncode == 2 and "--image" in done.stderr


def test_without_a_project_the_error_has_three_lines_and_json_its_document(tmp_path: Path) -> None:
    done = run("deploy", "canary", "--output", "json", cwd=tmp_path)
    assert done.returncode == 2
    assert [line.split(":")[0].strip() for line in done.stderr.splitlines()] == ["error", "where", "help"]
    document = json.loads(done.stdout)
    assert (
        document["exit_code"] == 2 and document["verdict"] == "error" and "canaryctl.yml" in document["error"]["what"]
    )


@pytest.mark.parametrize("command", ["list", "show", "compare"])
def test_looking_at_runs_says_errors_as_json_too(tmp_path: Path, command: str) -> None:
    done = run("runs", command, "--output", "json", cwd=tmp_path)
    assert done.returncode == 2
    assert "canaryctl.yml" in json.loads(done.stdout)["error"]["what"] and "error:" in done.stderr


def test_a_pipe_in_the_place_of_a_file_is_refused_and_does_not_block(tmp_path: Path) -> None:
    (tmp_path / "canaryctl.yml").write_text("")
    os.mkfifo(tmp_path / "stack.yml")
    done = run("plan", "canary", cwd=tmp_path)
    assert done.returncode == 2 and "regular file" in done.stderr and "stack.yml" in done.stderr


def test_a_malformed_image_option_says_how(tmp_path: Path) -> None:
    (tmp_path / "canaryctl.yml").write_text("")
    done = run("plan", "canary", "--image", "backend", cwd=tmp_path)
    assert done.returncode == 2 and "NAME=REF" in done.stderr


def test_an_empty_project_lists_no_runs(tmp_path: Path) -> None:
    (tmp_path / "canaryctl.yml").write_text("")
    done = run("runs", "list", "--output", "json", cwd=tmp_path)
    assert done.returncode == 0 and json.loads(done.stdout) == {"runs": []}


def test_an_interrupt_is_heard_even_where_the_shell_ignores_it(tmp_path: Path) -> None:
    """As a background job of a script is started."""
    (tmp_path / "canaryctl.yml").write_text("")
    (tmp_path / "stack.yml").write_text(STACK)
    (tmp_path / "compose.yml").write_text("services: {}\n")
    fifo = tmp_path / "inventories/canary/hosts.yml"
    fifo.parent.mkdir(parents=True)
    os.mkfifo(fifo)  # reading the inventory blocks, so that the interrupt comes in the middle
    process = subprocess.Popen(
        [CTL, "plan", "canary"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    ends, writer = time.monotonic() + 30, None
    while writer is None:
        assert process.poll() is None and time.monotonic() < ends
        try:
            writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)  # opens once canaryctl reads
        except OSError:
            time.sleep(0.05)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130
    os.close(writer)


@pytest.mark.parametrize(
    "argv, said",
    [
        (["--every", "3s"], "add --watch"),
        (["--watch", "--every", "3"], "for example --every 10m"),
        (["--watch", "--every", "0s"], "the duration must be above 0"),
    ],
)
def test_a_watch_needs_a_pause_and_a_pause_a_watch(tmp_path: Path, argv: list[str], said: str) -> None:
    (tmp_path / "canaryctl.yml").write_text("")
    done = run("probe", "canary", *argv, cwd=tmp_path)
    assert done.returncode == 2 and said in done.stderr
