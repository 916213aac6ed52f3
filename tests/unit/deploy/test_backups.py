"""What is decided about backups without a database: what to dump, what to keep, what a rollback needs."""

from __future__ import annotations

from typing import Any

import pytest
from rolemodules import ROLES, load

from canaryctl.deploy.backups import Backup, choose, image_of, in_order, schema_from

RELEASE = ROLES / "stack_release"
load(RELEASE / "module_utils" / "compose_cli.py", "ansible.module_utils.compose_cli")
postgres = load(RELEASE / "module_utils" / "postgres.py", "ansible.module_utils.postgres")
files = load(RELEASE / "module_utils" / "backups.py", "ansible.module_utils.backups")
major = load(RELEASE / "library" / "postgres_major.py", "postgres_major")
MB = 1 << 20


@pytest.mark.parametrize(
    ("wanted", "env", "names", "chosen"),
    [
        ("", {}, ["postgres", "shop"], "shop"),
        ("", {}, ["postgres"], "postgres"),
        ("", {"POSTGRES_DB": "b", "POSTGRES_USER": "a"}, ["postgres", "a", "b"], "b"),
        ("", {"POSTGRES_USER": "a"}, ["postgres", "a", "b"], "a"),
        ("b", {"POSTGRES_DB": "a"}, ["a", "b"], "b"),
        ("", {}, ["postgres", "shop", "canaryctl_verify_00ff"], "shop"),
    ],
)
def test_the_database_is_the_one_that_is_named_or_the_only_one(
    wanted: str, env: dict[str, str], names: list[str], chosen: str
) -> None:
    assert postgres.choose_database(wanted, env, names) == chosen


@pytest.mark.parametrize(("wanted", "names"), [("", ["a", "b"]), ("c", ["a"])])
def test_a_database_that_cannot_be_told_is_asked_for(wanted: str, names: list[str]) -> None:
    with pytest.raises(postgres.Trouble) as caught:
        postgres.choose_database(wanted, {}, names)
    assert "backup_database" in caught.value.hint


def test_no_password_is_on_a_command_line() -> None:
    argv = postgres.program(postgres.Server("c0", "admin", "shop"), "pg_dump", "--format=custom")
    assert argv[:3] == ["docker", "exec", "c0"]
    assert argv[-5:] == ["pg_dump", "--no-password", "--username=admin", "--dbname=shop", "--format=custom"]


@pytest.mark.parametrize(
    ("dumps", "data", "lacks"),
    [
        ((900 * MB, 1000 * MB), (900 * MB, 1000 * MB), False),
        ((250 * MB, 1000 * MB), (250 * MB, 1000 * MB), True),  # one file system takes both
        ((250 * MB, 1000 * MB), (250 * MB, 2000 * MB), False),
        ((100 * MB, 1000 * MB), (900 * MB, 2000 * MB), True),
        ((900 * MB, 1000 * MB), (100 * MB, 2000 * MB), True),
    ],
)
def test_room_is_needed_for_the_dump_and_its_trial_restore(
    dumps: tuple[int, int], data: tuple[int, int], lacks: bool
) -> None:
    assert bool(postgres.lacking(100 * MB, dumps, data)) is lacks


def test_a_scratch_database_is_made_as_the_original_was() -> None:
    script = (
        "CREATE DATABASE shop WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE = 'C.UTF-8';\n\n"
        "ALTER DATABASE shop OWNER TO shop;\n\\connect shop\n\nALTER DATABASE shop SET work_mem TO '8192';\n"
        "CREATE TABLE public.shop (x integer);\nGRANT CONNECT ON DATABASE shop TO reader;\n"
        "ALTER DATABASE shop2 SET a TO b;\n"
    )
    assert postgres.database_statements(script, '"shop"', '"tmp"') == [
        "CREATE DATABASE \"tmp\" WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE = 'C.UTF-8';",
        'ALTER DATABASE "tmp" OWNER TO shop;',
        "ALTER DATABASE \"tmp\" SET work_mem TO '8192';",
        'GRANT CONNECT ON DATABASE "tmp" TO reader;',
    ]
    quoted = 'CREATE DATABASE "my-shop" WITH TEMPLATE = template0;\n'
    assert postgres.database_statements(quoted, '"my-shop"', '"tmp"') == [
        'CREATE DATABASE "tmp" WITH TEMPLATE = template0;'
    ]


def test_the_newest_dumps_of_an_environment_stay() -> None:
    own = [f"eu-1-2026010{day}T000000Z-abc.dump" for day in range(1, 5)]
    restores = ["eu-1-20260105T000000Z-abc-before-restore.dump"]
    others = ["eu-20250101T000000Z-abc.dump", "notes.txt", ".eu-1-20250101T000000Z-abc.dump.partial"]
    assert files.prunable([*own, *restores, *others], "eu-1", 3) == own[:2]


@pytest.mark.parametrize(
    ("running", "image", "refused"),
    [(17, [18], True), (17, [17], False), (17, [16, 17, 18], False), (0, [18], False), (17, [], False)],
)
def test_only_a_known_other_major_version_is_refused(running: int, image: list[int], refused: bool) -> None:
    assert bool(major.refusal("db", running, image)) is refused


def test_major_versions_are_read_from_what_the_server_says() -> None:
    said = "postgres (PostgreSQL) 17.12 (Debian 17.12-0+deb13u1)\npostgres (PostgreSQL) 18beta1\n"
    assert postgres.parse_majors(said) == [17, 18] and postgres.parse_majors("sh: not found") == []


def line(release: str, revision: str, compatible: bool = False) -> dict[str, Any]:
    return {"release": release, "image": f"image-{release}", "revision": revision, "backward_compatible": compatible}


def test_a_release_whose_revision_the_database_still_has_needs_no_restore() -> None:
    records = [line("a", "1"), line("b", "1")]
    assert not schema_from(records, "a", "image-a", None).moved


def test_a_schema_that_moved_is_told_with_whether_the_code_before_runs_on_it() -> None:
    one = schema_from([line("a", "1"), line("b", "2", True)], "a", "image-a", None)
    assert (one.now, one.then, one.moved, one.backward_compatible) == ("2", "1", True, True)
    two = schema_from([line("a", "1"), line("b", "2", True), line("c", "3")], "a", "image-a", None)
    assert two.moved and not two.backward_compatible


def test_a_release_without_a_migration_of_its_own_ran_on_its_images_revision() -> None:
    assert not schema_from([line("a", "1")], "a2", "image-a", "1").moved


def test_releases_of_one_image_keep_their_own_revisions() -> None:
    records = [line("a", "1"), {**line("b", "2"), "image": "image-a"}]
    one = schema_from(records, "a", "image-a", None)
    assert (one.then, one.now, one.moved) == ("1", "2", True)
    assert schema_from(records, "never migrated", "image-a", None).then is None


def test_what_is_not_known_counts_as_moved() -> None:
    assert schema_from([line("b", "2")], "a", "image-a", None).moved
    assert schema_from([], "a", None, None) == schema_from([], "a", "image-a", None)


def test_what_the_database_says_itself_wins_over_the_records() -> None:
    assert schema_from([line("a", "1"), line("b", "2")], "a", "image-a", "1").moved is False


def test_the_marker_that_a_restore_brought_back_is_the_newest_record() -> None:
    lines = [{**line("a", "1"), "time": "2026-01-01T00:00:00Z"}, {**line("b", "2"), "time": "2026-01-02T00:00:00Z"}]
    back = {**line("a", "1"), "time": 1767484800.0}  # 4 January
    assert schema_from(in_order(lines, back), "a", "image-a", None).moved is False
    assert in_order(lines, {**back, "time": 1.0})[0]["time"] == 1.0


def backup(taken: str, release: str, revision: str | None, name: str = "x.dump") -> Backup:
    return Backup("h", name, f"/b/{name}", 1, "", taken, "shop", "canary", release, revision)


def test_the_backup_with_the_releases_own_revision_is_chosen() -> None:
    good, half, other = backup("1", "a", "1"), backup("2", "a", "1.5"), backup("3", "b", "1")
    given_up = backup("4", "a", "1", "canary-4-a-before-restore.dump")
    assert choose([good, half, other, given_up], "a", "1") is good
    assert choose([good, half, other], "a", None) is half
    assert choose([backup("9", "a", None), good], "a", None) is good
    assert choose([other], "a", "1") is None


def test_the_image_of_a_service_is_read_from_its_release() -> None:
    release = {"services": {"jobs": "worker"}, "images": {"worker": {"id": "sha256:1"}}}
    assert image_of(release, "jobs") == "sha256:1" and image_of(release, "web") is None and image_of(None, "x") is None
