"""Asking a policy, built in or a user's own, for its decision."""

from __future__ import annotations

import traceback
from typing import Any

from vdnnsim.errors import InvalidInput, VdnnsimError
from vdnnsim.policies.plan import Plan, Policy, Problem

_OWN_PACKAGE = __name__.partition(".")[0]


def checked_policy(policy: Any) -> Policy:
    """The object, where it is a policy. Raises `InvalidInput` for one without a name, `check` or `plan`."""
    kind = policy.__name__ if isinstance(policy, type) else type(policy).__name__
    if isinstance(policy, type):
        raise InvalidInput(f"policy {kind}: found the class, expected an object of it, such as {kind}()")
    missing = [part for part in ("name", "check", "plan") if not hasattr(policy, part)]
    if missing:
        raise InvalidInput(
            f"policy {kind}: lacks {', '.join(missing)}; a policy has a name, check(problem) and plan(problem)"
        )
    if not isinstance(policy.name, str) or not policy.name:
        raise InvalidInput(f"policy {kind}: found name {policy.name!r}, expected text")
    return policy  # type: ignore[no-any-return]


def decide(policy: Policy, problem: Problem) -> Plan:
    """The policy's plan for this problem.

    Raises `InvalidInput` where it is no policy, refuses the problem, returns something else than a plan, or, a user's
    own, fails; then with the place in its file.
    """
    policy = checked_policy(policy)
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
