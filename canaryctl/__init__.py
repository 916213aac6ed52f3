"""canaryctl: validate container images on real CPU and GPU hosts, keep the proof, promote what was proven."""

__version__ = "0.1.0"
