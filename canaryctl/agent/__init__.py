"""Programs that run on the hosts, never here: `read/` changes nothing, `write/` does.

Standard library only, Python 3.7 and later. They are sent as text (see hosts/ask.py), several modules as one, so
top-level names must be unique across this package and nothing outside it may be imported. Rules that hold on hosts as
well as here stand here once: the other rooms import them, and the roles link to them in their module_utils, for which
those modules import each other by relative names.
"""
