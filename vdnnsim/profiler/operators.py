"""Which operator, module and phase of the step something in a recording belongs to."""

from __future__ import annotations

from collections.abc import Iterable

from vdnnsim.captured.step import ModelOperator, Phase
from vdnnsim.profiler.recording import MODULE, NODE, STEP, Does, Happening, Recording

_OPTIMISER = "Optimizer."
_PYTHON = "python"
"""The operator of what no operator of PyTorch does."""


class Operators:
    """The operators of a step's recording that do something, each call one of them, in order."""

    def __init__(self, recording: Recording, happenings: Iterable[Happening]) -> None:
        self.found: list[ModelOperator] = []
        self._recording = recording
        self._numbers: dict[int | None, int] = {}
        begin_ns, end_ns = recording.window(STEP)
        inside = [one for one in recording.ranges if begin_ns <= one.begin_ns < end_ns]
        self._last_node_ns = max((one.begin_ns for one in inside if one.name.startswith(NODE)), default=end_ns)
        self._module_of_sequence = {
            one.sequence: module
            for number, one in enumerate(recording.ranges)
            if one.is_operator
            and one.sequence >= 0
            and begin_ns <= one.begin_ns < end_ns
            and not self._node(number)
            and (module := self._module(number)) is not None
        }
        for one in happenings:
            if one.does in (Does.TAKE, Does.LAUNCH):
                self.number(one.within)

    @property
    def has_backward(self) -> bool:
        """Whether the step ran a node of a graph."""
        begin_ns, end_ns = self._recording.window(STEP)
        return any(one.name.startswith(NODE) and begin_ns <= one.begin_ns < end_ns for one in self._recording.ranges)

    def number(self, within: int | None) -> int:
        """The number of the operator that a range lies in."""
        around = self._outermost(within)
        if around not in self._numbers:
            self._numbers[around] = len(self.found)
            self.found.append(self._described(around, within))
        return self._numbers[around]

    def said(self, within: int | None) -> str:
        """The operator that a range lies in, and its module, as a message may show it."""
        name, module, _ = self.found[self.number(within)]
        return f"{name} of {module}" if module else name

    def innermost(self, within: int | None) -> int | None:
        """The range of the innermost operator."""
        ranges = self._recording.ranges
        return next((n for n in self._recording.chain(within) if ranges[n].is_operator), None)

    def _outermost(self, within: int | None) -> int | None:
        """The node of the graph, or else the outermost operator."""
        node = self._node(within)
        if node is not None:
            return node
        ranges = self._recording.ranges
        return max((n for n in self._recording.chain(within) if ranges[n].is_operator), default=None, key=lambda n: -n)

    def _node(self, within: int | None) -> int | None:
        ranges = self._recording.ranges
        return next((n for n in self._recording.chain(within) if ranges[n].name.startswith(NODE)), None)

    def _module(self, within: int | None) -> str | None:
        ranges = self._recording.ranges
        found = (ranges[n].name for n in self._recording.chain(within))
        return next((name.removeprefix(MODULE) for name in found if name.startswith(MODULE)), None)

    def _described(self, around: int | None, within: int | None) -> ModelOperator:
        if around is None:
            return ModelOperator(_PYTHON, self._module(within) or "", Phase.FORWARD)
        one = self._recording.ranges[around]
        if one.name.startswith(NODE):
            module = self._module(within) or self._module_of_sequence.get(one.sequence, "")
            return ModelOperator(one.name.removeprefix(NODE), module, Phase.BACKWARD)
        optimising = any(self._recording.ranges[n].name.startswith(_OPTIMISER) for n in self._recording.chain(around))
        phase = Phase.OPTIMISER if optimising or one.begin_ns > self._last_node_ns else Phase.FORWARD
        return ModelOperator(one.name, self._module(around) or "", phase)
