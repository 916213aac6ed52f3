"""Backups of a real PostgreSQL: made before its schema changes, proven, kept few, and brought back."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from conftest import Box, Ctl
from toy import Toy, evidence, tells

pytestmark = pytest.mark.lab

STACK = """\
stack: bktoy
images: {db: {tag: "ktrdr-db:test"}}
variants: {only: {db: db, app: db}}
placement: {all: [db, app]}
compose: compose.yml.j2
assets: [schema/]
start_timeout: 60
migrations:
  service: app
  backup: db
  current: "sh /schema/run.sh current"
  upgrade: "sh /schema/run.sh 0001"
"""
COMPOSE = """\
services:
  db:
    image: "{{ images.db }}"
    pull_policy: never
    environment: {DB_PASSWORD: toy}
    volumes: [data:/var/lib/postgresql]
    healthcheck: {test: [CMD, pg_isready, -h, 127.0.0.1], interval: 5s, start_period: 40s, start_interval: 500ms}
  app:
    image: "{{ images.app }}"
    pull_policy: never
    init: true
    stop_grace_period: 1s
    command: [sleep, infinity]
    environment: {PGPASSWORD: toy}
    volumes: ["./assets/schema:/schema:ro"]
    healthcheck: {test: [CMD, "true"], interval: 20s, start_period: 9s, start_interval: 300ms}
volumes: {data: {}}
"""
RUN = """\
q() { psql -X -q -A -t -v ON_ERROR_STOP=1 -h db -U ktrdr -d ktrdr "$@"; }
now=$(q -c 'SELECT number FROM revision' 2>/dev/null || true)
if [ "$1" = current ]; then echo "$now"; exit; fi
for file in /schema/*.sql; do
  number=$(basename "$file" .sql)
  if [ "$number" '>' "$now" ] && ! [ "$number" '>' "$1" ]; then q -1 -f "$file" || exit 1; fi
done
"""
SCHEMA = {
    "0001": "CREATE TABLE revision (number text); INSERT INTO revision VALUES ('0001');"
    "CREATE TABLE people (name text); INSERT INTO people VALUES ('ann');",
    "0002": "ALTER TABLE people RENAME COLUMN name TO full_name; UPDATE revision SET number = '0002';",
    "0003": "ALTER TABLE people ADD COLUMN age int; UPDATE revision SET number = '0003';",
}
PROBES = """\
- name: Database
  kind: exec
  on: app
  command: "sh /schema/run.sh current"
  expect: {exit: 0}
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, ctl: Ctl, box: Callable[[str], Box]) -> Iterator[Toy]:
    made = Toy(tmp_path_factory.mktemp("backups"), "bktoy", 18490, ctl, box)
    made.write("stack.yml", STACK)
    made.write("compose.yml.j2", COMPOSE)
    made.write("probes.yml", PROBES)
    made.write("schema/run.sh", RUN)
    for number, text in SCHEMA.items():
        made.write(f"schema/{number}.sql", text + "\n")
    made.environment("bk", "canary-1", variables={"all": {"canary_on_failure": "keep"}})
    made.clean()
    yield made
    made.clean()


def sql(toy: Toy, statement: str) -> str:
    """What the database answers its superuser."""
    argv = "docker exec bktoy-bk-db-1 psql -X -q -A -t -v ON_ERROR_STOP=1 -U postgres -d ktrdr -c "
    return toy.box("canary-1").run(argv + shlex.quote(statement)).strip()


def dumps(toy: Toy) -> list[str]:
    """The dumps on the host, by name."""
    return toy.box("canary-1").run(f"ls {toy.root}/backups 2>/dev/null | grep '[.]dump$' || true").split()


def migrate_to(toy: Toy, number: str) -> None:
    """Have the next release migrate to this revision."""
    text = (toy.folder / "stack.yml").read_text()
    at = text.index("run.sh 000") + len("run.sh ")
    toy.write("stack.yml", text[:at] + number + text[at + 4 :])


def test_a_schema_is_backed_up_before_it_changes_and_a_rollback_brings_it_back(toy: Toy) -> None:
    first = toy.deploy("bk")
    assert first.code == 0, first.text[-3000:]
    assert "backup" not in first.document["migrations"] and not dumps(toy)
    assert any("no tables yet" in note for note in first.document["notes"])
    old = first.document["release"]["id"]

    migrate_to(toy, "0002")
    second = toy.deploy("bk")
    assert second.code == 0, second.text[-3000:]
    made = second.document["migrations"]["backup"]
    assert made["from_release"] == old and made["revision"] == "0001" and made["database"] == "ktrdr"
    assert dumps(toy) == [Path(made["path"]).name]
    box = toy.box("canary-1")
    assert box.run(f"stat -c '%a %U' {made['path']}").split() == ["600", "root"]
    assert box.run(f"sha256sum {made['path']}").split()[0] == made["sha256"]
    assert made["path"] in (evidence(toy.ctl, second.document) / "report.md").read_text()
    assert sql(toy, "SELECT count(*) FROM pg_database WHERE datname LIKE 'canaryctl%'") == "0"

    sql(toy, "INSERT INTO people VALUES ('written since')")
    before = toy.state("canary-1")
    tells(toy.run("rollback", "bk", "--yes"), 6, "schema moved from 0001 to 0002", "--restore-database")
    assert toy.state("canary-1") == before and sql(toy, "SELECT count(*) FROM people") == "2"

    back = toy.run("rollback", "bk", "--restore-database", "--yes", "--output", "json")
    assert back.code == 0, back.text[-3000:]
    assert back.document["release"]["id"] == old and back.rows == {"Database": "passed"}
    told = back.document["migrations"]["restored"]
    assert told["from"] == made["path"] and told["window"]["from"] == made["taken"] < told["window"]["until"]
    assert any("what was written until" in note for note in back.document["notes"])
    (away,) = back.document["gaps"]  # since the restore has stopped it, though the rollback found it stopped
    returned = next(stage["started"] for stage in back.document["stages"] if stage["name"] == "rollback")
    assert away["service"] == "app" and away["from"] < datetime.fromisoformat(returned).timestamp() < away["until"]
    assert sql(toy, "SELECT name FROM people") == "ann"
    assert sql(toy, "SELECT number FROM revision") == "0001"
    assert (
        sql(toy, "SELECT pg_get_userbyid(datdba), datallowconn FROM pg_database WHERE datname = 'ktrdr'") == "ktrdr|t"
    )
    assert sql(toy, "SELECT count(*) FROM pg_database WHERE datname LIKE 'canaryctl%'") == "0"
    assert "bktoy-bk-app-1" in box.run("docker ps --format '{{.Names}}'")
    lost = box.run(f"docker exec -i bktoy-bk-db-1 pg_restore --data-only -f - < {told['before']}")
    assert "written since" in lost

    again = toy.deploy("bk")  # the marker went back as well, or the release would run on the old schema
    assert again.code == 0 and again.document["migrations"] | {"backup": None} == {
        "before": "0001",
        "after": "0002",
        "backup": None,
    }


def test_a_backup_that_does_not_restore_stops_the_migration(toy: Toy) -> None:
    assert toy.deploy("bk").code == 0
    # pg_dump restores tables by name: a's rows are checked against b, which has none by then.
    sql(toy, "CREATE TABLE b (n int); INSERT INTO b VALUES (1)")
    sql(
        toy,
        "CREATE FUNCTION known(int) RETURNS bool LANGUAGE sql AS 'SELECT EXISTS (SELECT FROM public.b WHERE n = $1)'",
    )
    sql(toy, "CREATE TABLE a (n int CHECK (known(n))); INSERT INTO a VALUES (1)")
    before, revision = dumps(toy), sql(toy, "SELECT number FROM revision")
    migrate_to(toy, "0003")
    refused = toy.deploy("bk")
    tells(refused, 6, "does not restore", "canary-1")
    assert sql(toy, "SELECT number FROM revision") == revision and dumps(toy) == before
    assert sql(toy, "SELECT count(*) FROM pg_database WHERE datname LIKE 'canaryctl%'") == "0"
    sql(toy, "DROP TABLE a; DROP FUNCTION known; DROP TABLE b")


def test_five_backups_stay(toy: Toy) -> None:
    box, folder = toy.box("canary-1"), f"{toy.root}/backups"
    for day in range(1, 7):
        box.run(f"touch {folder}/bk-2020010{day}T000000Z-none.dump {folder}/bk-2020010{day}T000000Z-none.json")
    box.run(f"touch {folder}/other-20200101T000000Z-none.dump")
    migrate_to(toy, "0003")
    assert toy.deploy("bk").code == 0
    left = dumps(toy)
    assert len([name for name in left if name.startswith("bk-")]) == 5
    assert "other-20200101T000000Z-none.dump" in left and "bk-20200101T000000Z-none.dump" not in left
    assert sql(toy, "SELECT number FROM revision") == "0003"
