"""Programs whose host's waits are made waits for single pieces of work, by the host or by streams."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import replace
from itertools import permutations

from vdnnsim.program import GPU_STREAMS, Command, HostWait, Order, Piece, Program, Stream, StreamWait, Synchronise
from vdnnsim.program.order import follow

Pair = tuple[Stream, Stream]
"""A stream that waits, and the one that it waits for."""
PAIRS = tuple(permutations(GPU_STREAMS, 2))


def with_waits(program: Program, waits: Callable[[Synchronise, dict[Stream, Piece]], list[Command]]) -> Program:
    """The program with its host's waits replaced by what `waits` makes of one, and of the last piece of each stream."""
    order = Order()
    last: dict[Stream, Piece] = {}
    commands: list[Command] = []
    steps = []
    for step in program.steps:
        first = len(commands)
        for command in program.commands[step.first : step.last]:
            piece = follow(order, command)
            if piece is not None:
                last[piece.stream] = piece
            commands += waits(command, last) if isinstance(command, Synchronise) else [command]
        steps.append(step._replace(first=first, last=len(commands)))
    return replace(program, commands=tuple(commands), steps=tuple(steps))


def by_events(program: Program, without: Container[Pair] = ()) -> Program:
    """The host waits for nothing, but each stream, where the host did, for the last piece of each other one, but for
    these."""
    pairs = [pair for pair in PAIRS if pair not in without]
    return with_waits(program, lambda _, last: [StreamWait(one, last[other]) for one, other in pairs if other in last])


def by_pieces(program: Program) -> Program:
    """The host waits for the last piece of each stream."""
    return with_waits(program, lambda wait, last: [HostWait(last[stream]) for stream in wait.streams])


def ending_in_a_wait(program: Program) -> Program:
    """The program with a wait for all at its end, which a real machine's iteration has in any case."""
    *steps, last = program.steps
    commands = (*program.commands, Synchronise(GPU_STREAMS))
    return replace(program, commands=commands, steps=(*steps, last._replace(last=len(commands))))
