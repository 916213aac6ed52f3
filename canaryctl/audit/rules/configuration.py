"""Rules about inventory, policy and stack files. They need no host."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from canaryctl.audit.inventory import Definition, Scalar
from canaryctl.audit.model import Found, Setup, Severity
from canaryctl.audit.rule import Rule
from canaryctl.audit.templates import used_names

_BUILT_IN = {"all", "ungrouped"}
_SECRET = re.compile(
    r"(^|_)(pass|passwd|password|passphrase|secret|token|api_?key|access_?key|private_?key|credentials?)s?$", re.I
)
_KEY_BLOCK = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_NO_SECRET = {"", "true", "false", "yes", "no", "null", "none", "~"}
_STRING, _NUMBER = "tag:yaml.org,2002:str", "tag:yaml.org,2002:int"
_PASSWORD = re.compile(r"(^|_)pass(wd|word|phrase)?$", re.I)

INVENTORY, STACK, POLICY, TEMPLATE, PROBES = (
    Rule(f"{kind}-invalid", Severity.CRITICAL, title=title, why=why, fix="Fix it as the message says.")
    for kind, title, why in (
        (
            "inventory",
            "The inventory cannot be read",
            "No command works on the environment, and no host was looked at.",
        ),
        ("stack", "The stack file cannot be used", "Nothing can be built, planned or deployed from it."),
        ("policy", "A canary_* variable has a value it may not have", "Every command on the environment refuses it."),
        ("template", "The compose template cannot be rendered", "A deploy would stop before it changes anything."),
        ("probes", "The probes cannot be read", "A deploy would stop, for nothing could judge it."),
    )
)
PLACEMENT = Rule(
    "placement-impossible",
    Severity.ERROR,
    title="A service is placed in a group without hosts",
    why="The release cannot be deployed as a whole: a deploy refuses.",
    fix="Add a host to the group, fix the group's name, or list the service under `optional`.",
)
SECRETS_MISSING = Rule(
    "secret-missing",
    Severity.WARNING,
    title="A secret of the stack has no value on this machine",
    why="A deploy from here would stop, and what is collected cannot be scrubbed of its value.",
    fix="Give it under canary_secrets (a vaulted string, a file, env, command or prompt).",
)
PLAIN_SECRET = Rule(
    "secret-in-plain-text",
    Severity.ERROR,
    title="A secret is written in plain text in the inventory",
    why="Everybody who can read the repository, its history and its backups has it.",
    fix="Change the secret, then keep it in Ansible Vault (ansible-vault encrypt_string), a file or an environment "
    "variable.",
)
VAULT = Rule(
    "vault-undecryptable",
    Severity.ERROR,
    title="Vaulted content does not decrypt",
    why="Every command on the environment fails, or gets garbage in the variable's place.",
    fix="Give the right password (--vault-password-file or ANSIBLE_VAULT_PASSWORD_FILE), or encrypt it again.",
)
UNDEFINED = Rule(
    "variable-undefined",
    Severity.ERROR,
    title="A variable uses another that nothing defines",
    why="Whatever needs it fails in the middle of a command.",
    fix="Define it, fix its name, or give a default: {{ name | default('') }}.",
)
SHADOWED = Rule(
    "variable-shadowed",
    Severity.WARNING,
    title="A variable is defined in several places, and only one counts",
    why="Which one is decided by the order of names: an edit to another one has no effect.",
    fix="Keep one definition; where hosts must differ, set it in host_vars or give the groups ansible_group_priority.",
)
UNGROUPED = Rule(
    "host-in-no-group",
    Severity.WARNING,
    title="A host is in no group",
    why="No service can be placed on it, and no group's variables apply to it.",
    fix="Put it into a group, or remove it from the inventory.",
)
GROUP_TYPO = Rule(
    "group-name-typo",
    Severity.WARNING,
    title="A group's name is nearly another's",
    why="Services or variables meant for one group apply to no host.",
    fix="Fix the name.",
)


@INVENTORY.setup
def inventory_invalid(setup: Setup) -> Iterator[Found]:
    """As Ansible's own loader says."""
    return _issues(setup, "inventory")


@STACK.setup
def stack_invalid(setup: Setup) -> Iterator[Found]:
    """Its syntax and the names in it."""
    return _issues(setup, "stack")


@POLICY.setup
def policy_invalid(setup: Setup) -> Iterator[Found]:
    """Any of the canary_* variables."""
    return _issues(setup, "policy")


@TEMPLATE.setup
def template_invalid(setup: Setup) -> Iterator[Found]:
    """For any of the hosts."""
    return _issues(setup, "template")


@PROBES.setup
def probes_invalid(setup: Setup) -> Iterator[Found]:
    """The stack's own file."""
    return _issues(setup, "probes")


@PLACEMENT.setup
def placement_impossible(setup: Setup) -> Iterator[Found]:
    """Groups that the stack's placement needs."""
    return _issues(setup, "placement")


@SECRETS_MISSING.setup
def secrets_missing(setup: Setup) -> Iterator[Found]:
    """All that are missing, together."""
    return _issues(setup, "secrets")


def _issues(setup: Setup, kind: str) -> Iterator[Found]:
    for issue in setup.issues:
        if issue.kind == kind:
            place = re.fullmatch(r"(.*?)(?::(\d+))?", issue.where)
            file, line = (place[1], int(place[2] or 0)) if place else ("", 0)
            yield Found(issue.what, subject=kind, fix=issue.hint, file=file, line=line)


@PLAIN_SECRET.setup
def plain_secret(setup: Setup) -> Iterator[Found]:
    """By the name that a value goes by; the value is never shown."""
    for definition in setup.inventory.definitions:
        for scalar in definition.scalars:
            if _is_plain_secret(definition, scalar):
                name = ".".join((definition.name, *scalar.path))
                yield Found(
                    f"{name} of {definition.scope} {definition.owner} is in plain text",
                    subject=f"{definition.owner}.{name}",
                    file=definition.file,
                    line=scalar.line,
                )


def _is_plain_secret(definition: Definition, scalar: Scalar) -> bool:
    name = (definition.name, *scalar.path)[-1]
    if scalar.tag == _NUMBER:  # a token counted in numbers is a limit, not a secret
        return bool(_PASSWORD.search(name))
    if scalar.tag != _STRING or "{{" in scalar.text or scalar.text.strip().lower() in _NO_SECRET:
        return scalar.tag == _STRING and bool(_KEY_BLOCK.search(scalar.text))
    if _KEY_BLOCK.search(scalar.text):
        return True
    if definition.name == "canary_secrets":  # NAME: value; a mapping names a file or a variable
        return len(scalar.path) == 1
    return bool(_SECRET.search(name))


@VAULT.setup
def vault_undecryptable(setup: Setup) -> Iterator[Found]:
    """Whole files and single variables."""
    for file, line, why in setup.inventory.undecryptable:
        yield Found(f"vaulted content does not decrypt: {why}", subject=f"{file}:{line}", file=file, line=line)


@UNDEFINED.setup
def variable_undefined(setup: Setup) -> Iterator[Found]:
    """Names that no file of the inventory defines and Ansible does not know, where no default is given."""
    if setup.inventory.unread:
        return
    known = {definition.name for definition in setup.inventory.definitions}
    for definition in setup.inventory.definitions:
        for scalar in definition.scalars:
            for name in sorted(used_names(scalar.text) - known):
                if name.startswith("ansible_"):
                    continue
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
                yield Found(
                    f"{definition.name} uses '{name}', which nothing defines",
                    subject=f"{definition.owner}.{definition.name}.{name}",
                    fix=f"Did you mean '{near[0]}'?" if near else "",
                    file=definition.file,
                    line=scalar.line,
                )


@SHADOWED.setup
def variable_shadowed(setup: Setup) -> Iterator[Found]:
    """Two places of the same rank that apply to one host. A host's or a child group's value before a wider one's is
    what inventories are for: it is mentioned only."""
    by_name: dict[str, list[Definition]] = {}
    for definition in setup.inventory.definitions:
        by_name.setdefault(definition.name, []).append(definition)
    for name, places in by_name.items():
        for index, second in enumerate(places):
            for first in places[:index]:
                if not name.startswith("ansible_group_priority") and _differ(first, second):
                    yield from _shadow(setup, first, second)


def _differ(first: Definition, second: Definition) -> bool:
    def values(definition: Definition) -> list[tuple[tuple[str, ...], str]]:
        return [(scalar.path, scalar.text) for scalar in definition.scalars]

    return values(first) != values(second)


def _shadow(setup: Setup, first: Definition, second: Definition) -> Iterator[Found]:
    if not _members(setup, first) & _members(setup, second):
        return
    same = (first.scope, first.owner) == (second.scope, second.owner)
    ordered = first.scope != second.scope or _nested(setup, first.owner, second.owner)
    yield Found(
        f"{second.name} is set for {first.scope} {first.owner} ({first.file}:{first.line}) "
        f"and for {'it again' if same else f'{second.scope} {second.owner}'}, with another value",
        subject=f"{second.name}:{first.owner}:{second.owner}",
        severity=None if same or not ordered else Severity.INFO,
        file=second.file,
        line=second.line,
    )


def _members(setup: Setup, definition: Definition) -> set[str]:
    if definition.scope == "host":
        return {definition.owner}
    return set(setup.groups.get(definition.owner, ()))


def _nested(setup: Setup, one: str, other: str) -> bool:
    inventory = setup.inventory
    return one in inventory.ancestors(other) or other in inventory.ancestors(one)


@UNGROUPED.setup
def host_in_no_group(setup: Setup) -> Iterator[Found]:
    """Where services are placed in `all`, every host is in a group that counts."""
    if "all" in setup.placement:
        return
    for host in setup.hosts.values():
        if not set(host.groups) - _BUILT_IN:
            yield Found("the host is in no group", subject="group", host=host.name)


@GROUP_TYPO.setup
def group_name_typo(setup: Setup) -> Iterator[Found]:
    """Groups that the stack places services in, and files of variables, against the groups there are."""
    if not setup.groups:
        return
    groups = set(setup.groups) - _BUILT_IN
    for group in setup.placement:
        near = difflib.get_close_matches(group, groups - set(setup.placement), n=1, cutoff=0.75)
        if group not in _BUILT_IN and not setup.groups.get(group) and near:
            what = f"the inventory has a group '{near[0]}', the stack places services in '{group}'"
            yield Found(what, subject=group, fix=f"Rename one of them: '{group}'.", file=setup.placement_where)
    for scope, owner, file in setup.inventory.vars_of:
        names = groups | _BUILT_IN if scope == "group" else set(setup.hosts)
        if owner not in names:
            near = difflib.get_close_matches(owner, names, n=1, cutoff=0.6)
            meant = f"; did you mean '{near[0]}'?" if near else ""
            what = f"{scope}_vars are written for {scope} '{owner}', which there is not{meant}"
            yield Found(what, subject=owner, fix=f"Rename it to '{near[0]}'." if near else "", file=file)
