"""Secrets: where each comes from, looked up once and kept in memory.

What a command or a person has answered is kept for the life of the process, so that a command that reads an
environment twice (a deploy with a baseline) asks once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from canaryctl.config.secretanswers import answer_of_command, answer_of_person, command_words
from canaryctl.errors import ConfigError

LARGEST = 1 << 20  # characters of a secret
KINDS = ("file", "env", "command", "prompt")


@dataclass(frozen=True)
class Secret:
    """A secret of the stack and where its value comes from.

    `kind` is value, file, env, command, prompt, or none; `place` says which one, in words without any value. `problem`
    says why there is no value.
    """

    name: str
    kind: str
    place: str
    value: str = field(default="", repr=False)
    problem: str = ""


def resolve_secrets(names: Iterable[str], sources: Mapping[str, Any], where: str) -> dict[str, str]:
    """The value of every secret in `names`.

    Args:
        names: what the stack asks for.
        sources: the environment's `canary_secrets`: NAME to a plain (vaulted, templated) string, `{file: PATH}`,
            `{env: VARIABLE}`, `{command: WORDS}` or `{prompt: true}`. A secret without an entry is not looked for: a
            stack must not name its way to the operator's own variables.
        where: the environment, for the error and for prompts.

    Raises:
        ConfigError: lists all that are missing, together.
    """
    found = find_secrets(names, sources, where)
    missing = [f"{secret.name} ({secret.problem})" for secret in found if secret.problem]
    if missing:
        raise ConfigError(
            f"secrets are missing: {', '.join(missing)}",
            where,
            "give each one under canary_secrets (a vaulted string, {file: PATH}, {env: VARIABLE}, {command: WORDS} or "
            f"{{prompt: true}}), or --secret-env NAME; canaryctl secrets check {where} shows them all",
        )
    return {secret.name: secret.value for secret in found}


def find_secrets(names: Iterable[str], sources: Mapping[str, Any], where: str) -> list[Secret]:
    """Look every secret up; one that is not there says why. Arguments as for `resolve_secrets`."""
    return [
        _find(name, sources[name], where) if name in sources else Secret(name, "none", "", problem=_not_granted(name))
        for name in names
    ]


def _not_granted(name: str) -> str:
    if name not in os.environ:
        return "no entry in canary_secrets"
    return (
        f"no entry in canary_secrets; for the environment variable of that name: {{env: {name}}} there, or --secret-env"
    )


def _find(name: str, source: Any, where: str) -> Secret:
    kind, place = "value", "canary_secrets"
    try:
        kind, given = _kind(source)
        place = _place(kind, given, name)
        value = _look_up(kind, given, name, where)
    except (LookupError, OSError, ValueError) as problem:
        return Secret(name, kind, place, problem=str(problem))
    problem_of_value = "empty" if not value else "it holds a NUL character" if "\0" in value else ""
    return Secret(name, kind, place, value, problem_of_value)


def _kind(source: Any) -> tuple[str, Any]:
    if not isinstance(source, Mapping):
        return "value", "" if source is None else str(source)
    if len(source) != 1 or not set(source) <= set(KINDS):
        raise ValueError(f"unknown source {sorted(map(str, source))}; one of {', '.join(KINDS)}")
    ((kind, given),) = source.items()
    return str(kind), given


def _place(kind: str, given: Any, name: str) -> str:
    """Where a secret is looked for. Of a command only its program: the rest may hold a credential of its own."""
    if kind == "command":
        words = [word for word in command_words(given) if "=" not in word.partition("/")[0]]
        return f"{words[0]} ..." if len(words) > 1 else "".join(words)
    return {"value": "canary_secrets", "prompt": f"asked for as {name}"}.get(kind, str(given))


def _look_up(kind: str, given: Any, name: str, where: str) -> str:
    if kind == "env":
        variable = str(given)
        if variable not in os.environ:
            raise LookupError(f"environment variable {variable} is not set")
        return os.environ[variable]
    if kind == "file":
        path = Path(str(given)).expanduser()
        if not path.is_file():
            raise LookupError(f"no file {path}")
        with path.open(encoding="utf-8") as file:
            value = file.read(LARGEST + 1)
        if len(value) > LARGEST:
            raise LookupError(f"{path} has more than {LARGEST >> 20} MiB")
        return value.rstrip("\n")
    if kind == "command":
        return answer_of_command(given)
    if kind == "prompt":
        return answer_of_person(name, where, given)
    return str(given)


def env_lines(values: Mapping[str, str]) -> dict[str, str]:
    """The line of each secret in the env file, without its end, by name in the order of the file.

    Double quotes everywhere, with the escapes compose's dotenv parser undoes.
    """
    lines = {}
    for name in sorted(values):
        text = values[name]
        for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("$", "\\$"), ("\n", "\\n"), ("\r", "\\r")):
            text = text.replace(plain, escaped)
        lines[name] = f'{name}="{text}"'
    return lines


def env_file(values: Mapping[str, str]) -> str:
    """An env file that docker compose reads back to exactly these values."""
    return "".join(f"{line}\n" for line in env_lines(values).values())
