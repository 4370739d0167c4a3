"""A captured step as operators and tensors: hook calls and kernels, and the blocks that they touch."""

from __future__ import annotations

from vdnnsim.captured.agenda import block_name
from vdnnsim.captured.step import BEFORE_STEP, CapturedStep, Doing, Phase
from vdnnsim.iteration import Buffer, Iteration, Key, Operator, Stage, Tensor

OUTSIDE = "outside modules"
"""The layer of what is done in no module."""
OPTIMISER = "optimiser"
"""The layer of what the optimiser does."""

Place = tuple[str, bool]
"""A layer, and whether its backward."""


def iteration_of_step(step: CapturedStep) -> Iteration:
    """The step as an iteration; made once.

    Each hook call begins a stage, of the saved tensor's module; its `kind` is the node of the graph that saves, its
    `inputs` the block where it may leave. Tensors are blocks. A SAVE is an operator that writes the block, a NEED one
    that reads it; the kernels are operators of which only the time is known.
    """
    if "iteration" not in step.made:
        step.made["iteration"] = _iteration(step)
    found = step.made["iteration"]
    assert isinstance(found, Iteration)
    return found


def buffers_of(step: CapturedStep) -> tuple[Buffer, ...]:
    """The block of each number."""
    layers = [_place_of_operator(step, number)[0] for number in range(len(step.operators))]
    return tuple(
        Buffer(
            block_name(number),
            block.size_bytes,
            block.holds,
            OUTSIDE if block.operator is None else layers[block.operator],
            False,
        )
        for number, block in enumerate(step.blocks)
    )


def kernel_keys(step: CapturedStep) -> tuple[Key, ...]:
    """The (layer, pass) of each kernel, by its number; each has its own."""
    places = [_place_of_operator(step, number)[0] for number in range(len(step.operators))]
    return tuple(
        (places[kernel.operator], f"{step.operators[kernel.operator].name} {number}")
        for number, kernel in enumerate(step.kernels)
    )


def places_of(step: CapturedStep) -> tuple[Place, ...]:
    """Of each deed the layer, and whether it is its backward."""
    operators = [_place_of_operator(step, number) for number in range(len(step.operators))]
    places = []
    place = (OUTSIDE, False)
    for doing, number in step.deeds:
        if doing is Doing.LAUNCH:
            place = operators[step.kernels[number].operator]
        elif doing is Doing.TAKE:
            operator = step.blocks[number].operator
            place = place if operator is None else operators[operator]
        else:
            place = step.saved[number].module or OUTSIDE, doing is Doing.NEED
        places.append(place)
    return tuple(places)


def _place_of_operator(step: CapturedStep, number: int) -> Place:
    operator = step.operators[number]
    if operator.phase is Phase.OPTIMISER:
        return OPTIMISER, True
    return operator.module or OUTSIDE, operator.phase is not Phase.FORWARD


def _iteration(step: CapturedStep) -> Iteration:
    buffers = buffers_of(step)
    keys = kernel_keys(step)
    may_leave = set(step.stages.saves)
    may_leave.difference_update(saved.block for saved in step.saved if saved.stays)
    stages = [Stage(OUTSIDE, False, False, "", (), 0)]
    operators = []
    saved_in: dict[int, int] = {}
    for deed, (layer, backward) in zip(step.deeds, places_of(step), strict=True):
        doing, number = deed
        now = len(stages) - 1
        if doing is Doing.LAUNCH:
            operators.append(Operator(*keys[number], now, (), ()))
        elif doing is not Doing.TAKE:
            saved = step.saved[number]
            now += 1
            name = block_name(saved.block)
            if doing is Doing.SAVE:
                saved_in[number] = now
            of_layer = (name,) if saved.block in may_leave else ()
            stages.append(Stage(layer, backward, False, saved.node, of_layer, saved_in.get(number, now)))
            reads, writes = ((name,), ()) if doing is Doing.NEED else ((), (name,))
            operators.append(Operator(layer, f"{doing} {now}", now, reads, writes))
    views: dict[int, list[str]] = {}
    for number, saved in enumerate(step.saved):
        views.setdefault(saved.block, []).append(f"s{number}")
    tensors = {buffer.name: Tensor(buffer, 1, tuple(views.get(number, ()))) for number, buffer in enumerate(buffers)}
    inputs = frozenset(block_name(n) for n, block in enumerate(step.blocks) if block.taken == BEFORE_STEP)
    return Iteration(tuple(stages), tuple(operators), tensors, inputs)
