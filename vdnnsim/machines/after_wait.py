"""The simulated host after a wait: the first call of each kind costs more, and all that follows it is late.

A script's times from one wait to the next are worked out once, for a host that is warm. Here they are shifted: between
two waits each kind of call has one first call, so that whatever the host does there is late by the sum of the extras of
the kinds called so far. How many kinds those are belongs to the script; what they cost, to the run.

Time counts as waited while the host stands before engines that are not done; its own costs of a synchronise do not. A
synchronise's own extra comes before its waiting begins. A wait for one piece of work is a synchronise; of a stream's
wait, and of calls that put nothing on a stream, no extra is known. An iteration begins as cold as the table knows: the
one before it ended by waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from vdnnsim.gpu import AfterWait, CallKind
from vdnnsim.program import (
    Allocate,
    CopyOut,
    Free,
    HostCall,
    HostUpdate,
    HostWait,
    Kernel,
    NvmeRead,
    NvmeWrite,
    Program,
    StreamWait,
    Synchronise,
)

Stretch = tuple[int, tuple[tuple[int, int], ...] | None, list[int], list[int], list[int]]
"""From one wait to the next: what the host's calls take, what it then waits for (engines, and how many of their pieces
have to be done; None: the end), and when after the wait before the copies out, the copies in and the kernels are ready.
"""


class FirstCalls(NamedTuple):
    """Of one stretch: the kinds called, in the order of their first calls; and for each copy out, copy in, kernel and
    call of the pool how many kinds were called up to it, its own among them."""

    kinds: list[CallKind]
    outs: list[int]
    ins: list[int]
    kernels: list[int]
    memory: list[int]


def first_calls_of(program: Program) -> list[FirstCalls]:
    """The first calls of each of a program's stretches."""
    stretches = [FirstCalls([], [], [], [], [])]
    for command in program.commands:
        kinds, outs, ins, kernels, memory = stretches[-1]
        if isinstance(command, (StreamWait, HostCall, HostUpdate, NvmeWrite, NvmeRead)):
            continue
        if isinstance(command, (Synchronise, HostWait)):
            kinds.append(CallKind.SYNCHRONISE)
            stretches.append(FirstCalls([], [], [], [], []))
            continue
        if isinstance(command, (Allocate, Free)):
            call, places = CallKind.ALLOCATE, memory
        elif isinstance(command, Kernel):
            call, places = CallKind.KERNEL, kernels
        else:
            call, places = CallKind.COPY, outs if isinstance(command, CopyOut) else ins
        if call not in kinds:
            kinds.append(call)
        places.append(len(kinds))
    return stretches


def cold_stretches(
    warm: Iterable[Stretch],
    first_calls: Iterable[FirstCalls],
    after_wait: AfterWait,
    last_wait_ns: Callable[[], int],
    memory_ns: list[int],
) -> Iterator[Stretch]:
    """The stretches of a host that goes cold. When the next one is asked for, `last_wait_ns` says how long the host
    waited after the one before. `memory_ns`, how long after the wait before it each call of the pool is over, is
    shifted in place."""
    waited_ns = 0
    waited_at_call_ns = [-after_wait.waits_ns[-1]] * len(CallKind)
    place = 0
    for (calls_ns, waited, outs, ins, kernels), first in zip(warm, first_calls, strict=True):
        late_ns = [0]
        for call in first.kinds:
            extra_ns = after_wait.extra_ns(call, waited_ns - waited_at_call_ns[call])
            late_ns.append(late_ns[-1] + extra_ns)
            waited_at_call_ns[call] = waited_ns
        for called in first.memory:
            memory_ns[place] += late_ns[called]
            place += 1
        if outs:
            outs = [ready_ns + late_ns[called] for ready_ns, called in zip(outs, first.outs, strict=True)]
        if ins:
            ins = [ready_ns + late_ns[called] for ready_ns, called in zip(ins, first.ins, strict=True)]
        if kernels:
            kernels = [ready_ns + late_ns[called] for ready_ns, called in zip(kernels, first.kernels, strict=True)]
        yield calls_ns + late_ns[-1], waited, outs, ins, kernels
        waited_ns += last_wait_ns()
