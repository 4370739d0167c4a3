"""A Chakra execution trace (MLCommons) of one run: its kernels as compute nodes, its copies as loads and stores of
memory that is elsewhere, with what waits for what; for ASTRA-sim and Chakra's own tools.

The file is messages of Protocol Buffers, each behind its length: one `GlobalMetadata`, then a `Node` for each piece of
work (`et_def.proto` of mlcommons/chakra at 6dc63e1). Chakra counts whole microseconds: `duration_micros` is rounded
half up and never 0, and `duration_ns` beside it is what the simulation had.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from vdnnsim.files import whole_file
from vdnnsim.program import HostWait, Piece, Program, Stream, StreamWait, Synchronise
from vdnnsim.program.order import stream_of
from vdnnsim.report.words import provenance, subject
from vdnnsim.results import Comparison, PolicyRun
from vdnnsim.timeline import COPY_OUT, NVME_READ, NVME_WRITE, CopyRecord, KernelRecord

VERSION = "0.0.4"
"""Of the schema."""
MEM_LOAD, MEM_STORE, COMP = 2, 3, 4
"""Types of nodes: copies in, copies out, kernels."""
_STREAMS = {stream: number for number, stream in enumerate(Stream)}
_VARINT, _BYTES = 0, 2
_ATTRIBUTE = {"int64": 9, "uint64": 13, "bool": 27, "string": 29}
"""The fields of `AttributeProto` by type."""


class ChakraNode(NamedTuple):
    """A piece of work: `behind` are the nodes that it waits for."""

    number: int
    name: str
    kind: int
    behind: tuple[int, ...]
    begin_ns: int
    duration_ns: int
    stream: int
    size_bytes: int


def write_chakra(run: PolicyRun, comparison: Comparison, path: Path | str) -> None:
    """Write one policy's iteration as a Chakra execution trace, whole or not at all. Raises `CannotWrite`."""
    told = {"policy": run.result.policy, "subject": subject(comparison), "provenance": provenance(comparison)}
    with whole_file(Path(path)) as temporary, temporary.open("wb") as target:
        target.write(_delimited(_metadata(told)))
        for node in chakra_nodes(run):
            target.write(_delimited(_node(node)))


def chakra_nodes(run: PolicyRun) -> Iterator[ChakraNode]:
    """The nodes in the order in which the host gives them, numbered from 0."""
    timeline = run.timeline
    kernels = iter(timeline.kernels)
    outs = (copy for copy in timeline.copies if copy.direction == COPY_OUT)
    ins = (copy for copy in timeline.copies if copy.direction != COPY_OUT)
    records: dict[Stream, Iterator[KernelRecord | CopyRecord]] = {
        Stream.COMPUTE: kernels,
        Stream.COPY_OUT: outs,
        Stream.COPY_IN: ins,
        Stream.NVME_WRITE: (copy for copy in timeline.nvme if copy.direction == NVME_WRITE),
        Stream.NVME_READ: (copy for copy in timeline.nvme if copy.direction == NVME_READ),
    }
    for number, (stream, behind) in enumerate(_order(run.program)):
        yield _of_record(number, next(records[stream]), stream, behind)


def _of_record(number: int, record: KernelRecord | CopyRecord, stream: Stream, behind: tuple[int, ...]) -> ChakraNode:
    length_ns = record.end_ns - record.begin_ns
    if isinstance(record, KernelRecord):
        name = f"{record.layer} {record.pass_}"
        return ChakraNode(number, name, COMP, behind, record.begin_ns, length_ns, _STREAMS[stream], 0)
    kind = MEM_STORE if record.direction in (COPY_OUT, NVME_WRITE) else MEM_LOAD
    name = f"{record.direction} {record.buffer}"
    return ChakraNode(number, name, kind, behind, record.begin_ns, length_ns, _STREAMS[stream], record.size_bytes)


def _order(program: Program) -> Iterator[tuple[Stream, tuple[int, ...]]]:
    """Each piece of work by its stream, and the numbers of those that it waits for: the one before it there, what its
    stream waits for, and what the host waited for before it gave the first piece behind that."""
    given: dict[Stream, list[int]] = {stream: [] for stream in Stream}
    awaited: dict[Stream, set[int]] = {stream: set() for stream in Stream}
    number = 0
    for command in program.commands:
        match command:
            case Synchronise(streams=streams):
                for numbers in awaited.values():
                    numbers.update(given[stream][-1] for stream in streams if given[stream])
            case HostWait(piece=piece):
                for numbers in awaited.values():
                    numbers.add(_of_piece(given, piece))
            case StreamWait(stream=stream, piece=piece):
                awaited[stream].add(_of_piece(given, piece))
            case _ if (own := stream_of(command)) is not None:
                yield own, tuple(sorted({*given[own][-1:], *awaited[own]}))
                awaited[own].clear()
                given[own].append(number)
                number += 1


def _of_piece(given: dict[Stream, list[int]], piece: Piece) -> int:
    return given[piece.stream][piece.number - 1]


def _metadata(told: dict[str, str]) -> bytes:
    return _text(1, VERSION) + b"".join(_part(2, _attribute(name, "string", value)) for name, value in told.items())


def _node(node: ChakraNode) -> bytes:
    attributes = [
        _attribute("is_cpu_op", "bool", 0),
        _attribute("stream", "int64", node.stream),
        _attribute("duration_ns", "int64", node.duration_ns),
        _attribute("start_ns", "int64", node.begin_ns),
    ]
    if node.kind != COMP:
        attributes.append(_attribute("tensor_size", "uint64", node.size_bytes))
    return b"".join(
        (
            _whole(1, node.number),
            _text(2, node.name),
            _whole(3, node.kind),
            _part(5, b"".join(map(_varint, node.behind))) if node.behind else b"",
            _whole(6, node.begin_ns // 1000),
            _whole(7, max(1, (node.duration_ns + 500) // 1000)),
            *(_part(10, attribute) for attribute in attributes),
        )
    )


def _attribute(name: str, kind: str, value: int | str) -> bytes:
    field = _ATTRIBUTE[kind]
    return _text(1, name) + (_text(field, value) if isinstance(value, str) else _whole(field, value))


def _whole(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _part(field, value.encode())


def _part(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _delimited(value)


def _delimited(message: bytes) -> bytes:
    return _varint(len(message)) + message


def _varint(value: int) -> bytes:
    """Seven bits a byte, the least first; the highest bit says that more follow."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
