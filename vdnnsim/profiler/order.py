"""A recorded step as a list of happenings in the host's order; the same whether a GPU runs the kernels or the host.

On the CPU operators are the kernels. One counts for the operators in it where it takes memory or saves tensors itself:
that is where PyTorch's own code computes. So does one that changes a tensor in place. Others only call operators
("aten::linear"), make views or take memory. A kernel stands behind the last block that its operator takes: before what
it saves of its results, behind what it writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest

from vdnnsim.errors import InvalidInput
from vdnnsim.profiler.recording import GRADIENTS, NEED, SAVE, Does, Happening, Recording

_VIEWS = (
    "_reshape_alias _unsafe_view alias as_strided as_strided_ broadcast_tensors chunk contiguous detach detach_ "
    "diagonal expand expand_as flatten movedim narrow numpy_T permute real reshape resolve_conj resolve_neg select "
    "slice split split_with_sizes squeeze swapaxes t to transpose unbind unflatten unfold unsafe_chunk unsafe_split "
    "unsqueeze view view_as view_as_complex view_as_real"
)
_OTHERS = (
    "_local_scalar_dense empty empty_like empty_permuted empty_strided is_nonzero item lift_fresh new_empty "
    "new_empty_strided resize_ result_type set_"
)
_NO_WORK = frozenset(f"aten::{name}" for name in f"{_VIEWS} {_OTHERS}".split())
"""Operators that compute nothing themselves; what they call may."""
_TRANSPARENT = ("autograd::", "torch::autograd::", "profiler::")
_MARKS = {SAVE: Does.SAVE, NEED: Does.NEED, GRADIENTS: Does.LOOK}
Window = tuple[int, int]
"""Begin and end on the recording's clock in nanoseconds."""


ALIKE = "every step must do the same (same shapes, no choice by chance or value, not a loader's next batch)"


class StepsDiffer(InvalidInput):
    """Two runs of a step that should do the same do not: shapes change, or what runs depends on chance or time."""


def operators_of(recording: Recording, window: Window) -> list[int]:
    """The numbers of the ranges that are operators or nodes, those of our hooks left out, in order."""
    begin_ns, end_ns = window
    return [
        number
        for number, one in enumerate(recording.ranges)
        if one.is_operator and begin_ns <= one.begin_ns < end_ns and number not in recording.hooked
    ]


def host_kernels(recording: Recording, window: Window) -> list[int]:
    """Which of the operators are kernels where the host runs them: places in `operators_of`, of a step whose saved
    tensors are marked."""
    operators = operators_of(recording, window)
    own_work = {event.within for event in recording.memory if event.size_bytes > 0}
    own_work |= {one.parent for one in recording.ranges if one.name.startswith(SAVE)}
    has_operators = {recording.ranges[number].parent for number in operators}
    kernels: list[int] = []
    inside: set[int | None] = set()
    for place, number in enumerate(operators):
        one = recording.ranges[number]
        computes = number in own_work or number not in has_operators or one.name.endswith("_")
        if one.parent in inside:
            inside.add(number)
        elif computes and _may_compute(one.name):
            inside.add(number)
            kernels.append(place)
    return kernels


def _may_compute(name: str) -> bool:
    return "::" in name and not name.startswith(_TRANSPARENT) and name not in _NO_WORK


def happenings(recording: Recording, window: Window, kernels: Sequence[int] | None) -> list[Happening]:
    """What happens in a window, in order. `kernels` are those of `host_kernels`, None where a GPU runs them.

    Memory that our own hooks take is a fetch; what they launch is left out.
    """
    found = [*_memory(recording, window), *_marks(recording, window)]
    launches = _gpu_launches(recording, window) if kernels is None else _host_launches(recording, window, kernels)
    found += [((at_ns, 1, place), one) for place, (at_ns, one) in enumerate(launches)]
    return [one for _, one in sorted(found, key=lambda one: one[0])]


_Placed = tuple[tuple[int, int, int], Happening]
"""A happening and where it stands: by time, launches behind others of the same time, then as recorded."""


def _memory(recording: Recording, window: Window) -> Iterator[_Placed]:
    for place, event in enumerate(recording.memory):
        if window[0] <= event.at_ns < window[1]:
            does = Does.GIVE
            if event.size_bytes > 0:
                does = Does.FETCH if recording.in_hook(event.within) else Does.TAKE
            yield (event.at_ns, 0, place), Happening(does, event.address, "", abs(event.size_bytes), event.within)


def _marks(recording: Recording, window: Window) -> Iterator[_Placed]:
    for number, one in enumerate(recording.ranges):
        if window[0] <= one.begin_ns < window[1]:
            for prefix, does in _MARKS.items():
                if one.name.startswith(prefix):
                    which = int(one.name.removeprefix(prefix))
                    yield (one.begin_ns, 0, -1), Happening(does, which, "", 0, number)


def _gpu_launches(recording: Recording, window: Window) -> Iterator[tuple[int, Happening]]:
    for place, work in enumerate(recording.gpu_work):
        if window[0] <= work.launch_begin_ns < window[1] and not recording.in_hook(work.within):
            yield work.launch_begin_ns, Happening(Does.LAUNCH, place, work.name, 0, work.within)


def _host_launches(recording: Recording, window: Window, kernels: Sequence[int]) -> Iterable[tuple[int, Happening]]:
    operators = operators_of(recording, window)
    last_taken_ns = {number: recording.ranges[number].begin_ns for number in (operators[place] for place in kernels)}
    for event in recording.memory:
        if event.size_bytes > 0 and not recording.in_hook(event.within):
            for number in recording.chain(event.within):
                if number in last_taken_ns:
                    last_taken_ns[number] = max(last_taken_ns[number], event.at_ns)
    for number, at_ns in last_taken_ns.items():
        yield at_ns, Happening(Does.LAUNCH, number, recording.ranges[number].name, 0, number)


def check_same_operators(one: Recording, window: Window, names: Sequence[str], what: str) -> list[int]:
    """The operators of a window, which must have these names. Raises `StepsDiffer` with the first that has not."""
    operators = operators_of(one, window)
    check_same([one.ranges[number].name for number in operators], names, what, "operator")
    return operators


def check_same_deeds(
    found: Sequence[Happening], expected: Sequence[Happening], what: str, place: Callable[[int | None], str]
) -> None:
    """Two steps must take the same blocks and launch the same kernels in the same order. Raises `StepsDiffer` with the
    first place where they do not; `place` says where in the expected step a range is."""
    done = [one for one in expected if one.does in (Does.TAKE, Does.LAUNCH)]
    check_same(_said(found), _said(expected), what, "block or kernel", lambda n: place(done[n].within))


def check_same(
    found: Sequence[str],
    expected: Sequence[str],
    what: str,
    noun: str,
    place: Callable[[int], str] = lambda _: "",
) -> None:
    """Raise `StepsDiffer` with the first place where two steps differ; both are named as a message may show it."""
    for number, (ours, theirs) in enumerate(zip_longest(found, expected, fillvalue="none")):
        if ours != theirs:
            where = f" ({said})" if number < len(expected) and (said := place(number)) else ""
            raise StepsDiffer(
                f"{what}: {noun} {number + 1}{where} is {ours}, where the step captured first had {theirs}; {ALIKE}"
            )


def _said(happenings: Sequence[Happening]) -> list[str]:
    return [
        f"{one.size_bytes} B" if one.does is Does.TAKE else one.name
        for one in happenings
        if one.does in (Does.TAKE, Does.LAUNCH)
    ]
