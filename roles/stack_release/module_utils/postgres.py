"""A PostgreSQL server in a container, reached through its image's own programs. Python 3.8, standard library.

No password is ever on a command line: the programs use the socket inside the container, and where that asks for one
take it from the container's own environment.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ansible.module_utils.compose_cli import complaint, inspect, run, service_of

# Names of databases of ours in somebody's server; whatever is called so was left by a run that was killed.
VERIFY, RESTORE = "canaryctl_verify_", "canaryctl_restore_"
# Some images have the programs in no directory of the search path.
_IN_CONTAINER = (
    "for d in /usr/lib/postgresql/*/bin; do PATH=$PATH:$d; done; "
    'PGPASSWORD=${PGPASSWORD:-${POSTGRES_PASSWORD:-}}; export PATH PGPASSWORD; exec "$@"'
)
_VERSION_OF_IMAGE = (
    "postgres --version 2>/dev/null || "
    "for b in /usr/lib/postgresql/*/bin/postgres /usr/pgsql-*/bin/postgres; do "
    '[ -x "$b" ] && "$b" --version; done'
)
# What a user's schema consists of; the catalogue and temporary objects are none of it.
_TABLES = (
    "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r','p','v','m')"
    " AND n.nspname NOT IN ('pg_catalog','information_schema') AND n.nspname !~ '^pg_(toast|temp)'"
)


class Trouble(Exception):  # noqa: N818  what the modules report, with what to do next
    """Something that stops a backup or restore: `what`, and the `hint` beside it."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what, self.hint = what, hint


@dataclass(frozen=True)
class Server:
    """A running server: its container's id, and the superuser and database that the stack uses."""

    container: str
    user: str
    database: str


@dataclass(frozen=True)
class Size:
    """A database: bytes on disk, tables and views, and the server's version number (170002 is 17.2)."""

    bytes: int
    tables: int
    version: int


def find_container(project: str, service: str) -> dict | None:
    """The inspected container of a service that runs, or None."""
    return next((c for c in inspect(project) if service_of(c) == service and c["State"]["Running"]), None)


def environment_of(container: dict) -> dict[str, str]:
    """The variables that a container was made with."""
    return dict(line.split("=", 1) for line in container["Config"].get("Env") or () if "=" in line)


def connect(container: dict, user: str, database: str, patience: float = 30) -> Server:
    """The server in a container, once it answers; `user` and `database` are found out where empty.

    Raises:
        Trouble: it does not answer within `patience` seconds, or which database is meant cannot be told.
    """
    env = environment_of(container)
    user = user or env.get("POSTGRES_USER") or "postgres"
    names = _databases(Server(container["Id"], user, "template1"), patience)
    return Server(container["Id"], user, choose_database(database, env, names))


def _databases(server: Server, patience: float) -> list[str]:
    deadline = time.monotonic() + patience
    while True:
        try:
            return query(server, "SELECT datname FROM pg_database WHERE NOT datistemplate").split("\n")
        except Trouble:
            if time.monotonic() > deadline:
                raise
        time.sleep(1)


def choose_database(wanted: str, env: dict[str, str], names: list[str]) -> str:
    """Which of a server's databases the stack uses.

    Raises:
        Trouble: it is not there, or there are several and nothing says which.
    """
    names = [name for name in names if name and not name.startswith((VERIFY, RESTORE))]
    chosen = wanted or env.get("POSTGRES_DB") or env.get("POSTGRES_USER") or ""
    if chosen:
        if chosen in names:
            return chosen
        raise Trouble(
            f"the server has no database '{chosen}', only {', '.join(sorted(names))}",
            "name the right one in stack.yml: migrations.backup_database",
        )
    own = [name for name in names if name != "postgres"] or names
    if len(own) == 1:
        return own[0]
    raise Trouble(
        f"which database to back up cannot be told: there are {', '.join(sorted(own))}",
        "name it in stack.yml: migrations.backup_database",
    )


def program(server: Server, name: str, *arguments: str, database: str = "", interactive: bool = False) -> list[str]:
    """The command that runs a client program of the server's image against it."""
    argv = ["docker", "exec", *(["--interactive"] if interactive else []), server.container]
    argv += ["sh", "-c", _IN_CONTAINER, "sh", name, "--no-password", f"--username={server.user}"]
    return [*argv, f"--dbname={database or server.database}", *arguments]


def query(server: Server, *statements: str, database: str = "", timeout: float = 120) -> str:
    """What statements print, columns between bars. Several run in one transaction. Raises Trouble."""
    argv = program(server, "psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", database=database)
    argv += ["--set=ON_ERROR_STOP=1"]
    argv += ["--single-transaction"] if len(statements) > 1 else []
    code, out, err = run([*argv, *(f"--command={statement}" for statement in statements)], timeout)
    if code:
        raise Trouble(f"the database server refused: {complaint(err) or f'psql ended with code {code}'}")
    return out.strip()


def size_of(server: Server, database: str = "") -> Size:
    """How big a database is."""
    asked = f"SELECT pg_database_size(current_database()), ({_TABLES}), current_setting('server_version_num')"
    size, tables, version = query(server, asked, database=database).split("|")
    return Size(int(size), int(tables), int(version))


def dump(server: Server, sink: BinaryIO) -> None:
    """Write the database to a file in PostgreSQL's custom format. Raises Trouble."""
    argv = program(server, "pg_dump", "--format=custom", "--lock-wait-timeout=60s")
    code, _, err = run(argv, sink=sink)
    if code:
        raise Trouble(f"pg_dump failed: {complaint(err) or f'code {code}'}")


def restore_into(server: Server, path: Path, scratch: str, properties: bool = False) -> None:
    """Make the database `scratch` from a dump, or leave none. `properties` brings its owner and settings as well.

    Raises:
        Trouble: the dump cannot be read or does not restore.
    """
    statements = database_statements(script_of(server, path), quote(server.database), quote(scratch))
    if not statements:
        raise Trouble("the dump does not say how its database was made")
    try:
        for statement in statements if properties else statements[:1]:
            query(server, statement, database="template1")
        argv = program(server, "pg_restore", "--exit-on-error", database=scratch, interactive=True)
        with path.open("rb") as source:
            code, _, err = run(argv, source=source)
        if code:
            raise Trouble(complaint(err) or f"pg_restore ended with code {code}")
    except BaseException:
        drop(server, scratch)
        raise


def script_of(server: Server, path: Path) -> str:
    """The dump's definitions as SQL: reads the whole table of contents, no rows. Raises Trouble."""
    argv = ["docker", "exec", "--interactive", server.container, "sh", "-c", _IN_CONTAINER, "sh"]
    argv += ["pg_restore", "--create", "--schema-only", "--file=-"]
    with path.open("rb") as source:
        code, out, err = run(argv, source=source)
    if code:
        raise Trouble(complaint(err) or f"pg_restore ended with code {code}")
    return out


def database_statements(script: str, name: str, scratch: str) -> list[str]:
    """Statements of a dump's script about the database itself, the one that creates it first, for another name.

    `name` and `scratch` are quoted as SQL wants them; pg_dump leaves out quotes that are not needed.
    """
    spelt = f"(?:{re.escape(name)}|{re.escape(name[1:-1])})"
    found = re.findall(
        rf"^((?:CREATE|ALTER) DATABASE |(?:GRANT|REVOKE) [^;\n]* ON DATABASE ){spelt}( [^\n]*;)$", script, re.M
    )
    statements = [f"{before}{scratch}{after}" for before, after in found]
    return sorted(statements, key=lambda statement: not statement.startswith("CREATE"))


def quote(name: str) -> str:
    """A name as SQL wants it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL wants it."""
    return "'" + text.replace("'", "''") + "'"


def drop(server: Server, database: str) -> None:
    """Remove a database of ours, whoever is connected to it. One that is not there is no fault."""
    insist(server, end_connections(database))
    insist(server, f"DROP DATABASE IF EXISTS {quote(database)}")


def end_connections(database: str) -> str:
    """A statement that ends all connections to a database; prints a line for each."""
    return f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {literal(database)}"  # noqa: S608


def insist(server: Server, statement: str) -> None:
    """Run a statement even where the operator has gone, as cleaning up must; its own fault is let be."""
    argv = program(server, "psql", "--no-psqlrc", "--quiet", f"--command={statement}", database="template1")
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120, check=False)


def drop_leftovers(server: Server) -> None:
    """Remove what killed runs have left in the server."""
    names = query(server, "SELECT datname FROM pg_database", database="template1").split("\n")
    for name in names:
        if name.startswith((VERIFY, RESTORE)):
            drop(server, name)


def data_room(server: Server) -> tuple[int, int]:
    """Free and total bytes of the file system that the server keeps its data on. Raises Trouble."""
    directory = query(server, "SHOW data_directory")
    code, out, err = run(["docker", "exec", server.container, "df", "-Pk", directory], 60)
    fields = out.strip().splitlines()[-1].split() if code == 0 and out.strip() else []
    if len(fields) < 6:
        raise Trouble(f"how much room the database's volume has cannot be told: {complaint(err)}")
    return int(fields[3]) * 1024, int(fields[1]) * 1024


def lacking(size: int, dumps: tuple[int, int], data: tuple[int, int], slack: int = 64 << 20) -> str:
    """What room a dump and a trial restore of `size` bytes lack, or ''. Both file systems are (free, total) in bytes.

    A dump is compressed, so that its database's size is more than enough.
    """
    one = abs(dumps[1] - data[1]) < 1 << 20 and abs(dumps[0] - data[0]) < slack  # very likely the same
    if one and dumps[0] < 2 * size + slack:
        return f"{_mb(2 * size + slack)} are needed for the backup and its trial restore, {_mb(dumps[0])} are free"
    for what, (free, _) in (("the backup", dumps), ("its trial restore in the database's volume", data)):
        if free < size + slack:
            return f"{_mb(size + slack)} are needed for {what}, {_mb(free)} are free"
    return ""


def _mb(count: int) -> str:
    return f"{count / 1e6:.0f} MB"


def majors_of_image(image: str) -> list[int]:
    """The major versions of PostgreSQL that an image holds; empty where it cannot be told."""
    argv = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c", _VERSION_OF_IMAGE]
    _, out, _ = run(argv, 120)
    return parse_majors(out)


def parse_majors(text: str) -> list[int]:
    """Major versions from what `postgres --version` prints: 17 from 17.2 and from 17beta1, 9 from 9.6."""
    return sorted({int(number) for number in re.findall(r"PostgreSQL\) (\d+)", text)})
