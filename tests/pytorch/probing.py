"""A step's saved tensors as a captured step without kernels or times: enough to plan what leaves."""

from __future__ import annotations

import torch
from torch import nn

from pytorch.tricky_models import Step
from vdnnsim.captured import (
    BEFORE_STEP,
    Block,
    BlockClass,
    CapturedStep,
    Deed,
    Doing,
    HookCosts,
    PlanFile,
    SavedTensor,
    Seen,
    StepHeader,
    hook_schedule,
    why_it_stays,
)
from vdnnsim.pytorch.digests import model_sha256, order_sha256


class _Probe:
    def __init__(self, model: nn.Module) -> None:
        self.parameters = {one.untyped_storage()._cdata for one in model.parameters()}
        self.blocks: dict[int, int] = {}
        self.sizes: list[int] = []
        self.saved: list[SavedTensor] = []
        self.deeds: list[Deed] = []
        self.held: list[torch.Tensor] = []

    def pack(self, tensor: torch.Tensor) -> int:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.blocks:
            self.blocks[storage._cdata] = len(self.sizes)
            self.sizes.append(storage.nbytes())
        stays = "parameter" if storage._cdata in self.parameters else ""
        dtype = str(tensor.dtype).removeprefix("torch.")
        offset_bytes = tensor.storage_offset() * tensor.element_size()
        block = self.blocks[storage._cdata]
        self.saved.append(
            SavedTensor(block, "", "", "", dtype, tuple(tensor.shape), tensor.stride(), offset_bytes, stays)
        )
        self.held.append(tensor.detach())
        self.deeds.append(Deed(Doing.SAVE, len(self.held) - 1))
        return len(self.held) - 1

    def unpack(self, number: int) -> torch.Tensor:
        self.deeds.append(Deed(Doing.NEED, number))
        return self.held[number]


def probe(model: nn.Module, step: Step) -> CapturedStep:
    """What the hooks see of a step."""
    seen = _Probe(model)
    with torch.autograd.graph.saved_tensors_hooks(seen.pack, seen.unpack):
        step()
    header = StepHeader("probed", "none", "cpu", {}, torch.__version__, model_sha256(model), order_sha256(seen.saved))
    blocks = tuple(Block(size, BlockClass.SAVED, BEFORE_STEP, None, None, None, 0) for size in seen.sizes)
    nothing = Seen(1, 0, 0, 0, 0), HookCosts(0, 0, 0, 0), (), ()
    return CapturedStep(header, *nothing, blocks, tuple(seen.saved), tuple(seen.deeds))


def may_leave(step: CapturedStep) -> list[int]:
    """The blocks that can."""
    return [number for number in range(len(step.blocks)) if not why_it_stays(step, number)]


def plan_for(
    step: CapturedStep, leaving: list[int] | None = None, ahead: int = 2, in_flight_bytes: int | None = None
) -> PlanFile:
    """A plan in which these blocks leave, all that may by default."""
    chosen = may_leave(step) if leaving is None else leaving
    return PlanFile.of(step, "test", hook_schedule(step, chosen, ahead, in_flight_bytes), 1, 0)
