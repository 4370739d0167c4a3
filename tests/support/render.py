"""Programs and timelines as short lines of text, to compare with expectations written out by hand."""

from __future__ import annotations

from vdnnsim.program import (
    Allocate,
    Command,
    CopyIn,
    CopyOut,
    Free,
    HostCall,
    HostWait,
    Kernel,
    Piece,
    Program,
    Step,
    StreamWait,
    Synchronise,
)
from vdnnsim.timeline import Timeline


def command_line(command: Command) -> str:
    """One command; buffers and kernels by name."""
    if isinstance(command, Allocate):
        return f"allocate {command.buffer.name}"
    if isinstance(command, Free):
        return f"free {command.buffer.name}"
    if isinstance(command, CopyOut):
        return f"copy out {command.buffer.name}"
    if isinstance(command, CopyIn):
        late = " late" if command.layer == command.for_layer else f" for {command.for_layer}"
        late += ", put off" if command.put_off and command.layer != command.for_layer else ""
        return f"copy in {command.buffer.name}{late}"
    if isinstance(command, Synchronise):
        return "wait for " + ", ".join(stream.value for stream in command.streams)
    if isinstance(command, HostWait):
        return f"wait for {_piece(command.piece)}"
    if isinstance(command, StreamWait):
        return f"{command.stream.value} waits for {_piece(command.piece)}"
    if isinstance(command, HostCall):
        return f"the host: {command.what}"
    assert isinstance(command, Kernel)
    again = " again" if command.again else ""
    added = f" adding to {', '.join(sorted(command.accumulates))}" if command.accumulates else ""
    return f"run {command.layer} {command.pass_}{again}{added}"


def _piece(piece: Piece) -> str:
    return f"{piece.stream.value} {piece.number}"


def step_of(program: Program, layer: str, backward: bool) -> Step:
    return next(step for step in program.steps if (step.layer, step.backward) == (layer, backward))


def step_lines(program: Program, layer: str, backward: bool = False) -> list[str]:
    """The commands of one layer's forward or backward."""
    step = step_of(program, layer, backward)
    return [command_line(command) for command in program.commands[step.first : step.last]]


def kernel_lines(timeline: Timeline) -> list[tuple[str, str, int, int]]:
    """(layer, pass, begin, end) of every kernel, in ns."""
    return [(kernel.layer, kernel.pass_, kernel.begin_ns, kernel.end_ns) for kernel in timeline.kernels]


def copy_lines(timeline: Timeline) -> list[tuple[str, str, int, int]]:
    """(direction, buffer, begin, end) of every copy, in ns, by begin."""
    lines = [(copy.direction, copy.buffer, copy.begin_ns, copy.end_ns) for copy in timeline.copies]
    return sorted(lines, key=lambda line: (line[2], line[0]))


def wait_lines(timeline: Timeline) -> list[tuple[int, int, int, int]]:
    """(step, begin, end, stall) of every wait of the host, in ns."""
    return [
        (
            wait.step,
            wait.begin_ns,
            wait.end_ns,
            sum(
                stall.duration_ns
                for stall in timeline.stalls
                if wait.begin_ns <= stall.begin_ns and stall.end_ns <= wait.end_ns
            ),
        )
        for wait in timeline.waits
    ]


def step_ends(timeline: Timeline) -> list[int]:
    return list(timeline.step_ends_ns)
