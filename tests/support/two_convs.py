"""Two CONV layers and a loss with kernels of round durations, for literal timelines."""

from __future__ import annotations

from support.cases import conv, layer, network_of, row, trace_of
from vdnnsim.network import Kind

NETWORK = network_of(conv("a"), conv("b", channels=2), layer(Kind.SOFTMAX, "loss"))
TRACE = trace_of(
    NETWORK,
    [
        row("a", "forward", 100),
        row("b", "forward", 300),
        row("loss", "forward", 20),
        row("loss", "backward", 20),
        row("b", "backward_filter", 200),
        row("b", "backward_data", 150),
        row("a", "backward_filter", 100),
    ],
)
