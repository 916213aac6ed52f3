"""Commands that touch an environment: deploy, its stages alone, probe, collect, down."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from canaryctl.cli import options as opt
from canaryctl.cli.output import Output, print_plan, print_result

if TYPE_CHECKING:
    from canaryctl.plan.plan import Plan
    from canaryctl.scene import Request


def deploy(
    environment: opt.Environment,
    stack: opt.StackFile = None,
    inventories: opt.Inventories = None,
    runs: opt.Runs = None,
    probes: opt.Probes = None,
    variant: opt.Variant = None,
    image: opt.Images = None,
    limit: opt.Limit = None,
    check: opt.Check = False,
    diff: opt.Diff = False,
    yes: opt.Yes = False,
    output: opt.OutputMode = Output.TEXT,
    verbose: opt.Verbose = 0,
    vault_password_file: opt.VaultPasswordFile = None,
    ask_become_pass: opt.AskBecomePass = False,
) -> None:
    """Validate the images on an environment: observe, plan, apply, probe, collect, record."""
    request = opt.request(**_without(locals(), "output"))
    if check:
        _plan(request, output)
        return
    from canaryctl import pipeline

    _run(output, lambda listeners: pipeline.deploy(request, listeners, _confirm(yes, output)))


def plan(
    environment: opt.Environment,
    stack: opt.StackFile = None,
    inventories: opt.Inventories = None,
    variant: opt.Variant = None,
    image: opt.Images = None,
    limit: opt.Limit = None,
    diff: opt.Diff = False,
    output: opt.OutputMode = Output.TEXT,
    vault_password_file: opt.VaultPasswordFile = None,
    ask_become_pass: opt.AskBecomePass = False,
) -> None:
    """Say what a deploy would change on which host, and why. Changes nothing, leaves no run."""
    _plan(opt.request(**_without(locals(), "output")), output)


def provision(
    environment: opt.Environment,
    stack: opt.StackFile = None,
    inventories: opt.Inventories = None,
    runs: opt.Runs = None,
    limit: opt.Limit = None,
    check: opt.Check = False,
    diff: opt.Diff = False,
    yes: opt.Yes = False,
    output: opt.OutputMode = Output.TEXT,
    verbose: opt.Verbose = 0,
    vault_password_file: opt.VaultPasswordFile = None,
    ask_become_pass: opt.AskBecomePass = False,
) -> None:
    """Install what hosts lack to run containers: Docker and compose."""
    request = opt.request(**_without(locals(), "output"))
    from canaryctl import pipeline

    _run(output, lambda listeners: pipeline.provision(request, listeners))


def _stage(name: str, summary: str) -> Callable[..., None]:
    def command(
        environment: opt.Environment,
        stack: opt.StackFile = None,
        inventories: opt.Inventories = None,
        runs: opt.Runs = None,
        variant: opt.Variant = None,
        image: opt.Images = None,
        limit: opt.Limit = None,
        check: opt.Check = False,
        diff: opt.Diff = False,
        yes: opt.Yes = False,
        output: opt.OutputMode = Output.TEXT,
        verbose: opt.Verbose = 0,
        vault_password_file: opt.VaultPasswordFile = None,
        ask_become_pass: opt.AskBecomePass = False,
    ) -> None:
        request = opt.request(**_without(locals(), "output", "name"))
        if check:
            _plan(request, output, only=name)
            return
        from canaryctl import pipeline

        _run(output, lambda listeners: pipeline.stage(name, request, listeners))

    command.__name__ = name
    command.__doc__ = summary
    return command


push = _stage("push", "Bring the images that hosts lack, and verify them there.")
render = _stage("render", "Write the rendered release to the hosts; docker compose must accept it.")
migrate = _stage("migrate", "Run the stack's migration with the worker's image, once.")
start = _stage("start", "Make the release current and wait until its services are healthy.")


def probe(
    environment: opt.Environment,
    stack: opt.StackFile = None,
    inventories: opt.Inventories = None,
    runs: opt.Runs = None,
    probes: opt.Probes = None,
    limit: opt.Limit = None,
    output: opt.OutputMode = Output.TEXT,
    verbose: opt.Verbose = 0,
    vault_password_file: opt.VaultPasswordFile = None,
    ask_become_pass: opt.AskBecomePass = False,
) -> None:
    """Judge what an environment serves now. Changes nothing."""
    request = opt.request(**_without(locals(), "output"))
    from canaryctl import pipeline

    _run(output, lambda listeners: pipeline.probe(request, listeners))


def collect(
    environment: opt.Environment,
    stack: opt.StackFile = None,
    inventories: opt.Inventories = None,
    runs: opt.Runs = None,
    limit: opt.Limit = None,
    output: opt.OutputMode = Output.TEXT,
    verbose: opt.Verbose = 0,
    vault_password_file: opt.VaultPasswordFile = None,
    ask_become_pass: opt.AskBecomePass = False,
) -> None:
    """Bring logs, container state and facts of every host home."""
    request = opt.request(**_without(locals(), "output"))
    from canaryctl import pipeline

    _run(output, lambda listeners: pipeline.collect(request, listeners))


def down(
    environment: opt.Environment,
    stack: opt.StackFile = None,
    inventories: opt.Inventories = None,
    runs: opt.Runs = None,
    limit: opt.Limit = None,
    yes: opt.Yes = False,
    output: opt.OutputMode = Output.TEXT,
    verbose: opt.Verbose = 0,
    vault_password_file: opt.VaultPasswordFile = None,
    ask_become_pass: opt.AskBecomePass = False,
) -> None:
    """Stop an environment's services and remove their containers. Data and images stay."""
    request = opt.request(**_without(locals(), "output"))
    from canaryctl import pipeline
    from canaryctl.errors import ConfigError

    if not yes and not _ask(f"stop every service of {environment}?"):
        raise ConfigError("not confirmed, nothing was changed", "", "answer yes, or pass --yes")
    _run(output, lambda listeners: pipeline.down(request, listeners, volumes=False))


def _plan(request: Request, output: Output, only: str | None = None) -> None:
    from canaryctl import pipeline
    from canaryctl.cli.output import print_json

    answer = pipeline.show_plan(request, only)
    if output is Output.TEXT:
        print_plan(answer["plan"]["changes"])
        for note in answer["notes"]:
            typer.echo(f"note: {note}")
        for text in answer["diffs"]:
            typer.echo(text)
    else:
        print_json(answer)


def _run(output: Output, work: Callable[[list[Callable[[dict[str, Any]], None]]], dict[str, Any]]) -> None:
    """Show progress while it runs, then the result; exit with the run's code."""
    from canaryctl.cli.progress import make_progress

    diffs: list[str] = []

    def keep_diff(event: dict[str, Any]) -> None:
        if event["type"] == "diff":
            diffs.append(event["text"])

    with make_progress(output) as progress:
        document = work([progress, keep_diff])
    if output is Output.TEXT:
        typer.echo("\n".join(["", *diffs]))
    print_result(document, output)
    raise typer.Exit(int(document["exit_code"]))


def _confirm(yes: bool, output: Output) -> Callable[[Plan], bool]:
    def confirm(plan: Plan) -> bool:
        if output is Output.TEXT:
            print_plan([change.as_dict() for change in plan.changes])
        return yes or _ask("make these changes?")

    return confirm


def _ask(question: str) -> bool:
    """Ask on a terminal; without one nobody can answer, which is a no."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    return typer.confirm(question, err=True)


def _without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in names}
