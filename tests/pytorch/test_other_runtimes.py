"""What other runtimes' hooks do, on the CPU, beside what their policies say of the captured step: how many copies, of
how many bytes, and the peak to the byte. save_on_cpu is PyTorch's own where copies are counted; both are written here
once more, by their rules, where memory is, since on the CPU PyTorch's copies lie in the memory that is counted."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks
from torch.autograd.variable import Variable

from support.cases import gpu_of
from support.examples import mostly_thorough
from support.torch_models import MODELS, Made
from vdnnsim.captured import CapturedStep, build_step
from vdnnsim.iteration import Schedule
from vdnnsim.making import make_study
from vdnnsim.memory import ENDLESS_BYTES
from vdnnsim.program import CopyIn, CopyOut, Program
from vdnnsim.pytorch import capture
from vdnnsim.pytorch.peaks import profiled_rise_bytes
from vdnnsim.workloads import STEP_POOL, StepWorkload

LATE_BYTES = {"mlp, SGD": 512, "skip": 256}
"""The peak is in the backward of the first layer, whose input never leaves, so that nothing tells when its node lets go
of what came back; its operator ends only when its bias's gradient, of so many bytes, is summed up."""


@dataclass
class Copied:
    """A tensor's bytes in memory that no profiler counts, in a row."""

    bytes_: torch.Tensor
    dtype: torch.dtype
    shape: torch.Size

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Copied:
        host = torch.from_numpy(np.empty(tensor.nbytes, np.uint8))
        host.view(tensor.dtype).view(tensor.shape).copy_(tensor)
        return cls(host, tensor.dtype, tensor.shape)

    def back(self) -> torch.Tensor:
        return torch.empty(self.shape, dtype=self.dtype).copy_(self.bytes_.view(self.dtype).view(self.shape))


@dataclass
class Stash:
    """torchtune's rule: the last `depth` that were packed are held, what came back until the next node is through."""

    depth: int
    copied: list[int] = field(default_factory=list)
    fetched: list[int] = field(default_factory=list)
    packed: int = 0
    host: dict[int, torch.Tensor | Copied] = field(default_factory=dict)
    held: dict[int, torch.Tensor] = field(default_factory=dict)
    there: dict[int, torch.Tensor] = field(default_factory=dict)
    node: object = None

    def pack(self, tensor: torch.Tensor) -> int:
        self.packed += 1
        self.host[self.packed] = tensor.detach()
        if tensor.nbytes >= 1024 and not isinstance(tensor, torch.nn.Parameter):
            self.held = {number: one for number, one in self.held.items() if number > self.packed - self.depth}
            self.host[self.packed] = Copied.of(tensor.detach())
            self.held[self.packed] = tensor.detach()
            self.copied.append(tensor.nbytes)
        return self.packed

    def unpack(self, number: int) -> torch.Tensor:
        found = self.host.pop(number)
        if isinstance(found, torch.Tensor):
            return found
        node = torch._C._current_autograd_node()
        before = [] if node == self.node else list(self.there)
        if self.node is None:
            Variable._execution_engine.queue_callback(self.there.clear)
        self.node = node
        if number in self.held:
            tensor = self.held[number]
        else:
            tensor = self.there[number] = found.back()
            self.fetched.append(tensor.nbytes)

        def behind(*_: object) -> None:
            self.held.clear()
            for other in before:
                del self.there[other]

        node.register_hook(behind)
        return tensor


def hooks_of(depth: int) -> tuple[AbstractContextManager[object], list[int], list[int]]:
    """Hooks of a runtime, and the sizes of what they copy out and in; without a stash save_on_cpu's."""
    if depth:
        stash = Stash(depth)
        return saved_tensors_hooks(stash.pack, stash.unpack), stash.copied, stash.fetched
    copied: list[int] = []
    fetched: list[int] = []

    def pack(tensor: torch.Tensor) -> Copied:
        copied.append(tensor.nbytes)
        return Copied.of(tensor.detach())

    def unpack(packed: Copied) -> torch.Tensor:
        fetched.append(packed.bytes_.nbytes)
        return packed.back()

    return saved_tensors_hooks(pack, unpack), copied, fetched


def program_of(step: CapturedStep, policy: str) -> Program:
    schedule: Schedule = make_study(step, gpu=gpu_of()).run(policy).plan.schedule
    return build_step(step, schedule)


def packed_by_pytorch(made: Made) -> list[int]:
    """The sizes of what its own save_on_cpu packs, in order."""
    packed: list[int] = []
    theirs = save_on_cpu(pin_memory=True)

    def pack(tensor: torch.Tensor) -> object:
        found = theirs.pack_hook(tensor)
        packed.append(found[1].nbytes)
        return found

    with saved_tensors_hooks(pack, theirs.unpack_hook):
        made[0]()
    return packed


@pytest.mark.parametrize("name", mostly_thorough(MODELS, ["attention"]))
def test_copies_and_peaks_are_theirs(name: str) -> None:
    made: Made = MODELS[name]()
    train = made[0]
    step = capture(*made, name=name, repetitions=1, gpu="test-gpu")
    there = step.seen.peak_requested_bytes - profiled_rise_bytes(train)
    copies = [one for one in program_of(step, "save-on-cpu").commands if isinstance(one, CopyOut)]
    assert [copy.buffer.size_bytes for copy in copies] == packed_by_pytorch(made)
    for depth, policy in ((0, "save-on-cpu"), (5, "torchtune(head=leaves)")):
        program = program_of(step, policy)
        hooks, copied, fetched = hooks_of(depth)
        rise = profiled_rise_bytes(train, lambda hooks=hooks: hooks)
        assert [one.buffer.size_bytes for one in program.commands if isinstance(one, CopyOut)] == copied
        assert [one.buffer.size_bytes for one in program.commands if isinstance(one, CopyIn)] == fetched
        workload = StepWorkload(step)
        peak = workload.at_rest(program, workload.memory(STEP_POOL, ENDLESS_BYTES)).requested_bytes
        late = LATE_BYTES.get(name, 0) if policy == "save-on-cpu" else 0
        assert peak == there + rise + late, policy
