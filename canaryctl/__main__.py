"""`python -m canaryctl`: the same as the command `canaryctl`."""

from canaryctl.cli.main import run

run()
