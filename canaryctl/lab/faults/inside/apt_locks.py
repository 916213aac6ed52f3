"""Hold apt's and dpkg's locks for ever, as an upgrade does. The file named is made once they are held."""

import fcntl
import pathlib
import signal
import sys

FILES = (
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/lock",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
)

handles = [open(file, "w") for file in FILES if pathlib.Path(file).parent.is_dir()]  # noqa: PTH123, SIM115
for handle in handles:
    fcntl.lockf(handle, fcntl.LOCK_EX)
pathlib.Path(sys.argv[1]).touch()
signal.pause()
