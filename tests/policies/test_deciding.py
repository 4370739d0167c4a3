"""A user's own policy that misbehaves is told in one line, with its place."""

from __future__ import annotations

import pytest

from vdnnsim import InvalidInput, Plan, Problem, compare, make_study
from vdnnsim.policies import make_policy

STUDY = make_study("alexnet", batch=128, gpu="titan-x-maxwell")


class Fails:
    name = "fails"

    def check(self, problem: Problem) -> None:
        """Nothing."""

    def plan(self, problem: Problem) -> Plan:  # noqa: ARG002
        raise ZeroDivisionError("one line")


class Returns(Fails):
    name = "returns"

    def plan(self, problem: Problem) -> Plan:  # noqa: ARG002
        return 5  # type: ignore[return-value]


class Unnamed(Fails):
    name = 5  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (Fails(), r"policy 'fails' failed at .*test_deciding.py:\d+: ZeroDivisionError: one line"),
        (Returns(), r"plan\(\) returned int, expected a Plan"),
        (Unnamed(), "found name 5, expected text"),
    ],
    ids=["fails", "returns", "unnamed"],
)
def test_a_fault_of_a_policy_is_told(policy: Fails, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        STUDY.run(policy)


@pytest.mark.parametrize(
    ("policies", "told"),
    [
        ([object()], r"policy object: lacks name, check, plan; a policy has a name, check\(problem\) and"),
        (5, "policy int: lacks name, check, plan"),
        ([Fails], r"policy Fails: found the class, expected an object of it, such as Fails\(\)"),
        ([Unnamed()], "found name 5, expected text"),
    ],
    ids=["object", "number", "class", "unnamed"],
)
def test_what_is_no_policy_is_told(policies: object, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        compare("alexnet", batch=128, gpu="titan-x-maxwell", policies=policies)  # type: ignore[arg-type]


def test_a_policy_alone_is_compared_as_a_list_of_one() -> None:
    alone = compare("alexnet", batch=128, gpu="titan-x-maxwell", policies=make_policy("vdnn-dyn"))
    assert [result.policy for result in alone] == ["vdnn-dyn"]


def test_a_policy_may_be_named() -> None:
    assert STUDY.run("oracle").result.policy == "oracle"
