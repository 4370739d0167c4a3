"""What a program puts on which stream, and what the host knows to be done at each of its waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from vdnnsim.program import (
    GPU_STREAMS,
    Command,
    HostWait,
    Kernel,
    Order,
    Piece,
    Program,
    Stream,
    StreamWait,
    Synchronise,
)
from vdnnsim.program.order import follow


def left_under_way(program: Program) -> list[Stream]:
    """The streams that have work of which the host does not know that it is done; an iteration ends with it all the
    same."""
    *_, (_, busy) = (0, set[Stream]()), *_followed_by_host(program)
    return [stream for stream in GPU_STREAMS if stream in busy]


def waits_for_all(program: Program) -> list[int]:
    """The host's waits after which no stream has work left, by the command's index."""
    commands = program.commands
    return [
        index
        for index, busy in _followed_by_host(program)
        if not busy and isinstance(commands[index], Synchronise | HostWait)
    ]


def far_ahead(program: Program, most: int, every: int) -> dict[int, int]:
    """The kernels before which the host would be more than `most` kernels ahead of what it knows to be done, of these
    each `every`-th, and the earlier kernel that is to be done first; both by the command's index."""
    waits: dict[int, int] = {}
    given: list[int] = []
    for index, busy in _followed_by_host(program):
        if Stream.COMPUTE not in busy:
            given = []
        elif isinstance(program.commands[index], Kernel):
            if len(given) >= most and len(given) % every == 0:
                waits[index] = given[-most]
            given.append(index)
    return waits


def _followed_by_host(program: Program) -> Iterator[tuple[int, set[Stream]]]:
    """After each command, by its index, the streams of whose work the host does not know that it is done."""
    order = Order()
    last: dict[Stream, Piece] = {}
    for index, command in enumerate(program.commands):
        piece = follow(order, command)
        if piece is not None:
            last[piece.stream] = piece
        yield index, {stream for stream, piece in last.items() if not order.known(piece)}


def with_more(program: Program, by: Callable[[Command], Sequence[Command]]) -> tuple[Program, list[int]]:
    """The program with more commands behind some, and for each of its commands the index of the one that it is or
    follows. Its waits are for the same pieces, whatever number they have now; of one given more than once, the last."""
    order, now_order = Order(), Order()
    now: dict[Piece, Piece] = {}
    commands: list[Command] = []
    origins: list[int] = []
    steps = []
    for step in program.steps:
        first = len(commands)
        for index in range(step.first, step.last):
            command = program.commands[index]
            piece = follow(order, command)
            if isinstance(command, HostWait | StreamWait):
                command = command._replace(piece=now[command.piece])
            for one in (command, *by(command)):
                given = follow(now_order, one)
                if piece is not None and given is not None:
                    now[piece] = given
                commands.append(one)
                origins.append(index)
        steps.append(step._replace(first=first, last=len(commands)))
    return replace(program, commands=tuple(commands), steps=tuple(steps)), origins
