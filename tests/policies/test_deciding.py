"""A user's own policy that misbehaves is told in one line, with its place."""

from __future__ import annotations

import pytest

from vdnnsim import InvalidInput, Plan, Problem, make_study

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


def test_a_policy_may_be_named() -> None:
    assert STUDY.run("oracle").result.policy == "oracle"
