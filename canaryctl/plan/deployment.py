"""What a command is about, from the user's files alone: configuration, and the release where there is one.

Everything here is read before any host is touched; a fault is a ConfigError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from canaryctl.agent.read.envfile import line_macs, secrets_mac
from canaryctl.config.environment import Environment, Host, load_environment, match_hosts
from canaryctl.config.passwords import connection_passwords
from canaryctl.config.policy import Policy, load_policies
from canaryctl.config.project import Project
from canaryctl.config.scrub import remember_secrets
from canaryctl.config.secrets import env_file, resolve_secrets
from canaryctl.config.shared import require_one_policy
from canaryctl.config.signing import Signing, load_signing
from canaryctl.config.stack import Mount, Stack, load_stack
from canaryctl.config.stackfiles import StackFiles, read_stack_files
from canaryctl.config.webhook import Webhook, load_webhook
from canaryctl.config.yamlfile import shown
from canaryctl.errors import ConfigError
from canaryctl.facts import HostFacts
from canaryctl.plan.gpus import GpuRequest, devices_for, wants_of
from canaryctl.plan.mounts import mounts_of
from canaryctl.plan.release import Release
from canaryctl.plan.rendering import Rendering, place_services, render_release, template_names
from canaryctl.plan.target import Target

if TYPE_CHECKING:  # the probes' models take a while to import, and half of the commands do without
    from canaryctl.config.probes import Probe, Selection


@dataclass(frozen=True)
class Request:
    """What the operator asked for on the command line."""

    project: Project
    environment: str
    variant: str | None = None
    images: Mapping[str, str] = field(default_factory=dict)
    limit: str | None = None
    check: bool = False
    diff: bool = False
    tags: str = ""
    yes: bool = False
    verbosity: int = 0
    bandwidth: float | None = None
    contracts: bool = True
    allow_docker_restart: bool = False
    vault_password_file: Path | None = None
    become_password: str | None = field(default=None, repr=False)
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    restore_database: bool = False
    leave_data: bool = False  # where a database's data would stay behind
    wait: bool = False  # for whoever holds the lock
    break_lock: bool = False
    force_reason: str | None = None
    secret_env: tuple[str, ...] = ()  # secrets that the environment variables of their names may give


@dataclass(frozen=True)
class Configuration:
    """What the user wrote, for one environment. Parts that cost something are read when first asked for, once."""

    project: Project
    stack: Stack
    environment: Environment
    policies: Mapping[str, Policy]
    placed: Mapping[str, tuple[str, ...]]
    secret_env: tuple[str, ...] = ()

    @cached_property
    def files(self) -> StackFiles:
        """The compose template and the assets."""
        return read_stack_files(self.stack, self.project.operators_folders)

    @cached_property
    def signing(self) -> Signing:
        """Who may sign verdicts here, and with what. Raises ConfigError where that is faulty."""
        return load_signing(self.environment)

    @property
    def secret_sources(self) -> Mapping[str, Any]:
        """Where secrets come from. Raises ConfigError where `canary_secrets` is no mapping."""
        return granted_secrets(self.environment, self.secret_env)

    @cached_property
    def secrets(self) -> dict[str, str]:
        """The stack's secrets. Raises ConfigError naming all that are missing."""
        found = resolve_secrets(self.stack.secrets, self.secret_sources, self.environment.name)
        remember_secrets(found)
        return found

    @cached_property
    def webhook(self) -> Webhook | None:
        """Where the end of a run is told. Raises ConfigError where it is faulty."""
        return load_webhook(self.environment.vars.get("canary_webhook"), shown(self.environment.directory))

    @cached_property
    def probes(self) -> tuple[Probe, ...]:
        """The probes, from --probes or the stack's own file."""
        from canaryctl.config.probes import load_probes

        return load_probes(self.project.probes or self.stack.probes_file)


@dataclass(frozen=True)
class Deployment:
    """Configuration and release of one command. Another release, or another platform's, makes another Deployment.

    Attributes:
        hosts: those that --limit leaves.
        release: what hosts should serve; None for commands that bring none.
        platform: what the release's images were asked for, such as linux/arm64; empty for the usual one.
        given: whether another environment gave the release, and not this machine's images.
    """

    configuration: Configuration
    request: Request
    variant: str
    hosts: tuple[Host, ...]
    made: Release | None = None
    platform: str = ""
    given: bool = False
    _renderings: dict[tuple[str, tuple[Any, ...], str], Rendering] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def project(self) -> Project:
        return self.configuration.project

    @property
    def stack(self) -> Stack:
        return self.configuration.stack

    @property
    def environment(self) -> Environment:
        return self.configuration.environment

    @property
    def policies(self) -> Mapping[str, Policy]:
        """By host."""
        return self.configuration.policies

    @property
    def placed(self) -> Mapping[str, tuple[str, ...]]:
        """Services by host."""
        return self.configuration.placed

    @property
    def policy(self) -> Policy:
        """The environment's policy, where it is one for all hosts with services: what follows a failure, deadlines."""
        return self.policies[next(iter(self.placed or self.policies))]

    @property
    def compose_project(self) -> str:
        """Name of the compose project on the hosts."""
        return f"{self.stack.stack}-{self.environment.name}"

    @property
    def release(self) -> Release:
        """What hosts should serve, for commands that bring a release."""
        assert self.made is not None, "this command brings no release"  # noqa: S101
        return self.made

    def for_request(self, request: Request) -> Deployment:
        """The same configuration, as it was read, for another command: its files may have changed meanwhile."""
        return Deployment(self.configuration, request, self.stack.choose_variant(request.variant), self.hosts)

    def with_release(self, release: Release, *, platform: str = "", given: bool = False) -> Deployment:
        """The same for another release."""
        return replace(self, made=release, variant=release.variant, platform=platform or self.platform, given=given)

    @property
    def names(self) -> dict[str, Any]:
        """The names that templates see, the same on every host, for the release."""
        return self.names_of(self.release.id, self.variant, self.release.tags)

    def names_of(self, release: str, variant: str, images: Mapping[str, str]) -> dict[str, Any]:
        """The names that templates see for another release: the one that hosts serve. `images` are tags by service."""
        return template_names(
            self.stack, self.environment, self.placed, release=release, variant=variant, images=images
        )

    @property
    def passwords(self) -> dict[str, str]:
        """What opens the hosts, by words that say what it is."""
        return connection_passwords(self.environment.hosts, self.request.become_password)

    @property
    def secrets_file(self) -> bytes:
        """The env file that hosts get; empty where the stack has no secrets."""
        secrets = self.configuration.secrets
        return env_file(secrets).encode() if secrets else b""

    def secret_macs(self, nonce: str) -> dict[str, str]:
        """What the host's answer is for each secret when it has the same value and was asked with this hex nonce."""
        return line_macs(nonce, self.secrets_file)

    @cached_property
    def selection(self) -> Selection:
        """The probes that --only and --skip leave. Raises ConfigError where they name none."""
        from canaryctl.config.probes import select_probes

        return select_probes(self.configuration.probes, self.request.only, self.request.skip)

    def rendering(self, host: str, facts: HostFacts | None = None) -> Rendering:
        """The release on one host; `facts` give its GPUs. Raises ConfigError on a faulty template."""
        gpus = tuple(facts.gpus) if facts else ()
        devices = devices_for(facts, self.policies[host], self.wants(host))
        key = (host, gpus, repr(devices))
        if key not in self._renderings:
            files, release = self.configuration.files, self.release
            self._renderings[key] = render_release(
                self.stack, self.environment, self.placed, files, release, host, gpus, devices
            )
        return self._renderings[key]

    def wants(self, host: str) -> tuple[GpuRequest, ...]:
        """The services placed on a host that get GPUs."""
        return wants_of(self.stack, self.variant, self.placed.get(host, ()))

    def mounts(self, host: str) -> tuple[Mount, ...]:
        """The mounts that a host with services must have."""
        return mounts_of(self.stack.mounts, self.environment.hosts[host].groups)

    def targets(self, facts: Mapping[str, HostFacts], nonce: str) -> dict[str, Target]:
        """What every host with services should be, placed hosts that were not observed included."""
        content = self.secrets_file
        digest = secrets_mac(nonce, content) if content else None
        macs = self.secret_macs(nonce)
        return {
            host: Target(
                self.rendering(host, facts.get(host)),
                self.compose_project,
                digest,
                self.mounts(host),
                macs,
                self.environment.hosts[host].root,
            )
            for host in self.placed
        }

    def check(self, *, probes: bool = True) -> None:
        """Find every fault that can be found without a host: secrets, probes, templates of all hosts."""
        configuration = self.configuration
        _ = configuration.secrets, configuration.webhook, configuration.signing, self.selection if probes else None
        for host in self.placed:
            self.rendering(host)


def load_deployment(request: Request) -> Deployment:
    """Read what a request is about; it has no release yet.

    Raises:
        ConfigError: a file is faulty, or hosts disagree where only one could be obeyed.
    """
    stack = load_stack(request.project.stack)
    environment = load_environment(
        request.project, request.environment, vault_password_file=request.vault_password_file
    )
    variant = stack.choose_variant(request.variant)
    policies = load_policies(environment)
    placed = place_services(stack, environment, shown(stack.file))
    require_one_policy(environment, policies, placed)
    chosen = match_hosts(environment, request.limit)
    hosts = tuple(host for name, host in environment.hosts.items() if name in chosen)
    configuration = Configuration(request.project, stack, environment, policies, placed, request.secret_env)
    return Deployment(configuration, request, variant, hosts)


def granted_secrets(environment: Environment, secret_env: Sequence[str]) -> Mapping[str, Any]:
    """The environment's `canary_secrets`, and what --secret-env says beside it.

    Raises:
        ConfigError: `canary_secrets` is no mapping.
    """
    sources = environment.vars.get("canary_secrets") or {}
    if not isinstance(sources, Mapping):
        raise ConfigError("canary_secrets is no mapping", shown(environment.directory), "write NAME: source")
    return {**sources, **{name: {"env": name} for name in secret_env}}
