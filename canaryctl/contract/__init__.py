"""What images promise, checked by running them: `check_all` does that, `Cache` keeps what is known already."""

from canaryctl.contract.cache import Cache
from canaryctl.contract.check import Job, Subject, check_all, is_known
from canaryctl.contract.layers import biggest, read_layers
from canaryctl.contract.results import Row
from canaryctl.contract.running import Place, here

__all__ = ["Cache", "Job", "Place", "Row", "Subject", "biggest", "check_all", "here", "is_known", "read_layers"]
