"""From recordings of the same step under different circumstances to one captured step. Knows no PyTorch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from vdnnsim.captured.checks import COULD_GO
from vdnnsim.captured.step import BEFORE_STEP, Block, BlockClass, Deed, Doing
from vdnnsim.profiler.lives import DeedNumbers, behind_own_hooks, lives
from vdnnsim.profiler.operators import Operators
from vdnnsim.profiler.order import (
    ALIKE,
    StepsDiffer,
    check_same_deeds,
    check_same_operators,
    happenings,
    host_kernels,
    operators_of,
)
from vdnnsim.profiler.recording import LEAD_IN, STEP, Does, Happening, Recorded
from vdnnsim.pytorch.packed import Label, Packed

_DOING = {Does.TAKE: Doing.TAKE, Does.LAUNCH: Doing.LAUNCH, Does.SAVE: Doing.SAVE, Does.NEED: Doing.NEED}
_LIBRARY_KINDS = ("gemm", "convolution", "attention")
_CLASS_OF_NAME = {
    "parameter": BlockClass.PARAMETER,
    "buffer": BlockClass.PARAMETER,
    "gradient": BlockClass.GRADIENT,
    "state": BlockClass.OPTIMISER_STATE,
}
Key = tuple[str, int | str]
"""What a block from before the step goes by in all recordings: ("lead-in", which one of those that the step before
took), ("name", by which model or optimiser hold it), or ("address", ...), where it stays."""


class Before(NamedTuple):
    """A block that is there when the step begins."""

    key: Key
    size_bytes: int
    holds: BlockClass
    name: str


@dataclass(frozen=True)
class View:
    """A recorded step in order, with what the step before left behind: by address which of its blocks it is."""

    recorded: Recorded
    happenings: list[Happening]
    left: Mapping[int, int]
    left_bytes: Mapping[int, int]
    kernels: Sequence[int] | None = None

    @classmethod
    def of(cls, recorded: Recorded, kernels: Sequence[int] | None) -> View:
        recording = recorded.recording
        window = recording.window(STEP)
        ordered = happenings(recording, window, kernels)
        if recorded.asked is not None:
            ordered = with_asked_sizes(ordered, recorded.asked)
        begin_ns, _ = recording.window(LEAD_IN)
        left: dict[int, int] = {}
        sizes: dict[int, int] = {}
        taken = 0
        for event in recording.memory:
            if begin_ns <= event.at_ns < window[0]:
                if event.size_bytes > 0:
                    left[event.address], sizes[event.address] = taken, event.size_bytes
                    taken += 1
                else:
                    left.pop(event.address, None)
        if recorded.memory is not None:
            asked = recorded.memory.blocks
            sizes |= {address: asked[address][0] for address in left if address in asked}
        return cls(recorded, ordered, left, sizes, kernels)

    def addresses(self, before: Sequence[Before]) -> dict[int, int]:
        """The numbers of blocks from before, by their addresses in this recording."""
        of_lead_in = {number: address for address, number in self.left.items()}
        found = {}
        for number, one in enumerate(before):
            kind, what = one.key
            match kind:
                case "lead-in":
                    found[of_lead_in[int(what)]] = number
                case "name" if what in self.recorded.known:
                    found[self.recorded.known[str(what)][0]] = number
                case "address":
                    found[int(what)] = number
        return found


def keeping_view(recorded: Recorded, host_runs_kernels: bool) -> View:
    """The step with hooks that keep everything: its order is the step's."""
    recording = recorded.recording
    kernels = host_kernels(recording, recording.window(STEP)) if host_runs_kernels else None
    return View.of(recorded, kernels)


def other_view(recorded: Recorded, keeping: View, operators: Operators, what: str) -> View:
    """Another recording of the same step. Raises `StepsDiffer` where it does something else."""
    if keeping.kernels is not None:
        expected = keeping.recorded.recording
        names = [expected.ranges[number].name for number in operators_of(expected, expected.window(STEP))]
        check_same_operators(recorded.recording, recorded.recording.window(STEP), names, what)
    view = View.of(recorded, keeping.kernels)
    check_same_deeds(view.happenings, keeping.happenings, what, operators.said)
    if set(view.left.values()) != set(keeping.left.values()):
        raise StepsDiffer(
            f"{what}: the step before it left {len(view.left)} blocks behind, in the step captured first it was "
            f"{len(keeping.left)}; {ALIKE}"
        )
    return view


@dataclass
class Blocks:
    """The blocks of a step, as far as recordings have told."""

    keeping: View
    packed: Sequence[Packed]
    labels: Mapping[int, Label]
    gradients_at: Sequence[Sequence[int]]
    before: list[Before] = field(init=False)
    of_saved: list[int] = field(init=False)
    numbers: DeedNumbers = field(init=False)
    deeds: list[Deed] = field(init=False)
    gradients: frozenset[int] = field(init=False)
    given: Mapping[int, int] = field(default_factory=dict)
    released: Mapping[int, int] = field(default_factory=dict)
    fetched_given: Mapping[int, int] = field(default_factory=dict)
    given_hooked: Mapping[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.numbers = DeedNumbers.of(self.keeping.happenings)
        self.before = _before(self.keeping)
        addresses = [one.address for one in self.packed]
        unknown = self._follow(addresses)
        if unknown:
            self.before += unknown
            self._follow(addresses)
        for block in {block for block in self.of_saved if block < len(self.before)}:
            if self.before[block].holds is BlockClass.OTHER:
                self.before[block] = self.before[block]._replace(holds=BlockClass.INPUT)
        self.deeds = self._deeds()

    def _follow(self, addresses: Sequence[int]) -> list[Before]:
        """Follow the blocks; return what is saved and lies in none that is known."""
        there = self.keeping.addresses(self.before)
        found = lives(
            self.keeping.happenings,
            self.numbers,
            there,
            len(self.before),
            saved_at=addresses,
            gradients_at=self.gradients_at,
        )
        self.gradients = found.gradients
        self.given_hooked, self.of_saved = found.given, [found.saved.get(n, -1) for n in range(len(addresses))]
        sizes = {
            one.address: one.storage_bytes for one, block in zip(self.packed, self.of_saved, strict=True) if block < 0
        }
        return [Before(("address", address), size, BlockClass.INPUT, "") for address, size in sizes.items()]

    def _deeds(self) -> list[Deed]:
        taken, launched = len(self.before), 0
        deeds = []
        for one in self.keeping.happenings:
            match one.does:
                case Does.TAKE:
                    number, taken = taken, taken + 1
                case Does.LAUNCH:
                    number, launched = launched, launched + 1
                case Does.SAVE | Does.NEED:
                    number = one.number
                case _:
                    continue
            deeds.append(Deed(_DOING[one.does], number))
        return deeds

    def without_hooks(self, plain: View) -> None:
        """Take lives from the step that was recorded without hooks."""
        found = lives(plain.happenings, self.numbers._replace(hooks=()), plain.addresses(self.before), len(self.before))
        calls: dict[int, list[int]] = {}
        for n in self.numbers.hooks:
            calls.setdefault(self.of_saved[self.deeds[n].number], []).append(n)
        self.given = behind_own_hooks(found.given, self.numbers, calls)

    def when_all_leave(self, leaving: View) -> None:
        """Take from the step in which everything leaves behind which deeds blocks die that autograd does not hold, and
        those fetched in their place."""
        there = leaving.addresses(self.before)
        found = lives(leaving.happenings, self.numbers, there, len(self.before), self.of_saved)
        self.released, self.fetched_given = found.given, found.fetched

    def stays(self, smallest_bytes: int) -> list[str]:
        """Of each saved tensor why its block does not leave, "" where it may."""
        reasons: dict[int, str] = {}
        for one, block in zip(self.packed, self.of_saved, strict=True):
            reasons[block] = reasons.get(block) or one.stays or self._block_stays(block, smallest_bytes)
        for block in self._saved_again():
            reasons[block] = reasons[block] or "saved again after it was needed"
        return [reasons[block] for block in self.of_saved]

    def leaving(self, stays: Sequence[str]) -> list[int | None]:
        """Of each saved tensor its block, None where that stays even in the step in which everything leaves: what is
        small and copies of weights leave there as well, since a plan may ask for them."""
        beyond = self._saved_again()
        return [
            block if not why or (why in COULD_GO and block in self.given and block not in beyond) else None
            for why, block in zip(stays, self.of_saved, strict=True)
        ]

    def _saved_again(self) -> set[int]:
        """Blocks of which more is saved after backward needed something of them, as reentrant checkpoints do."""
        needed: set[int] = set()
        found: set[int] = set()
        for doing, number in self.deeds:
            if doing is Doing.NEED:
                needed.add(self.of_saved[number])
            elif doing is Doing.SAVE and self.of_saved[number] in needed:
                found.add(self.of_saved[number])
        return found

    def _block_stays(self, block: int, smallest_bytes: int) -> str:
        if block < len(self.before):
            one = self.before[block]
            if not one.size_bytes:
                return "no memory of the device"
            return one.name.split()[0] if one.name else "input"
        if self.size_bytes(block) < smallest_bytes:
            return "small"
        return "" if block in self.given else "held beyond the step"

    def size_bytes(self, block: int) -> int:
        """As asked for."""
        return self.before[block].size_bytes if block < len(self.before) else self._taken[block - len(self.before)][0]

    @cached_property
    def _taken(self) -> list[tuple[int, int | None]]:
        """Of the blocks that the step takes size and range."""
        return [(one.size_bytes, one.within) for one in self.keeping.happenings if one.does is Does.TAKE]

    def listed(self, plain: View, operators: Operators, kinds: Sequence[str]) -> tuple[Block, ...]:
        """All blocks. `kinds` are those of the kernels, `operators` numbers the operators that take blocks."""
        saved = set(self.of_saved)
        addresses = {number: address for address, number in plain.addresses(self.before).items()}
        held = plain.recorded.memory.blocks if plain.recorded.memory is not None else {}
        taken_at = [one.number for one in plain.happenings if one.does is Does.TAKE]
        found = []
        for number, one in enumerate(self.before):
            address = addresses.get(number, 0)
            lives_ = (self.given.get(number), self.given_hooked.get(number))
            _, held_bytes = held.get(address, (0, 0))
            found.append(Block(one.size_bytes, one.holds, BEFORE_STEP, *lives_, address=address, held_bytes=held_bytes))
        takes = (n for n, deed in enumerate(self.deeds) if deed.doing is Doing.TAKE)
        library = self._library_blocks(operators, kinds)
        for number, (deed, (size, within), address) in enumerate(
            zip(takes, self._taken, taken_at, strict=True), len(self.before)
        ):
            holds = (
                BlockClass.GRADIENT
                if number in self.gradients
                else BlockClass.SAVED
                if number in saved
                else BlockClass.WORKSPACE
                if number in library
                else BlockClass.OTHER
            )
            fetched = self.fetched_given.get(number)
            found.append(
                Block(
                    size,
                    holds,
                    deed,
                    self.given.get(number),
                    self.given_hooked.get(number),
                    self.released.get(number) if fetched is not None else None,
                    fetched,
                    operators.number(within),
                    address,
                )
            )
        return tuple(found)

    def _library_blocks(self, operators: Operators, kinds: Sequence[str]) -> set[int]:
        """What libraries take for one kernel: blocks that live within one call of an operator of theirs."""
        recording = self.keeping.recorded.recording
        live: dict[int, tuple[int, int | None, str]] = {}
        found = set()
        taken, launched, kind = len(self.before), 0, ""
        for one in self.keeping.happenings:
            if one.does is Does.TAKE:
                live[one.number] = (taken, operators.innermost(one.within), "")
                taken += 1
            elif one.does is Does.LAUNCH:
                kind, launched = kinds[launched], launched + 1
                if kind in _LIBRARY_KINDS:
                    around = operators.innermost(one.within)
                    live |= {at: (n, op, kind) for at, (n, op, _) in live.items() if op == around}
            elif one.does is Does.GIVE and one.number in live:
                number, operator, kind = live.pop(one.number)
                if kind and operator is not None and operator in recording.chain(one.within):
                    found.add(number)
        return found


def with_asked_sizes(happenings: Sequence[Happening], asked: Sequence[tuple[int, int]]) -> list[Happening]:
    """Blocks taken, of the size that was asked for: what the profiler tells is what the allocator held for them, which
    depends on the pieces that it had. `asked` are address and size of all, in order. Raises `StepsDiffer` where the
    allocator's history and the profiler tell of other blocks."""
    taken = [one.number for one in happenings if one.does in (Does.TAKE, Does.FETCH)]
    if taken != [address for address, _ in asked]:
        same = next((n for n, (one, (other, _)) in enumerate(zip(taken, asked, strict=False)) if one != other), None)
        first = min(len(taken), len(asked)) if same is None else same
        raise StepsDiffer(
            f"memory: the profiler saw {len(taken)} blocks taken, the allocator's history {len(asked)}, or others (the "
            f"first is number {first + 1}); expected the same; is another thread at work on this device?"
        )
    sizes = iter(asked)
    return [
        one._replace(size_bytes=next(sizes)[1]) if one.does in (Does.TAKE, Does.FETCH) else one for one in happenings
    ]


def _before(view: View) -> list[Before]:
    found: dict[int, Before] = {}
    for name, (address, size) in view.recorded.known.items():
        if address not in found:
            key: Key = ("lead-in", view.left[address]) if address in view.left else ("name", name)
            found[address] = Before(key, size, _CLASS_OF_NAME[name.split()[0]], name)
    for address, number in sorted(view.left.items(), key=lambda one: one[1]):
        if address not in found:
            found[address] = Before(("lead-in", number), view.left_bytes[address], BlockClass.OTHER, "")
    if view.recorded.memory is not None:
        for address, (size, _) in sorted(view.recorded.memory.blocks.items()):
            if address not in found:
                found[address] = Before(("address", address), size, BlockClass.OTHER, "")
            else:
                found[address] = found[address]._replace(size_bytes=size)
    return list(found.values())


def peak_bytes(blocks: Sequence[Block], deeds: Sequence[Deed]) -> int:
    """The most at once in a step without hooks, as its blocks add up."""
    dying: Counter[int] = Counter()
    for block in blocks:
        if block.given is not None:
            dying[block.given] += block.size_bytes
    now = most = sum(block.size_bytes for block in blocks if block.taken == BEFORE_STEP)
    now -= dying[BEFORE_STEP]
    for number, deed in enumerate(deeds):
        if deed.doing is Doing.TAKE:
            now += blocks[deed.number].size_bytes
            most = max(most, now)
        now -= dying[number]
    return most
