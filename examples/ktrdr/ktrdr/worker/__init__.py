"""Workers: they take operations from the backend and carry them out one after the other."""
