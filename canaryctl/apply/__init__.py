"""Changing hosts through Ansible: one playbook a stage, its events, its results."""

from canaryctl.apply.results import AnsibleOptions, StageResult, StageRun
from canaryctl.apply.runner import run_stage
from canaryctl.apply.session import close

__all__ = ["AnsibleOptions", "StageResult", "StageRun", "close", "run_stage"]
