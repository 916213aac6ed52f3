"""Programs that run on the hosts, never here.

Standard library only, Python 3.7 and later, read-only. They are sent as text (see `ask.py`), several modules as one, so
top-level names must be unique across this package and nothing outside it may be imported.
"""
