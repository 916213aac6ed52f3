"""Kind `sql`: a query in a service's PostgreSQL, through psql in its container, read-only."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from typing import Any

from canaryctl.config.durations import show_duration
from canaryctl.config.probes.sql import Sql, check_query
from canaryctl.probe.expect import MAX_READ, Answer, Shapeless, json_faults, saved_from, show, start
from canaryctl.probe.precondition import check_precondition
from canaryctl.probe.results import Outcome, Unanswered, Unusable, failed, passed
from canaryctl.probe.scope import Scope, until_passed
from canaryctl.probe.service import find_containers, in_container, run_script

_NULL = "\\N"  # how psql is told to print null, which an empty text must not look like
# SQLSTATEs that speak of the query itself: bad syntax, a name that is no function, writing in a read-only transaction.
_OWN_FAULTS = ("42601", "42883", "25006")
# Reads the settings from standard input, one a line, up to an empty one; psql gets the rest. What the container's own
# environment says about its database is the default, as the usual images have it.
_INSIDE = """
while IFS= read -r line && [ -n "$line" ]; do export "$line"; done
: "${PGUSER:=${POSTGRES_USER:-postgres}}" "${PGDATABASE:=${POSTGRES_DB:-$PGUSER}}"
if [ -z "${PGPASSWORD:-}" ]; then
  if [ -n "${POSTGRES_PASSWORD:-}" ]; then PGPASSWORD=$POSTGRES_PASSWORD
  elif [ -r "${POSTGRES_PASSWORD_FILE:-}" ]; then PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
  fi
fi
export PGUSER PGDATABASE PGPASSWORD
exec psql -X -q -w --csv -P "null=\\\\N" -v ON_ERROR_STOP=1 -v VERBOSITY=verbose -v FETCH_COUNT=1000 -f -
"""


def run(probe: Sql, scope: Scope) -> Outcome:
    """Ask until the rows are as expected."""
    return until_passed(probe, scope, _attempt)


def _attempt(probe: Sql, scope: Scope) -> Outcome:
    if (outcome := check_precondition(scope, probe.precondition, probe.timeout)) is not None:
        return outcome
    probe = scope.render(probe)
    rows, truncated = _query(probe, scope)
    answer = Answer(0, json.dumps(rows, ensure_ascii=False).encode(), truncated=truncated)
    faults = json_faults(probe.expect.jmespath, answer)
    if probe.expect.rows is not None and (truncated or len(rows) != probe.expect.rows):
        more = "at least " if truncated else ""
        seen = f": {show(rows[:3])}" if rows else ""
        faults.insert(0, f"{more}{len(rows)} rows, expected {probe.expect.rows}{seen}")
    if faults:
        return failed(scope.context.scrub("; ".join(faults)))
    try:
        scope.saved.update(saved_from(probe.save, answer))
    except Shapeless as error:
        return failed(scope.context.scrub(str(error)))
    return passed(f"{len(rows)} rows")


def feed(env: dict[str, str], query: str, timeout: float) -> bytes:
    """What the container's shell and then psql read: settings, an empty line, the transaction.

    Raises:
        Unusable: the query is more than one statement, or a setting has more than one line.
    """
    try:
        check_query(query)
    except ValueError as error:
        raise Unusable(str(error)) from None
    limits = f"-c default_transaction_read_only=on -c statement_timeout={max(int(timeout * 1000), 1)}"
    settings = {"PGAPPNAME": "canaryctl", "PGCONNECT_TIMEOUT": "5", **env, "PGOPTIONS": limits}
    if wrong := next((name for name, value in settings.items() if "\n" in value), None):
        raise Unusable(f"{wrong} has more than one line")
    lines = "".join(f"{name}={value}\n" for name, value in settings.items())
    return f"{lines}\nBEGIN READ ONLY;\n{query.rstrip().rstrip(';')}\n;ROLLBACK;\n".encode()


def parse_rows(text: str) -> list[dict[str, str | None]]:
    """CSV with a header, as psql writes it, to one object a row; every value is text or null.

    Raises:
        Unanswered: it is no such CSV.
    """
    csv.field_size_limit(MAX_READ)  # a field may be all that is read
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        names = next(reader, [])
        return [
            {name: None if value == _NULL else value for name, value in zip(names, row, strict=False)} for row in reader
        ]
    except csv.Error as error:
        raise Unanswered(f"what psql printed is no table: {error}") from None


def _query(probe: Sql, scope: Scope) -> tuple[list[dict[str, Any]], bool]:
    left = max(scope.ends(probe.timeout) - time.monotonic(), 0.1)
    script = find_containers(scope.context.project, probe.on, sudo=scope.sudo) + in_container(
        ["sh", "-c", _INSIDE], sudo=scope.sudo, timeout=left, feed=True
    )
    ran = run_script(
        scope,
        script,
        service=probe.on,
        shown=" ".join(probe.query.split()),
        method="SQL",
        timeout=left,
        stdin=feed(probe.env, probe.query, left),
    )
    if ran.code == 0:
        return parse_rows(ran.stdout.decode("utf-8", "replace")), ran.truncated
    if "psql: not found" in ran.complaint or ran.code == 127:
        raise Unusable(f"the container of {probe.on} has no psql")
    if re.search(r"ERROR:\s+57014:", ran.complaint):
        raise Unanswered(f"the query did not end within {show_duration(left)}")
    complaint = scope.context.scrub(_first_error(ran.complaint))
    if any(re.search(rf"ERROR:\s+{state}:", ran.complaint) for state in _OWN_FAULTS):
        raise Unusable(f"the query is refused: {start(complaint, 240)}")
    raise Unanswered(f"the query failed: {start(complaint, 240)}")


def _first_error(complaint: str) -> str:
    """psql's complaint without where in its own source the server found it."""
    lines = [line for line in complaint.splitlines() if not line.startswith(("LOCATION:", "LINE ", " "))]
    return " ".join(re.sub(r"^psql:(<stdin>:\d+:)?\s*", "", line) for line in lines)
