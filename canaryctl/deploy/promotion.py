"""Have an environment take what passed on the one before it, and nothing else: observe that one, choose, bring images.

The judgement is in promotion.py; this does its input and output.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from canaryctl.config.environment import Environment, load_environment
from canaryctl.config.signing import Signing, load_signing
from canaryctl.config.yamlfile import shown
from canaryctl.deploy import signing
from canaryctl.deploy.context import RunContext
from canaryctl.deploy.proof import placed_images
from canaryctl.deploy.state import Forced
from canaryctl.errors import ConfigError, HostError
from canaryctl.facts import HostFacts
from canaryctl.hosts import Fleet, observe
from canaryctl.hosts.observation import Observation
from canaryctl.images.docker import images_by_id, local_images
from canaryctl.images.fetch import fetch_image
from canaryctl.images.registry import Registries
from canaryctl.images.resolve import recorded_images
from canaryctl.plan.deployment import Deployment
from canaryctl.plan.promotion import Choice, Proof, Rules, Wanted, choose, require_chain
from canaryctl.plan.release import ImageFact, Release, content_tag, make_release, recorded_image
from canaryctl.plan.rendering import place_services
from canaryctl.plan.verdicts import Witness

_HERE = "here"


@dataclass(frozen=True)
class _Source:
    """The environment before this one, observed."""

    environment: Environment
    fleet: Fleet
    seen: Observation


def promote(ctx: RunContext, *, fetch: bool = True) -> None:
    """Where the environment promotes from another, have the deployment use what passed there. Changes no host.

    Args:
        fetch: bring images that this machine lacks from the hosts that have them; without, they are only described.

    Raises:
        ConfigError: the promotion is refused, or the chain is faulty.
        HostError: no host of the other environment that could be asked knows of a release that passed.
    """
    deployment, reason = ctx.deployment, ctx.deployment.request.force_reason
    if reason is not None:
        _record_forced(ctx, reason, ())
    if not _source_name(deployment):
        return
    source = _load_source(deployment)
    _demand_no_baseline(ctx, source.name)
    signers = load_signing(source)
    # The password that was asked for is of this environment's hosts, and goes to no others.
    with Fleet(source.hosts) as fleet:
        seen = observe(fleet, fleet.hosts, stack=deployment.stack.stack)
        found = _choose(deployment, source, signers, seen)
        signing.say_doubts(ctx, found.doubts)
        if reason is not None and (found.refusals or (found.proof is None and seen.failures)):
            _record_forced(ctx, reason, found.refusals or (str(next(iter(seen.failures.values()))),))
            return
        proof = _demand(deployment, found, seen)
        signing.say_unsigned(ctx, source.name, signers)
        release, origins = _release(ctx, proof, _Source(source, fleet, seen), fetch=fetch)
    ctx.deployment = deployment.with_release(release, given=True)
    taken = proof.as_dict()
    taken["images"] = {name: {"id": image.id, "from": origins.get(name)} for name, image in release.images.items()}
    ctx.run.set("variant", release.variant)
    ctx.state.promoted = True
    ctx.run.set("promotion", taken)
    ctx.run.event("promotion", **taken)


def _demand_no_baseline(ctx: RunContext, source: str) -> None:
    if ctx.command.is_baseline:
        raise ConfigError(
            f"{ctx.deployment.environment.name} takes what passed on {source}, so no baseline is deployed on it",
            "--baseline",
            f"compare where releases enter: canaryctl deploy {source} --baseline VARIANT",
        )


def _source_name(deployment: Deployment) -> str:
    """The environment it promotes from; empty where releases enter here."""
    return deployment.policy.promotes_from


def _load_source(deployment: Deployment) -> Environment:
    """The environment it promotes from. Raises ConfigError where there is none, or the chain goes round."""
    project, vault = deployment.project, deployment.request.vault_password_file
    known = project.environments()
    loaded: dict[str, Environment] = {deployment.environment.name: deployment.environment}

    def before(name: str) -> str:
        own = name == deployment.environment.name  # whose hosts without services may say nothing of it
        given = _source_name(deployment) if own else str(loaded[name].vars.get("canary_promotes_from") or "")
        if given and given not in known:
            raise ConfigError(
                f"canary_promotes_from of {name} names '{given}', which is no environment",
                shown(loaded[name].directory),
                f"environments there are: {', '.join(known)}",
            )
        if given and given not in loaded:
            loaded[given] = load_environment(project, given, vault_password_file=vault)
        return given

    require_chain(deployment.environment.name, before)
    return loaded[before(deployment.environment.name)]


def _choose(deployment: Deployment, source: Environment, signers: Signing, seen: Observation) -> Choice:
    request, policy = deployment.request, deployment.policy
    overrides = local_images(deployment.stack, list(request.images), request.images) if request.images else {}
    wanted = Wanted(
        environment=deployment.environment.name,
        stack=deployment.stack,
        files=deployment.configuration.files.all,
        variant=request.variant,
        images={name: image.id for name, image in overrides.items()},
        references=request.images,
        placed={variant: placed_images(deployment, variant) for variant in deployment.stack.variants},
    )
    witnesses = [
        Witness(
            host,
            facts.state.history,
            [entry.release for entry in facts.state.releases.values() if entry.release],
            facts.time or float("inf"),
            left_out(facts),
        )
        for host, facts in seen.facts.items()
    ]
    trust = signing.trust_of(source.name, signers, deployment.stack.stack, deployment.project.runs)
    placed = place_services(deployment.stack, source, shown(deployment.stack.file))
    rules = Rules(policy.max_age, policy.simulated)
    return choose(source.name, witnesses, wanted, rules, replace(trust, voters=frozenset(placed)))


def left_out(facts: HostFacts) -> list[str]:
    """What of a host's history and releases counts for nothing, or could not be read, in sentences."""
    unread = {"its history": facts.errors.get("state.history"), "its releases": facts.errors.get("state.releases")}
    return [
        *(f"{what} cannot be read: {why}" for what, why in unread.items() if why),
        *(sentence for sentence in facts.odd if sentence.startswith(("a line of its history", "the release.json"))),
    ]


def _demand(deployment: Deployment, found: Choice, seen: Observation) -> Proof:
    if found.proof is None and seen.failures:
        lost = next(iter(seen.failures.values()))
        own, source = deployment.environment.name, _source_name(deployment)
        why = f"{own} takes what passed on {source}, which cannot be asked: {lost.what}"
        raise HostError(why, lost.where, lost.hint, reason=lost.reason)
    if found.proof is None:
        _demand_privilege(deployment, seen)
    if found.proof is None or found.refusals:
        raise ConfigError(
            f"not promoted: {'; '.join(found.refusals)}",
            f"{deployment.environment.name}, which takes what passed on {_source_name(deployment)}",
            f"deploy it on {_source_name(deployment)} until it passes there; or override this with --force --reason "
            "TEXT, which every report will show",
        )
    return found.proof


def _demand_privilege(deployment: Deployment, seen: Observation) -> None:
    """Where nothing is known because sudo was refused, say that, and whose password it takes."""
    for host, facts in seen.facts.items():
        if facts.become == "refused" and not facts.state.history:
            source = _source_name(deployment)
            raise HostError(
                f"the history of {source} cannot be read: sudo wants a password on {host}; the one that "
                f"--ask-become-pass asks for is of {deployment.environment.name} and is sent to its hosts alone",
                host,
                f"give {source} its own ansible_become_password in its inventory (vaulted), or sudo without one",
                reason="sudo",
            )


def _record_forced(ctx: RunContext, reason: str, overrides: tuple[str, ...]) -> None:
    ctx.state.forced = Forced(reason, overrides)
    ctx.run.set("forced", {"reason": reason, "overrides": list(overrides)})
    if overrides:
        ctx.run.note(f"forced: {reason} (overrides: {'; '.join(overrides)})")


def _release(ctx: RunContext, proof: Proof, source: _Source, *, fetch: bool) -> tuple[Release, dict[str, str]]:
    """The release as it was recorded, and where each of its images is: here, a host, or a registry.

    Raises:
        ConfigError: an image is to be had nowhere.
    """
    deployment, variant = ctx.deployment, str(proof.document["variant"])
    found = _published(deployment, ctx.registries, proof)
    origins = {name: image.source for name, image in found.items()}
    local = _here(deployment, proof, [name for name in proof.images if name not in found])
    origins |= dict.fromkeys(local, _HERE)
    found |= local
    placed = placed_images(deployment, variant)
    for name in proof.images:
        if name not in found and name in placed:
            origins[name], found[name] = _from_host(ctx, proof, name, source, fetch=fetch)
        elif name not in found:  # it runs nowhere here: the release's id is all that it is for
            found[name] = replace(recorded_image(name, proof.document["images"][name]), local=False)
    return make_release(deployment.stack, variant, found, deployment.configuration.files.all), origins


def _published(deployment: Deployment, registries: Registries, proof: Proof) -> dict[str, ImageFact]:
    """Images that hosts pull, as they were published when they passed."""
    images = proof.document["images"]
    recorded = {name: {**images[name], "id": identity} for name, identity in proof.images.items() if name in images}
    deliveries = {deployment.policies[host].delivery for host in deployment.placed}
    return recorded_images(
        deployment.stack,
        recorded,
        allowed=deployment.policy.registries,
        deliveries=deliveries,
        registries=registries,
    )


def _here(deployment: Deployment, proof: Proof, names: list[str]) -> dict[str, ImageFact]:
    """Those that this machine has, whatever its tags say by now."""
    images = proof.document["images"]
    wanted = {
        name: (proof.images[name], (_tag(deployment, proof, name), deployment.stack.images[name].reference))
        for name in names
    }
    found = images_by_id(wanted)
    return {name: replace(image, source=images[name].get("source", "")) for name, image in found.items()}


def _from_host(ctx: RunContext, proof: Proof, name: str, source: _Source, *, fetch: bool) -> tuple[str, ImageFact]:
    """An image that this machine lacks: the host it comes from, and the image."""
    identity = proof.images[name]
    hosts = [host for host, facts in source.seen.facts.items() if facts.has_image(identity)]
    if not hosts:
        raise ConfigError(
            f"image {name} ({identity}) passed on {source.environment.name}, but is neither on this machine nor on its "
            f"hosts any more ({', '.join(source.environment.hosts)})",
            "",
            f"promote from the machine that has it, or deploy on {source.environment.name} again",
        )
    for host in hosts[:-1] if fetch else ():
        try:
            return _fetched(ctx, proof, name, source, host)
        except HostError as error:  # another host may have what this one only claims to have
            ctx.run.warn(error.what, error.where, error.hint)
    if not fetch:
        return hosts[0], _on_host(proof, name, source.seen.facts[hosts[0]])
    return _fetched(ctx, proof, name, source, hosts[-1])


def _fetched(ctx: RunContext, proof: Proof, name: str, source: _Source, host: str) -> tuple[str, ImageFact]:
    """An image, brought from one host. Raises HostError where it gives another or none."""
    identity, seen = proof.images[name], source.seen
    described = _on_host(proof, name, seen.facts[host])
    ctx.run.event("stage.started", stage="fetch", hosts=[host])
    connection, sudo = source.fleet.get(host), seen.facts[host].sudo
    fetch_image(connection, _tag(ctx.deployment, proof, name), identity, described.size, sudo=sudo)
    image = _here(ctx.deployment, proof, [name]).get(name)
    if image is None or (described.layers and image.layers != described.layers):
        raise HostError(
            f"image {name} came from {host} as another than the one that passed ({identity})",
            host,
            f"deploy on {source.environment.name} again: it verifies its images",
            reason="agent",
        )
    ctx.run.note(f"image {name} was not on this machine: it was fetched from {host} of {source.environment.name}")
    return host, image


def _tag(deployment: Deployment, proof: Proof, name: str) -> str:
    """The tag that an image of the proven release has on hosts, whatever their records say of it."""
    return content_tag(
        deployment.stack.stack, replace(recorded_image(name, proof.document["images"][name]), id=proof.images[name])
    )


def _on_host(proof: Proof, name: str, facts: HostFacts) -> ImageFact:
    """An image as the host that has it describes it."""
    recorded = recorded_image(name, proof.document["images"][name])
    images = [i for i in facts.images if i.id == recorded.id or recorded.reference in i.tags]
    layers = next((image.layers for image in images if image.layers), ())
    return replace(recorded, layers=layers, platform=f"linux/{facts.arch}")
