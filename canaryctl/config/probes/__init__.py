"""probes.yml: what a release must answer to be believed. Each kind's model is in the module of its name."""

from canaryctl.config.probes.kinds import KINDS, Probe, needed_by
from canaryctl.config.probes.load import load_probes
from canaryctl.config.probes.parts import Common, HttpExpect, Precondition, Regex, Request, Retried, Text, is_template
from canaryctl.config.probes.select import Selection, select_probes

__all__ = [
    "KINDS",
    "Common",
    "HttpExpect",
    "Precondition",
    "Probe",
    "Regex",
    "Request",
    "Retried",
    "Selection",
    "Text",
    "is_template",
    "load_probes",
    "needed_by",
    "select_probes",
]
