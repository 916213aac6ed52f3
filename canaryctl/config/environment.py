"""An environment: an Ansible inventory plus its policy, read in-process with Ansible's own loader."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from canaryctl.config.ownership import require_own
from canaryctl.config.pins import ignore_in_inventories, pin_variables, with_pins
from canaryctl.config.project import Project
from canaryctl.config.vault import vault_secrets
from canaryctl.config.yamlfile import shown
from canaryctl.config.yamltext import InventoryLoader, parse_yaml
from canaryctl.errors import ConfigError

DEFAULT_ROOT = "/opt/canaryctl"
_ROOT = re.compile(r"(/[A-Za-z0-9._@+-]+)+")
# The role's own variable says whether a driver that is missing will come, which a plan must know.
_OUR_PREFIXES = ("ansible_", "canary_", "nvidia_container_toolkit_install_driver")
_MAGIC = {"groups", "hostvars", "omit", "vars", "ansible_facts", "ansible_playbook_python", "ansible_version"}


@dataclass(frozen=True)
class Host:
    """A host as the inventory defines it. `vars` are templated by Ansible; connection keys are `ansible_*`."""

    name: str
    groups: tuple[str, ...]
    vars: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def address(self) -> str:
        """Where services of this host are reached: `canary_address`, else `ansible_host`, else the name."""
        return str(self.vars.get("canary_address") or self.vars.get("ansible_host") or self.name)

    @property
    def root(self) -> str:
        """Folder of everything of ours on the host (`canary_root`)."""
        return str(self.vars.get("canary_root") or DEFAULT_ROOT)


@dataclass(frozen=True)
class Environment:
    """The hosts and policy of one inventory directory.

    `groups` maps every group name to its hosts' names in inventory order (`all` included).
    `vars` are the `ansible_*` and `canary_*` variables with one value on every host: the policy lives there.
    """

    name: str
    directory: Path
    hosts: dict[str, Host]
    groups: dict[str, tuple[str, ...]]
    vars: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def pins(self) -> dict[str, Any]:
        """Variables that make Ansible use the environment's pinned host keys; none where none are pinned."""
        return pin_variables({host.name: host.vars for host in self.hosts.values()}, self.directory)

    def limited(self, names: Sequence[str]) -> list[Host]:
        """The hosts of these names, in inventory order."""
        return [host for host in self.hosts.values() if host.name in names]


def load_environment(project: Project, name: str, *, vault_password_file: Path | None = None) -> Environment:
    """Read `inventories/NAME`.

    Raises:
        ConfigError: there is no such environment, its inventory or variables are faulty (file and line),
            or they are another user's.
    """
    known = project.environments()
    if name not in known:
        names = ", ".join(known) or f"none in {shown(project.inventories)}"
        raise ConfigError(f"no environment '{name}'", shown(project.inventories), f"environments there are: {names}")
    directory = project.inventories / name
    if not project.named:  # inventories hold lookups and may be programs
        for path in (project.inventories, directory, *directory.rglob("*")):
            require_own(path)
    _check_syntax(directory)
    return _read(directory, name, vault_password_file)


def match_hosts(environment: Environment, pattern: str | None) -> list[str]:
    """Names of the hosts that an Ansible pattern (`--limit`) selects, in inventory order; all without one.

    Raises:
        ConfigError: it is no pattern, or selects nothing.
    """
    if not pattern:
        return list(environment.hosts)
    _, manager, _ = _ansible(environment.directory, None)
    from ansible.errors import AnsibleError

    try:
        chosen = {host.name for host in manager.get_hosts(pattern)}
    except (AnsibleError, IndexError, ValueError, re.error) as error:  # Ansible takes `!` for a pattern and fails
        raise ConfigError(
            f"--limit '{pattern}' is no pattern: {_one_line(error)}", "--limit", "for example a host, a group, or a:&b"
        ) from None
    if not chosen:
        raise ConfigError(
            f"--limit '{pattern}' selects no host of {environment.name}",
            shown(environment.directory),
            f"hosts: {', '.join(environment.hosts)}; groups: {', '.join(sorted(environment.groups))}",
        )
    return [name for name in environment.hosts if name in chosen]


def _check_syntax(directory: Path) -> None:
    """Ansible tries each inventory plugin in turn and blames the last; YAML's own word on the fault is clearer."""
    for file in sorted([*directory.glob("*.y*ml"), *directory.glob("*_vars/**/*.y*ml")]):
        text = file.read_text(encoding="utf-8", errors="replace")
        if text.startswith("$ANSIBLE_VAULT"):
            continue
        parse_yaml(text, shown(file), what="the inventory is not valid YAML", loader_class=InventoryLoader)


def _ansible(directory: Path, vault_password_file: Path | None) -> tuple[Any, Any, Any]:
    """Ansible's loader, inventory manager and variable manager; a source it cannot parse is an error, not a warning."""
    from ansible.errors import AnsibleError
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader
    from ansible.utils.display import Display
    from ansible.vars.manager import VariableManager

    class Manager(InventoryManager):  # type: ignore[misc]  # Ansible has no types
        """Keeps whether each source was parsed, which Ansible alone only warns of."""

        unparsed = False

        def parse_source(self, source: str, cache: bool = False) -> bool:
            parsed = bool(super().parse_source(source, cache))
            self.unparsed |= not parsed
            return parsed

    ignore_in_inventories()
    complaints: list[str] = []
    broken = False
    # Why a source was not parsed is only displayed; and what else is, Ansible displays again when it applies.
    display = Display()
    display.warning = lambda msg, *_, **__: complaints.append(str(msg))
    display.error = lambda msg, *_, **__: complaints.append(str(msg))
    display.error_as_warning = lambda msg, exception, *_, **__: complaints.append(f"{msg or ''} {exception}".strip())
    loader = DataLoader()
    loader.set_basedir(str(directory))
    try:
        loader.set_vault_secrets(vault_secrets(loader, vault_password_file))
        manager = Manager(loader=loader, sources=[str(directory)])
        variables = VariableManager(loader=loader, inventory=manager)
        broken = manager.unparsed
    except AnsibleError as error:
        complaints.append(str(error))
        broken = True
    finally:
        del display.warning, display.error, display.error_as_warning
    if broken:
        raise ConfigError(
            f"Ansible cannot read the inventory: {_one_line(' | '.join(complaints))[:900]}",
            shown(directory),
            f"see what Ansible says: ansible-inventory -i {shown(directory)} --list",
        )
    return loader, manager, variables


def _read(directory: Path, name: str, vault_password_file: Path | None) -> Environment:
    loader, manager, variables = _ansible(directory, vault_password_file)
    from ansible.errors import AnsibleError
    from ansible.template import Templar

    hosts: dict[str, Host] = {}
    for found in manager.get_hosts("all"):
        try:
            raw = variables.get_vars(host=found)
        except AnsibleError as error:
            raise ConfigError(
                f"the variables of {found.name} cannot be read: {_one_line(error)}",
                shown(directory),
                "for vaulted files give --vault-password-file or set ANSIBLE_VAULT_PASSWORD_FILE",
            ) from None
        templar = Templar(loader=loader, variables=raw)
        values = with_pins(_templated(templar, raw, found.name, directory), directory)
        _require_root(values.get("canary_root"), found.name, directory)
        hosts[found.name] = Host(
            name=found.name,
            groups=tuple(sorted(group.name for group in found.get_groups() if group.name != "all")),
            vars=values,
        )
    if not hosts:
        raise ConfigError(
            f"environment '{name}' has no host", shown(directory), "add hosts to its inventory (hosts.yml)"
        )
    groups = {group: tuple(members) for group, members in manager.get_groups_dict().items()}
    return Environment(name=name, directory=directory, hosts=hosts, groups=groups, vars=_common(hosts))


def _require_root(given: Any, host: str, directory: Path) -> None:
    """The path goes into paths and command lines of every kind on the host. Raises ConfigError."""
    if given is None or (isinstance(given, str) and _ROOT.fullmatch(given) and not {".", ".."} & {*given.split("/")}):
        return
    raise ConfigError(
        f"canary_root of {host} is {given!r}",
        shown(directory),
        f"write an absolute path such as {DEFAULT_ROOT}: letters, digits and any of . _ @ + -, no slash at its end",
    )


def _templated(templar: Any, raw: Mapping[str, Any], host: str, directory: Path) -> dict[str, Any]:
    """The variables we read, as Ansible would use them."""
    from ansible.errors import AnsibleError

    values: dict[str, Any] = {}
    for key, value in raw.items():
        if key in _MAGIC or not key.startswith(_OUR_PREFIXES):
            continue  # others are Ansible's alone, and templating them takes time
        try:
            values[key] = _plain(templar.template(value))
        except AnsibleError as error:
            raise ConfigError(
                f"variable '{key}' of host {host}: {_one_line(error)}", shown(directory), _hint(str(error))
            ) from None
    return values


def _hint(text: str) -> str:
    if "vault" in text.lower() or "decrypt" in text.lower():
        return "give the vault's password: --vault-password-file FILE, or set ANSIBLE_VAULT_PASSWORD_FILE"
    return "fix the variable; see it with: ansible-inventory --list"


def _plain(value: Any) -> Any:
    """Ansible's tagged values as ordinary Python ones."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    return str(value)


def _common(hosts: Mapping[str, Host]) -> dict[str, Any]:
    first, *others = hosts.values()
    return {
        key: value
        for key, value in first.vars.items()
        if all(key in other.vars and other.vars[key] == value for other in others)
    }


def _one_line(error: Exception | str) -> str:
    return " ".join(str(error).split())
