"""What a command is about, from the user's files alone: stack, environment, release, renderings, secrets.

Everything here is read before any host is touched; a fault is a ConfigError.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
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
from canaryctl.evidence.store import stored_runs
from canaryctl.facts import HostFacts
from canaryctl.images.registry import Registries
from canaryctl.images.resolve import USUAL_PLATFORM, release_images
from canaryctl.plan.gpus import GpuRequest, devices_for, wants_of
from canaryctl.plan.leftdata import Known
from canaryctl.plan.mounts import mounts_of
from canaryctl.plan.plan import Target
from canaryctl.plan.release import Release, make_release
from canaryctl.plan.rendering import Rendering, place_services, render_host, template_names

LATELY = 10  # runs

if TYPE_CHECKING:
    from canaryctl.config.probes import Probe, Selection
    from canaryctl.evidence.signatures import PublicKey


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


class Scene:
    """The loaded configuration of one request. Parts that cost something are made when first asked for."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.project = request.project
        self.stack: Stack = load_stack(request.project.stack)
        self.environment: Environment = load_environment(
            request.project, request.environment, vault_password_file=request.vault_password_file
        )
        self.variant = self.stack.choose_variant(request.variant)
        self.policies: dict[str, Policy] = load_policies(self.environment)
        self.placed = place_services(self.stack, self.environment, shown(self.stack.file))
        require_one_policy(self.environment, self.policies, self.placed)
        self.registries = Registries(self._registry_ca())
        self._platform = USUAL_PLATFORM
        self._given = False
        self._renderings: dict[tuple[str, tuple[Any, ...], str], Rendering] = {}
        chosen = match_hosts(self.environment, request.limit)
        self.hosts: list[Host] = [host for name, host in self.environment.hosts.items() if name in chosen]

    def again(self, request: Request) -> Scene:
        """The same configuration, as it was read, for another command on it: its files may have changed meanwhile."""
        made = copy.copy(self)
        for of_the_release in ("release", "names", "selection"):
            made.__dict__.pop(of_the_release, None)
        made.request, made.variant, made._given = request, self.stack.choose_variant(request.variant), False
        made._renderings = {}
        return made

    @property
    def policy(self) -> Policy:
        """The environment's policy, where it is one for all hosts with services: what follows a failure, deadlines."""
        return self.policies[next(iter(self.placed or self.policies))]

    @property
    def compose_project(self) -> str:
        """Name of the compose project on the hosts."""
        return f"{self.stack.stack}-{self.environment.name}"

    @property
    def known(self) -> Known:
        """Names that data on hosts may go by."""
        return Known(tuple(self.project.environments()), self._former_stacks)

    def _former_stacks(self) -> set[str]:
        """What this machine's last runs on the environment called the stack."""
        runs = islice(stored_runs(self.project.runs, self.environment.name), LATELY)
        return {str(run.document.get("stack") or "") for run in runs} - {"", self.stack.stack}

    @cached_property
    def files(self) -> StackFiles:
        """The compose template and the assets."""
        return read_stack_files(self.stack, self.project.operators_folders)

    @cached_property
    def release(self) -> Release:
        """The release that this machine's images and files make."""
        images = release_images(
            self.stack,
            sorted(set(self.stack.variants[self.variant].values())),
            self.request.images,
            deliveries=[self.policies[host].delivery for host in self.placed],
            registries=self.registries,
            platform=self._platform,
        )
        return make_release(self.stack, self.variant, images, self.files.all)

    def use(self, release: Release) -> None:
        """Have this release deployed, and not the one that this machine's images make."""
        self._given, self.variant = True, release.variant
        self._renderings.clear()
        self.__dict__.pop("names", None)
        self.__dict__["release"] = release

    def settle_platform(self, architectures: set[str]) -> None:
        """Make the release anew where the observed hosts are of another platform, and its references have that one."""
        platform = f"linux/{next(iter(architectures))}" if len(architectures) == 1 else self._platform
        if platform == self._platform or self._given or "release" not in self.__dict__:
            return
        if any(image.platform != platform and platform in image.platforms for image in self.release.images.values()):
            self._platform = platform
            self._renderings.clear()
            for made in ("release", "names"):
                self.__dict__.pop(made, None)
            self.check_all(probes=False)

    def _registry_ca(self) -> Path | None:
        given = self.environment.vars.get("canary_registry_ca")
        return self.environment.directory / str(given) if given else None

    @cached_property
    def names(self) -> dict[str, Any]:
        """The names that templates see, the same on every host, for the release this machine makes."""
        tags = {service: self.release.tag(service) for service in self.release.services}
        return self.names_of(self.release.id, self.variant, tags)

    def names_of(self, release: str, variant: str, images: Mapping[str, str]) -> dict[str, Any]:
        """The names that templates see for another release: the one that hosts serve."""
        return template_names(
            self.stack, self.environment, self.placed, release=release, variant=variant, images=images
        )

    @cached_property
    def signing(self) -> Signing:
        """Who may sign verdicts here, and with what. Raises ConfigError where that is faulty."""
        return load_signing(self.environment)

    @cached_property
    def signer(self) -> Path | PublicKey | None:
        """The key that this run signs its verdict with; None where nobody signs."""
        from canaryctl.evidence.signatures import find_signer

        return find_signer(self.signing)

    @property
    def secret_sources(self) -> Mapping[str, Any]:
        """Where secrets come from. Raises ConfigError where `canary_secrets` is no mapping."""
        return granted_secrets(self.environment, self.request)

    @cached_property
    def secrets(self) -> dict[str, str]:
        """The stack's secrets. Raises ConfigError naming all that are missing."""
        found = resolve_secrets(self.stack.secrets, self.secret_sources, self.environment.name)
        remember_secrets(found)
        return found

    @property
    def passwords(self) -> dict[str, str]:
        """What opens the hosts, by words that say what it is."""
        return connection_passwords(self.environment.hosts, self.request.become_password)

    @cached_property
    def webhook(self) -> Webhook | None:
        """Where the end of a run is told. Raises ConfigError where it is faulty."""
        return load_webhook(self.environment.vars.get("canary_webhook"), shown(self.environment.directory))

    @property
    def secrets_file(self) -> bytes:
        """The env file that hosts get; empty where the stack has no secrets."""
        return env_file(self.secrets).encode() if self.secrets else b""

    def secret_macs(self, nonce: str) -> dict[str, str]:
        """What the host's answer is for each secret when it has the same value and was asked with this hex nonce."""
        return line_macs(nonce, self.secrets_file)

    @cached_property
    def probes(self) -> tuple[Probe, ...]:
        """The probes, from --probes or the stack's own file."""
        from canaryctl.config.probes import load_probes

        return load_probes(self.project.probes or self.stack.probes_file)

    @cached_property
    def selection(self) -> Selection:
        """The probes that --only and --skip leave. Raises ConfigError where they name none."""
        from canaryctl.config.probes import select_probes

        return select_probes(self.probes, self.request.only, self.request.skip)

    def rendering(self, host: str, facts: HostFacts | None = None) -> Rendering:
        """The release on one host; `facts` give its GPUs. Raises ConfigError on a faulty template."""
        gpus = tuple(facts.gpus) if facts else ()
        devices = devices_for(facts, self.policies[host], self.wants(host))
        key = (host, gpus, repr(devices))
        if key not in self._renderings:
            files, where = self.files, shown(self.stack.directory / self.stack.compose)
            self._renderings[key] = render_host(
                self.stack, self.release, host, self.names, files.template, files.assets, where, gpus, devices
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
            host: Target(self.rendering(host, facts.get(host)), self.compose_project, digest, self.mounts(host), macs)
            for host in self.placed
        }

    def check_all(self, *, probes: bool = True) -> None:
        """Find every fault that can be found without a host: images, secrets, probes, templates of all hosts."""
        _ = self.release, self.secrets, self.webhook, self.signing, self.selection if probes else None
        for host in self.placed:
            self.rendering(host)


def granted_secrets(environment: Environment, request: Request) -> Mapping[str, Any]:
    """The environment's `canary_secrets`, and what --secret-env says beside it.

    Raises:
        ConfigError: `canary_secrets` is no mapping.
    """
    sources = environment.vars.get("canary_secrets") or {}
    if not isinstance(sources, Mapping):
        raise ConfigError("canary_secrets is no mapping", shown(environment.directory), "write NAME: source")
    return {**sources, **{name: {"env": name} for name in request.secret_env}}
