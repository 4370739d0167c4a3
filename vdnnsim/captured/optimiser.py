"""What the optimiser of a captured step does, as far as a capture tells: which gradient is of which parameter, when it
is complete, and what is not there where the host runs it.

What a capture does not say: that a parameter is used twice, so that its gradient is added to after it was taken. The
backward of an embedding that takes a block as large as a gradient is taken to do so. Gradients that are there before
the step and stay (`zero_grad(set_to_none=False)`) go behind backward, and keep their blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from vdnnsim.captured.iteration import kernel_keys
from vdnnsim.captured.step import BEFORE_STEP, Block, BlockClass, CapturedStep, Phase
from vdnnsim.errors import InvalidInput

_BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}


class Updated(NamedTuple):
    """A parameter's block and its gradient's, by number."""

    parameter: int
    gradient: int


@dataclass(frozen=True)
class Optimised:
    """What the optimiser of a step does, as far as a capture tells."""

    step: CapturedStep

    @cached_property
    def gradients(self) -> tuple[int, ...]:
        """The gradients that the optimiser reads, in the order in which their blocks are taken."""
        held = BlockClass.GRADIENT
        return tuple(n for n, block in enumerate(self.step.blocks) if block.holds is held and block.given is None)

    @cached_property
    def updated(self) -> tuple[Updated, ...]:
        """Each parameter with its gradient, in the order of forward. Both are of one size; of several the one that
        comes first in forward has its gradient last. Raises `InvalidInput` for a gradient without a parameter."""
        left: dict[int, list[int]] = {}
        for number, block in enumerate(self.step.blocks):
            if block.holds is BlockClass.PARAMETER:
                left.setdefault(block.size_bytes, []).append(number)
        found = []
        for gradient in self.gradients:
            those = left.get(self.step.blocks[gradient].size_bytes)
            if not those:
                size_bytes = self.step.blocks[gradient].size_bytes
                raise InvalidInput(
                    f"{self.step.header.name}: found a gradient of {size_bytes} bytes without a parameter as large, "
                    "expected one for each, of one type with it"
                )
            found.append(Updated(those.pop(), gradient))
        return tuple(sorted(found))

    @cached_property
    def element_bytes(self) -> int:
        """Of a parameter's element, by those that are saved; 4 where none is."""
        types = [saved.dtype for saved in self.step.saved if saved.stays == "parameter"]
        return _BYTES.get(max(set(types), key=types.count), 4) if types else 4

    @cached_property
    def kernels(self) -> frozenset[tuple[str, str]]:
        """Its kernels."""
        phases = (self.step.operators[kernel.operator].phase for kernel in self.step.kernels)
        return frozenset(
            key for key, phase in zip(kernel_keys(self.step), phases, strict=True) if phase is Phase.OPTIMISER
        )

    @cached_property
    def left_out(self) -> frozenset[int]:
        """The blocks that are not here where the host runs it: its state, what it takes, the last step's gradients."""
        return frozenset(number for number, block in enumerate(self.step.blocks) if self._is_left_out(block))

    def _is_left_out(self, block: Block) -> bool:
        if block.holds is BlockClass.OPTIMISER_STATE:
            return True
        if block.holds is BlockClass.GRADIENT and block.taken == BEFORE_STEP:
            return block.given is not None
        return block.operator is not None and self.step.operators[block.operator].phase is Phase.OPTIMISER

    @cached_property
    def complete(self) -> dict[int, list[int]]:
        """The gradients that are complete behind each kernel, by its number; those that stay behind the last one of
        backward."""
        step = self.step
        last: dict[int, int] = {kernel.operator: number for number, kernel in enumerate(step.kernels)}
        end = len(step.kernels) - len(self.kernels) - 1
        added_to: dict[int, int] = {}
        for block in step.blocks:
            if block.operator is not None and step.operators[block.operator].name.startswith("Embedding"):
                added_to[block.size_bytes] = last.get(block.operator, end)
        found: dict[int, list[int]] = {}
        for gradient in self.gradients:
            block = step.blocks[gradient]
            behind = end if block.operator is None else last.get(block.operator, end)
            found.setdefault(min(end, max(behind, added_to.get(block.size_bytes, 0))), []).append(gradient)
        return found
