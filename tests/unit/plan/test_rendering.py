"""Placement, rendering and the release's id."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from canaryctl.config.environment import Environment, Host
from canaryctl.config.stack import Stack, load_stack
from canaryctl.config.stackfiles import StackFiles
from canaryctl.errors import ConfigError
from canaryctl.plan.release import ImageFact, Release, make_release
from canaryctl.plan.rendering import Rendering, place_services, render_host, template_names

STACK = """\
stack: shop
images: {web: {tag: "web:1"}, web_fat: {tag: "fat:1"}, db: {tag: "db:1"}}
variants:
  lean: {web: web, db: db, gpu: web}
  fat: {web: web_fat, db: db, gpu: web}
placement: {data: [db], front: [web], gpus: [gpu]}
optional: [gpu]
compose: COMPOSE
"""
TEMPLATE = """\
services:
{% if 'db' in services %}
  db: {image: "{{ images.db }}", ports: ["{{ address }}:5432:5432"]}
{% endif %}
{% if 'web' in services %}
  web: {image: "{{ images.web }}", environment: {DB: "{{ hosts[service_hosts.db[0]].address }}"}}
{% endif %}
"""
IMAGES = {
    name: ImageFact(name, f"sha256:{digit * 64}", f"{name}:1", 1000, (f"sha256:{digit}",), "linux/amd64")
    for name, digit in {"web": "a", "web_fat": "b", "db": "c"}.items()
}


def make_stack(folder: Path, compose: str = "compose.yml.j2") -> Stack:
    (folder / compose).write_text("")
    (folder / "stack.yml").write_text(STACK.replace("COMPOSE", compose))
    return load_stack(folder / "stack.yml")


def make_environment(name: str = "prod", **groups: tuple[str, ...]) -> Environment:
    groups = groups or {"data": ("one",), "front": ("one", "two"), "gpus": ()}
    names = dict.fromkeys(host for members in groups.values() for host in members)
    hosts = {
        host: Host(
            host,
            tuple(group for group, members in groups.items() if host in members),
            {"canary_address": f"192.0.2.{number}"},
        )
        for number, host in enumerate(names, 1)
    }
    return Environment(name, Path("/nowhere"), hosts, groups)


def release_of(stack: Stack, variant: str = "lean", **files: bytes) -> Release:
    return make_release(stack, variant, IMAGES, files)


def rendering(stack: Stack, environment: Environment, host: str, template: str = TEMPLATE) -> Rendering:
    release = release_of(stack)
    placed = place_services(stack, environment, "stack.yml")
    names = template_names(stack, environment, placed, release=release.id, variant="lean", images=release.tags)
    return render_host(stack, StackFiles(template, {"rules/a": b"1"}, stack.compose), release, names, host)


def test_the_id_is_the_same_in_every_environment_and_follows_content(tmp_path: Path) -> None:
    stack = make_stack(tmp_path)
    assert release_of(stack, a=b"1").id == release_of(stack, a=b"1").id
    others = [release_of(stack, a=b"2"), release_of(stack, b=b"1"), release_of(stack, "fat", a=b"1")]
    assert len({release_of(stack, a=b"1").id, *(other.id for other in others)}) == 4


def test_services_are_placed_by_group_and_optional_ones_left_out(tmp_path: Path) -> None:
    placed = place_services(make_stack(tmp_path), make_environment(), "stack.yml")
    assert placed == {"one": ("db", "web"), "two": ("web",)}


def test_an_empty_group_that_a_placement_needs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        place_services(make_stack(tmp_path), make_environment(data=(), front=("one",)), "stack.yml")
    assert "'data' is empty" in caught.value.what and "db" in caught.value.what and "front" in caught.value.hint
    with pytest.raises(ConfigError, match="does not exist"):
        place_services(make_stack(tmp_path), make_environment(front=("one",)), "stack.yml")


def test_each_host_gets_its_own_services_and_the_others_addresses(tmp_path: Path) -> None:
    stack, environment = make_stack(tmp_path), make_environment()
    one, two = rendering(stack, environment, "one"), rendering(stack, environment, "two")
    assert set(yaml.safe_load(one.compose)["services"]) == {"db", "web"}
    web = yaml.safe_load(two.compose)["services"]["web"]
    assert web == {"image": "canaryctl/shop/web:sha256-aaaaaaaaaaaa", "environment": {"DB": "192.0.2.1"}}
    assert one.ports == (("192.0.2.1", 5432, "db"),)
    assert one.directory.split("-")[0] == two.directory.split("-")[0] and one.directory != two.directory
    assert set(two.files) == {"compose.yml", "assets/rules/a", "release.json"}


def test_the_same_release_renders_apart_for_two_environments_on_one_host(tmp_path: Path) -> None:
    stack = make_stack(tmp_path)
    canary = make_environment("canary", data=("one",), front=("one",))
    staging = make_environment("staging", data=("one",), front=("one",))
    assert rendering(stack, canary, "one").directory != rendering(stack, staging, "one").directory


@pytest.mark.parametrize(
    ("template", "line", "words"),
    [
        ("services:\n  db: {x: '{{ nope }}'}\n", 2, "nope"),
        ("services:\n\n  {{ hosts.one.adress }}\n", 3, "adress"),
        ("services:\n{% if %}\n", 2, "template error"),
        ("services:\n  {{ ''.__class__.__mro__ }}\n", 2, "may not"),
        ("services:\n  {{ 1 / 0 }}\n", 2, "division"),
    ],
)
def test_a_faulty_template_names_file_and_line(tmp_path: Path, template: str, line: int, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rendering(make_stack(tmp_path), make_environment(), "one", template)
    assert caught.value.where == f"{tmp_path / 'compose.yml.j2'}:{line}"
    assert words in caught.value.what


@pytest.mark.parametrize("template", ["services: [", "nothing: {}", "services:\n  web: {}\n"])
def test_a_rendering_that_is_no_compose_file_is_refused(tmp_path: Path, template: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rendering(make_stack(tmp_path), make_environment(), "one", template)
    assert "one" in caught.value.what


def test_a_plain_compose_file_gets_our_images_and_only_the_services_placed_here(tmp_path: Path) -> None:
    stack = make_stack(tmp_path, "compose.yml")
    plain = (
        "services:\n"
        "  db: {image: 'postgres:17'}\n"
        "  web: {build: ., depends_on: [db], environment: {P: '${DB_PASSWORD:?}'}}\n"
        "volumes: {data: {}}\n"
    )
    compose = yaml.safe_load(rendering(stack, make_environment(), "two", plain).compose)
    assert compose["services"] == {
        "web": {
            "image": "canaryctl/shop/web:sha256-aaaaaaaaaaaa",
            "pull_policy": "never",
            "environment": {"P": "${DB_PASSWORD:?}"},
        }
    }
    assert compose["volumes"] == {"data": {}}


@pytest.mark.parametrize(
    ("ports", "found"),
    [
        (["8080:80"], [("", 8080)]),
        (["127.0.0.1:8080:80/tcp", "53:53/udp"], [("127.0.0.1", 8080)]),
        (["[::1]:9000-9001:80-81"], [("::1", 9000), ("::1", 9001)]),
        ([{"target": 80, "published": "8080", "host_ip": "192.0.2.1"}, {"target": 81}], [("192.0.2.1", 8080)]),
        ([80], []),
    ],
)
def test_published_ports_in_every_form(tmp_path: Path, ports: object, found: list[tuple[str, int]]) -> None:
    template = "services:\n  web: {ports: " + repr(ports).replace("'", '"') + "}\n"
    seen = rendering(make_stack(tmp_path), make_environment(), "two", template).ports
    assert [(address, port) for address, port, _ in seen] == found


RESERVED = {"driver": "nvidia", "count": "all", "capabilities": ["gpu", "compute", "utility"]}
WITH_GPU = """\
services:
  db:
    image: "{{ images.db }}"
    ports: [22:22, "on"]
    labels: {mode: 0644, swapped: off}
    # a remark
"""


def with_devices(tmp_path: Path, template: str) -> Rendering:
    stack, environment = make_stack(tmp_path), make_environment(data=("one",), front=("two",), gpus=())
    release, placed = release_of(stack), place_services(stack, environment, "stack.yml")
    names = template_names(stack, environment, placed, release=release.id, variant="lean", images=release.tags)
    return render_host(stack, StackFiles(template, {}, stack.compose), release, names, "one", devices={"db": RESERVED})


def test_a_service_that_gets_a_gpu_reserves_it_and_keeps_the_rest_as_compose_reads_it(tmp_path: Path) -> None:
    compose = with_devices(tmp_path, WITH_GPU).compose
    service = yaml.safe_load(compose)["services"]["db"]
    assert service["deploy"]["resources"]["reservations"]["devices"] == [RESERVED]
    assert service["ports"] == ["22:22", "on"]
    assert service["labels"] == {"mode": 0o644, "swapped": "off"}


@pytest.mark.parametrize(
    "own",
    [
        "runtime: nvidia",
        "gpus: all",
        "devices: [nvidia.com/gpu=all]",
        "deploy: {resources: {reservations: {devices: [{driver: cdi}]}}}",
    ],
)
def test_a_service_that_asks_for_devices_in_a_way_of_its_own_is_left_as_it_is(tmp_path: Path, own: str) -> None:
    template = f"services:\n  db:  # mine\n    image: x\n    {own}\n"
    assert with_devices(tmp_path, template).compose == template


def test_a_service_knows_its_named_volumes(tmp_path: Path) -> None:
    text = """\
services:
  db: {image: x, volumes: ["data:/var/lib/db", "./assets:/a:ro", {type: volume, source: kept, target: /k}]}
  web: {image: y, volumes: ["/srv:/srv"]}
  gpu: {image: z}
volumes: {data: {}, kept: {name: kept-for-ever}}
"""
    from canaryctl.plan.composefile import compose_document, named_volumes

    assert named_volumes(compose_document(text, "f", "h")) == {"db": ("data", "kept-for-ever")}


def test_a_service_says_how_long_it_may_take_to_stop(tmp_path: Path) -> None:
    graces = {"queue": "1m30s", "job": "600s", "odd": "'${X}'"}
    blocks = "{web: {}, " + ", ".join(f"{name}: {{stop_grace_period: {grace}}}" for name, grace in graces.items()) + "}"
    found = rendering(make_stack(tmp_path), make_environment(), "two", f"services: {blocks}\n").graces
    assert found == {"queue": 90.0, "job": 600.0}


@pytest.mark.parametrize("text", ["services: {db: {volumes: [./x:/x]}}\n---\n{}\n", "services: !override {}\n"])
def test_a_file_that_services_are_taken_from_and_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    stack = make_stack(tmp_path)
    content = text.encode()
    template = "include: [assets/more.yml]\nservices: {web: {image: x}, db: {image: x}}\n"
    release, environment = release_of(stack, **{"more.yml": content}), make_environment()
    placed = place_services(stack, environment, "here")
    names = template_names(stack, environment, placed, release=release.id, variant="lean", images={})
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        render_host(stack, StackFiles(template, {"more.yml": content}, stack.compose), release, names, "one")
    assert caught.value.where == "more.yml"
