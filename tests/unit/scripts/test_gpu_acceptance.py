"""scripts/gpu-acceptance: up to date, and without the identity of the machine that it ran on."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[3] / "scripts"


def test_the_file_is_what_its_modules_make() -> None:
    done = subprocess.run([sys.executable, str(SCRIPTS / "bundle-gpu-acceptance"), "--check"], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_it_needs_nothing_but_an_old_python() -> None:
    tree = ast.parse((SCRIPTS / "gpu-acceptance").read_text(), feature_version=(3, 7))
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert len(defined) == len(set(defined))
    imported = {a.name for node in tree.body if isinstance(node, ast.Import) for a in node.names}
    assert imported <= set(sys.stdlib_module_names)
    assert not [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "canaryctl"]


def test_evidence_of_a_machine_without_a_gpu_fails_and_says_why(tmp_path: Path) -> None:
    output = tmp_path / "evidence.json"
    argv = [sys.executable, "-IS", str(SCRIPTS / "gpu-acceptance"), "--output", str(output)]
    done = subprocess.run(argv, capture_output=True, text=True)
    evidence = json.loads(output.read_text())
    if evidence["gpus"]:  # a machine with a GPU: whatever the verdict, the file says it too
        assert evidence["verdict"] in done.stdout
        return
    assert done.returncode == 1 and done.stdout.startswith("failed: ")
    assert evidence["verdict"] == "failed" and evidence["faults"]


def test_what_names_the_machine_is_left_out() -> None:
    sys.path.insert(0, str(SCRIPTS))
    try:
        import gpu_acceptance_main as main
    finally:
        sys.path.remove(str(SCRIPTS))
    uuid = "GPU-5ab1c2d3-0000-4000-8000-000000000001"
    host = main.socket.gethostname()
    found = main.without_identity(
        {
            "uuid": uuid,
            "processes": [{"name": "secret"}],
            "text": f"Xid 79 on {host}: pid=7, name=python3, lost {uuid}",
            "name": "NVIDIA H100 80GB HBM3",
        }
    )
    text = json.dumps(found)
    assert "5ab1c2d3" not in text and "secret" not in text and "python3" not in text
    assert found["uuid"] == main.hashed(uuid) and found["uuid"] in found["text"]
    assert found["name"] == "NVIDIA H100 80GB HBM3"
