"""The checking mode: an iteration in which bytes that the program has given back are overwritten with NaN.

A block of which the host knows that nothing touches it any more is overwritten at once, whatever the streams are
doing. One that a stream may still be using is not: whoever touches its bytes next must be ordered behind that by the
program's own waits. So these bytes are overwritten in the turn of the next one to touch them, on its stream, right
before it, and with no wait of the checking mode's own, which would mend a wait that the program lacks or that does not
hold: then the NaN come while the one before still reads. Bytes that nobody has touched when the host learns that they
are free are overwritten then.

One iteration shows one set of times, at which a missing wait may do no harm. So streams can be made to lag behind the
others, which then are as early as the program lets them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch.nn import functional

from vdnnsim.machines.real.device import Action, Device
from vdnnsim.machines.real.operands import split_weights, tensors_of
from vdnnsim.machines.real.operators import present
from vdnnsim.network import Kind, Layer, Network, weight_gradient_operand
from vdnnsim.program import (
    GPU_STREAMS,
    Command,
    CopyIn,
    CopyOut,
    Free,
    Kernel,
    Order,
    Piece,
    Program,
    Stream,
    operands_of,
)
from vdnnsim.program.order import follow, stream_of

LAG_NS = 10_000_000
LAGS: tuple[tuple[Stream, ...], ...] = ((), *((stream,) for stream in GPU_STREAMS))
"""The streams that lag in each iteration of a proof: none, then each by itself, since those that lag together may wait
for each other by luck."""


class Checked(NamedTuple):
    """What an iteration in the checking mode gave, on the host: `results` are the gradient of each layer's weights as
    one flat tensor, and "loss"; `choices` which elements each ACTV let pass, and which one each window of a POOL took
    (its index in the plane), since rounding may decide those otherwise elsewhere."""

    results: dict[str, torch.Tensor]
    choices: dict[str, torch.Tensor]


class _Block(NamedTuple):
    """Bytes from `begin` to `end`, and what has touched them."""

    begin: int
    end: int
    pieces: list[Piece]


class Poison:
    """Follows the commands of an iteration and overwrites what they free."""

    def __init__(self, device: Device, slab: torch.Tensor, network: Network, program: Program) -> None:
        self._device = device
        self._slab = slab
        self._network = network
        self._operands = program.operands
        self._order = Order()
        self._live: dict[str, _Block] = {}
        self._freed: list[_Block] = []
        """What was freed while it may have been in use, as far as it was not overwritten."""

    def place(self, name: str, address: int, size_bytes: int) -> None:
        """A block is allocated. What may still use its bytes counts as using it, should it be freed untouched."""
        end = address + size_bytes
        before = [freed for freed in self._freed if freed.begin < end and address < freed.end]
        self._live[name] = _Block(address, end, [piece for freed in before for piece in freed.pieces])

    def bytes_of(self, operand: str, size_bytes: int) -> torch.Tensor:
        """The bytes of an operand where it lies now."""
        begin = self._live[self._operands.get(operand, operand)].begin
        return self._slab[begin : begin + size_bytes]

    def before(self, command: Command) -> Stream | None:
        """A command is about to be given, on the stream that is returned, if any."""
        stream = stream_of(command)
        if stream is not None:
            for block in self._touched(command):
                self._overwrite(stream, block)
        return stream

    def after(self, command: Command) -> Piece | None:
        """A command has been given; returns the piece of work that it is."""
        piece = follow(self._order, command)
        if piece is not None:
            for block in self._touched(command):
                block.pieces.append(piece)
        elif isinstance(command, Free):
            self._freed.append(self._live.pop(command.buffer.name))
        for block in self._freed:
            if all(self._order.known(piece) for piece in block.pieces):
                self._overwrite(None, block)
        return piece

    def _touched(self, command: Command) -> Iterable[_Block]:
        names: set[str] = set()
        if isinstance(command, Kernel):
            touched = operands_of(self._network, command)
            names = {self._operands[operand] for operand in touched.reads | touched.writes if operand in self._operands}
            if command.workspace is not None:
                names.add(command.workspace.name)
        elif isinstance(command, CopyOut | CopyIn):
            names = {command.buffer.name}
        return [self._live[name] for name in sorted(names)]

    def _overwrite(self, stream: Stream | None, block: _Block) -> None:
        """Overwrite what of these bytes was freed, in a stream's turn or at once; it is free no more."""
        left: list[_Block] = []
        for freed in self._freed:
            begin, end = max(freed.begin, block.begin), min(freed.end, block.end)
            if begin >= end:
                left.append(freed)
                continue
            self._device.poison(self._slab[begin:end], stream)
            rest = (freed._replace(end=begin), freed._replace(begin=end))
            left += [part for part in rest if part.begin < part.end]
        self._freed = left


class Results:
    """Takes what an iteration computes, in the turn of the kernels that compute it: the host does not wait for them,
    since the program does not."""

    def __init__(self, network: Network, labels: torch.Tensor, poison: Poison) -> None:
        self._network = network
        self._labels = labels
        self._bytes_of = poison.bytes_of
        self._found = Checked({}, {})

    def of(self, kernel: Kernel) -> Action | None:
        """What takes a kernel's results, if it has some: to be put behind it."""
        layer = self._network.by_name[kernel.layer]
        if kernel.pass_ == "forward" and not kernel.again:
            return self._of_forward(layer, kernel)
        if kernel.pass_ in ("backward", "backward_filter") and layer.weight_gradients_bytes:
            return self._of_weights(layer)
        return None

    def on_host(self) -> Checked:
        """All of them, once the device is drained."""
        return Checked(*({name: value.to("cpu") for name, value in values.items()} for values in self._found))

    def _of_forward(self, layer: Layer, kernel: Kernel) -> Action | None:
        choices, results = self._found.choices, self._found.results
        if layer.kind not in (Kind.ACTV, Kind.POOL, Kind.SOFTMAX) or layer.average:
            return None
        tensors = tensors_of(self._network, kernel, self._bytes_of)
        x, y = tensors.x[0], present(tensors.y)

        def take() -> None:
            if layer.kind == Kind.ACTV:
                choices[layer.name] = y > 0
            elif layer.kind == Kind.POOL:
                window = (layer.kernel, layer.stride, layer.padding)
                _, choices[layer.name] = functional.max_pool2d(x, *window, ceil_mode=layer.ceil, return_indices=True)
            else:
                results["loss"] = -y.gather(1, self._labels.unsqueeze(1)).log().mean()

        return take

    def _of_weights(self, layer: Layer) -> Action:
        flat = self._bytes_of(weight_gradient_operand(layer.name), layer.weight_gradients_bytes).view(torch.float32)
        parts = split_weights(layer, flat)

        def take() -> None:
            self._found.results[layer.name] = torch.cat([part.reshape(-1) for part in parts])

        return take
