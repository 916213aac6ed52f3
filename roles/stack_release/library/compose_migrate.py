#!/usr/bin/python
"""Run a stack's migration in a one-off container."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time
from pathlib import Path

from ansible.module_utils.atomic import write_atomic
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.compose_cli import HANGS, Abandoned, complaint, compose, run
from ansible.module_utils.lines import append_line

DOCUMENTATION = r"""
---
module: compose_migrate
short_description: Run a stack's migration in a one-off container
description:
  - Starts one container of the service's image, without its dependencies, that reads the revision, upgrades, and reads
    the revision again. No other container is touched.
  - After a failed upgrade the revision is read once more, and the message says whether it moved.
options:
  directory:
    description: The release, which holds compose.yml.
    type: path
    required: true
  project:
    description: Name of the compose project.
    type: str
    required: true
  env_file:
    description: File with the values the compose file refers to; may be missing.
    type: path
    default: ""
  service:
    description: The service whose image and environment the commands run in.
    type: str
    required: true
  upgrade:
    description: Shell command that brings the schema up to date.
    type: str
    required: true
  current:
    description: Shell command that prints the revision; the first word of its last line counts.
    type: str
    required: true
  heads:
    description: Shell command that prints the newest revision.
    type: str
    default: ""
  timeout:
    description: Seconds after which the migration is stopped.
    type: int
    default: 300
  marker_file:
    description: File that notes what was migrated, written after success.
    type: path
    default: ""
  marker:
    description: What that file says beside the revision.
    type: dict
    default: {}
  revisions_file:
    description: File that gets a line for each migration, with what the marker says and the revisions.
    type: path
    default: ""
author: canaryctl
"""

EXAMPLES = r"""
- name: Migrate
  compose_migrate:
    directory: /opt/canaryctl/shop/releases/4f1c-9a2b
    project: shop-canary
    service: worker
    upgrade: python3 -m alembic upgrade head
    current: python3 -m alembic current
"""

RETURN = r"""
before:
  description: The revision found; empty where the database had none.
  returned: always
  type: str
after:
  description: The revision left behind.
  returned: always
  type: str
heads:
  description: The newest revision the image knows.
  returned: always
  type: str
output:
  description: What the upgrade command printed.
  returned: always
  type: str
"""


MARK = "@@canaryctl:"
# Each step's output stands between two marks; only the upgrade's errors are merged into it, since tools log to stderr
# what their output alone does not tell.
STEP = """
step() {
  printf '\\n@@canaryctl:begin:%s\\n' "$1"
  if [ "$1" = upgrade ]; then sh -c "$2" 2>&1; else sh -c "$2"; fi
  code=$?
  printf '\\n@@canaryctl:end:%s:%s\\n' "$1" "$code"
  return "$code"
}
"""
READ = STEP + 'step after "$1"'
MIGRATE = (
    STEP
    + """
step before "$1" || exit 81
if [ -n "$2" ]; then step heads "$2" || exit 82; fi
step upgrade "$3"; upgraded=$?
step after "$1" || exit 83
[ "$upgraded" = 0 ] || exit 84
"""
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "project": {"type": "str", "required": True},
            "env_file": {"type": "path", "default": ""},
            "service": {"type": "str", "required": True},
            "upgrade": {"type": "str", "required": True},
            "current": {"type": "str", "required": True},
            "heads": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 300},
            "marker_file": {"type": "path", "default": ""},
            "marker": {"type": "dict", "default": {}},
            "revisions_file": {"type": "path", "default": ""},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    if module.check_mode:
        module.exit_json(changed=True, before="", after="", heads="", output="", msg="not run in check mode")
    name = f"{wanted['project']}-migrate"
    nothing = {"before": "", "after": "", "heads": "", "output": ""}
    try:
        code, running, err = run(["docker", "ps", "--quiet", "--filter", f"name=^{name}$"], 60)
    except Abandoned:
        module.fail_json(msg="interrupted: the migration was not begun", **nothing)
    if code == 124:
        module.fail_json(msg=f"Docker does not answer: {complaint(err)}", **nothing)
    if code == 0 and running.strip():
        module.fail_json(
            msg=f"a migration is already running on this host (container {name}); wait for it, or stop it "
            f"with: docker stop {name}",
            **nothing,
        )
    try:
        code, out, err = one_off(wanted, name, [MIGRATE, "sh", wanted["current"], wanted["heads"], wanted["upgrade"]])
        steps = read_steps(out)
        if "upgrade" not in steps:
            steps["after"] = steps.get("before", "")
        elif "after" not in steps:
            # The upgrade was cut short; only the database knows how far it came.
            steps.update(read_steps(one_off(wanted, name, [READ, "sh", wanted["current"]])[1]))
    except Abandoned:
        module.fail_json(msg="interrupted: the migration was stopped", **nothing)
    result = {step: revision(steps, step) for step in ("before", "after", "heads")}
    result["output"] = steps.get("upgrade", "")[-8000:]
    if result["after"] and (code == 0 or result["before"] != result["after"]):
        remember(wanted["revisions_file"], {**wanted["marker"], "before": result["before"]}, result["after"])
    if code == 0:
        noted = note(wanted["marker_file"], {**wanted["marker"], "revision": result["after"]})
        module.exit_json(changed=noted or result["before"] != result["after"], **result)
    module.fail_json(msg=explain(code, steps, result, err, wanted), rc=code, stderr=complaint(err, 40), **result)


def one_off(wanted: dict, name: str, script: list[str]) -> tuple[int, str, str]:
    """Run a shell script in a container of its own, which is gone afterwards whatever happens."""
    argv = compose(wanted["project"], wanted["directory"], wanted["env_file"])
    argv += ["run", "--rm", "--no-deps", "--no-TTY", "--name", name, "--entrypoint", "sh", wanted["service"], "-c"]
    remove = ["docker", "rm", "--force", name]
    run(remove, 60)
    try:
        return run([*argv, *script], wanted["timeout"])
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(remove, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60, check=False)


def note(path: str, content: dict) -> bool:
    """Write the marker whole or not at all; whether it said something else before."""
    file, text = Path(path), json.dumps(content, sort_keys=True) + "\n"
    if not path or (file.exists() and file.read_text(encoding="utf-8") == text):
        return False
    write_atomic(file, text.encode(), 0o644, sync=True)
    return True


def remember(path: str, content: dict, after: str) -> None:
    """Append which revision a release left, so that a rollback to it can tell whether the schema has moved since."""
    if path:
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        append_line(path, {**content, "time": moment, "revision": after})


def read_steps(out: str) -> dict[str, str]:
    """What each step of the script printed, by its name; a step that was cut short has what it got to say."""
    steps = {}
    for part in out.split(MARK + "begin:")[1:]:
        name, _, rest = part.partition("\n")
        steps[name.strip()] = re.split(re.escape(MARK) + "end:", rest)[0].strip()
    return steps


def revision(steps: dict[str, str], step: str) -> str:
    """The first word of the last line a step printed."""
    lines = [line for line in steps.get(step, "").splitlines() if line.strip()]
    return lines[-1].split()[0] if lines else ""


def explain(code: int, steps: dict[str, str], result: dict[str, str], err: str, wanted: dict) -> str:
    reason = complaint(err)
    if "before" not in steps:
        return f"the migration container of {wanted['service']} did not start: {reason}"
    if code == 124 and HANGS in err:
        return f"{HANGS}: how far the migration came is not known"
    if code == 124:
        return f"the migration took longer than {wanted['timeout']} s and was stopped; the revision {moved(result)}"
    if code == 81:
        return f"'{wanted['current']}' failed: {reason}"
    if code == 82:
        return f"'{wanted['heads']}' failed: {reason}"
    if code == 83:
        return f"the upgrade ran, then '{wanted['current']}' failed: {reason}"
    tail = "\n".join(result["output"].splitlines()[-15:]) or reason
    return f"'{wanted['upgrade']}' failed; the revision {moved(result)}:\n{tail}"


def moved(result: dict[str, str]) -> str:
    before, after = result["before"] or "(none)", result["after"] or "(none)"
    return f"is still {before}" if before == after else f"moved from {before} to {after} all the same"


if __name__ == "__main__":
    main()
