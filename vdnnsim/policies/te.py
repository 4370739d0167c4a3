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

    KIND: ClassVar[str] = "te"
    PARAMETERS: ClassVar[Mapping[str, Parameter]] = MappingProxyType(
        {"layers": Parameter("layers", count_or_none, shown_count)}
    )

    @property
    def name(self) -> str:
        return name_of(self.KIND, self)

    def check(self, problem: Problem) -> None:
        """Raise `InvalidInput` where the model repeats no blocks, or fewer than are to leave."""
        self._blocks(problem, Saves(problem))

    def plan(self, problem: Problem) -> Plan:
        saves = Saves(problem)
        blocks, leaving = self._blocks(problem, saves)
        stay = len(blocks) - leaving
        actions = {
            one.name: saves.leave(one, blocks[stay + number].first - 1, blocks[stay - 1 + number].backward)
            for number, block in enumerate(blocks[:leaving])
            for one in block.saved
            if one.elements >= FEWEST_ELEMENTS
        }
        return saves.plan(actions, CopyStreams.SHARED)

    def _blocks(self, problem: Problem, saves: Saves) -> tuple[tuple[ModelBlock, ...], int]:
        """The blocks, and how many of them leave. Raises `InvalidInput` where at least one would not stay."""
        blocks = repeated_blocks(self.name, problem, saves)
        leaving = len(blocks) // 2 if self.layers is None else self.layers
        if not 1 <= leaving < len(blocks):
            most = len(blocks) - 1
            raise InvalidInput(f"policy '{self.name}': found layers={self.layers}, expected 1 to {most}, one stays")
        return blocks, leaving
