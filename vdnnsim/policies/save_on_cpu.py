"""torch's `torch.autograd.graph.save_on_cpu(pin_memory=True)`: every saved tensor, copied while the GPU waits.

Read in PyTorch's source: the pack hook copies each saved tensor, parameters and views and what is saved twice as well,
to pinned memory on the current stream, in a row (a view whose bytes are not in a row is first put in one, on the GPU);
up to PyTorch 2.11 the host waits for it. The unpack hook copies it back there, when backward asks, to a block of its
own. On a captured step it is that, copy by copy; in PyTorch 2.12, which was not read, taken to wait no more, as 2.13.

Deviations: putting in a row takes no time, and backward's kernels none the less for finding tensors so; a copy costs
the host what one of ours does. Of networks, which do not tell what is a view, a tensor that two layers save is copied
once, and parameters stay; the host goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from vdnnsim.captured.saved import NO_COPY, need_stages
from vdnnsim.captured.step import CapturedStep
from vdnnsim.iteration import CopyStreams, OwnCopy
from vdnnsim.policies.grammar import Parameter
from vdnnsim.policies.plan import Plan, Problem
from vdnnsim.policies.saves import Saves

_WAITS_NO_MORE = (2, 12)


@dataclass(frozen=True)
class SaveOnCpu:
    """torch's save_on_cpu (rule read): all that is saved leaves and comes back on the compute stream, in line."""

    name: str = "save-on-cpu"

    PARAMETERS: ClassVar[Mapping[str, Parameter]] = MappingProxyType({})

    def check(self, problem: Problem) -> None:
        """Nothing is needed beyond what every problem has."""

    def plan(self, problem: Problem) -> Plan:
        saves = Saves(problem)
        if saves.of_step:
            return saves.plan_of_copies(_own_copies(problem.step), CopyStreams.COMPUTE)
        actions = {one.name: saves.leave(one, one.out, one.needed) for one in saves.tensors}
        return saves.plan(actions, CopyStreams.COMPUTE)


def _own_copies(step: CapturedStep) -> dict[int, OwnCopy]:
    needs = need_stages(step)
    waited, on_gpu = _waits(step.header.torch), step.header.device != "cpu"
    return {
        number: OwnCopy(stage, number in needs, on_gpu and not step.saved[number].in_a_row, waited)
        for number, stage in enumerate(step.stages.save)
        if step.saved[number].stays not in NO_COPY
    }


def _waits(torch: str) -> bool:
    """Whether this version of PyTorch, as "2.11.0+cu130", has the host wait for each copy out."""
    parts = tuple(int(part) for part in torch.split(".")[:2] if part.isdigit())
    return parts < _WAITS_NO_MORE
