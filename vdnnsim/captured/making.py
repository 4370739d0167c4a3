"""What of a captured step can be made again, by which kernels, and what has to be there for that.

Which kernel reads what was not captured. But it reads nothing that nobody holds: of the blocks that are there when it
is launched, those that autograd alone holds are not read, all others might be. What might be read and dies in forward
is made again as well, by all kernels since it was taken. Of some operators more is known: their node saves whatever
tensors they read (PyTorch's `derivatives.yaml`), and what they launch behind that reads those, or what they took
themselves. Small blocks, copies of weights and biases above all, are taken to be there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from vdnnsim.captured.choosing import may_leave
from vdnnsim.captured.remaking import makers_of
from vdnnsim.captured.step import BEFORE_STEP, CapturedStep, Doing, Phase, SavedTensor

_SMALL_BYTES = 1 << 20
_MOST_KERNELS = 200
"""What takes more of them is not made again."""
_INPUTS = {
    "AddmmBackward": {"mat1", "mat2"},
    "MmBackward": {"self", "mat2"},
    "MulBackward": {"self", "other"},
    "ConvolutionBackward": {"input", "weight"},
    "CudnnBatchNormBackward": {"input"},
    "NativeBatchNormBackward": {"input"},
    "NativeLayerNormBackward": {"input"},
    "FusedRmsNormBackward": {"input"},
    "GeluBackward": {"self"},
    "SiluBackward": {"self"},
    "PowBackward": {"self"},
    "MaxPool2DWithIndicesBackward": {"self"},
    "ScaledDotProductCudnnAttentionBackward": {"query", "key", "value"},
    "ScaledDotProductFlashAttentionBackward": {"query", "key", "value"},
    "ScaledDotProductEfficientAttentionBackward": {"query", "key", "value"},
}
"""Nodes that save all tensors that their operator reads, by which attributes; a parameter's bias is not among them."""


class Making(NamedTuple):
    """The kernels that make a block again, in the order of forward, and the blocks that may leave and have to be there
    for that."""

    kernels: tuple[int, ...]
    sources: frozenset[int]


def makings(step: CapturedStep) -> dict[int, Making]:
    """How each block that may leave is made again, where it can be; found once."""
    if "makings" not in step.made:
        ways = _Ways(step)
        step.made["makings"] = {number: way for number in may_leave(step) if (way := ways.of(number))}
    found: dict[int, Making] = step.made["makings"]
    return found


class _Ways:
    def __init__(self, step: CapturedStep) -> None:
        self.step = step
        self.leaving = frozenset(may_leave(step))
        self.launches = [deed for deed, (doing, _) in enumerate(step.deeds) if doing is Doing.LAUNCH]
        self.kernels = [step.deeds[deed].number for deed in self.launches]
        self.deed_of = dict(zip(self.kernels, self.launches, strict=True))
        self.large = [number for number, block in enumerate(step.blocks) if self._counts(number)]
        self.known = _known_reads(step)
        self.reads: dict[int, frozenset[int]] = {}

    def _counts(self, number: int) -> bool:
        block = self.step.blocks[number]
        return block.taken != BEFORE_STEP and block.size_bytes >= _SMALL_BYTES

    def of(self, number: int) -> Making | None:
        """How a block is made again by when it is needed first; None where it cannot be."""
        step = self.step
        if step.blocks[number].taken == BEFORE_STEP:
            return None
        needed = step.hook_calls[step.stages.needs[number][0] - 1]
        done: set[int] = set()
        sources: set[int] = set()
        inside = {number}
        kernels = makers_of(step, number)
        wanted = self._writers(number, kernels)
        while wanted:
            kernel = wanted.pop()
            kernels.add(kernel)
            done.add(kernel)
            if len(kernels) > _MOST_KERNELS or not self._is_forward(kernel):
                return None
            for read in self._read_by(kernel) - inside - sources:
                if self._is_there(read, needed) and step.blocks[read].operator != step.kernels[kernel].operator:
                    sources.add(read)
                else:
                    inside.add(read)
                    wanted |= self._writers(read, self._between(step.blocks[read].taken, self.deed_of[kernel]))
            wanted -= done
        if any(source > number for source in sources):
            return None  # which of the two would come first
        return Making(tuple(sorted(kernels)), frozenset(sources & self.leaving))

    def _is_forward(self, kernel: int) -> bool:
        return self.step.operators[self.step.kernels[kernel].operator].phase is Phase.FORWARD

    def _is_there(self, number: int, deed: int) -> bool:
        """Whether a block is there when backward comes so far, where nothing leaves."""
        block = self.step.blocks[number]
        dies = block.given if block.given_hooked is None else block.given_hooked
        return dies is None or dies > deed

    def _writers(self, number: int, kernels: Iterable[int]) -> set[int]:
        """Those of these kernels that may write a block: all of its own operator, of others those that are not known to
        write into what they took alone."""
        own = self.step.blocks[number].operator
        operators = {kernel: self.step.kernels[kernel].operator for kernel in kernels}
        return {n for n, operator in operators.items() if operator == own or not self._writes_its_own(operator)}

    def _writes_its_own(self, operator: int) -> bool:
        """By PyTorch's names: what works in place ends in an underscore."""
        name = self.step.operators[operator].name
        return name.startswith("aten::") and not name.endswith("_")

    def _between(self, first: int, last: int) -> list[int]:
        """The kernels launched from one deed on and before another."""
        return self.kernels[bisect_left(self.launches, first) : bisect_left(self.launches, last)]

    def _read_by(self, kernel: int) -> frozenset[int]:
        """What a kernel may read."""
        if kernel not in self.reads:
            deed = self.deed_of[kernel]
            known = self.known.get(kernel)
            there = self._held_at(deed) if known is None else (n for n in known if self._counts(n))
            self.reads[kernel] = frozenset(there)
        return self.reads[kernel]

    def _held_at(self, deed: int) -> Iterator[int]:
        """What somebody but autograd holds when this is done."""
        for number in self.large:
            block = self.step.blocks[number]
            held = block.given if block.released is None else block.released
            if block.taken < deed and (held is None or held >= deed):
                yield number


def _known_reads(step: CapturedStep) -> dict[int, frozenset[int]]:
    """What is read by kernels launched behind the saves of all that their operator reads: that, and what it took."""
    found: dict[int, frozenset[int]] = {}
    saved: list[SavedTensor] = []
    since: list[SavedTensor] = []
    own: set[int] = set()
    operator = None
    for doing, number in step.deeds:
        if doing is Doing.NEED:
            break
        if doing is Doing.SAVE:
            since.append(step.saved[number])
            continue
        now = step.blocks[number].operator if doing is Doing.TAKE else step.kernels[number].operator
        if now != operator:  # what is saved right before an operator's first deed is so by it, or what another made
            operator, own, saved = now, set(), []
            since = [one for one in since if one.attribute in _INPUTS.get(_node(one), ())]
        saved += since
        since = []
        if doing is Doing.TAKE:
            own.add(number)
        elif _are_all(saved):
            found[number] = frozenset(own.union(one.block for one in saved))
    return found


def _are_all(saved: list[SavedTensor]) -> bool:
    """Whether one node saved these, all that its operator reads among them."""
    nodes = {_node(one) for one in saved}
    if len(nodes) != 1 or not (inputs := _INPUTS.get(nodes.pop())):
        return False
    return inputs <= {one.attribute for one in saved}


def _node(saved: SavedTensor) -> str:
    return saved.node.rstrip("0123456789")
