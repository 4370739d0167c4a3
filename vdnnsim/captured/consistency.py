"""Whether the records of a captured step speak of each other rightly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vdnnsim.captured.step import BEFORE_STEP, CapturedStep, Doing

_KINDS = {Doing.TAKE: "blocks", Doing.LAUNCH: "kernels", Doing.SAVE: "saved", Doing.NEED: "saved"}


class Wrong(NamedTuple):
    """A field of a record that cannot be, by table and row (counted from 0)."""

    table: str
    row: int
    field: str
    found: str
    expected: str


def wrongs_of(step: CapturedStep) -> list[Wrong]:
    """Everything that cannot be; of what comes later only where what it rests on is right."""
    return list(_numbers(step)) or list(_order(step)) or list(_lives(step))


def _numbers(step: CapturedStep) -> Iterator[Wrong]:
    """Records that there are not."""
    operators, blocks, deeds = len(step.operators), len(step.blocks), len(step.deeds)
    for row, kernel in enumerate(step.kernels):
        if kernel.operator >= operators:
            yield Wrong("kernels", row, "operator", str(kernel.operator), f"one of the {operators}, counted from 0")
    for row, block in enumerate(step.blocks):
        if block.operator is not None and block.operator >= operators:
            yield Wrong("blocks", row, "operator", str(block.operator), f"one of the {operators}, counted from 0")
        for field in ("taken", "given", "given_hooked", "released", "fetched_given"):
            deed = getattr(block, field)
            if deed is not None and not BEFORE_STEP <= deed < deeds:
                yield Wrong("blocks", row, field, str(deed), f"one of the {deeds} deeds, counted from 0")
    for row, saved in enumerate(step.saved):
        if saved.block >= blocks:
            yield Wrong("saved", row, "block", str(saved.block), f"one of the {blocks}, counted from 0")
        elif saved.offset_bytes > step.blocks[saved.block].size_bytes:
            size = step.blocks[saved.block].size_bytes
            yield Wrong("saved", row, "offset_bytes", str(saved.offset_bytes), f"at most the {size} of its block")
        if len(saved.stride) != len(saved.shape):
            yield Wrong("saved", row, "stride", str(len(saved.stride)), f"{len(saved.shape)} numbers, as shape has")
    counts = {"blocks": blocks, "kernels": len(step.kernels), "saved": len(step.saved)}
    for row, (doing, number) in enumerate(step.deeds):
        if number >= counts[_KINDS[doing]]:
            expected = f"one of the {counts[_KINDS[doing]]} in {_KINDS[doing]}, counted from 0"
            yield Wrong("deeds", row, "number", str(number), expected)
    for row, segment in enumerate(step.segments):
        if not segment.size_bytes:
            yield Wrong("segments", row, "size_bytes", "0", "1 or more")
    if not step.kernels:
        yield Wrong("kernels", 0, "table", "no rows", "a row for each kernel")


def _order(step: CapturedStep) -> Iterator[Wrong]:
    """Kernels and saves come in order and once, blocks where they say, needs behind their saves."""
    taken = {block.taken: number for number, block in enumerate(step.blocks) if block.taken != BEFORE_STEP}
    next_one = {Doing.LAUNCH: 0, Doing.SAVE: 0}
    for row, (doing, number) in enumerate(step.deeds):
        if doing is Doing.TAKE:
            if taken.pop(row, None) != number:
                rule = f"the block whose row says that deed {row} takes it"
                yield Wrong("deeds", row, "number", f"block {number}", rule)
        elif doing is Doing.NEED:
            if number >= next_one[Doing.SAVE]:
                yield Wrong("deeds", row, "number", f"a need of {number}", "one of what was saved before")
        elif number != next_one[doing]:
            yield Wrong("deeds", row, "number", f"{doing} {number}", f"{doing} {next_one[doing]}: they come in order")
            return
        else:
            next_one[doing] += 1
    for deed, number in taken.items():
        yield Wrong("blocks", number, "taken", str(deed), "a deed that takes it, or that of no other block")
    for doing, table in ((Doing.LAUNCH, step.kernels), (Doing.SAVE, step.saved)):
        if next_one[doing] < len(table):
            expected = f"a deed that does it: {doing} {next_one[doing]}"
            yield Wrong(_KINDS[doing], next_one[doing], "row", "no deed", expected)


def _lives(step: CapturedStep) -> Iterator[Wrong]:
    """No block is saved before it is taken, or dies before that, or before what lies in it is needed for the last
    time."""
    calls, stages = step.hook_calls, step.stages
    for number, block in enumerate(step.blocks):
        saves, needs = stages.saves.get(number, ()), stages.needs.get(number, ())
        if saves and block.taken > calls[saves[0] - 1]:
            expected = f"{calls[saves[0] - 1]} or earlier: it is saved then"
            yield Wrong("blocks", number, "taken", str(block.taken), expected)
        last_use = max([block.taken, *(calls[stage - 1] for stage in (*saves[-1:], *needs[-1:]))])
        for field, least in (
            ("given", last_use),
            ("given_hooked", last_use),
            ("released", calls[saves[0] - 1] if saves else block.taken),
            ("fetched_given", calls[needs[-1] - 1] if needs else block.taken),
        ):
            deed = getattr(block, field)
            if deed is not None and deed < least:
                yield Wrong("blocks", number, field, str(deed), f"{least} or later: it is still in use then")
