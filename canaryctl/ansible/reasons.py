"""Ansible's words turned into an operator's: why a host could not be used, why a task failed. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_SUDO = re.compile(
    r"missing sudo password|incorrect sudo password|duplicate become password|a password is required"
    r"|not in the sudoers|is not allowed to (?:execute|run sudo)|a terminal is required|sudo: (?:command )?not found"
    r"|timeout .*waiting for privilege escalation|premature end of stream waiting for become",
    re.IGNORECASE,
)
_REASONS = (
    (
        re.compile(r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for .* has changed", re.IGNORECASE),
        "its SSH host key differs from the pinned one",
    ),
    (re.compile(r"Host key verification failed|No .* host key is known", re.IGNORECASE), "its SSH host key is unknown"),
    (re.compile(r"Permission denied|Too many authentication failures", re.IGNORECASE), "SSH refused the login"),
    (re.compile(r"timed out|timeout", re.IGNORECASE), "the connection timed out"),
    (re.compile(r"Connection refused", re.IGNORECASE), "the connection was refused"),
    (re.compile(r"No route to host|Network is unreachable", re.IGNORECASE), "there is no route to it"),
    (re.compile(r"Could not resolve hostname|Name or service not known", re.IGNORECASE), "its name does not resolve"),
    (
        re.compile(r"Connection (?:closed|reset)|Broken pipe|Shared connection|Data could not be sent", re.IGNORECASE),
        "the connection broke",
    ),
)
# Of Ansible, which ends in a colon where SSH had no word more.
_ADVICE = re.compile(r"Data could not be sent to remote host \S+ Make sure this host can be reached over ssh: ?")
_LONGEST = 20_000  # characters of what a host says
_PREFIXES = re.compile(r"^(?:Task failed|Module failed|Action failed|Failed to connect to the host via ssh): *")


def result_text(result: Mapping[str, Any]) -> str:
    """A failed result's own message, followed by the end of its error output where that adds to it."""
    message = str(result.get("msg") or result.get("censored") or result.get("reason") or "")[:_LONGEST].strip()
    while stripped := _PREFIXES.match(message):
        message = message[stripped.end() :]
    errors = str(result.get("module_stderr") or result.get("stderr") or result.get("module_stdout") or "")[-_LONGEST:]
    tail = "\n".join([line for line in errors.strip().splitlines() if line.strip()][-8:])
    return f"{message}\n{tail}".strip() if tail and tail not in message else message


def sudo_refused(result: Mapping[str, Any]) -> bool:
    """Whether the task never ran because sudo was refused."""
    return bool(_SUDO.search(result_text(result)))


def no_access(result: Mapping[str, Any]) -> str:
    """Why a host could not be used: a reason in words, then what SSH or sudo said."""
    text = result_text(result)
    if _SUDO.search(text):
        return f"sudo was refused: {text}"
    reason = next((words for pattern, words in _REASONS if pattern.search(text)), "")
    last = next(reversed(_ADVICE.sub("", text).strip().splitlines()), "").strip()
    return f"{reason}: {last}" if reason and last else reason or text or "unreachable"


def failure(task: str, result: Mapping[str, Any]) -> str:
    """Why a task failed: its name, its message and the end of its error output."""
    text = result_text(result)
    said_by_service = "canary_failure" in result  # whose log may lack a Python, too
    if not said_by_service and re.search(r"python3?: (?:command )?not found|No such file or directory.*python", text):
        text = f"there is no Python on the host, which Ansible needs: {text}"
    return f"{task}: {text}" if text else f"{task} failed"


def playbook_error(output: str) -> str:
    """What ansible-playbook complained about before it reached any host: its last error with what belongs to it."""
    found = re.findall(r"^(?:\[ERROR\]|ERROR!|\[WARNING\]:.*[Ff]ailed to parse).*(?:\n(?!\[|PLAY).+)*", output, re.M)
    text = found[-1] if found else "\n".join(output.strip().splitlines()[-5:])
    return re.sub(r"^(?:\[ERROR\]: ?|ERROR! )", "", text).strip()
