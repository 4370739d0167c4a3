"""A program made of another one, command by command: what was taken over and put in between, and what is ordered."""

from __future__ import annotations

from vdnnsim.program.commands import Command, Piece, Program, Step, Stream, StreamWait
from vdnnsim.program.order import Order, follow


class Rewriting:
    """The commands so far. Who makes a program says in `follow` what becomes of each command."""

    def __init__(self) -> None:
        self.order = Order()
        self.commands: list[Command] = []

    def follow(self, command: Command) -> None:
        """The next command of the program that is rewritten."""
        self.give(command)

    def steps_of(self, program: Program) -> list[Step]:
        """The steps of this program when all of its commands were followed."""
        steps = []
        for step in program.steps:
            first = len(self.commands)
            for command in program.commands[step.first : step.last]:
                self.follow(command)
            steps.append(step._replace(first=first, last=len(self.commands)))
        return steps

    def give(self, command: Command) -> Piece | None:
        """Put a command behind the others; the piece, where it is work of a stream."""
        self.commands.append(command)
        return follow(self.order, command)

    def work(self, command: Command) -> Piece:
        """As `give`, for what is work of a stream."""
        piece = self.give(command)
        assert piece is not None
        return piece

    def behind(self, piece: Piece | None, stream: Stream) -> None:
        """What is put on this stream from now on begins when the piece is done."""
        if piece and not self.order.ordered(piece, stream):
            self.give(StreamWait(stream, piece))
