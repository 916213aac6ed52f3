"""`python -m canaryctl.lab`: start Docker and make the lab's images, before the virtual environment is there."""

import sys

from canaryctl.errors import CanaryError
from canaryctl.lab.docker import ensure_daemon
from canaryctl.lab.image import base_image, host_image


def main() -> int:
    """Returns the exit code."""

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    try:
        ensure_daemon(say)
        host_image(base_image(say), say)
    except CanaryError as error:
        sys.stderr.write(f"error: {error}\n{error.hint}\n")
        return error.exit_code
    return 0


sys.exit(main())
