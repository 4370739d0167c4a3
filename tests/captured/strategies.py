"""Random captured steps that could be, and random plans for them that could be or not."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

from captured.steps import HEADER, HOOKS, MIB, SAVE, kernel, saved
from vdnnsim.captured import (
    BEFORE_STEP,
    Block,
    BlockClass,
    CapturedStep,
    Deed,
    Doing,
    ModelKernel,
    ModelOperator,
    Phase,
    SavedTensor,
    Seen,
)
from vdnnsim.captured.saved import need_stages
from vdnnsim.iteration import Leave, OwnCopy

SIZES = (512, 600, MIB, 3 * MIB, 8 * MIB)


@dataclass
class _Draft:
    """A step being drawn."""

    draw: st.DrawFn
    deeds: list[Deed] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    operators: list[ModelOperator] = field(default_factory=list)
    kernels: list[ModelKernel] = field(default_factory=list)
    saved: list[SavedTensor] = field(default_factory=list)

    def number(self, least: int, most: int) -> int:
        return self.draw(st.integers(least, most))

    def take(self, holds: BlockClass, before: bool = False) -> int:
        taken = BEFORE_STEP if before else len(self.deeds)
        if not before:
            self.deeds.append(Deed(Doing.TAKE, len(self.blocks)))
        operator = None if before else len(self.operators) - 1
        size_bytes = self.draw(st.sampled_from(SIZES))
        self.blocks.append(Block(size_bytes, holds, taken, None, None, operator=operator))
        return len(self.blocks) - 1

    def launch(self) -> None:
        duration_ns = self.number(1, 3) * 50_000
        self.deeds.append(Deed(Doing.LAUNCH, len(self.kernels)))
        self.kernels.append(kernel(len(self.operators) - 1, duration_ns))

    def work(self, module: str, phase: Phase) -> int:
        """An operator that makes a block, with blocks of its own and kernels."""
        self.operators.append(ModelOperator("aten::op", module, phase))
        made = self.take(BlockClass.OTHER)
        for _ in range(self.number(0, 2)):
            self.take(BlockClass.WORKSPACE)
        for _ in range(self.number(0, 2)):
            self.launch()
        return made

    def save(self, block: int, module: str) -> None:
        stays = self.draw(st.sampled_from(("", "", "", "small", "weight copy")))
        self.deeds.append(Deed(Doing.SAVE, len(self.saved)))
        self.saved.append(saved(block, module, 512, stays))


@st.composite
def steps(draw: st.DrawFn) -> CapturedStep:
    """A step of one or two forwards with their backwards: blocks saved once, often or never, before the step or in it,
    needed once, twice or never; lives that fit."""
    draft = _Draft(draw)
    draft.operators.append(ModelOperator("aten::op", "", Phase.FORWARD))
    for holds in (BlockClass.PARAMETER, BlockClass.INPUT, BlockClass.GRADIENT):
        draft.take(holds, before=True)
    draft.launch()
    for _ in range(draft.number(1, 2)):
        first = len(draft.saved)
        made = [0, 1]
        for layer in range(draft.number(1, 5)):
            made.append(draft.work(f"layer{layer}", Phase.FORWARD))
            for block in draw(st.lists(st.sampled_from(made), max_size=2)):
                draft.save(block, f"layer{layer}")
        for number in reversed(range(first, len(draft.saved))):
            for _ in range(draw(st.sampled_from((1, 1, 1, 0, 2)))):
                draft.deeds.append(Deed(Doing.NEED, number))
            draft.work(draft.saved[number].module, Phase.BACKWARD)
    draft.launch()
    blocks = [_with_life(draft, number) for number in range(len(draft.blocks))]
    seen = Seen(1, 0, 0, 0, 0)
    parts = (draft.operators, draft.kernels, blocks, draft.saved, draft.deeds)
    return CapturedStep(HEADER, seen, HOOKS, *map(tuple, parts))


def _with_life(draft: _Draft, number: int) -> Block:
    """Dies behind its last use, or later, or never."""
    block = draft.blocks[number]
    last = len(draft.deeds) - 1
    uses: dict[Doing, list[int]] = {Doing.SAVE: [], Doing.NEED: []}
    for place, deed in enumerate(draft.deeds):
        if deed.doing in uses and draft.saved[deed.number].block == number:
            uses[deed.doing].append(place)
    least = max([block.taken, *uses[Doing.SAVE], *uses[Doing.NEED]])
    at = [draft.number(max(0, least), min(last, max(0, least) + draft.number(0, 8))) for _ in range(3)]
    stays = draft.draw(st.sampled_from((False, False, False, True))) if number > 1 else True
    given, hooked = (None, None) if stays else (max(at[:2]), min(at[:2]))
    if number == 2:
        given = hooked = BEFORE_STEP  # a gradient that is dropped first of all
    released = fetched = None
    if uses[SAVE] and draft.draw(st.booleans()):
        released = draft.number(uses[SAVE][0], max(uses[SAVE][-1], least))
    if uses[Doing.NEED]:
        fetched = draft.number(uses[Doing.NEED][-1], last)
    return block._replace(given=given, given_hooked=hooked, released=released, fetched_given=fetched)


@st.composite
def any_leaves(draw: st.DrawFn, step: CapturedStep) -> dict[str, Leave]:
    """Blocks that leave at any stages, near to those that could be."""
    found = {}
    calls = len(step.hook_calls)
    for number in draw(st.lists(st.sampled_from(sorted(step.stages.saves)), unique=True, max_size=4)):
        saves, needs = step.stages.saves[number], step.stages.needs.get(number, (calls,))
        out, needed = saves[-1], max(saves[-1], needs[0])
        stages = [out, draw(st.integers(out, needed)), draw(st.integers(out, needed)), needs[0]]
        if draw(st.sampled_from((False, False, True))):
            place = draw(st.integers(0, 3))
            stages[place] = draw(st.integers(0, calls + 1))
        found[f"b{number}"] = Leave(*stages)
    return found


@st.composite
def any_own_copies(draw: st.DrawFn, step: CapturedStep) -> dict[str, OwnCopy]:
    """Saved tensors that are copied each by itself, held for a while, some gathered, some used where they lie."""
    saves, needs = step.stages.save, need_stages(step)
    calls = len(step.hook_calls)
    found = {}
    for number in draw(st.lists(st.sampled_from(range(len(step.saved))), unique=True)):
        need = needs.get(number)
        back = need is not None and draw(st.sampled_from((True, True, False)))
        least, most = (saves[number], need - 1) if back and need else (need or saves[number], calls)
        freed = draw(st.integers(least, max(least, min(most, least + 8))))
        found[f"s{number}"] = OwnCopy(freed, back, draw(st.booleans()), draw(st.booleans()))
    return found
