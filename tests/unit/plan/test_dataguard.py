"""What a service may write into a release is refused, however compose lets one say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from canaryctl.errors import ConfigError
from canaryctl.plan.dataguard import require_data_outside
from canaryctl.plan.mounting import Mounting, interpolated, mountings

BOUND = {"driver_opts": {"type": "none", "o": "bind", "device": "./state"}}


def check(entry: Any, volumes: Mapping[str, Any] | None = None, **more: Any) -> None:
    compose = {"services": {"web": {"volumes": [entry]}}, "volumes": volumes or {}}
    require_data_outside(compose, "shop", "compose.yml", **more)


@pytest.mark.parametrize(
    "entry",
    [
        "./state:/state",
        "./state:/state:rw",
        "./state:/state:z",
        "./state:/state:ro,rw",
        "./state:/state:readonly",  # no word of compose's, which passes over it
        ".:/all",
        "..:/releases",
        "../..:/stack",
        "../../current/state:/state",
        "../other/state:/state",
        "../../data/../releases/x:/state",
        "./assets/rules:/rules",
        "${STATE:-./state}:/state",
        "${STATE-./state}:/state",
        "${A:-${B:-./state}}:/state",
        "./${NAME:-state}:/state",
        "${DB_DIR}/x:/state",
        "/opt/canaryctl/shop/current/state:/state",
        "/srv/canary/shop/releases/abc/state:/state",
        "/srv/../opt/canaryctl/shop//current:/state",
        {"type": "bind", "source": "./state", "target": "/state"},
        {"type": "bind", "src": "./state", "target": "/state", "read_only": False},
        {"type": "bind", "source": "./state", "target": "/state", "read_only": "${RO:-false}"},
    ],
)
def test_a_source_in_a_release_is_refused_with_what_to_write(entry: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        check(entry, secrets=["DB_DIR"])
    assert caught.value.exit_code == 2 and caught.value.where == "compose.yml"
    assert "service web may write to" in caught.value.what and "named volume" in caught.value.hint


@pytest.mark.parametrize(
    "entry",
    [
        "data:/data",
        "/data",
        "./assets/rules:/rules:ro",
        "./assets/rules:/rules:z,ro",
        "../../data:/data",
        "/srv/shop/data:/data",
        "/opt/canaryctl/other/current:/x",
        "/opt/canaryctl/shop/releases:/releases:ro",
        "${UNSET}/srv:/data",
        "~/data:/data",
        "${HOME}/data:/data",
        "./assets/rules:/rules:rw,ro",
        {"type": "bind", "source": "./assets", "target": "/a", "read_only": True},
        {"type": "tmpfs", "target": "/tmp"},
        {"type": "volume", "source": "data", "target": "/data"},
        None,
        3,
        {"type": ["bind"], "source": {}},
    ],
)
def test_what_lies_elsewhere_or_is_only_read_is_not(entry: Any) -> None:
    check(entry)


def test_a_volume_that_is_bound_to_a_folder_of_the_release_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\./state"):
        check("state:/state", {"state": BOUND})
    check("state:/state:ro", {"state": BOUND})
    check("state:/state", {"state": {"driver_opts": {**BOUND["driver_opts"], "o": "bind,ro"}}})
    check("state:/state", {"state": {"driver_opts": {**BOUND["driver_opts"], "device": "/srv/state"}}})
    check("state:/state", {"state": {"driver_opts": {"type": "nfs", "device": ":/state"}}})


def test_files_that_services_are_taken_from_are_looked_into() -> None:
    files = {
        "assets/base.yml": {"services": {"base": {"volumes": ["./here:/x"]}}},
        "assets/up.yml": {"services": {"base": {"volumes": ["../../../data:/x"]}}, "include": ["up.yml"]},
    }
    extending = {"services": {"web": {"extends": {"file": "assets/base.yml", "service": "base"}}}}
    with pytest.raises(ConfigError, match=r"\./here"):
        require_data_outside(extending, "shop", "compose.yml", read=files.get)
    for include in ("assets/base.yml", {"path": "./assets/base.yml"}, {"path": ["assets/up.yml", "assets/base.yml"]}):
        with pytest.raises(ConfigError, match=r"\./here"):
            require_data_outside({"services": {}, "include": [include]}, "shop", "compose.yml", read=files.get)
    require_data_outside({"services": {}, "include": ["assets/up.yml"]}, "shop", "compose.yml", read=files.get)


def test_paths_of_an_included_file_are_meant_from_its_project_directory() -> None:
    files = {"assets/a.yml": {"services": {"db": {"volumes": ["../../../state:/x"]}}}}
    include = {"path": "assets/a.yml", "project_directory": "assets/one/two"}
    with pytest.raises(ConfigError, match="state"):
        require_data_outside({"services": {}, "include": [include]}, "shop", "compose.yml", read=files.get)
    files["assets/deep/b.yml"] = {"services": {"db": {"volumes": ["../x:/x"]}}}
    over = {"path": ["assets/a.yml", "assets/deep/b.yml"]}  # the first file's folder counts
    with pytest.raises(ConfigError, match=r"\.\./x"):
        require_data_outside({"services": {}, "include": [over]}, "shop", "compose.yml", read=files.get)


@pytest.mark.parametrize(
    "other", ["/srv/more.yml", "../more.yml", "oci://registry.example/more", "https://git.example/more.git", "${FILE}"]
)
def test_a_file_of_the_host_or_the_net_is_no_part_of_a_release(other: str) -> None:
    for compose in ({"services": {}, "include": [other]}, {"services": {"web": {"extends": {"file": other}}}}):
        with pytest.raises(ConfigError, match="not part of the release"):
            require_data_outside(compose, "shop", "compose.yml", secrets=["FILE"])


def test_files_and_services_that_name_each_other_again_and_again_take_no_time() -> None:
    files = {"assets/up.yml": {"services": {}, "include": ["up.yml"] * 1000}}
    require_data_outside({"services": {}, "include": ["assets/up.yml"]}, "shop", "compose.yml", read=files.get)
    names = [f"s{number}" for number in range(200)]
    mountings({"services": {name: {"volumes_from": names, "volumes": ["data:/d"]} for name in names}}, read=files.get)


def test_mounts_that_a_service_has_of_others_are_told_too() -> None:
    files = {"assets/base.yml": {"services": {"pg": {"volumes": ["data:/db", "old:/logs"]}}}}
    compose = yaml.safe_load("""
services:
  db: {extends: {file: assets/base.yml, service: pg}, volumes: ["logs:/logs"]}
  copy: {volumes_from: ["db:ro"], extends: copy}
volumes: {data: {name: "${COMPOSE_PROJECT_NAME}_pg"}, logs: {}, old: {}}
""")
    found = mountings(compose, "shop-box", (), files.get)
    last = {(one.service, one.target): one.source for one in found}
    assert last == {
        (service, target): source
        for service in ("db", "copy")
        for target, source in (("/db", "shop-box_pg"), ("/logs", "shop-box_logs"))
    }


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("a", "a"),
        ("$$a ${A} $A", "$a  "),
        ("${A:-x}${A-y}${A:+z}${A:?}", "xy"),
        ("${S:-x} $S", "${S} ${S}"),
        ("${A:-${B:-${S}}}", "${S}"),
        ("${", "${"),
        ("$", "$"),
    ],
)
def test_variables_are_those_of_the_env_file(text: str, made: str) -> None:
    assert interpolated(text, frozenset({"S"})) == made


def test_volumes_have_the_names_they_get_on_hosts() -> None:
    text = """
services:
  web: {volumes: ["aa:/a", "bb:/b:ro", {type: volume, source: cc, target: /c}, /d, "ee:/e", "/srv/x:/x"]}
  db: {volumes: "no list"}
volumes: {aa: {}, bb: {name: shared}, cc: {external: true}, ee: null}
"""
    found = mountings(yaml.safe_load(text), "shop-box")
    assert [(one.source, one.target) for one in found] == [
        ("shop-box_aa", "/a"), ("shared", "/b"), ("cc", "/c"), ("", "/d"), ("shop-box_ee", "/e"), ("/srv/x", "/x"),
    ]  # fmt: skip
    assert found[1] == Mounting("web", "volume", "shared", "/b", read_only=True)
