"""probes.yml: what a release must answer to be believed."""

from canaryctl.config.probes.containers import Container, Exec, ExecExpect, Logs, LogsExpect, Sql, SqlExpect
from canaryctl.config.probes.gpu import Gpu
from canaryctl.config.probes.kinds import KINDS, Probe, is_on_service, needed_by, saved_names
from canaryctl.config.probes.lifecycle import Cancel, Confirm, Lifecycle, Reap, Start, Step, Watch
from canaryctl.config.probes.load import load_probes
from canaryctl.config.probes.network import Fresh, Http, Reachable, Registered, Tcp
from canaryctl.config.probes.parts import Common, HttpExpect, Precondition, Regex, Request, Retried, Text, is_template
from canaryctl.config.probes.select import Selection, select_probes

__all__ = [
    "KINDS",
    "Cancel",
    "Common",
    "Confirm",
    "Container",
    "Exec",
    "ExecExpect",
    "Fresh",
    "Gpu",
    "Http",
    "HttpExpect",
    "Lifecycle",
    "Logs",
    "LogsExpect",
    "Precondition",
    "Probe",
    "Reachable",
    "Reap",
    "Regex",
    "Registered",
    "Request",
    "Retried",
    "Selection",
    "Sql",
    "SqlExpect",
    "Start",
    "Step",
    "Tcp",
    "Text",
    "Watch",
    "is_on_service",
    "is_template",
    "load_probes",
    "needed_by",
    "saved_names",
    "select_probes",
]
