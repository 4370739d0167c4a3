"""Transformer Engine's older CPU offloading: k of L blocks leave, one after the other, spread over all of forward.

Read in its `cpu_offload_v1.py`, l. 345 to 600: block 0 begins to leave when it is done. Block i ends its window with
block w(i) = (L // k) (i + 1) - 1 + min(i + 1, L % k): when that is done, compute and copies wait for each other, block
i goes and block i + 1 begins to leave. In backward block i begins to come back where the backward of block w(i) begins,
and both wait for each other before the next one does. One stream each way.

Deviation: what comes back has blocks of its own in place of two fixed buffers that take turns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vdnnsim.policies.plan import Plan, Problem
from vdnnsim.policies.saves import Saves
from vdnnsim.policies.te import FEWEST_ELEMENTS, TransformerEngine


@dataclass(frozen=True)
class TransformerEngineV1(TransformerEngine):
    """Transformer Engine's double buffer (rule read): the first blocks leave one by one, spread over forward."""

    KIND: ClassVar[str] = "te-v1"

    def plan(self, problem: Problem) -> Plan:
        saves = Saves(problem)
        blocks, leaving = self._blocks(problem, saves)
        each, left = divmod(len(blocks), leaving)
        window = [each * (n + 1) - 1 + min(n + 1, left) for n in range(leaving)]
        actions = {}
        for number, block in enumerate(blocks[:leaving]):
            begin = blocks[window[number - 1]].last if number else block.last
            end = blocks[window[number]]
            for one in block.saved:
                if one.elements >= FEWEST_ELEMENTS:
                    action = saves.leave(one, end.last, end.backward)
                    later = action if saves.of_step else action._replace(out=max(one.out, min(begin, action.freed)))
                    actions[one.name] = later
        return saves.plan(actions)
