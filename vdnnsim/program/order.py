"""What is known to be done, without a clock: the order that a program's streams and waits enforce.

Vector clocks: the host, each stream and each piece of work know, for every stream, up to which piece it is done. A
piece knows what its stream knew and what the host knew when it gave it; whoever waits for it learns what it knows, and
that it is done itself. A wait is for what has been given already, so that no two can wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

from vdnnsim.errors import VdnnsimError
from vdnnsim.program.commands import (
    Command,
    CopyIn,
    CopyOut,
    HostWait,
    Kernel,
    NvmeRead,
    NvmeWrite,
    Piece,
    Program,
    Stream,
    StreamWait,
    Synchronise,
)

_Clock = tuple[int, ...]
"""For each stream, in the order of `Stream`, how many of its pieces are done."""

_PLACE = {stream: place for place, stream in enumerate(Stream)}
_NOTHING: _Clock = (0,) * len(Stream)


class NotGiven(VdnnsimError):  # noqa: N818 - reads as what it is
    """A wait for what comes later, or never; ``args`` is (the piece, how many its stream has been given)."""

    def __str__(self) -> str:
        piece, given = self.args
        return (
            f"a wait for piece {piece.number} of {piece.stream}: found {given} given so far, expected one of these; "
            "wait for what has been given already"
        )


class Order:
    """Follows a program's work and waits, in the host's order, from an idle device."""

    def __init__(self) -> None:
        self._host = _NOTHING
        self._streams = [_NOTHING] * len(Stream)
        """What each stream was told by `stream_wait`."""
        self._pieces: list[list[tuple[_Clock, _Clock]]] = [[] for _ in Stream]
        """What each piece's stream and the host knew when it was given."""

    def __copy__(self) -> Order:
        """One that goes on from here by itself."""
        twin = Order()
        twin._host = self._host
        twin._streams = self._streams.copy()
        twin._pieces = [pieces.copy() for pieces in self._pieces]
        return twin

    def give(self, stream: Stream) -> Piece:
        """The host puts a kernel or copy on this stream."""
        place = _PLACE[stream]
        pieces = self._pieces[place]
        pieces.append((self._streams[place], self._host))
        return Piece(stream, len(pieces))

    def synchronise(self, streams: Iterable[Stream]) -> None:
        """The host waits for all that these streams have been given."""
        for stream in streams:
            place = _PLACE[stream]
            if given := len(self._pieces[place]):
                told, _ = self._pieces[place][-1]  # what the host knew when it gave them, it still does
                host = self._host if told is _NOTHING else _both(self._host, told)
                self._host = (*host[:place], given, *host[place + 1 :])

    def host_wait(self, piece: Piece) -> None:
        """The host waits for this piece. Raises `NotGiven`."""
        self._host = _both(self._host, self._known_by(*self._place(piece)))

    def stream_wait(self, stream: Stream, piece: Piece) -> None:
        """What is put on `stream` from now on waits for this piece. Raises `NotGiven`."""
        place = _PLACE[stream]
        self._streams[place] = _both(self._streams[place], self._known_by(*self._place(piece)))

    def known(self, piece: Piece) -> bool:
        """Whether the host knows that this piece is done."""
        return piece.number <= self._host[_PLACE[piece.stream]]

    def ordered(self, piece: Piece, stream: Stream) -> bool:
        """Whether what is put on `stream` next cannot begin before this piece is done."""
        if piece.stream is stream or self.known(piece):
            return True
        return piece.number <= self._streams[_PLACE[stream]][_PLACE[piece.stream]]

    def _place(self, piece: Piece) -> tuple[int, int]:
        place = _PLACE[piece.stream]
        given = len(self._pieces[place])
        if not 1 <= piece.number <= given:
            raise NotGiven(piece, given)
        return place, piece.number

    def _known_by(self, place: int, number: int) -> _Clock:
        told, host = self._pieces[place][number - 1]
        clock = host if told is _NOTHING else _both(told, host)
        return (*clock[:place], number, *clock[place + 1 :])


def _both(one: _Clock, other: _Clock) -> _Clock:
    return tuple(map(max, one, other))


def stream_of(command: Command) -> Stream | None:
    """The stream on which a command puts work."""
    if isinstance(command, Kernel):
        return Stream.COMPUTE
    if isinstance(command, CopyOut):
        return Stream.COPY_OUT
    if isinstance(command, CopyIn):
        return Stream.COPY_IN
    if isinstance(command, NvmeWrite):
        return Stream.NVME_WRITE
    return Stream.NVME_READ if isinstance(command, NvmeRead) else None


def follow(order: Order, command: Command) -> Piece | None:
    """Tell the order of the next command; returns the piece of work that it gives. Raises `NotGiven`."""
    stream = stream_of(command)
    if stream is not None:
        return order.give(stream)
    if isinstance(command, Synchronise):
        order.synchronise(command.streams)
    elif isinstance(command, HostWait):
        order.host_wait(command.piece)
    elif isinstance(command, StreamWait):
        order.stream_wait(command.stream, command.piece)
    return None


class Known(NamedTuple):
    """For each wait of the host, whether it knows thereafter that all it has given is done (`quiet`); and whether
    copies of both directions may be under way at once."""

    quiet: list[bool]
    both_ways: bool


_OTHER_WAY = {Stream.COPY_OUT: Stream.COPY_IN, Stream.COPY_IN: Stream.COPY_OUT}


def known_of(program: Program) -> Known:
    """What is known in an iteration of a program. Raises `NotGiven`."""
    order = Order()
    last: dict[Stream, Piece] = {}
    quiet: list[bool] = []
    both_ways = False
    for command in chain.from_iterable(program.commands[step.first : step.last] for step in program.steps):
        stream = stream_of(command)
        if stream in _OTHER_WAY:
            other = last.get(_OTHER_WAY[stream])
            both_ways |= other is not None and not order.ordered(other, stream)
        piece = follow(order, command)
        if piece is not None:
            last[piece.stream] = piece
        elif isinstance(command, (Synchronise, HostWait)):
            quiet.append(all(map(order.known, last.values())))
    return Known(quiet, both_ways)
