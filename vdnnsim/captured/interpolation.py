"""A captured step for a setting that nobody captured: linear between two that somebody did, never beyond them.

Both must do the same things in the same order; then every kernel, gap and launch lies on a straight line between its
two, and so does the size of every block. Where blocks lay in the allocator is not known. How far off that is, is said
by leaving out: each captured setting between two others is interpolated from these as well, and compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import NamedTuple

from vdnnsim.captured.step import Block, CapturedStep, ModelKernel, SavedTensor, Seen
from vdnnsim.errors import InvalidInput
from vdnnsim.units import PPM

INTERPOLATED = "interpolated"
"""The condition in the header of such a step, which says between what, and how far off."""


class Errors(NamedTuple):
    """The largest leave-one-out errors, in millionths of the sum: of the kernels' times, of the blocks' sizes. None
    where there are not three settings alike to leave one out of."""

    kernels_ppm: int | None
    blocks_ppm: int | None

    def __str__(self) -> str:
        told = [
            f"of {what} " + ("unknown" if error_ppm is None else f"{error_ppm / 10_000:.1f} %")
            for what, error_ppm in (("kernel times", self.kernels_ppm), ("blocks' sizes", self.blocks_ppm))
        ]
        return f"leave-one-out error {', '.join(told)}"


class _Line:
    """The straight line between two settings, at a third."""

    def __init__(self, low: int, high: int, at: int) -> None:
        self.part, self.span = at - low, high - low

    def at(self, left: int, right: int) -> int:
        """To the nearest whole number."""
        return left + ((right - left) * self.part + self.span // 2) // self.span

    def size(self, left: int, right: int) -> int:
        """Rounded up."""
        return left - (left - right) * self.part // self.span

    def all(self, left: Sequence[int], right: Sequence[int]) -> tuple[int, ...]:
        return tuple(self.size(*pair) for pair in zip(left, right, strict=True))


def interpolate_step(varied: str, steps: Mapping[int, CapturedStep], at: int) -> CapturedStep:
    """The step at a setting between captured ones, which are given by their settings. Raises `InvalidInput` where it
    does not lie between two, or these differ in what they do."""
    below = [value for value in steps if value < at]
    above = [value for value in steps if value > at]
    if not below or not above:
        raise InvalidInput(f"{varied}: found {at}, expected one between captured ones: {sorted(steps)}")
    low, high = max(below), min(above)
    if difference := first_difference(steps[low], steps[high]):
        raise InvalidInput(
            f"{varied}: found {at}; the captures of {varied} {low} and {high} differ in what they do: {difference}; "
            f"nothing can be interpolated between them: capture {varied} {at}"
        )
    told = f"modelled: linear in {varied} between {low} and {high}; {leave_one_out_errors(steps)}."
    return _between(varied, (low, steps[low]), (high, steps[high]), at, told)


def leave_one_out_errors(steps: Mapping[int, CapturedStep]) -> Errors:
    """By how much settings between two others are off when they are interpolated."""
    settings = sorted(steps)
    kernels: list[int] = []
    blocks: list[int] = []
    for low, at, high in zip(settings, settings[1:], settings[2:], strict=False):
        own = steps[at]
        if first_difference(steps[low], steps[high]) or first_difference(steps[low], own):
            continue
        made = _between("", (low, steps[low]), (high, steps[high]), at, "")
        times = [(kernel.duration_ns, true.duration_ns) for kernel, true in zip(made.kernels, own.kernels, strict=True)]
        sizes = [(block.size_bytes, true.size_bytes) for block, true in zip(made.blocks, own.blocks, strict=True)]
        kernels.append(_off_ppm(times))
        blocks.append(_off_ppm(sizes))
    return Errors(max(kernels, default=None), max(blocks, default=None))


def _off_ppm(pairs: Sequence[tuple[int, int]]) -> int:
    total = sum(true for _, true in pairs)
    return sum(abs(made - true) for made, true in pairs) * PPM // total if total else 0


def first_difference(one: CapturedStep, other: CapturedStep) -> str:
    """The first thing that two steps do otherwise, in words; "" where they do the same."""
    if one.header.model_sha256 != other.header.model_sha256:
        return "they are of different models"
    parts = (
        ("operator", one.operators, other.operators),
        ("kernel of operator", _operators(one), _operators(other)),
        ("block", [block.taken for block in one.blocks], [block.taken for block in other.blocks]),
        ("saved tensor", list(map(_who, one.saved)), list(map(_who, other.saved))),
        ("deed", one.deeds, other.deeds),
    )
    for what, left, right in parts:
        for number, (own, its) in enumerate(zip_longest(left, right)):
            if own != its:
                return f"{what} {number} is {_shown(own)} in one, {_shown(its)} in the other"
    return ""


def _operators(step: CapturedStep) -> list[int]:
    return [kernel.operator for kernel in step.kernels]


def _who(saved: SavedTensor) -> tuple[object, ...]:
    return saved.block, saved.node, saved.attribute, saved.module, saved.dtype, len(saved.shape)


def _shown(part: object) -> str:
    if part is None:
        return "none"
    return " ".join(str(field) for field in part if field != "") if isinstance(part, tuple) else str(part)


def _between(
    varied: str, low: tuple[int, CapturedStep], high: tuple[int, CapturedStep], at: int, told: str
) -> CapturedStep:
    """What does not lie on a line is that of the nearer one."""
    line = _Line(low[0], high[0], at)
    nearer = low[1] if 2 * line.part <= line.span else high[1]
    left, right = low[1], high[1]
    digests = f"{left.header.order_sha256} {right.header.order_sha256} {at}"
    header = replace(
        nearer.header,
        setting={**nearer.header.setting, varied: at},
        order_sha256=hashlib.sha256(digests.encode()).hexdigest(),
        conditions={INTERPOLATED: told},
    )
    return replace(
        nearer,
        header=header,
        seen=Seen(*(line.at(*pair) for pair in zip(left.seen, right.seen, strict=True))),
        kernels=tuple(map(_kernel, [line] * len(left.kernels), nearer.kernels, left.kernels, right.kernels)),
        blocks=tuple(map(_block, [line] * len(left.blocks), nearer.blocks, left.blocks, right.blocks)),
        saved=tuple(map(_saved, [line] * len(left.saved), nearer.saved, left.saved, right.saved)),
        segments=(),
    )


def _kernel(line: _Line, nearer: ModelKernel, left: ModelKernel, right: ModelKernel) -> ModelKernel:
    return nearer._replace(
        duration_ns=line.at(left.duration_ns, right.duration_ns),
        spread_ppm=max(left.spread_ppm, right.spread_ppm),
        launch_ns=line.at(left.launch_ns, right.launch_ns),
        gap_ns=line.at(left.gap_ns, right.gap_ns),
    )


def _block(line: _Line, nearer: Block, left: Block, right: Block) -> Block:
    return nearer._replace(size_bytes=line.size(left.size_bytes, right.size_bytes), address=0, held_bytes=0)


def _saved(line: _Line, nearer: SavedTensor, left: SavedTensor, right: SavedTensor) -> SavedTensor:
    return nearer._replace(
        shape=line.all(left.shape, right.shape),
        stride=line.all(left.stride, right.stride),
        offset_bytes=line.size(left.offset_bytes, right.offset_bytes),
    )
