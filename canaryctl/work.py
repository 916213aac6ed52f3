"""One command at work on one environment: connections, what was observed, what was done, and the record of it.

`pipeline.py` tells the story; these are its steps.
"""

from __future__ import annotations

import difflib
import secrets
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from canaryctl import apply as ansible
from canaryctl.apply import AnsibleOptions, run_stage
from canaryctl.deliver.layers import Layers
from canaryctl.deliver.prune import prune
from canaryctl.deliver.pull import pull_images
from canaryctl.deliver.push import Delivery, Limiter, Progress, Sending, missing_bytes, push_images
from canaryctl.errors import ApplyError, CanaryError, HostError
from canaryctl.observe import Connection, Connections, HostFacts, collect, observe
from canaryctl.plan.plan import Plan, Target, is_pulled, make_plan, marker_of, migration_host, needed_images
from canaryctl.plan.release import ImageFact
from canaryctl.record import history
from canaryctl.record.run import Run
from canaryctl.record.scrub import Scrubber
from canaryctl.scene import Scene

if TYPE_CHECKING:  # the probes bring an HTTP client along, which most commands do without
    from canaryctl.probe.context import ProbeContext


class Work:
    """What the steps of one run share. Use it as a context manager: it closes connections and removes its files."""

    def __init__(self, scene: Scene, run: Run) -> None:
        self.scene, self.run = scene, run
        self.verdict = "passed"
        self.collected = False
        self.facts: dict[str, HostFacts] = {}
        self.served_before: dict[str, str | None] = {}
        self.targets: dict[str, Target] = {}
        self.names: dict[str, Any] = {}
        self.failures: dict[str, HostError] = {}
        self.connections = Connections(scene.hosts)
        self._nonce = secrets.token_hex(16)
        memory = Path("/dev/shm")  # noqa: S108  private below; secrets stay off the disk
        self._scratch = Path(tempfile.mkdtemp(prefix="canaryctl-", dir=memory if memory.is_dir() else None))

    def __enter__(self) -> Work:
        return self

    def __exit__(self, *_: object) -> None:
        self.connections.close()
        ansible.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    # observe

    def observe(self, *, again: bool = False) -> None:
        """Read every host once, in parallel. Unreachable ones are noted in `failures`."""
        scene = self.scene
        began = time.monotonic()
        self.run.event("stage.started", stage="observe", hosts=[host.name for host in scene.hosts])
        seen = observe(
            self.connections,
            [host for host in scene.hosts if host.name not in self.failures],
            stack=scene.stack.stack,
            releases=self._release_directories(),
            nonce=self._nonce,
            become_password=scene.request.become_password,
        )
        seconds = time.monotonic() - began
        self.facts = dict(seen.facts)
        scene.settle_platform({facts.arch for facts in self.facts.values() if facts.arch})
        self.failures |= seen.failures
        for host, facts in seen.facts.items():
            if again or host not in self.served_before:
                self.run.host_file(host, "facts.after.json" if again else "facts.before.json", without_mac(facts.raw))
            self.served_before.setdefault(host, (facts.state.current_release or {}).get("id"))
            self.run.event("stage.finished", stage="observe", host=host, status="ok", seconds=seconds)
        for host, failure in seen.failures.items():
            self.run.stage("observe", host, "failed", seconds, message=str(failure.what))
        if any(facts.gpu_simulated for facts in seen.facts.values()):
            self.run.set("simulated", True)

    def _release_directories(self) -> list[str]:
        """Directories whose files the plan compares; empty for commands that have no release."""
        if "release" not in self.scene.__dict__:
            return []
        return [
            self.scene.rendering(host.name).directory for host in self.scene.hosts if host.name in self.scene.placed
        ]

    def demand_all_hosts(self) -> None:
        """Stop before any change when a host cannot be reached.

        Raises:
            HostError: names the host, or all of them.
        """
        if not self.failures:
            return
        names = ", ".join(self.failures)
        first = next(iter(self.failures.values()))
        hint = first.hint.rstrip(". ")
        if len(self.failures) == 1:
            raise HostError(first.what, first.where or names, f"{hint}; or leave it out: --limit 'all:!{names}'")
        raise HostError(
            "; ".join(f"{host}: {failure.what}" for host, failure in self.failures.items()),
            names,
            f"{hint}; or leave them out with --limit",
        )

    # plan

    def plan(self) -> Plan:
        """The changes the observed hosts need."""
        self.targets = self.scene.targets(self.facts, self._nonce)
        return make_plan(self.scene.stack, self.scene.release, self.targets, self.facts, self.scene.policies)

    def record_plan(self, plan: Plan, *, earlier: bool = False) -> None:
        """Put the plan and what it leads to into the record; `earlier` keeps the changes made so far."""
        done = [c for c in self.run.document["plan"]["changes"] if c["stage"] == "provision"] if earlier else []
        changes = done + [change.as_dict() for change in plan.changes]
        self.run.set("plan", {"changes": changes})
        self.run.event("plan", changes=changes)
        if "release" in self.scene.__dict__:
            self.names = self.scene.names
            self.run.set("release", {**self.scene.release.as_dict(), "migration": None})
        for note in plan.notes:
            if note not in self.run.document["notes"]:
                self.run.note(note)

    def record_served(self) -> None:
        """Put the release that the hosts serve into the record; hosts that differ are a warning."""
        served = {host: facts.state.current_release or {} for host, facts in self.facts.items()}
        ids = {str(release["id"]) for release in served.values() if release.get("id")}
        if len(ids) > 1:
            self.run.warn(
                "the hosts serve different releases", hint="canaryctl status shows them; deploy to make them one"
            )
        release = next((release for release in served.values() if release.get("id")), {})
        tags = {
            service: (release["images"].get(image) or {}).get("tag", "")
            for service, image in (release.get("services") or {}).items()
        }
        self.names = self.scene.names_of(str(release.get("id", "")), str(release.get("variant", "")), tags)
        self.run.set("variant", release.get("variant"))
        self.run.set(
            "release",
            {
                "id": next(iter(ids)) if len(ids) == 1 else None,
                "images": release.get("images", {}),
                "services": release.get("services", {}),
                "migration": None,
            },
        )

    # apply

    def provision(self, hosts: Sequence[str]) -> None:
        """Install what hosts lack."""
        self._ansible("provision", hosts, {})

    def push(self, hosts: Sequence[str]) -> None:
        """Bring the images that hosts lack, or have hosts pull them, all hosts in parallel."""
        layers = self._layers()

        def one(host: str) -> None:
            began = time.monotonic()
            pulled, pushed = self._needed(host)
            try:
                if pulled:
                    self._pull(host, pulled)
                sent = Delivery()
                if pushed:
                    sent = push_images(
                        self.connections.get(host),
                        self.scene.environment.hosts[host],
                        self.facts[host],
                        self.scene.stack.stack,
                        pushed,
                        layers,
                        limiter=Limiter(self.scene.request.bandwidth),
                        progress=self._push_progress(host),
                    )
            except CanaryError as error:
                self.run.stage("push", host, "failed", time.monotonic() - began, message=error.what)
                raise
            self.run.stage(
                "push",
                host,
                "changed",
                time.monotonic() - began,
                bytes=sent.bytes,
                resumed=sent.resumed,
                skipped=sent.skipped,
                images=list(sent.images),
                layers=list(sent.layers),
                way=sent.way,
                pulled=[image.source for image in pulled] or None,
            )

        try:
            self._in_parallel("push", hosts, one)
        finally:
            layers.close()

    def bytes_to_push(self) -> dict[str, dict[str, Any]]:
        """What a push would send to each host: compressed bytes, the layers they are, and what the host would pull."""
        layers = self._layers()

        def one(connection: Connection) -> dict[str, Any]:
            host, facts = self.scene.environment.hosts[connection.host], self.facts[connection.host]
            pulled, images = self._needed(host.name)
            found = missing_bytes(connection, host, facts, self.scene.stack.stack, images, layers) if images else {}
            sent = {"bytes": sum(found.values()), "images": [image.name for image in images], "layers": list(found)}
            return sent | ({"pulled": [image.source for image in pulled]} if pulled else {})

        try:
            found, lost = self.connections.each([host for host in self.targets if host in self.facts], one)
        finally:
            layers.close()
        self.failures |= lost
        return found

    def _layers(self) -> Layers:
        """The layers of those images that this machine has."""
        return Layers(image for image in self.scene.release.images.values() if image.local)

    def _needed(self, host: str) -> tuple[list[ImageFact], list[ImageFact]]:
        """Images that a host lacks: those it pulls, and those it is sent."""
        needed = needed_images(self.scene.release, self.targets[host], self.facts[host])
        pulled = [image for image in needed if is_pulled(image, self.scene.policies[host])]
        return pulled, [image for image in needed if image not in pulled]

    def _pull(self, host: str, images: Sequence[ImageFact]) -> None:
        def progress(image: str, got: int, total: int) -> None:
            self.run.event("push.progress", stage="push", host=host, image=image, bytes=got, total=total, pulled=True)

        pull_images(
            self.connections.get(host),
            self.scene.environment.hosts[host],
            self.scene.stack.stack,
            images,
            self.scene.registries.credential,
            become_password=self.scene.request.become_password,
            progress=progress,
        )

    def prune(self) -> None:
        """Remove images and releases that nothing needs any more. What cannot be removed is a warning."""

        def one(connection: Connection) -> None:
            began = time.monotonic()
            host = self.scene.environment.hosts[connection.host]
            password = self.scene.request.become_password
            gone = prune(connection, host, self.scene.stack.stack, become_password=password)
            if gone.images or gone.releases:
                seconds, releases = time.monotonic() - began, list(gone.releases)
                self.run.stage("prune", host.name, "changed", seconds, images=list(gone.images), releases=releases)
                self.run.note(
                    f"{host.name}: removed what earlier releases left: {len(gone.images)} images "
                    f"({', '.join(gone.images) or 'none'}), {len(releases)} release folders"
                )
            for what, why in gone.faults.items():
                self.run.warn(f"{what} could not be removed: {why}", host.name, "it does no harm but takes room")

        _, lost = self.connections.each([host for host in self.targets if host in self.facts], one)
        for error in lost.values():
            self.run.warn(f"old images were not removed: {error.what}", error.where, error.hint)

    def _push_progress(self, host: str) -> Progress:
        """Makes events of what a transfer reports; the record takes as many as are good for it."""
        began = time.monotonic()

        def report(sending: Sending) -> None:
            far = {key: value for key, value in vars(sending).items() if key != "arrived"}
            rate = sending.bytes / (time.monotonic() - began) or 1
            if sending.arrived:
                self.run.event("push.arrived", stage="push", host=host, rate=round(rate), **far)
            else:
                eta = round((sending.total - sending.bytes) / rate, 1)
                self.run.event("push.progress", stage="push", host=host, rate=round(rate), eta=eta, **far)

        return report

    def render(self, hosts: Sequence[str]) -> None:
        """Write the release to hosts; a compose file that docker compose rejects is refused there."""
        for host in hosts:
            if diff := self.diff_release(host):
                self.run.host_file(host, "compose.diff", diff)
                if self.scene.request.diff or self.run.document["command"] == "render":
                    self.run.event("diff", host=host, text=diff)
        self._ansible("render", hosts, self._stage_variables(hosts))

    def migrate(self, host: str) -> None:
        """Run the migration once, with the database up and everything else as it was."""
        databases = self.scene.stack.migrations.databases if self.scene.stack.migrations else ()
        hosts = [h for h in self.facts if h == host or set(databases) & set(self.scene.placed.get(h, ()))]
        self._ansible("migrate", hosts, self._stage_variables(hosts))

    def start(self, hosts: Sequence[str], plan: Plan) -> None:
        """Make the release current and bring its services up, healthy."""
        self._ansible("start", hosts, self._stage_variables(hosts, plan))

    def down(self, *, volumes: bool) -> None:
        """Stop the services and remove their containers; data stays unless `volumes`."""
        hosts = [host for host, facts in self.facts.items() if facts.docker and facts.docker.running]
        if not hosts:
            return
        variables = self._stage_variables(hosts) | {"canary_down_volumes": volumes}
        self._ansible("down", hosts, variables)

    def _stage_variables(self, hosts: Sequence[str], plan: Plan | None = None) -> dict[str, Any]:
        scene = self.scene
        entries: dict[str, Any] = {}
        for host in hosts:
            entry: dict[str, Any] = {"become": self.facts[host].sudo}
            if host in self.targets:
                rendering = self.targets[host].rendering
                entry |= {
                    "release": rendering.directory,
                    "source": str(self._written(host)),
                    "secrets_source": str(self._secrets_source() or ""),
                    "services": list(rendering.services),
                    "replaces": list(plan.replaces.get(host, ())) if plan else [],
                    "wait_timeout": scene.stack.start_timeout,
                }
            entries[host] = entry
        return {
            "canary_stack": scene.stack.stack,
            "canary_environment": scene.environment.name,
            "canary_root": scene.hosts[0].root,
            "canary_project": scene.compose_project,
            "canary_hosts": entries,
            "canary_migration": self._migration_variables(),
        }

    def _migration_variables(self) -> dict[str, Any] | None:
        migrations = self.scene.stack.migrations
        host = migration_host(self.scene.stack, self.scene.placed)
        if not migrations or host is None or not self.targets:
            return None
        return {
            "service": migrations.service,
            "host": host,
            "database": list(migrations.databases),
            "database_hosts": {service: self.scene.names["service_hosts"][service] for service in migrations.databases},
            "upgrade": migrations.upgrade,
            "current": migrations.current,
            "heads": migrations.heads or "",
            "timeout": migrations.timeout,
            # The run's id makes the file change with every migration, and with it the time that plans compare.
            "marker": marker_of(self.scene.stack, self.scene.release, self.scene.compose_project)
            | {"run": self.run.id},
        }

    def _written(self, host: str) -> Path:
        """A local folder with the host's rendered release, for Ansible to copy."""
        folder = self._scratch / "releases" / host
        if not folder.exists():
            for path, content in self.targets[host].rendering.files.items():
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        return folder

    def _secrets_source(self) -> Path | None:
        if not self.scene.secrets:
            return None
        path = self._scratch / "secrets.env"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_bytes(self.scene.secrets_file)
        return path

    def _ansible(self, stage: str, hosts: Sequence[str], variables: dict[str, Any]) -> None:
        """Run a stage's playbook, record every host's result, and raise for those that failed."""
        request = self.scene.request
        self.run.event("stage.started", stage=stage, hosts=list(hosts))
        done = run_stage(
            stage,
            inventory=self.scene.environment.directory,
            extravars=variables,
            hosts=hosts,
            artifacts=self.run.ansible_dir(stage),
            options=AnsibleOptions(
                check=request.check,
                diff=request.diff,
                tags=request.tags,
                verbosity=request.verbosity,
                vault_password_file=request.vault_password_file,
                become_password=request.become_password,
            ),
            on_event=lambda event: self.run.event(event["type"], **{k: v for k, v in event.items() if k != "type"}),
            scrub=self.run.scrub,
        )
        for host, result in done.results.items():
            self.run.stage(stage, host, result.status, result.seconds, message=result.message, detail=result.detail)
        if stage == "migrate":
            self._record_migration(done.stats.get("canary_migration_result") or {})
        self._raise_for(stage, done.results)

    def _raise_for(self, stage: str, results: dict[str, Any]) -> None:
        for host, result in results.items():
            if result.status == "unreachable":
                raise HostError(result.message, host, "mend the connection, then run this again: it goes on from there")
        failed = {host: result for host, result in results.items() if result.status == "failed"}
        for host, result in failed.items():
            others = [name for name in failed if name != host]
            also = f" (also on {', '.join(others)})" if others else ""
            raise ApplyError(
                "\n".join([f"{stage} failed: {result.message}{also}", *last_words(result.detail or {})]),
                hint=(result.detail or {}).get("hint", "") or "see ansible/ in the evidence; mend it and deploy again",
                stage=stage,
                host=host,
            )

    def _in_parallel(self, stage: str, hosts: Sequence[str], one: Callable[[str], Any]) -> None:
        """Do `one` on every host; the others go on when one fails, and the worst error is raised at the end."""
        self.run.event("stage.started", stage=stage, hosts=list(hosts))
        errors: list[CanaryError] = []
        with ThreadPoolExecutor(max_workers=max(len(hosts), 1)) as pool:
            for future in [pool.submit(one, host) for host in hosts]:
                try:
                    future.result()
                except CanaryError as error:
                    errors.append(error)
                except KeyboardInterrupt:
                    self.connections.close()
                    raise
        if errors:
            raise next((error for error in errors if isinstance(error, HostError)), errors[0])

    def _docker(self, host: str) -> str:
        return "sudo -n docker" if self.facts[host].sudo else "docker"

    # migration

    def _record_migration(self, stats: dict[str, Any]) -> None:
        if not stats:
            return
        found = {key: stats.get(key) for key in ("before", "after")}
        self.run.set("migrations", found)
        self.run.document["release"]["migration"] = found["after"]

    def read_migration(self) -> None:
        """Record the database's revision where nothing was migrated: before is after."""
        migrations = self.scene.stack.migrations
        if not migrations or self.run.document["migrations"]["after"] is not None:
            return
        host = migration_host(self.scene.stack, self.scene.placed)
        if host is None or host not in self.facts:
            return
        docker, project = self._docker(host), shlex.quote(self.scene.compose_project)
        labels = (
            f"-f label=com.docker.compose.project={project} -f label=com.docker.compose.service={migrations.service}"
        )
        container = f"$({docker} ps -q {labels} -f label=com.docker.compose.oneoff=False | head -n 1)"
        done = self.connections.get(host).run(
            f"{docker} exec {container} sh -c {shlex.quote(migrations.current)}", timeout=60
        )
        lines = [line for line in done.text.splitlines() if line.strip()]
        if done.code == 0:
            revision = lines[-1].split()[0] if lines else ""
            self._record_migration({"before": revision, "after": revision})
        else:
            self.run.warn(f"the database's revision could not be read: {done.complaint.strip()[-300:]}", host)

    # probe

    def check_probes(self) -> None:
        """Find what is wrong with the probes before anything is changed. Raises ConfigError with file and line."""
        from canaryctl.probe.templates import check_templates

        check_templates(self.scene.probes, self._probe_context())

    def probe(self) -> str:
        """Run the probes; returns the verdict over them. A host that SSH lost meanwhile is noted in `failures`."""
        from canaryctl.probe.results import overall
        from canaryctl.probe.runner import run_probes

        results = run_probes(
            self.scene.probes,
            self._probe_context(),
            deadline=self.scene.policy.probe_deadline,
            on_event=self.run.event,
        )
        self.run.probes([result.as_dict() for result in results])
        for result in results:
            for host in result.unreachable:
                self.failures[host] = HostError(
                    f"the host was lost while '{result.name}' ran", host, "see whether it is up, then probe again"
                )
        return overall(results)

    def _probe_context(self) -> ProbeContext:
        from canaryctl.probe.context import ProbeContext

        return ProbeContext(
            environment=self.scene.environment.name,
            variables=self.names,
            connections=self.connections,
            project=self.scene.compose_project,
            sudo={host: facts.sudo for host, facts in self.facts.items()},
            scrub=self.run.scrub,
            limit=frozenset(self.facts),
        )

    # record

    def collect(self) -> None:
        """Bring logs, container state and facts home. What cannot be had is noted; nothing is raised."""
        self.collected = True
        project = self.scene.compose_project
        self.run.event("stage.started", stage="collect", hosts=list(self.facts))
        self.observe(again=True)

        def one(host: str) -> None:
            began = time.monotonic()
            try:
                found = collect(
                    self.connections.get(host),
                    self.scene.environment.hosts[host],
                    project,
                    become_password=self.scene.request.become_password,
                )
            except CanaryError as error:
                self.run.stage("collect", host, "failed", time.monotonic() - began, message=error.what)
                return
            for service, text in found["logs"].items():
                self.run.host_file(host, f"logs/{service}.log", text)
            self.run.host_file(host, "containers.json", without_secrets(found["containers"], self.scene.stack.secrets))
            if found["compose"]:
                self.run.host_file(host, "compose.yml", found["compose"])
            self.run.stage("collect", host, "ok", time.monotonic() - began)

        with ThreadPoolExecutor(max_workers=max(len(self.facts), 1)) as pool:
            list(pool.map(one, list(self.facts)))

    def serving(self) -> str:
        """What the hosts serve now, in words, from the last observation."""
        said = []
        for host, facts in self.facts.items():
            running = sorted(
                c.service for c in facts.containers if c.project == self.scene.compose_project and c.state == "running"
            )
            release = facts.state.current[:12] if facts.state.current else "no release"
            said.append(f"{host}: {release}, running {', '.join(running) or 'nothing'}")
        return "; ".join(said)

    def remember(self, what: str, verdict: str | None = None) -> None:
        """Append a line to the history of each host; a host that refuses is a warning, not a failure."""

        def append(connection: Connection) -> None:
            host = connection.host
            line = history.history_line(
                who=self.run.document["operator"],
                environment=self.scene.environment.name,
                what=what,
                before=self.served_before.get(host),
                after=self.run.document["release"]["id"],
                verdict=verdict,
                run=self.run.id,
            )
            root = self.scene.environment.hosts[host].root
            history.append(connection, root, self.scene.stack.stack, line, sudo=self.facts[host].sudo)

        _, refused = self.connections.each(list(self.facts), append)
        for error in refused.values():
            self.run.warn(error.what, error.where, error.hint)

    def know_secrets(self, *, needed: bool = True) -> None:
        """Make the record scrub the stack's secrets; where they are not needed, a missing one is only a warning."""
        try:
            self.run.scrub = Scrubber({**self.scene.secrets, **self.scene.registries.secrets})
        except CanaryError as error:
            if needed:
                raise
            self.run.warn(f"{error.what}; their values cannot be hidden in what is collected", error.where, error.hint)

    def diff_release(self, host: str) -> str:
        """Unified diff from the compose file that is current on a host to the one rendered now."""
        facts, rendering = self.facts[host], self.targets[host].rendering
        root = f"{self.scene.environment.hosts[host].root}/{self.scene.stack.stack}"
        prefix = "sudo -n " if facts.sudo else ""
        done = self.connections.get(host).run(f"{prefix}cat {root}/current/compose.yml 2>/dev/null || true", timeout=30)
        lines = difflib.unified_diff(
            done.text.splitlines(keepends=True),
            rendering.compose.splitlines(keepends=True),
            f"{host}: current/compose.yml",
            f"{host}: {rendering.directory[:12]}/compose.yml",
        )
        return "".join(lines)


def last_words(failure: Mapping[str, Any], lines: int = 10) -> list[str]:
    """What the services that did not become healthy said last: their health check's output and the end of their log."""
    said = []
    for service, found in (failure.get("services") or {}).items():
        for what, text in (("last health output", found.get("health_output")), ("end of log", found.get("log"))):
            if tail := str(text or "").strip().splitlines()[-lines:]:
                said += [f"{service}, {what}:", *(f"  {line}" for line in tail)]
    return said


def without_mac(document: Mapping[str, Any]) -> dict[str, Any]:
    """Observed facts as evidence: the keyed digest of the secrets file means nothing to anybody else."""
    state = {key: value for key, value in (document.get("state") or {}).items() if key != "secrets"}
    return {**document, "state": state}


def without_secrets(containers: Any, names: Sequence[str]) -> Any:
    """Containers' inspection without the values of the variables that carry the stack's secrets."""
    for container in containers:
        config = container.get("Config") or {}
        config["Env"] = [
            f"{line.split('=', 1)[0]}=[secret]" if line.split("=", 1)[0] in names else line
            for line in config.get("Env") or ()
        ]
    return containers
