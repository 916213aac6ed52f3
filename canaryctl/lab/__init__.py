"""Disposable servers for rehearsal, demo and tests: systemd, sshd, sudo, and no Docker until provisioned.

Standard library only: set-up runs it before the virtual environment is there.
"""

from canaryctl.lab.hosts import ssh_argv
from canaryctl.lab.image import base_image
from canaryctl.lab.manage import DEFAULT_HOSTS, down, require, status, up
from canaryctl.lab.state import Lab, LabHost

__all__ = ["DEFAULT_HOSTS", "Lab", "LabHost", "base_image", "down", "require", "ssh_argv", "status", "up"]
