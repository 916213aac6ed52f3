"""Programs that run inside containers, never here: standard library only, Python 3.7 and later, sent as text."""
