"""Every fault in every stage over an environment that serves (`make faults`), and long runs (`make soak`).

Faults are `canaryctl lab fault`'s; they hit canaryctl as its operators start it. Not part of pytest: see
docs/reliability.md.
"""
