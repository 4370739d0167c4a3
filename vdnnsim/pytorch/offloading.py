"""`offload`: a plan in the user's own training loop."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from vdnnsim.captured import PlanFile, SavedView
from vdnnsim.errors import InvalidInput
from vdnnsim.pytorch.counting import OffloadWarning
from vdnnsim.pytorch.course import Script
from vdnnsim.pytorch.digests import model_sha256
from vdnnsim.pytorch.engine import CpuEngine, Engine, arena_bytes
from vdnnsim.pytorch.holding import model_holds
from vdnnsim.pytorch.running import Part, Running
from vdnnsim.pytorch.saved import Geometry
from vdnnsim.pytorch.user_step import keep_hooks_from_compiler

if TYPE_CHECKING:
    from vdnnsim.pytorch.engine_cuda import PinnedMemory


@contextmanager
def offload(
    model: torch.nn.Module, plan: PlanFile | str | Path, *, checked: bool = False, pinned: PinnedMemory | None = None
) -> Iterator[Running]:
    """Train by a plan: within this block saved tensors leave for the host and come back as it says, for any number of
    steps.

        with offload(model, "plan.json") as running:
            for batch in batches:
                train(batch)
        print(running.report())

    `plan` is that of a result (`comparison["vdnn-dyn"].plan`), or the path of its file. Host memory for all that leaves
    is taken, and pinned, once at the begin: enter the block once, around the loop. What the plan does not know (a last
    batch of another size, an evaluation, other hooks) stays on the device, is counted in `running.report()` and told
    once by an `OffloadWarning`; gradients are those of the step without offload. A plan by which nothing leaves sets no
    hooks. `checked` overwrites memory that was let go of with NaN, so that a gradient shows what should not have been.
    `pinned` is host memory for several plans, one after the other (`pinned_memory`).

    Raises `InvalidInput` for a plan of another model or version of PyTorch, for a model that lies on several devices,
    and where the host has too little memory; within the block `ChangedInPlace`, at the backward of a tensor that was
    changed in place after it was saved, which PyTorch itself does not notice where there are hooks.
    """
    if not isinstance(model, torch.nn.Module):
        raise InvalidInput(f"offload: found a {type(model).__name__} as model, expected a torch.nn.Module")
    file = plan if isinstance(plan, PlanFile) else _read(plan)
    file.check_model(torch.__version__, model_sha256(model), model_holds(model))
    device = _device_of(model)
    if file.leaving and _other_hooks():
        message = (
            "offload: other saved-tensor hooks are set around it; PyTorch calls the innermost alone, which are ours"
        )
        warnings.warn(OffloadWarning(message), stacklevel=3)
    engine = open_engine(device, sizes_of(file), pinned)
    running = running_by(file, engine, checked)
    keep_hooks_from_compiler()
    handles = [model.register_forward_pre_hook(running.begin_model)]
    if file.leaving:
        handles.append(model.register_forward_hook(running.unseen.end))
    hooks = torch.autograd.graph.saved_tensors_hooks(running.pack, running.unpack)
    try:
        with hooks if file.leaving else nullcontext():
            yield running
        running.unseen.tell()
    finally:
        for handle in handles:
            handle.remove()
        running.close()


def _other_hooks() -> bool:
    """Whether somebody else's hooks are set; where PyTorch does not tell, none are taken to be."""
    top = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    return top is not None and top(True) is not None


def _read(plan: object) -> PlanFile:
    found = f"a {type(plan).__name__}"
    if isinstance(plan, str | Path):
        if Path(plan).is_file():
            return PlanFile.load(plan)
        found = f"no file '{plan}'"
    expected = "the plan of a captured step's result, or the path of its file, which 'vdnnsim plan' writes"
    raise InvalidInput(f"plan: found {found}, expected {expected}")


def _device_of(model: torch.nn.Module) -> torch.device:
    """The one device of all parameters; a GPU has to be the current one."""
    devices = sorted({str(parameter.device) for parameter in model.parameters()})
    if len(devices) != 1:
        raise InvalidInput(f"model: found parameters on {', '.join(devices) or 'no device'}, expected one device")
    device = torch.device(devices[0])
    if device.type not in ("cpu", "cuda"):
        raise InvalidInput(f"model: found it on {device}, expected an NVIDIA GPU or the CPU")
    if device.type == "cuda" and device.index != torch.cuda.current_device():
        advice = f"expected {device}, where the model is; torch.cuda.set_device({device.index}) makes it so"
        raise InvalidInput(f"current GPU: found cuda:{torch.cuda.current_device()}, {advice}")
    return device


def running_by(file: PlanFile, engine: Engine, checked: bool = False) -> Running:
    """The hooks of a plan, with what moves its blocks."""
    saved = {block.block: [view.number for view in block.saved] for block in file.leaving}
    parts = {
        block.block: Part(block.size_bytes, {view.number: _geometry(view) for view in block.saved}, block.needs)
        for block in file.leaving
    }
    return Running(Script(file.leaves, saved, file.hook_runs), parts, engine, checked)


def sizes_of(file: PlanFile) -> dict[int, int]:
    """The blocks that leave, with their bytes."""
    return {block.block: block.size_bytes for block in file.leaving}


def open_engine(device: torch.device, sizes_bytes: Mapping[int, int], pinned: PinnedMemory | None = None) -> Engine:
    """What moves blocks of these sizes between this device and the host. Raises `InvalidInput` and its kinds."""
    if device.type == "cpu":
        return CpuEngine(device, sizes_bytes)
    from vdnnsim.pytorch.engine_cuda import open_cuda_engine  # where there is a GPU

    return open_cuda_engine(device, sizes_bytes, pinned)


@contextmanager
def pinned_memory(device: torch.device, plans: Iterable[PlanFile]) -> Iterator[PinnedMemory | None]:
    """Host memory for any of these plans: pinning gigabytes takes seconds. None where there is no GPU."""
    size_bytes = max((arena_bytes(sizes_of(plan)) for plan in plans), default=0)
    if device.type == "cpu" or not size_bytes:
        yield None
        return
    from vdnnsim.pytorch.engine_cuda import PinnedMemory, cuda_runtime  # where there is a GPU

    memory = PinnedMemory(size_bytes, cuda_runtime())
    try:
        yield memory
    finally:
        memory.close()


def _geometry(view: SavedView) -> Geometry:
    dtype = getattr(torch, view.dtype)
    return Geometry(dtype, view.shape, view.stride, view.offset_bytes // dtype.itemsize)
