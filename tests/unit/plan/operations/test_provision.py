"""What hosts lack to run containers, and installing it."""

from __future__ import annotations

from typing import Any

import pytest
from planned import (
    document,
    only_problem,
    plan_of,
)

from canaryctl.config.policy import Policy
from canaryctl.config.stack import Image
from canaryctl.errors import ApplyError, HostError
from canaryctl.facts.host import parse
from canaryctl.plan.gpus import GpuRequest
from canaryctl.plan.operations.provision import Provision
from canaryctl.plan.plan import plan_provision


class TestReadiness:
    BARE = document(docker=None, compose=None, images=[], containers=[], ports=[], disks={})

    def test_auto_installs(self) -> None:
        plan = plan_of(self.BARE)
        assert plan.hosts("provision") == ["one"] and plan.problems == ()

    def test_check_names_what_is_missing(self) -> None:
        plan = plan_of(self.BARE, policy="check")
        assert plan.hosts("provision") == []
        problem = only_problem(plan)
        assert "Docker" in problem.what and "canaryctl provision" in problem.hint and problem.where == "one"

    def test_never_does_not_look(self) -> None:
        plan = plan_of(self.BARE, policy="never")
        assert plan.hosts("provision") == [] and plan.problems == ()

    @pytest.mark.parametrize("policy", ["auto", "check", "never"])
    def test_sudo_refused_is_about_the_host_and_comes_first(self, policy: str) -> None:
        seen = document(become="refused", become_reason="not in sudoers", docker={"running": False})
        problem = plan_of(seen, policy=policy).problems[0]
        assert isinstance(problem, HostError) and problem.where == "one"
        assert "ops" in problem.what and "not in sudoers" in problem.what and problem.hint

    def test_sudo_refused_matters_with_docker_running_too(self) -> None:
        seen = document(become="refused", docker={"running": True}, images=[])
        assert isinstance(plan_of(seen).problems[0], HostError)

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"docker": {"running": False, "error": "it sleeps"}}, "Docker does not answer (it sleeps)"),
            ({"compose": None}, "docker compose v2 is not installed"),
            ({"compose": {"version": "2.3.3"}}, "docker compose 2.3.3 is older than 2.20"),
        ],
    )
    def test_what_is_lacking_is_said(self, changes: dict[str, Any], said: str) -> None:
        assert plan_of(document(**changes)).operations[0].reason == said

    @pytest.mark.parametrize("policy", ["auto", "check", "never"])
    def test_a_docker_that_hangs_is_not_installed_anew_and_nothing_else_is_said(self, policy: str) -> None:
        seen = document(docker={"running": False, "silent": True, "error": "no answer within 10 s"}, containers=[])
        seen["ports"] = [{"address": "", "port": port, "process": "docker-proxy"} for port in (80, 443, 8000, 5432)]
        plan = plan_of(seen, policy=policy)
        problem = only_problem(plan)
        assert plan.operations == () and isinstance(problem, ApplyError) and problem.stage == "provision"
        assert "no answer within 10 s" in problem.what and "systemctl restart docker" in problem.hint
        asked = plan_provision({"one": parse("one", seen)}, {"one": Policy(policy)})  # type: ignore[arg-type]
        assert asked.operations == () and "no answer" in asked.problems[0].what

    @pytest.mark.parametrize("version", ["2.20.0", "v2.26.1-4", "2.39.0+ds1", "5.0.1"])
    def test_newer_compose_is_enough(self, version: str) -> None:
        assert plan_of(document(compose={"version": version})).operations == ()

    def test_provisioning_alone_needs_no_release(self) -> None:
        policies = {"one": Policy("auto"), "two": Policy("check")}
        plan = plan_provision({h: parse(h, self.BARE) for h in policies}, policies)
        assert plan.hosts("provision") == ["one", "two"]
        refused = parse("one", {**self.BARE, "become": "refused"})
        assert isinstance(plan_provision({"one": refused}, policies).problems[0], HostError)
        assert plan_provision({"one": parse("one", document(become="refused"))}, policies).problems == ()


def test_an_operation_knows_what_is_installed_and_for_which_cuda() -> None:
    image = Image.model_validate({"tag": "x:1", "gpu": "required", "cuda": "12.4"})
    wants = {"one": (GpuRequest("gpu", "web", image), GpuRequest("other", "db", replace_cuda(image, "9.2")))}
    bare = parse("one", {"user": "ops", "become": "sudo"})
    docker, toolkit = plan_provision({"one": bare}, {"one": Policy()}, wants).of(Provision)
    assert (docker.software, docker.gpu, docker.cuda) == ("docker", True, "12.4")
    assert (toolkit.software, toolkit.gpu, toolkit.cuda) == ("nvidia-container-toolkit", True, "12.4")
    (alone,) = plan_provision({"one": bare}, {"one": Policy()}).of(Provision)
    assert alone.as_dict()["operation"] == {"kind": "provision", "software": "docker", "gpu": False, "cuda": ""}


def replace_cuda(image: Image, cuda: str) -> Image:
    return image.model_copy(update={"cuda": cuda})
