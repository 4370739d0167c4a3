"""Blocks that are dropped and made again: the kernels of forward operators run once more, with the blocks they take.

This is what `torch.utils.checkpoint` does of a module. Which kernel reads what was not captured, so that nobody can
check that what is run again finds what it reads: whoever writes such a schedule says so, as who checkpoints a module
does, whose inputs are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from vdnnsim.captured.agenda import block_name
from vdnnsim.captured.checks import broken, check_stages_of_need, why_it_cannot_go
from vdnnsim.captured.iteration import kernel_keys
from vdnnsim.captured.step import BEFORE_STEP, CapturedStep, Doing, Phase
from vdnnsim.errors import InvalidInput
from vdnnsim.iteration import Key, Remake


class Again(NamedTuple):
    """Operators that run again in a stage: deeds of forward, and the blocks that are kept of what they take."""

    deeds: tuple[int, ...]
    kept: frozenset[int]


def checked_remake(step: CapturedStep, number: int, remake: Remake) -> Remake:
    """The same, where it can be. Raises `BrokenSchedule`."""
    name = block_name(number)
    dropped, again, by = remake
    if reason := why_it_cannot_go(step, number):
        raise broken(step, name, dropped, "that it is dropped", f"that it stays: {reason}")
    last_save = step.stages.leaves(number)
    if dropped < last_save:
        found = "that it is dropped before all that lies in it is saved"
        raise broken(step, name, dropped, found, f"then, in stage {last_save}")
    check_stages_of_need(step, name, dropped, again, step.stages.needs[number][0])
    numbers = _numbers(step)
    unknown = [key for key in by if key not in numbers]
    if unknown:
        raise broken(step, name, again, f"made again by {' '.join(unknown[0])}", "by kernels of forward")
    kernels = [numbers[key] for key in by]
    if kernels != sorted(set(kernels)):
        raise broken(step, name, again, "kernels out of order", "each once, in the order of forward")
    makers = makers_of(step, number) if step.blocks[number].taken != BEFORE_STEP else set()
    if not makers or not makers.issubset(kernels):
        rule = f"all {len(makers)} between its take and its save" if makers else "a kernel that makes it"
        raise broken(step, name, again, f"made again by {len(set(kernels) & makers)} of its makers", rule)
    return remake


def again_of(step: CapturedStep, remakes: Mapping[int, Remake]) -> dict[int, list[Again]]:
    """By stage what runs again there; blocks that the same kernels make are made at once."""
    if not remakes:
        return {}
    groups: dict[tuple[int, tuple[Key, ...]], set[int]] = {}
    for number, remake in remakes.items():
        groups.setdefault((remake.again, remake.by), set()).add(number)
    found: dict[int, list[Again]] = {}
    known = step.made.setdefault("deeds again", {})
    for (stage, by), kept in groups.items():
        what = by, frozenset(kept)
        if what not in known:
            numbers = _numbers(step)
            known[what] = _deeds_again(step, {numbers[key] for key in by}, kept)
        found.setdefault(stage, []).append(Again(known[what], frozenset(kept)))
    return found


def _deeds_again(step: CapturedStep, kernels: set[int], kept: set[int]) -> tuple[int, ...]:
    """The launches of these kernels, and the takes of what is kept and of what their operators take for them: of the
    kernels behind a take the first tells whether it is for one of these."""
    operators = {step.kernels[kernel].operator for kernel in kernels}
    follows: dict[int | None, int] = {}
    found = []
    for place in range(len(step.deeds) - 1, -1, -1):
        doing, number = step.deeds[place]
        if doing is Doing.LAUNCH:
            follows[step.kernels[number].operator] = number
            wanted = number in kernels
        else:
            operator = step.blocks[number].operator if doing is Doing.TAKE else None
            own = operator in operators and (operator not in follows or follows[operator] in kernels)
            wanted = own or (doing is Doing.TAKE and number in kept)
        if wanted:
            found.append(place)
    return tuple(reversed(found))


def remake_modules(step: CapturedStep, modules: Iterable[str]) -> dict[str, Remake]:
    """What checkpointing these modules does: what one makes and alone saves in a forward is dropped at its save, and
    made again, by all its kernels of that forward, at the first need of any of it. Raises `InvalidInput` for a module
    that has no such tensor."""
    keys = kernel_keys(step)
    savers: dict[int, set[str]] = {}
    for saved in step.saved:
        savers.setdefault(saved.block, set()).add(saved.module)
    found: dict[str, Remake] = {}
    for module in modules:
        alone = {
            number
            for number, saved_by in savers.items()
            if all(_is_in(saver, module) for saver in saved_by) and not why_it_cannot_go(step, number)
        }
        remakes: dict[str, Remake] = {}
        for own in _forwards(step, module):
            kernels = [number for number, kernel in enumerate(step.kernels) if kernel.operator in own]
            made = [number for number in alone if step.blocks[number].operator in own]
            made = [number for number in made if (makers := makers_of(step, number)) and makers.issubset(kernels)]
            again = min((step.stages.needs[number][0] for number in made), default=0)
            dropped = {block_name(number): step.stages.leaves(number) for number in made}
            # What a later forward saves once more stays.
            by = tuple(keys[number] for number in kernels)
            remakes |= {name: Remake(stage, again, by) for name, stage in dropped.items() if stage < again}
        if not remakes:
            raise InvalidInput(
                f"module '{module}' of {step.header.name}: found no tensor that it alone makes and saves"
            )
        found |= remakes
    return found


def _forwards(step: CapturedStep, module: str) -> list[set[int]]:
    """A module's operators of each forward of a step: with gradient accumulation there are several, each with its own
    backward."""
    found: dict[int, set[int]] = {}
    backwards = 0
    for number, operator in enumerate(step.operators):
        if operator.phase is Phase.BACKWARD:
            backwards += 1
        elif operator.phase is Phase.FORWARD and _is_in(operator.module, module):
            found.setdefault(backwards, set()).add(number)
    return list(found.values())


def _is_in(module: str, other: str) -> bool:
    return f"{module}.".startswith(f"{other}.")


def makers_of(step: CapturedStep, number: int) -> set[int]:
    """The kernels that may have written a block until it was saved: those launched since it was taken."""
    deeds = step.deeds[step.blocks[number].taken : step.hook_calls[step.stages.leaves(number) - 1]]
    return {deed.number for deed in deeds if deed.doing is Doing.LAUNCH}


def _numbers(step: CapturedStep) -> dict[Key, int]:
    """The kernels of forward by their keys; found once."""
    if "numbers" not in step.made:
        step.made["numbers"] = _found_numbers(step)
    found: dict[Key, int] = step.made["numbers"]
    return found


def _found_numbers(step: CapturedStep) -> dict[Key, int]:
    forward = (step.operators[kernel.operator].phase is Phase.FORWARD for kernel in step.kernels)
    return {key: number for number, (key, is_it) in enumerate(zip(kernel_keys(step), forward, strict=True)) if is_it}
