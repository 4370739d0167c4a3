"""When blocks die: deeds that are the same in all recorded steps, and blocks that die elsewhere in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vdnnsim.captured.step import BEFORE_STEP
from vdnnsim.profiler.recording import Does, Happening

_DEEDS = (Does.TAKE, Does.LAUNCH, Does.SAVE, Does.NEED)


class DeedNumbers(NamedTuple):
    """Where things stand among the deeds of the step: `done` of the blocks taken and launches, in order, `hooks` of the
    calls of hooks."""

    done: Sequence[int]
    hooks: Sequence[int]

    @classmethod
    def of(cls, happenings: Sequence[Happening]) -> DeedNumbers:
        """Of the step whose order is the step's: the one with hooks that keep everything."""
        deeds = [one for one in happenings if one.does in _DEEDS]
        done = [n for n, one in enumerate(deeds) if one.does in (Does.TAKE, Does.LAUNCH)]
        return cls(done, [n for n, one in enumerate(deeds) if one.does in (Does.SAVE, Does.NEED)])


class Lives(NamedTuple):
    """Behind which deed each block died, by its number; those that did not are left out. `fetched`: blocks taken by a
    hook in their place. `saved`: the block that each saved tensor lies in, where it is known;
    `gradients`: blocks at the addresses of gradients, when those were looked at."""

    given: Mapping[int, int]
    fetched: Mapping[int, int]
    saved: Mapping[int, int]
    gradients: frozenset[int]


def lives(
    happenings: Sequence[Happening],
    numbers: DeedNumbers,
    there: Mapping[int, int],
    first: int,
    block_of_saved: Sequence[int] = (),
    saved_at: Sequence[int] = (),
    gradients_at: Sequence[Sequence[int]] = (),
) -> Lives:
    """Follow the blocks of one recorded step. `there` are those that are there when it begins, by address; those that
    it takes have the numbers from `first` on. `block_of_saved` where hooks fetch; `saved_at`, the addresses of saved
    tensors' storages, and `gradients_at`, those of gradients at each look, where their blocks are to be found."""
    live = dict(there)
    fetched_live: dict[int, int] = {}
    given: dict[int, int] = {}
    fetched: dict[int, int] = {}
    saved: dict[int, int] = {}
    gradients: set[int] = set()
    done, hooks = iter(numbers.done), iter(numbers.hooks)
    behind, needed = BEFORE_STEP, 0
    for one in happenings:
        match one.does:
            case Does.TAKE:
                behind = next(done)
                live[one.number] = first
                first += 1
            case Does.LAUNCH:
                behind = next(done)
            case Does.SAVE | Does.NEED:
                behind, needed = next(hooks), one.number
                if one.does is Does.SAVE and saved_at and saved_at[needed] in live:
                    saved[needed] = live[saved_at[needed]]
            case Does.LOOK:
                gradients |= {live[address] for address in gradients_at[one.number] if address in live}
            case Does.FETCH:
                fetched_live[one.number] = block_of_saved[needed]
            case Does.GIVE if one.number in fetched_live:
                fetched[fetched_live.pop(one.number)] = behind
            case Does.GIVE if one.number in live:
                given[live.pop(one.number)] = behind
            case Does.GIVE:
                pass  # a block from before that nothing knows of: it counts in no sum
    return Lives(given, fetched, saved, frozenset(gradients))


def behind_own_hooks(
    given: Mapping[int, int], numbers: DeedNumbers, hooks_of_block: Mapping[int, Sequence[int]]
) -> dict[int, int]:
    """Lives in a step without hooks, where the calls of hooks stand among its deeds: a block that dies between two
    things that are done dies behind those calls between them that are of itself."""
    found = dict(given)
    done = [*numbers.done, max((*numbers.done, *numbers.hooks), default=0) + 1]
    following = dict(zip((BEFORE_STEP, *done), done, strict=False))
    for block, calls in hooks_of_block.items():
        if block in found:
            end = following[found[block]]
            found[block] = max((found[block], *(call for call in calls if call < end)))
    return found
