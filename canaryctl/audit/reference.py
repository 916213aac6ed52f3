"""The reference of the rules, written into docs/audit.md: `python -m canaryctl.audit.reference FILE [--check]`."""

from __future__ import annotations

import sys
from pathlib import Path

from canaryctl.audit.registry import all_rules
from canaryctl.audit.rule import Rule

BEGIN = "<!-- The rules: written by scripts/docs from canaryctl/audit/rules. -->\n"


def render() -> str:
    """Markdown: a table of all rules, then each rule with what, why and how to fix it."""
    modules: dict[str, list[Rule]] = {}
    for rule in all_rules().values():
        modules.setdefault(rule.part, []).append(rule)
    lines = ["| rule | severity | finds | offline |", "|---|---|---|---|"]
    for rules in modules.values():
        lines += [
            f"| [`{rule.id}`](#{rule.id}) | {rule.severity} | {rule.title} | {'yes' if rule.offline else ''} |"
            for rule in rules
        ]
    for part, rules in modules.items():
        lines += ["", f"### {part.capitalize()}"]
        for rule in rules:
            lines += ["", f"#### {rule.id}", "", f"{rule.title} ({rule.severity}).", ""]
            lines += [f"- Why: {rule.why}", f"- Fix: {rule.fix}"]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the reference into the file, or with --check say whether it is there as it should be."""
    path = Path(sys.argv[1])
    before = path.read_text(encoding="utf-8")
    guide, marker, _ = before.partition(BEGIN)
    if not marker:
        sys.exit(f"{path} has no line: {BEGIN.strip()}")
    after = guide + BEGIN + "\n" + render()
    if "--check" not in sys.argv:
        path.write_text(after, encoding="utf-8")
    elif after != before:
        sys.exit(f"{path} has fallen behind the rules: run scripts/docs")


if __name__ == "__main__":
    main()
