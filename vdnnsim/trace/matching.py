"""Whether a trace is of a network: its name and batch, the identity of its layers, a row for every pass."""

from __future__ import annotations

from collections.abc import Sequence

from vdnnsim.errors import Fault, shown
from vdnnsim.network import Kind, Layer, Network, layer_digests
from vdnnsim.trace.table import TraceHeader, TraceRow


def network_faults(
    file: str, header: TraceHeader, rows: Sequence[TraceRow], lines: Sequence[int | None], network: Network
) -> list[Fault]:
    """Every way in which a trace does not belong to a network; the first layer that differs, where one does."""
    faults = []
    if (header.network, header.batch) != (network.name, network.batch):
        found = f"{header.network}, batch {header.batch}"
        faults.append(Fault(file, None, "header", found, f"{network.name}, batch {network.batch}"))
    elif other := _other_layer(file, header, network):
        return [other]
    for row, line in zip(rows, lines, strict=True):
        layer = network.by_name.get(row.layer)
        if layer is None:
            faults.append(Fault(file, line, "layer", shown(row.layer), f"a layer of {network.name}"))
        elif row.pass_ not in (*layer.passes, "backward_sum"):
            faults.append(Fault(file, line, "pass", f"'{row.pass_}'", f"{' or '.join(layer.passes)} for {layer.kind}"))
    present = {(row.layer, row.pass_) for row in rows}
    for name, pass_ in required_passes(network):
        if (name, pass_) not in present:
            faults.append(Fault(file, None, f"layer '{name}'", f"no {pass_} row", "one or more"))
    return faults


def _other_layer(file: str, header: TraceHeader, network: Network) -> Fault | None:
    """The first layer that the trace's network has otherwise; none where the header does not say what it has."""
    if not header.layers:
        return None
    advice = f"this is a trace of another network called {network.name}: trace yours, and give it a name of its own"
    own = layer_digests(network)
    for layer, found, expected in zip(network.layers, header.layers, own, strict=False):
        if found != expected:
            described = f"{expected}, {_described(layer)}; {advice}"
            return Fault(file, None, f"layer '{layer.name}' differs first", found, described)
    if len(header.layers) != len(own):
        return Fault(file, None, "layers", str(len(header.layers)), f"{len(own)}; {advice}")
    return None


def _described(layer: Layer) -> str:
    sizes = (" x ".join(map(str, shape[1:])) for shape in (layer.input_shape, layer.output_shape))
    return f"{layer.kind} from {next(sizes)} to {next(sizes)}"


def required_passes(network: Network) -> list[tuple[str, str]]:
    """Each (layer, pass) that a training iteration runs. A first layer needs no data gradient, a CONCAT no kernel."""
    passes = []
    for layer in network.layers:
        if layer.kind == Kind.CONCAT and network.views[layer.inputs[0]].map_name == layer.name:
            continue
        reads_only_data = all(name == "data" for name in layer.inputs)
        for pass_ in layer.passes:
            if not (reads_only_data and pass_ == "backward_data"):
                passes.append((layer.name, pass_))
    return passes
