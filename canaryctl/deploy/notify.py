"""Tell a webhook how a run ended. The run is over and recorded by then: a webhook that fails changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from canaryctl.config.durations import now
from canaryctl.config.webhook import Webhook

if TYPE_CHECKING:
    from canaryctl.evidence.run import Listener, Run
    from canaryctl.plan.deployment import Deployment

DEADLINE = 10.0  # seconds for both tries together
_INTERRUPTED = 2.0  # the same where somebody waits for the end
_TRY = 5.0  # seconds of silence after which a try is given up
_MARKS = {"passed": "✅", "failed": "❌", "error": "❌"}


def tell(deployment: Deployment, run: Run, listeners: Sequence[Listener]) -> None:
    """Post a finished deploy or rollback where the environment's `canary_webhook` says. Raises nothing.

    What goes wrong is a warning to `listeners` and in the document that is printed; run.json is closed.
    """
    document = run.document
    if deployment.request.check or not document["finished"]:
        return
    try:
        webhook = deployment.configuration.webhook
        if webhook is None or document["verdict"] not in webhook.on:
            return
        deadline = _INTERRUPTED if document["verdict"] == "interrupted" else DEADLINE
        trouble = send(webhook, payload_of(document, webhook.format), deadline=deadline)
    except Exception as error:  # it comes after everything else, and must hide nothing of it
        trouble = str(error)
    except KeyboardInterrupt:
        trouble = "interrupted"
    if trouble:
        _warn(document, listeners, run.scrub(f"the webhook was not told: {trouble}"))


def _warn(document: dict[str, Any], listeners: Sequence[Listener], what: str) -> None:
    warning = {"what": what, "where": "canary_webhook", "hint": "the run itself is recorded; fix the webhook's URL"}
    document["warnings"] = [*document["warnings"], warning]
    for listener in listeners:
        try:
            listener({"time": now(), "type": "warning", **warning})
        except OSError:  # nobody reads the output any more
            continue


def payload_of(document: Mapping[str, Any], form: str) -> dict[str, Any]:
    """What is posted about a run.json: `generic` keys for programs, or `slack` text."""
    return {"text": _text(document)} if form == "slack" else _generic(document)


def _generic(document: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("id", "command", "environment", "stack", "variant", "role", "verdict", "exit_code", "started", "finished")
    payload = {key: document.get(key) for key in (*keys, "operator", "simulated", "directory")}
    payload["release"] = (document.get("release") or {}).get("id")
    payload["error"] = (document.get("error") or {}).get("what")
    payload["probes"] = [{"name": row["name"], "verdict": row["verdict"]} for row in document.get("probes") or ()]
    return payload | ({"promotion": document["promotion"]} if document.get("promotion") else {})


def _text(document: Mapping[str, Any]) -> str:
    release = str((document.get("release") or {}).get("id") or "")[:12] or "no release"
    seconds = f", {document['seconds']:.0f} s" if document.get("seconds") is not None else ""
    lines = [
        f"{_MARKS.get(document['verdict'], '⚠️')} {document['command']} of {document['stack']} {release} on "
        f"{document['environment']}: {document['verdict']} ({document['operator']}{seconds})"
    ]
    if document.get("simulated"):
        lines.append("the GPU of at least one host is a simulation")
    if error := document.get("error"):
        lines.append(str(error["what"]).splitlines()[0])
    lines += [f"{row['name']}: {row['verdict']}" for row in document.get("probes") or () if row["verdict"] != "passed"]
    return "\n".join([*lines, f"run {document['id']}, evidence in {document['directory']}"])


def send(webhook: Webhook, payload: Mapping[str, Any], *, deadline: float = DEADLINE) -> str:
    """Post the payload, a second time where the first was not answered or answered 429 or 5xx; '' or what went wrong.

    Args:
        deadline: seconds for all of it.
    """
    outcomes = [f"no answer in {deadline:g} s"]
    # In a thread, for a server that answers a byte a second keeps every timeout of one read.
    sender = threading.Thread(target=_post_twice, args=(webhook.url, payload, outcomes.append), daemon=True)
    sender.start()
    sender.join(deadline)
    return outcomes[-1]


def _post_twice(url: str, payload: Mapping[str, Any], say: Callable[[str], None]) -> None:
    import httpx

    trouble = ""
    for _ in range(2):
        try:
            with httpx.stream("POST", url, json=payload, timeout=_TRY) as answer:  # its body may be of any size
                status = answer.status_code
        except Exception as error:  # a server may answer in ways that httpx has no error of its own for
            trouble = f"{type(error).__name__}: {error}"
            continue
        trouble = "" if status < 300 else f"it answered {status}"
        if status < 500 and status != 429:
            break
    say(trouble)
