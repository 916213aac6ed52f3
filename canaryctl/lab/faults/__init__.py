"""Faults on real means, for lab hosts: each begins at once and is undone by itself."""

from canaryctl.lab.faults.keeper import Running, begin
from canaryctl.lab.faults.table import FAULTS, Fault

__all__ = ["FAULTS", "Fault", "Running", "begin"]
