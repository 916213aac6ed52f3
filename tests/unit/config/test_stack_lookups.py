"""A lookup in any string of stack.yml is refused, or stays the text that it is in everything that goes to hosts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fuzzing import every_string

from canaryctl.config.environment import Environment, Host
from canaryctl.config.stack import load_stack
from canaryctl.config.stackfiles import read_stack_files
from canaryctl.errors import ConfigError
from canaryctl.plan.release import ImageFact, make_release
from canaryctl.plan.rendering import place_services, render_host, template_names

STACK: dict[str, Any] = {
    "stack": "shop",
    "images": {
        "web": {
            "tag": "shop-web:test",
            "build": {"context": ".", "dockerfile": "Dockerfile", "args": {"LEVEL": "2"}, "target": "prod"},
            "contract": {"commands": ["true"], "labels": {"owner": "me"}, "env": {"absent": ["LC_ALL"]}, "user": "app"},
        },
        "gpu": {"ref": "registry.example.com/shop/gpu:1", "gpu": "optional", "cuda": "12.4", "gpu_memory": "8GB"},
    },
    "variants": {"plain": {"web": "web", "gpu": "gpu"}},
    "default_variant": "plain",
    "placement": {"core": ["web", "gpu"]},
    "optional": ["gpu"],
    "gpu_services": ["gpu"],
    "compose": "compose.yml.j2",
    "assets": ["rules/"],
    "mounts": [{"path": "/data", "fstype": "nfs", "sentinel": ".here", "groups": ["core"]}],
    "secrets": ["DB_PASSWORD"],
    "migrations": {
        **{"service": "web", "upgrade": "migrate up", "current": "migrate current", "heads": "migrate heads"},
        **{"database": ["web"], "backup": "web", "backup_database": "shop", "backup_user": "postgres"},
    },
    "probes": "probes.yml",
}
COMPOSE = "services:\n  web: {image: '{{ images.web }}'}\n  gpu: {image: '{{ images.gpu }}'}\n"


def rendered(folder: Path, document: dict[str, Any]) -> tuple[Any, dict[str, bytes]]:
    (folder / "stack.yml").write_text(json.dumps(document))
    stack = load_stack(folder / "stack.yml")
    hosts = {"one": Host("one", ("core",), {"canary_address": "192.0.2.1"})}
    environment = Environment("prod", folder, hosts, {"all": ("one",), "core": ("one",)})
    images = {name: ImageFact(name, "sha256:" + "0" * 64, "", 0, (), "") for name in stack.images}
    files = read_stack_files(stack)
    release = make_release(stack, stack.choose_variant(None), images, files.all)
    placed = place_services(stack, environment, "stack.yml")
    names = template_names(stack, environment, placed, release=release.id, variant=release.variant, images=release.tags)
    made = render_host(stack, files, release, names, "one")
    return stack, dict(made.files)


def test_a_lookup_in_every_string_of_a_stack_file(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    lookup = f"x{{{{ lookup('pipe', 'touch {mark}') }}}}{{{{ 7 * 7 }}}}"
    (tmp_path / "rules").mkdir()
    (tmp_path / "compose.yml.j2").write_text(COMPOSE)
    rendered(tmp_path, STACK)
    accepted = refused = 0
    for path, document in every_string(STACK, lookup):
        try:
            stack, files = rendered(tmp_path, document)
        except ConfigError as error:
            refused += 1
            assert error.where, path
            continue
        accepted += 1
        said = stack.model_dump_json() + "".join(content.decode() for content in files.values())
        assert "x49" not in said and "{{ 7 * 7 }}" in said, path
    assert not mark.exists() and accepted > 5 and refused > 20


@pytest.mark.parametrize("text", ["x{{ lookup('pipe', 'id') }}", "{{ cycler.__init__.__globals__ }}"])
def test_a_compose_template_reaches_no_lookup_and_no_python(tmp_path: Path, text: str) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "compose.yml.j2").write_text(COMPOSE + f"# {text}\n")
    with pytest.raises(ConfigError) as caught:
        rendered(tmp_path, STACK)
    assert caught.value.where == f"{tmp_path / 'compose.yml.j2'}:4"
