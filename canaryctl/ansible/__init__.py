"""Changing hosts through Ansible: one playbook a stage, its events, its results."""

from canaryctl.ansible.results import AnsibleOptions, StageResult, StageRun
from canaryctl.ansible.runner import run_stage
from canaryctl.ansible.session import close

__all__ = ["AnsibleOptions", "StageResult", "StageRun", "close", "run_stage"]
