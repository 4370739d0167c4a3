"""Transformer Engine's CPU offloading, default: the first k of N repeated blocks leave.

Read in its `cpu_offload.py`, l. 454 to 640: (1) what blocks 0 to k-1 save, from 256 x 1024 elements on, is copied out
as soon as it is ready. (2) Before the forward of block N-k+i the compute stream waits for the copies of block i, which
goes then. (3) Before the backward of block N-1-k+i block i begins to come back; each use waits for its own tensor. (4)
One stream for both ways.

Deviation: where k is left out it is half of N (there it has to be said).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from vdnnsim.errors import InvalidInput
from vdnnsim.iteration import CopyStreams
from vdnnsim.policies.blocks import ModelBlock, repeated_blocks
from vdnnsim.policies.grammar import Parameter, count_or_none, name_of, shown_count
from vdnnsim.policies.plan import Plan, Problem
from vdnnsim.policies.saves import Saves

FEWEST_ELEMENTS = 256 * 1024


@dataclass(frozen=True)
class TransformerEngine:
    """Transformer Engine (rule read): the first blocks leave, and come back as many blocks ahead as stay."""

    layers: int | None = None

    PARAMETERS: ClassVar[Mapping[str, Parameter]] = MappingProxyType(
        {"layers": Parameter("layers", count_or_none, shown_count)}
    )

    @property
    def name(self) -> str:
        return name_of("te", self)

    def check(self, problem: Problem) -> None:
        """Raise `InvalidInput` where the model repeats no blocks, or fewer than are to leave."""
        leaving_of(self.name, self.layers, repeated_blocks(self.name, problem, Saves(problem)))

    def plan(self, problem: Problem) -> Plan:
        saves = Saves(problem)
        blocks = repeated_blocks(self.name, problem, saves)
        leaving = leaving_of(self.name, self.layers, blocks)
        stay = len(blocks) - leaving
        actions = {
            one.name: saves.leave(one, blocks[stay + number].first - 1, blocks[stay - 1 + number].backward)
            for number, block in enumerate(blocks[:leaving])
            for one in block.saved
            if one.elements >= FEWEST_ELEMENTS
        }
        return saves.plan(actions, CopyStreams.SHARED)


def leaving_of(name: str, layers: int | None, blocks: tuple[ModelBlock, ...]) -> int:
    """How many of the blocks leave. Raises `InvalidInput` where at least one would not stay."""
    leaving = len(blocks) // 2 if layers is None else layers
    if not 1 <= leaving < len(blocks):
        raise InvalidInput(f"policy '{name}': found layers={layers}, expected 1 to {len(blocks) - 1}, one stays")
    return leaving
