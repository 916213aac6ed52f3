"""What hosts answered, typed and validated: nothing in here asks them."""

from canaryctl.facts.containers import describe as describe_containers
from canaryctl.facts.host import HostFacts
from canaryctl.facts.lock import LockFacts, lock_lost

__all__ = ["HostFacts", "LockFacts", "describe_containers", "lock_lost"]
