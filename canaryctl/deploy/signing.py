"""Sign the verdicts of a run, and say by what the verdicts of an environment are believed."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from canaryctl.config.signing import KEY_VARIABLE, Signing
from canaryctl.config.yamlfile import shown
from canaryctl.deploy.context import RunContext
from canaryctl.errors import ConfigError
from canaryctl.evidence import signatures as openssh
from canaryctl.plan.rollback import has_passed
from canaryctl.plan.verdicts import Signed, Trust, Verdict, signed_content

_RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,100}")


def trust_of(environment: str, signing: Signing, stack: str, runs: Path) -> Trust:
    """How an environment's lines are believed: by its list of signers where it has one, and by runs of this machine."""

    def check(verdict: Verdict) -> Signed | str:
        content, signature = verdict.content(stack), str(verdict.line["signature"])
        return openssh.check(content, signature, signing.allowed, signing.revoked, verdict.time)

    return Trust(
        time.time(),
        check=check if signing.required else None,
        contradicts=lambda verdict: contradiction(verdict, runs / environment),
    )


def own_trust(ctx: RunContext) -> Trust:
    """How the lines of the environment that a run works on are believed."""
    deployment = ctx.deployment
    return trust_of(
        deployment.environment.name, deployment.configuration.signing, deployment.stack.stack, deployment.project.runs
    )


def contradiction(verdict: Verdict, runs: Path) -> str:
    """How this machine's own record of a run speaks against a line that says it passed; '' where it does not."""
    run = str(verdict.line["run"])
    if not _RUN_NAME.fullmatch(run):
        return ""
    try:
        document = json.loads((runs / run / "run.json").read_text(encoding="utf-8"))
        release = document["release"]
        images = {name: image["id"] for name, image in release["images"].items()}
        claimed = verdict.line.get("images")
        if document["verdict"] != "passed":
            return f"this machine's record of that run says {document['verdict']}"
        if release["id"] != verdict.release or (claimed is not None and dict(claimed) != images):
            return "this machine's record of that run is of another release"
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ""  # none here, or none that can be read
    return ""


def say_unsigned(ctx: RunContext, environment: str, signing: Signing) -> None:
    """Say once that an environment's verdicts are taken without signatures, and how to sign them."""
    if signing.required:
        return
    how = "canary_require_signature is false" if signing.listed else f"sign them: canaryctl trust signers {environment}"
    note = f"verdicts of {environment} are not signed: they are believed because all its hosts say the same; {how}"
    ctx.run.note_once(note)


def say_doubts(ctx: RunContext, doubts: tuple[str, ...], most: int = 5) -> None:
    """Name the lines of histories that were passed over."""
    for doubt in doubts[:most]:
        ctx.run.warn(doubt, hint="look at the hosts' histories: canaryctl history ENV")
    if len(doubts) > most:
        ctx.run.warn(f"{len(doubts) - most} more lines were passed over")


def announce(ctx: RunContext) -> None:
    """Say before anything is changed that this run's verdict will prove nothing, where nobody allowed signs it.

    Raises:
        ConfigError: the settings are faulty.
    """
    signing, signer = ctx.deployment.configuration.signing, ctx.signer
    if not signing.listed:
        return
    known = openssh.public_key(signer) if isinstance(signer, Path) else signer
    if signer is not None and (known is None or openssh.principal_of(signing.allowed, known)):
        return
    why = "none of your keys is" if signer is None else "your key is not"
    proves = "proves nothing" if signing.required else "counts only where all hosts say the same"
    ctx.run.note(
        f"the verdict of this run will not be signed, and {proves}: {why} in {shown(signing.allowed)}; add it with "
        f"canaryctl trust signers {ctx.deployment.environment.name} --me, or name another key: {KEY_VARIABLE} or "
        "canary_signing_key"
    )


def settle_rollback(ctx: RunContext, release: Mapping[str, Any]) -> None:
    """Sign the verdict of a rollback only where a signed one says that this release.json passed.

    What hosts go back to they tell themselves: whoever signs that would have one host choose what is promoted.
    """
    deployment = ctx.deployment
    listed = replace(deployment.configuration.signing, required=deployment.configuration.signing.listed)
    trust = trust_of(deployment.environment.name, listed, deployment.stack.stack, deployment.project.runs)
    ctx.state.signs = trust.check is not None and has_passed(release, ctx.facts, deployment.environment.name, trust)
    if trust.check is not None and not ctx.state.signs:
        ctx.run.note(
            f"the verdict of this rollback is not signed, and proves nothing: no signed verdict says that release "
            f"{str(release.get('id'))[:12]} passed with these images"
        )


def signature(ctx: RunContext, line: Mapping[str, Any]) -> dict[str, str]:
    """The `signature` and `signer` (fingerprint) of a verdict's line; {} where nobody signs it, which is then said."""
    if not line["verdict"] or not ctx.state.signs:
        return {}
    try:
        signer = ctx.signer
        if signer is None:
            return {}
        made = openssh.sign(signer, signed_content(line, ctx.deployment.stack.stack))
    except ConfigError as error:
        ctx.run.warn(error.what, error.where, error.hint)
        return {}
    except (OSError, RuntimeError) as fault:  # no room in /tmp, no home: what passed has passed nevertheless
        ctx.run.warn(f"the verdict could not be signed: {fault}", hint="fix that, then deploy again: it signs then")
        return {}
    key = openssh.signing_key(made)
    fingerprint = key.fingerprint if key else ""
    by = openssh.principal_of(ctx.deployment.configuration.signing.allowed, key) if key else ""
    ctx.run.set("signed", {"by": by or None, "key": fingerprint})
    return {"signer": fingerprint, "signature": made}
