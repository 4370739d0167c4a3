"""The program: one training iteration as commands in the order in which the host gives them.

Whatever runs on the simulated machine runs on a real one unchanged, so nothing here knows of clocks, traces or
devices: a kernel is a (layer, pass, algorithm), a buffer a name with a size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from vdnnsim.iteration import Buffer, Compression, Paging
from vdnnsim.units import PPM


class Stream(StrEnum):
    """In-order queues of the device. The paper has one stream for copies; its programs never copy both ways at once,
    so that one stream for each direction, as GPUs have engines, runs them the same and lets others do more."""

    __hash__ = str.__hash__  # an Enum's own is a call of Python's, and streams are looked up for every command

    COMPUTE = "compute"
    COPY_OUT = "copy out"
    COPY_IN = "copy in"
    NVME_WRITE = "nvme write"
    NVME_READ = "nvme read"


GPU_STREAMS = (Stream.COMPUTE, Stream.COPY_OUT, Stream.COPY_IN)
"""Those that are the device's; the others are what threads of the host do."""


class Allocate(NamedTuple):
    """Take a buffer from the pool."""

    buffer: Buffer


class Free(NamedTuple):
    """Give a buffer back to the pool."""

    buffer: Buffer


class Kernel(NamedTuple):
    """Launch the kernels of one pass of a layer on the compute stream.

    `workspace` is the buffer they may use. `accumulates` names the feature maps whose gradient this pass adds to rather
    than writes, because another reader of the map came first in backward (cuDNN's beta = 1). `again` is a forward pass
    run once more in the same iteration, on the same X: it makes the same Y and leaves what forward saved as it is.
    """

    layer: str
    pass_: str
    algorithm: str
    workspace: Buffer | None = None
    accumulates: frozenset[str] = frozenset()
    again: bool = False


class CopyOut(NamedTuple):
    """Offload: copy a feature map to its pinned host buffer, on the copy-out stream."""

    buffer: Buffer
    layer: str


class CopyIn(NamedTuple):
    """Copy a feature map back from its pinned host buffer, on the copy-in stream: a prefetch for another layer's
    backward (`for_layer`), which may have been `put_off` by a layer before, or a fetch for the layer's own."""

    buffer: Buffer
    layer: str
    for_layer: str
    put_off: bool = False

    @property
    def late(self) -> bool:
        """Whether it is given only when its layer needs it, or had been put off."""
        return self.put_off or self.layer == self.for_layer


class HostUpdate(NamedTuple):
    """The host's own optimiser updates so many parameters in its memory, and does nothing else meanwhile."""

    parameters: int


class NvmeWrite(NamedTuple):
    """A thread of the host writes what a copy out brought from its staging buffer to NVMe."""

    buffer: Buffer


class NvmeRead(NamedTuple):
    """A thread of the host reads it back into its staging buffer, for a copy in."""

    buffer: Buffer


class Synchronise(NamedTuple):
    """The host waits until these streams have done all that was put on them."""

    streams: tuple[Stream, ...]


class Piece(NamedTuple):
    """A kernel or copy by its place on its stream: the first one there has the number 1."""

    stream: Stream
    number: int


class HostWait(NamedTuple):
    """The host waits until this piece of work is done, and with it all that was put on its stream before."""

    piece: Piece


class StreamWait(NamedTuple):
    """Whatever is put on `stream` from now on begins when this piece of another stream is done; the host goes on."""

    stream: Stream
    piece: Piece


class HostCall(NamedTuple):
    """The host does something that puts nothing on a stream, at a cost that the GPU's profile knows by its name, such
    as a framework's "hook" (`HostCosts.calls_ns`)."""

    what: str


Command = (
    Allocate
    | Free
    | Kernel
    | CopyOut
    | CopyIn
    | NvmeWrite
    | NvmeRead
    | HostUpdate
    | Synchronise
    | HostWait
    | StreamWait
    | HostCall
)


class Step(NamedTuple):
    """One layer's share of the iteration: its commands are `commands[first:last]`."""

    layer: str
    backward: bool
    in_classifier: bool
    first: int
    last: int

    @property
    def title(self) -> str:
        return f"{self.layer} {'backward' if self.backward else 'forward'}"


@dataclass(frozen=True)
class Program:
    """One iteration.

    `setup` is allocated before the iteration and stays; `commands` are the iteration, cut into `steps`. `operands` maps
    what kernels speak of ("map:conv1", "gradient:conv1", "weights:conv1", "weight gradient:conv1", "saved:conv1")
    to the name of the buffer that holds it; several may share one. `offloaded` are the buffers that leave, `on_host`
    those of them whose bytes the host has before the iteration. With a `compression` copies put less on the wire.
    With `paging` copies in are page faults. Kernels take `kernels_ppm` millionths of what the trace says. `staging` has
    the staging buffer of the host of each of those that go on to NVMe.
    """

    setup: tuple[Buffer, ...]
    commands: tuple[Command, ...]
    steps: tuple[Step, ...]
    operands: Mapping[str, str]
    offloaded: tuple[Buffer, ...]
    on_host: frozenset[str] = frozenset()
    compression: Compression | None = None
    staging: Mapping[str, str] = field(default_factory=dict)
    paging: Paging | None = None
    kernels_ppm: int = PPM

    def __repr__(self) -> str:
        counts = f"{len(self.commands)} commands in {len(self.steps)} steps"
        return f"<Program of {counts}, {len(self.offloaded)} buffers leave>"

    @cached_property
    def titles(self) -> tuple[str, ...]:
        """The title of each step."""
        return tuple([step.title for step in self.steps])

    @cached_property
    def memory_classes(self) -> tuple[str, ...]:
        """The classes that its blocks may be of."""
        taken = (command.buffer for command in self.commands if isinstance(command, Allocate))
        kinds: dict[type[StrEnum], None] = {type(buffer.memory_class): None for buffer in (*self.setup, *taken)}
        return tuple([memory_class.value for kind in kinds for memory_class in kind])

    @cached_property
    def memory_calls(self) -> tuple[Sequence[Buffer], Sequence[int]]:
        """All buffers, those of the set-up first, and the iteration's calls for memory: the number of one that is
        taken, or the complement of that of one given back."""
        numbers = {buffer.name: number for number, buffer in enumerate(self.setup)}
        buffers, calls = list(self.setup), []
        for command in self.commands:
            if isinstance(command, Allocate):
                number = numbers.setdefault(command.buffer.name, len(numbers))
                if number == len(buffers):
                    buffers.append(command.buffer)
                calls.append(number)
            elif isinstance(command, Free):
                calls.append(~numbers[command.buffer.name])
        return buffers, calls

    @property
    def pinned_host_bytes(self) -> int:
        """Host memory that the copies need, as asked for."""
        return sum(self.pinned_sizes_bytes.values())

    @property
    def pinned_sizes_bytes(self) -> dict[str, int]:
        """The sizes of the host's buffers, by name: one pinned for each offloaded map, allocated once; a staging buffer
        serves many, and is as large as the largest of them. What pages come from is not pinned."""
        if self.paging:
            return {}
        sizes: dict[str, int] = {}
        for buffer in self.offloaded:
            name = self.host_buffer(buffer.name)
            sizes[name] = max(sizes.get(name, 0), self.wire_bytes(buffer))
        return sizes

    def host_buffer(self, name: str) -> str:
        """The host's buffer that this one is copied to."""
        return self.staging.get(name, name)

    def wire_bytes(self, buffer: Buffer) -> int:
        """What a copy of it puts on the wire, and the host, or its NVMe, keeps."""
        return self.compression.wire_bytes(buffer.name, buffer.size_bytes) if self.compression else buffer.size_bytes

    @cached_property
    def nvme_bytes(self) -> int:
        """What is written to NVMe."""
        return sum(self.wire_bytes(command.buffer) for command in self.commands if isinstance(command, NvmeWrite))
