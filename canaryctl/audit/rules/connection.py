"""Rules about how hosts are reached and who may log in."""

from __future__ import annotations

from collections.abc import Iterator

from canaryctl.audit.model import Found, HostConfig, Severity
from canaryctl.audit.rule import Rule
from canaryctl.errors import HostError
from canaryctl.facts.host import HostFacts

UNREACHABLE = Rule(
    "host-unreachable",
    Severity.CRITICAL,
    title="The host cannot be reached",
    why="Nothing on it can be deployed, judged or audited; what it serves is unknown.",
    fix="Check that it is up, and the address, port, user and key in the inventory.",
)
HOST_KEY_UNPINNED = Rule(
    "host-key-unpinned",
    Severity.CRITICAL,
    title="The host's key is not in known_hosts",
    why="Whoever answers at that address would be believed, and given images and secrets.",
    fix="Compare the fingerprint with the host's own, then pin it: canaryctl trust ENV.",
)
HOST_KEY_CHANGED = Rule(
    "host-key-changed",
    Severity.CRITICAL,
    title="The host offers another key than the pinned one",
    why="Either it was reinstalled, or somebody stands between you and it.",
    fix="Find out which; correct the known_hosts entry only after comparing fingerprints at the host itself.",
)
PYTHON_MISSING = Rule(
    "python-missing",
    Severity.CRITICAL,
    title="No Python on the host that can run the agent",
    why="Observation and Ansible both run as Python on the host.",
    fix="Install Python 3.8 or later there, or set ansible_python_interpreter to one.",
)
AGENT_FAILED = Rule(
    "agent-failed",
    Severity.CRITICAL,
    title="The observing program failed on the host",
    why="The host could be reached but not looked at.",
    fix="See the message; a login shell that prints or replaces commands is a common cause.",
)
SUDO_REFUSED = Rule(
    "sudo-refused",
    Severity.ERROR,
    title="Sudo is needed and refused",
    why="Docker and the canary root are out of reach, so this host was seen in part only and cannot be deployed to.",
    fix="Give --ask-become-pass, allow sudo without a password, or let the user use Docker and canary_root.",
)
PASSWORD_LOGIN = Rule(
    "ssh-password-login",
    Severity.WARNING,
    title="Password login is enabled or in use",
    why="Passwords are guessed around the clock; keys are not.",
    fix="Set PasswordAuthentication no and KbdInteractiveAuthentication no in sshd_config, and log in with keys.",
)
ROOT_LOGIN = Rule(
    "ssh-root-login",
    Severity.WARNING,
    title="Root may log in, or the inventory logs in as root",
    why="Actions of root cannot be told apart by person, and one lost key or password is the whole machine.",
    fix="Set PermitRootLogin no (or prohibit-password where it must be), and log in as a user with sudo.",
)

_RULE_OF_REASON = {
    "host-key-unknown": HOST_KEY_UNPINNED,
    "host-key-changed": HOST_KEY_CHANGED,
    "python": PYTHON_MISSING,
    "agent": AGENT_FAILED,
    "sudo": SUDO_REFUSED,
}


def _because_of(failure: HostError, rule: Rule) -> Iterator[Found]:
    if _RULE_OF_REASON.get(failure.reason, UNREACHABLE) is rule:
        yield Found(failure.what, subject=rule.id, fix=failure.hint)


@UNREACHABLE.unreachable
def unreachable(failure: HostError, host: HostConfig) -> Iterator[Found]:
    """No connection, or no login."""
    return _because_of(failure, UNREACHABLE)


@HOST_KEY_UNPINNED.unreachable
def host_key_unpinned(failure: HostError, host: HostConfig) -> Iterator[Found]:
    """A host that known_hosts does not know."""
    return _because_of(failure, HOST_KEY_UNPINNED)


@HOST_KEY_CHANGED.unreachable
def host_key_changed(failure: HostError, host: HostConfig) -> Iterator[Found]:
    """A host that offers another key, or a revoked one."""
    return _because_of(failure, HOST_KEY_CHANGED)


@PYTHON_MISSING.unreachable
def python_missing(failure: HostError, host: HostConfig) -> Iterator[Found]:
    """No interpreter, or one that cannot read the agent."""
    return _because_of(failure, PYTHON_MISSING)


@AGENT_FAILED.unreachable
def agent_failed(failure: HostError, host: HostConfig) -> Iterator[Found]:
    """An answer that is none."""
    return _because_of(failure, AGENT_FAILED)


@SUDO_REFUSED.host
def sudo_refused(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """Sudo that was tried in vain."""
    if facts.become == "refused":
        why = (facts.become_reason.splitlines() or ["no reason given"])[-1]
        yield Found(f"sudo is refused for {facts.user}: {why}", subject="sudo")


@PASSWORD_LOGIN.host
def password_login(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """What sshd allows, and what the inventory uses."""
    sshd = facts.audit.sshd
    allowed = [name for name in ("passwordauthentication", "kbdinteractiveauthentication") if sshd.get(name) == "yes"]
    if allowed:
        yield Found(f"sshd takes passwords ({', '.join(allowed)} yes)", subject="sshd")
    if any(host.variables.get(name) for name in ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")):
        fix = "Install a key for the user on the host and remove the password from the inventory."
        yield Found("the inventory logs in with a password", subject="inventory", fix=fix)


@ROOT_LOGIN.host
def root_login(facts: HostFacts, host: HostConfig) -> Iterator[Found]:
    """`prohibit-password` lets keys in and is sshd's default: only worth knowing."""
    permitted = facts.audit.sshd.get("permitrootlogin", "no")
    if permitted == "yes":
        yield Found("sshd lets root in with a password (permitrootlogin yes)", subject="sshd")
    elif permitted in ("without-password", "prohibit-password"):
        yield Found(f"sshd lets root in with a key (permitrootlogin {permitted})", "sshd", severity=Severity.INFO)
    if (host.variables.get("ansible_user") or host.variables.get("ansible_ssh_user")) == "root":
        yield Found("the inventory logs in as root", subject="inventory", fix="Log in as a user with sudo.")
