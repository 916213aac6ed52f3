"""Who may sign an environment's verdicts, and with which key this operator does: read from the inventory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from canaryctl.config.environment import Environment
from canaryctl.config.policy import truth
from canaryctl.config.yamlfile import shown
from canaryctl.errors import ConfigError

ALLOWED, REVOKED = "allowed_signers", "revoked_signers"
KEY_VARIABLE = "CANARYCTL_SIGNING_KEY"


@dataclass(frozen=True)
class Signing:
    """`allowed` lists who may sign (it need not exist); `revoked`, beside it, the keys that no longer count.

    `required`: a verdict that is not signed proves nothing. `key`: the file that the operator or the inventory names to
    sign with, None where neither does.
    """

    allowed: Path
    required: bool
    key: Path | None = None

    @property
    def listed(self) -> bool:
        """Whether there is a list of who may sign."""
        return self.allowed.is_file()

    @property
    def revoked(self) -> Path | None:
        """Keys that no longer count, where there is such a file."""
        path = self.allowed.with_name(REVOKED)
        return path if path.is_file() else None


def load_signing(environment: Environment) -> Signing:
    """The environment's `canary_allowed_signers`, `canary_require_signature` and `canary_signing_key`.

    The operator's own CANARYCTL_SIGNING_KEY wins over the inventory's key.

    Raises:
        ConfigError: a variable has a value it may not have, or the key is not there.
    """
    where = shown(environment.directory)
    hosts = environment.hosts.values()
    for variable in ("canary_allowed_signers", "canary_require_signature", "canary_signing_key"):
        if len({repr(host.vars.get(variable)) for host in hosts}) > 1:
            raise ConfigError(f"{variable} differs from host to host", where, "set it for all, in group_vars/all")
    allowed = allowed_of(environment)
    first = next(iter(hosts), None)
    given = first is not None and first.vars.get("canary_require_signature") not in (None, "")
    required = truth(first, "canary_require_signature", where) if first and given else None
    if required and not allowed.is_file():
        raise ConfigError(
            f"canary_require_signature is true, and {shown(allowed)} is not there",
            where,
            f"list who may sign: canaryctl trust signers {environment.name} --me",
        )
    return Signing(allowed, allowed.is_file() if required is None else required, key_of(environment))


def allowed_of(environment: Environment) -> Path:
    """The environment's list of who may sign; it need not exist."""
    given = environment.vars.get("canary_allowed_signers")
    return environment.directory.absolute() / Path(str(given or ALLOWED)).expanduser()


def key_of(environment: Environment) -> Path | None:
    """The key that the operator or the inventory names to sign with, None where neither does.

    Raises:
        ConfigError: it is not there.
    """
    own = os.environ.get(KEY_VARIABLE)
    named = own or str(environment.vars.get("canary_signing_key") or "")
    if not named:
        return None
    path = Path(named).expanduser()
    path = path if own else environment.directory.absolute() / path
    if not path.is_file():
        variable = KEY_VARIABLE if own else "canary_signing_key"
        raise ConfigError(
            f"{variable} names {shown(path)}, which is no file",
            shown(environment.directory),
            "name a private key, or a public key whose private half is in your agent",
        )
    return path
