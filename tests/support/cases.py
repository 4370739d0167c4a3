"""Small networks, traces and GPUs with round numbers, so that a test's expectation can be worked out by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vdnnsim.gpu import GpuProfile, HostCosts, Link, LinkCurve, LinkPoint
from vdnnsim.iteration import Layout, WeightGradients
from vdnnsim.memory import ENDLESS_BYTES
from vdnnsim.network import DATA, Kind, LayerSpec, Network, build_network
from vdnnsim.policies import Plan
from vdnnsim.policies.plan import kernels_of, workspaces_of
from vdnnsim.policies.plan import plan_of as make
from vdnnsim.trace import DEFAULT_ALGORITHM, Trace, TraceHeader, TraceRow, required_passes
from vdnnsim.units import PPM

ROOMY_BYTES = 2**40
NO_COSTS = HostCosts()
SIDE = 5
"""Maps of the small networks are 5 x 5 with one image: 25 elements, 100 bytes, for each channel."""


def conv(name: str, source: str = "", channels: int = 1, kernel: int = 1, padding: int = 0) -> LayerSpec:
    """A CONV that keeps the side; without bias, so that 1 x 1 of one channel has a weight of 4 bytes."""
    return LayerSpec(name, Kind.CONV, (source,), channels, (kernel, kernel), (1, 1), (padding, padding), bias=False)


def pool(name: str, source: str = "", kernel: int = 1) -> LayerSpec:
    return LayerSpec(name, Kind.POOL, (source,), kernel=(kernel, kernel))


def layer(kind: Kind, name: str, source: str = "") -> LayerSpec:
    """ACTV, BN, LRN, DROPOUT, SOFTMAX."""
    return LayerSpec(name, kind, (source,))


def fc(name: str, source: str = "", channels: int = 25) -> LayerSpec:
    return LayerSpec(name, Kind.FC, (source,), channels, bias=False)


def join(kind: Kind, name: str, *sources: str) -> LayerSpec:
    return LayerSpec(name, kind, sources)


def network_of(*specs: LayerSpec, channels: int = 1, side: int = SIDE, batch: int = 1) -> Network:
    """A network whose layers read the one before them where their source is empty."""
    chained: list[LayerSpec] = []
    for spec in specs:
        previous = chained[-1].name if chained else DATA
        sources = tuple(source or previous for source in spec.inputs)
        fields = {name: getattr(spec, name) for name in LayerSpec.__dataclass_fields__}
        chained.append(LayerSpec(**{**fields, "inputs": sources}))
    return build_network("small", (batch, channels, side, side), chained)


def row(
    layer_name: str,
    pass_: str,
    duration_ns: int,
    workspace_bytes: int = 0,
    algorithm: str = DEFAULT_ALGORITHM,
    slow_out: float = 1,
    slow_in: float = 1,
) -> TraceRow:
    return TraceRow(
        layer_name,
        pass_,
        algorithm,
        duration_ns,
        workspace_bytes,
        round(slow_out * PPM),
        round(slow_in * PPM),
        source="test",
    )


def trace_of(network: Network, rows: Iterable[TraceRow] = (), default_ns: int = 10) -> Trace:
    """A trace with these rows, and `default_ns` for every pass without one."""
    own = list(rows)
    named = {(entry.layer, entry.pass_) for entry in own}
    own += [row(name, pass_, default_ns) for name, pass_ in required_passes(network) if (name, pass_) not in named]
    header = TraceHeader.of(network, "test-gpu", "fp32", sources={"test": "made up"})
    return Trace(header, own)


def linear_curve(ns_per_100_bytes: int = 100) -> LinkCurve:
    """A link that takes so many nanoseconds for each 100 bytes, without start-up."""
    return LinkCurve((LinkPoint(100, ns_per_100_bytes), LinkPoint(200, 2 * ns_per_100_bytes)))


def gpu_of(
    capacity_bytes: int = ROOMY_BYTES,
    out_ns_per_100_bytes: int = 100,
    in_ns_per_100_bytes: int = 100,
    host: HostCosts = NO_COSTS,
    both_out: float = 1,
    both_in: float = 1,
) -> GpuProfile:
    link = Link(
        linear_curve(out_ns_per_100_bytes),
        linear_curve(in_ns_per_100_bytes),
        round(both_out * PPM),
        round(both_in * PPM),
    )
    return GpuProfile("test-gpu", "Test GPU", capacity_bytes, ENDLESS_BYTES, link, host)


def plan_of(
    network: Network,
    trace: Trace,
    offload: Iterable[str] = (),
    algorithms: Mapping[tuple[str, str], str] | None = None,
    layout: Layout = Layout.LAYER_WISE,
    deferred: Iterable[str] = (),
    weight_gradients: WeightGradients = WeightGradients.PER_LAYER,
) -> Plan:
    """A plan with the fastest algorithms unless others are given."""
    chosen = {key: trace.fastest(*key).algorithm for key in kernels_of(network, trace)} | dict(algorithms or {})
    return make(network, layout, offload, chosen, workspaces_of(chosen, trace), weight_gradients, deferred)
