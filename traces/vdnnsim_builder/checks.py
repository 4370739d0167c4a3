"""Two checks of the whole model against published numbers.

1. The near-zero-workspace algorithm gives back every published layer of the four logs exactly: forward, and backward as
   the sum of its parts.
2. The fastest algorithm of every pass gives totals near the published autotuned ones of cuDNN 4, which no fit has seen.

For the second: dropout and softmax are left out, as the benchmark had none; of fully connected layers half of backward
counts as data gradient and half as filter gradient; all other backward counts as data gradient, as in Torch.

What is known to be off: backward of max pools is Caffe's slow kernel in the traces and cuDNN's in the totals, which
makes the data gradients come out long (+6 to +18 %). Transforms on VGG come out fast: forward of `vgg11` -10 %, all of
`vgg16` and `vgg19` at batch 16 -13 %; they were fitted to cuDNN 7. GoogLeNet (-11 %) ran slower with cuDNN 4 than with
cuDNN 3 in the source itself.
"""

from __future__ import annotations

from typing import NamedTuple

from vdnnsim import Kind, load_network
from vdnnsim_builder.published import published_layers, published_sums, totals
from vdnnsim_builder.titan_x_maxwell import build_trace
from vdnnsim_builder.workspace import DATA_GRADIENT, FILTER_GRADIENT, FORWARD, PRECOMP_GEMM

AUTOTUNED = "cuDNN R4"
BATCH_16 = "cuDNN 4.0.07"
_NOT_IN_BENCHMARK = (Kind.DROPOUT, Kind.SOFTMAX)


class Compared(NamedTuple):
    """One published number and what the traces say of it."""

    what: str
    published_ns: int
    modelled_ns: int

    @property
    def ratio(self) -> float:
        return self.modelled_ns / self.published_ns


def near_zero_workspace() -> list[Compared]:
    """Every published layer against the trace of its network: forward and backward, and the sums of gradients."""
    compared = []
    for name, batch in sorted({(entry.network, entry.batch) for entry in published_layers()}):
        trace = build_trace(load_network(name, batch))
        times = {
            (row.layer, row.pass_): row.duration_ns for row in trace.rows if row.algorithm in (PRECOMP_GEMM, "default")
        }
        for entry in published_layers():
            if (entry.network, entry.batch) == (name, batch):
                layer = entry.layer
                backward = sum(times[layer.name, pass_] for pass_ in layer.passes if pass_ != FORWARD)
                what = f"{name} {layer.name}"
                compared.append(Compared(f"{what} forward", entry.forward_ns, times[layer.name, FORWARD]))
                compared.append(Compared(f"{what} backward", entry.backward_ns, backward))
        for summed in published_sums():
            if (summed.network, summed.batch) == (name, batch):
                found = times[summed.layer.name, "backward_sum"]
                compared.append(Compared(f"{name} {summed.layer.name} sum", summed.duration_ns, found))
    return compared


def pass_totals(name: str, batch: int, fastest: bool = True) -> dict[str, int]:
    """Totals of a network by pass, with the fastest algorithms or with IMPLICIT_PRECOMP_GEMM."""
    network = load_network(name, batch)
    trace = build_trace(network)
    sums = dict.fromkeys((FORWARD, DATA_GRADIENT, FILTER_GRADIENT), 0)
    for row in trace.rows:
        if row.pass_ == "backward_sum":
            sums[DATA_GRADIENT] += row.duration_ns
    for layer in network.layers:
        if layer.kind in _NOT_IN_BENCHMARK:
            continue
        for pass_ in layer.passes:
            if layer.kind == Kind.CONV and not fastest:
                time = trace.row(layer.name, pass_, PRECOMP_GEMM).duration_ns
            else:
                time = trace.fastest(layer.name, pass_).duration_ns
            if layer.kind == Kind.FC and pass_ != FORWARD:
                sums[FILTER_GRADIENT] += time // 2
                time -= time // 2
            sums[pass_ if pass_ in sums else DATA_GRADIENT] += time
    return sums


def autotuned(library: str = AUTOTUNED) -> list[Compared]:
    """The published autotuned totals against the fastest algorithms: each pass (backward as one where the source has
    it as one), then the sum."""
    compared = []
    for total in totals():
        if total.library != library:
            continue
        found = pass_totals(total.network, total.batch)
        pairs = [(FORWARD, total.forward_ns, found[FORWARD])]
        backward = found[DATA_GRADIENT] + found[FILTER_GRADIENT]
        if total.backward_data_ns is None or total.backward_filter_ns is None:
            pairs.append(("backward", total.backward_ns, backward))
        else:
            pairs.append((DATA_GRADIENT, total.backward_data_ns, found[DATA_GRADIENT]))
            pairs.append((FILTER_GRADIENT, total.backward_filter_ns, found[FILTER_GRADIENT]))
        pairs.append(("sum", total.forward_ns + total.backward_ns, found[FORWARD] + backward))
        title = f"{total.network} batch {total.batch}"
        compared += [Compared(f"{title} {what}", published, modelled) for what, published, modelled in pairs]
    return compared


def report() -> list[str]:
    """Both checks as lines of text."""
    first = near_zero_workspace()
    exact = sum(entry.published_ns == entry.modelled_ns for entry in first)
    lines = [f"near-zero workspace: {exact} of {len(first)} published layer times reproduced exactly", ""]
    lines.append(f"{'fastest algorithms against cuDNN 4':45} {'published ms':>13} {'modelled ms':>13} {'ratio':>7}")
    for entry in autotuned() + autotuned(BATCH_16):
        published, modelled = entry.published_ns / 1e6, entry.modelled_ns / 1e6
        lines.append(f"{entry.what:45} {published:13.2f} {modelled:13.2f} {entry.ratio:7.3f}")
    return lines
