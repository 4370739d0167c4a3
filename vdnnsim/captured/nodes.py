"""When nodes of the graph end that asked for saved tensors: what they were given dies with them."""

from __future__ import annotations

from vdnnsim.captured.step import CapturedStep, Doing


def node_ends(step: CapturedStep) -> dict[int, int]:
    """For each NEED, by its deed, the last deed of the node that needs; found once.

    A node asks for all that it saved before it does anything, so that needs without any work between them are one
    node's. It ends where the first block dies that was fetched for it, as far as that was captured, else with the last
    deed of its operator: to that belongs, too, what autograd adds up behind the node.
    """
    if "node ends" not in step.made:
        step.made["node ends"] = _node_ends(step)
    found: dict[int, int] = step.made["node ends"]
    return found


def _node_ends(step: CapturedStep) -> dict[int, int]:
    last_need = {step.saved[deed.number].block: n for n, deed in enumerate(step.deeds) if deed.doing is Doing.NEED}
    found: dict[int, int] = {}
    asking: list[int] = []
    for n, (doing, _) in enumerate(step.deeds):
        if doing is Doing.NEED:
            asking.append(n)
            if n + 1 == len(step.deeds) or step.deeds[n + 1].doing is not Doing.NEED:
                blocks = [step.saved[step.deeds[need].number].block for need in asking]
                last = _last_of_operator(step, n)
                died = [
                    step.blocks[b].fetched_given for b, need in zip(blocks, asking, strict=True) if last_need[b] == need
                ]
                end = max((deed for deed in died if deed is not None and n <= deed <= last), default=last)
                found.update(dict.fromkeys(asking, end))
                asking = []
    return found


def _last_of_operator(step: CapturedStep, need: int) -> int:
    """The last deed of the operator whose first one follows this."""
    operators = [_operator(step, deed) for deed in range(need + 1, min(need + 2, len(step.deeds)))]
    last = need
    while operators and last + 1 < len(step.deeds) and _operator(step, last + 1) == operators[0] is not None:
        last += 1
    return last


def _operator(step: CapturedStep, deed: int) -> int | None:
    doing, number = step.deeds[deed]
    if doing is Doing.LAUNCH:
        return step.kernels[number].operator
    return step.blocks[number].operator if doing is Doing.TAKE else None
