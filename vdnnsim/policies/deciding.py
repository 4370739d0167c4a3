"""Asking a policy, built in or a user's own, for its decision."""

from __future__ import annotations

import traceback

from vdnnsim.errors import InvalidInput, VdnnsimError
from vdnnsim.policies.plan import Plan, Policy, Problem

_OWN_PACKAGE = __name__.partition(".")[0]


def decide(policy: Policy, problem: Problem) -> Plan:
    """The policy's plan for this problem.

    Raises `InvalidInput` where the policy refuses the problem, has no name, returns something else than a plan, or, a
    user's own, fails; then with the place in its file.
    """
    if not isinstance(policy.name, str) or not policy.name:
        raise InvalidInput(f"policy {type(policy).__name__}: found name {policy.name!r}, expected text")
    try:
        policy.check(problem)
        plan = policy.plan(problem)
    except VdnnsimError:
        raise
    except Exception as error:
        if type(policy).__module__.partition(".")[0] == _OWN_PACKAGE:
            raise  # a fault of ours, to be seen whole
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise InvalidInput(
            f"policy '{policy.name}' failed at {last.filename}:{last.lineno}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(plan, Plan):
        raise InvalidInput(
            f"policy '{policy.name}': plan() returned {type(plan).__name__}, expected a Plan, as make_plan returns"
        )
    return plan
