"""The command line: which commands there are, and how errors leave it."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated, NoReturn

import typer

from canaryctl import __version__
from canaryctl.cli import (
    audit,
    build,
    contract,
    deploy,
    doctor,
    exec,
    history,
    lab,
    lock,
    logs,
    runs,
    secrets,
    status,
    trust,
)
from canaryctl.cli.interrupt import be_ending, be_interruptible

app = typer.Typer(
    name="canaryctl",
    help="Validate container images on real CPU and GPU hosts, keep the proof, promote what was proven.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for command in (
    deploy.deploy,
    deploy.plan,
    build.build,
    contract.contract,
    audit.audit,
    deploy.provision,
    deploy.push,
    deploy.render,
    deploy.migrate,
    deploy.start,
    deploy.probe,
    deploy.collect,
    status.status,
    logs.logs,
    deploy.rollback,
    history.history,
    deploy.down,
    doctor.doctor,
):
    app.command()(command)
app.command("exec")(exec.execute)
app.add_typer(runs.app, name="runs")
app.add_typer(lab.app, name="lab")
app.add_typer(lock.app, name="lock")
app.add_typer(secrets.app, name="secrets")
app.add_typer(trust.app, name="trust")


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"canaryctl {__version__}")
        raise typer.Exit


def run() -> NoReturn:
    """Entry point: an expected failure becomes three lines and its exit code, never a traceback."""
    from canaryctl.cli.options import chosen_output
    from canaryctl.cli.output import Output, Printer, clean, print_error, print_event, print_json
    from canaryctl.commands.failure import failed_document, without_secrets
    from canaryctl.errors import CanaryError

    def leave(error: CanaryError | dict[str, str], code: int) -> NoReturn:
        document = failed_document(error.as_dict() if isinstance(error, CanaryError) else error, code)
        if chosen_output() is Output.JSON:
            print_json(document)
        elif chosen_output() is Output.NDJSON:
            print_event({"type": "result", "document": document}, sys.stdout)
        print_error(document["error"])
        sys.exit(code)

    loud = any(argument.startswith("-vv") for argument in sys.argv)
    if loud:  # what came up beneath an error that is told in words
        import logging

        class Shown(logging.Formatter):
            """As everything that is printed: without secrets and control characters."""

            def format(self, record: logging.LogRecord) -> str:
                return clean(without_secrets(super().format(record)))

        handler = logging.StreamHandler()
        handler.setFormatter(Shown("%(message)s"))
        logging.basicConfig(handlers=[handler])
        logging.getLogger("canaryctl").setLevel(logging.DEBUG)
    be_interruptible()
    try:
        sys.exit(app())
    except CanaryError as error:
        leave(error, error.exit_code)
    except KeyboardInterrupt:
        leave({"what": "interrupted", "where": "", "hint": ""}, 130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except Exception as fault:
        if loud:
            Printer(sys.stderr).line(without_secrets(traceback.format_exc()))
        what = f"a fault in canaryctl itself: {type(fault).__name__}: {fault}"
        hint = "run it again with -vv for the traceback, and report it with that"
        leave({"what": what, "where": "", "hint": hint}, 1)
    finally:
        be_ending()
