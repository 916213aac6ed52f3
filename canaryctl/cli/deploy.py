"""Commands that touch an environment: deploy, its stages alone, probe, collect, down."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from canaryctl.cli.ask import agreed, require_environment_name
from canaryctl.cli.options import duration, takes
from canaryctl.cli.output import Output, Printer, as_data, leave, print_answer, print_json
from canaryctl.cli.promotion import print_promotion
from canaryctl.cli.results import print_beside, print_plan, print_result

if TYPE_CHECKING:
    from canaryctl.commands.request import Request
    from canaryctl.deploy.baseline import ConfirmBoth
    from canaryctl.deploy.sequence import Confirm


@takes(
    "runs",
    "probes",
    "only",
    "skip",
    "variant",
    "image",
    "check",
    "diff",
    "yes",
    "no_contract",
    "allow_docker_restart",
    "restore_database",
    "leave_data",
    "wait",
    "break_lock",
    "force",
    "reason",
)
def deploy(
    request: Request,
    output: Output,
    *,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="VARIANT",
            help="Deploy this variant first and compare; only where canary_disposable is true.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Validate the images on an environment: observe, plan, apply, probe, collect, record."""
    from canaryctl.deploy import sequence
    from canaryctl.errors import ConfigError

    if request.check and baseline is not None:
        raise ConfigError(
            "--check shows one plan, and --baseline makes two",
            "",
            f"leave --baseline out; see the baseline's plan with: canaryctl plan ENV --variant {baseline}",
        )
    if request.check:
        _plan(request, output)
    elif baseline is not None:
        _with_baseline(request, baseline, output)
    else:
        _run(output, lambda listeners: sequence.deploy(request, listeners, _confirm(request.yes, output)))


@takes("variant", "image", "diff", "leave_data", "force", "reason")
def plan(request: Request, output: Output) -> None:
    """Say what a deploy would change on which host, and why. Changes nothing, leaves no run."""
    _plan(request, output)


@takes("runs", "check", "diff", "yes", "allow_docker_restart", "wait", "break_lock")
def provision(request: Request, output: Output) -> None:
    """Install what hosts lack to run containers: Docker and compose, and NVIDIA's toolkit on GPU hosts."""
    from canaryctl.deploy import sequence

    _run(output, lambda listeners: sequence.provision(request, listeners))


@takes("runs", "variant", "image", "check", "yes", "no_contract", "force", "reason", "wait", "break_lock")
def push(
    request: Request,
    output: Output,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how many bytes each host would be sent.")] = False,
    bwlimit: Annotated[
        str | None, typer.Option("--bwlimit", metavar="RATE", help="Bytes a second to each host, such as 25MB.")
    ] = None,
) -> None:
    """Bring the layers that hosts lack, and verify the images there."""
    if bwlimit is not None:
        request = dataclasses.replace(request, bandwidth=_rate(bwlimit))
    if dry_run:
        _dry_run(request, output)
    else:
        _stage("push", request, output)


@takes("runs", "variant", "image", "check", "diff", "yes", "force", "reason", "wait", "break_lock")
def render(request: Request, output: Output) -> None:
    """Write the rendered release to the hosts; docker compose must accept it."""
    _stage("render", request, output)


@takes("runs", "variant", "image", "check", "diff", "yes", "leave_data", "force", "reason", "wait", "break_lock")
def migrate(request: Request, output: Output) -> None:
    """Run the stack's migration with the worker's image, once."""
    _stage("migrate", request, output)


@takes("runs", "variant", "image", "check", "diff", "yes", "leave_data", "force", "reason", "wait", "break_lock")
def start(request: Request, output: Output) -> None:
    """Make the release current and wait until its services are healthy."""
    _stage("start", request, output)


@takes("runs", "probes", "only", "skip")
def probe(
    request: Request,
    output: Output,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Probe again and again, until Ctrl-C.")] = False,
    every: Annotated[
        str | None,
        typer.Option("--every", metavar="DURATION", help="Pause between two rounds of --watch.  [default: 10s]"),
    ] = None,
) -> None:
    """Judge what an environment serves now. Changes nothing."""
    from canaryctl.deploy import sequence
    from canaryctl.errors import ConfigError

    if watch:
        _watch(request, output, duration(every or "10s", "--every"))
    elif every is not None:
        raise ConfigError("--every says how often --watch probes", "--every", "add --watch, or leave --every out")
    else:
        _run(output, lambda listeners: sequence.probe(request, listeners))


@takes("runs")
def collect(request: Request, output: Output) -> None:
    """Bring logs, container state and facts of every host home."""
    from canaryctl.deploy import sequence

    _run(output, lambda listeners: sequence.collect(request, listeners))


@takes("runs", "probes", "yes", "restore_database", "wait", "break_lock")
def rollback(
    request: Request,
    output: Output,
    *,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="RELEASE", help="The release's id, or its beginning.", show_default=False),
    ] = None,
) -> None:
    """Bring back the newest other release that passed on an environment, and judge it."""
    from canaryctl.deploy import sequence

    _run(output, lambda listeners: sequence.rollback(request, to, listeners, _confirm(request.yes, output)))


@takes("runs", "yes", "wait", "break_lock")
def down(
    request: Request,
    output: Output,
    *,
    volumes: Annotated[
        bool, typer.Option("--volumes", help="Delete the environment's volumes too. Asks twice; --yes is no answer.")
    ] = False,
    confirm_volumes: Annotated[
        str | None, typer.Option("--confirm-volumes", metavar="ENV", help="The answer to the second question.")
    ] = None,
) -> None:
    """Stop an environment's services and remove their containers. Data and images stay, unless --volumes."""
    from canaryctl.deploy import sequence
    from canaryctl.errors import ConfigError

    if confirm_volumes is not None and not volumes:
        raise ConfigError("--confirm-volumes answers a question of --volumes", "", "add --volumes, or leave it out")
    if not request.yes and not agreed(f"stop every service of {request.environment}?"):
        raise ConfigError("not confirmed, nothing was changed", "", "answer yes, or pass --yes")
    if volumes:
        require_environment_name(request.environment, confirm_volumes)
    _run(output, lambda listeners: sequence.down(request, listeners, volumes=volumes))


def _with_baseline(request: Request, variant: str, output: Output) -> None:
    from canaryctl.deploy import baseline

    found: list[dict[str, Any]] = []

    def work(listeners: list[Callable[[dict[str, Any]], None]]) -> dict[str, Any]:
        first, candidate = baseline.deploy(request, variant, listeners, _confirm_both(request.yes, output))
        found.append(first)
        return candidate or first

    _run(output, work, beside=found)


def _rate(text: str) -> float:
    from canaryctl.commands.request import parse_size
    from canaryctl.errors import ConfigError

    try:
        rate = parse_size(text.removesuffix("/s"))
    except ValueError as error:
        raise ConfigError(str(error), "--bwlimit", "for example --bwlimit 25MB") from None
    if rate <= 0:
        raise ConfigError("the rate must be above 0", "--bwlimit", "for example --bwlimit 25MB")
    return float(rate)


def _watch(request: Request, output: Output, every: float) -> None:
    from canaryctl.cli.watch import make_watch
    from canaryctl.deploy import sequence
    from canaryctl.deploy.watching import Watching

    with make_watch(output) as progress:
        document = sequence.probe(request, [progress], Watching(every, progress.tell))
    _leave(document, output)


def _dry_run(request: Request, output: Output) -> None:
    from canaryctl.deploy import sequence

    hosts, failures = sequence.bytes_to_push(request)
    lines = []
    for host, found in hosts.items():
        images = f": {', '.join(found['images'])}" if found["images"] else ""
        lines.append(f"{host:<20} {found['bytes'] / 1e6:>9.1f} MB in {len(found['layers'])} layers{images}")
        lines += [f"{'':<20} pulls {source}" for source in found.get("pulled", ())]
    print_answer({"hosts": hosts}, lines, output)
    leave(failures)


def _stage(name: str, request: Request, output: Output) -> None:
    from canaryctl.deploy import sequence

    if request.check:
        _plan(request, output, only=name)
    else:
        _run(output, lambda listeners: sequence.stage(name, request, listeners))


def _plan(request: Request, output: Output, only: str | None = None) -> None:
    from canaryctl.deploy import sequence

    answer = sequence.show_plan(request, only)
    if output is not Output.TEXT:
        print_json(answer)
        return
    print_promotion(answer)
    print_plan(answer["plan"]["changes"])
    to = Printer(sys.stdout)
    for text in (*(f"note: {note}" for note in answer["notes"]), *answer["diffs"]):
        to.line(text)


def _run(
    output: Output,
    work: Callable[[list[Callable[[dict[str, Any]], None]]], dict[str, Any]],
    beside: Sequence[dict[str, Any]] = (),
) -> None:
    """Show progress while it runs, then the result, with the rows of `beside` next to it; exit with the run's code."""
    from canaryctl.cli.progress import make_progress

    diffs: list[str] = []

    def keep_diff(event: dict[str, Any]) -> None:
        if event["type"] == "diff":
            diffs.append(event["text"])

    with make_progress(output) as progress:
        document = work([progress, keep_diff])
    if output is Output.TEXT:
        Printer(sys.stdout).line("\n".join(["", *diffs]))
        for other in beside:
            print_beside(other, document)
    _leave(document, output)


def _leave(document: dict[str, Any], output: Output) -> NoReturn:
    print_result(document, output)
    raise typer.Exit(int(document["exit_code"]))


def _confirm(yes: bool, output: Output) -> Confirm:
    return lambda plan: _agreed({"": plan.operations}, yes, output, "make these changes?")


def _confirm_both(yes: bool, output: Output) -> ConfirmBoth:
    question = "make these changes, the baseline's and then the candidate's?"
    return lambda plans: _agreed(plans, yes, output, question)


def _agreed(plans: Mapping[str, Sequence[object]], yes: bool, output: Output, question: str) -> bool:
    """Show plans, each under its title where it has one, and ask."""
    if output is Output.TEXT:
        for title, changes in plans.items():
            if title:
                Printer(sys.stdout).line(f"{title}:")
            print_plan(as_data(changes))
    return yes or agreed(question)
