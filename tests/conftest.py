"""For all tests."""

from __future__ import annotations

import signal

# Started as a shell's background job, as CI may do, Python would ignore the interrupts that tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)
