"""Changing hosts through Ansible: one playbook a stage, its events, its results.

There is one way to run it, ansible-runner in a thread of its own (runner.py).
"""

from canaryctl.ansible.results import AnsibleOptions, StageResult, StageRun
from canaryctl.ansible.runner import StageOrder, run_stage
from canaryctl.ansible.session import Session

__all__ = ["AnsibleOptions", "Session", "StageOrder", "StageResult", "StageRun", "run_stage"]
