"""Ansible Vault: the passwords there are, and what they open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from canaryctl.config.yamltext import InventoryLoader, YamlFault, read_yaml

FILE_MARK = "$ANSIBLE_VAULT"


def vault_secrets(loader: Any, vault_password_file: Path | None) -> list[Any]:
    """The vault passwords that the command line or Ansible's configuration names.

    Raises:
        AnsibleError: one cannot be read.
    """
    from ansible import constants

    files = [str(vault_password_file)] if vault_password_file else []
    identities = list(constants.DEFAULT_VAULT_IDENTITY_LIST)
    if not (files or identities or constants.DEFAULT_VAULT_PASSWORD_FILE):
        return []
    from ansible.cli import CLI
    from ansible.parsing.vault import VaultSecretsContext

    secrets = CLI.setup_vault_secrets(
        loader, vault_ids=identities, vault_password_files=files, auto_prompt=False, initialize_context=False
    )
    # Ansible lets the passwords be set once in a process; a command may read two environments, or one twice.
    if (context := VaultSecretsContext.current(optional=True)) is None:
        VaultSecretsContext.initialize(VaultSecretsContext(secrets))
    else:
        context.secrets = secrets
    return list(secrets)


class Vault:
    """Opens vaulted content; the passwords are read when first needed."""

    def __init__(self, vault_password_file: Path | None) -> None:
        self._file = vault_password_file
        self._lib: Any = None

    def open(self, text: str) -> str:
        """The plain text.

        Raises:
            ValueError: it does not decrypt; the message says why.
        """
        from ansible.errors import AnsibleError

        try:
            if self._lib is None:
                from ansible.parsing.dataloader import DataLoader
                from ansible.parsing.vault import VaultLib

                self._lib = VaultLib(secrets=vault_secrets(DataLoader(), self._file))
            return bytes(self._lib.decrypt(text.encode())).decode()
        except (AnsibleError, UnicodeDecodeError) as error:
            raise ValueError(" ".join(str(error).split())) from None


def vaulted_parts(text: str) -> list[tuple[int, str]]:
    """(line, content) of the values that are tagged `!vault` in a YAML text; none where it is no YAML."""
    try:
        _, root = read_yaml(text, InventoryLoader)
    except YamlFault:
        return []
    found: list[tuple[int, str]] = []
    waiting = [root] if root else []
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.MappingNode):
            waiting += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif node.tag in ("!vault", "!vault-encrypted"):
            found.append((node.start_mark.line + 1, str(node.value)))
    return sorted(found)
