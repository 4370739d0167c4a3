"""Small networks with made-up traces, and comparisons of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from vdnnsim.comparing import compare_policies
from vdnnsim.gpu import GpuProfile, HostCosts
from vdnnsim.gpu.profile import Link, LinkCurve, LinkPoint
from vdnnsim.making import make_study
from vdnnsim.network import Kind, Network, load_network
from vdnnsim.network.graph import build_network
from vdnnsim.network.specs import Stack
from vdnnsim.results import Comparison
from vdnnsim.trace import Provenance, Trace
from vdnnsim.trace.table import RowSpread, TraceHeader, TraceRow

Compare = Callable[..., Comparison]
POLICIES = ("baseline(p)", "vdnn-all(p)", "vdnn-conv(m)", "vdnn-dyn", "oracle")


def gpu(capacity_bytes: int) -> GpuProfile:
    """One byte per nanosecond in both directions, and calls that cost a round number of nanoseconds."""
    curve = LinkCurve((LinkPoint(1, 1), LinkPoint(1_000_000, 1_000_000)))
    costs = HostCosts(kernel_ns=10, copy_ns=10, synchronise_ns=100, allocate_ns=1, free_ns=1)
    return GpuProfile("test-gpu", "Test GPU", capacity_bytes, 10**12, Link(curve, curve), costs)


def tiny() -> Network:
    """Maps of 1024 B (data), 4096 B (conv1, relu1), 1024 B (pool1), 1024 B (conv2, relu2) and 40 B (fc, softmax)."""
    stack = Stack()
    stack.conv("conv1", 4, 3, padding=1)
    stack.apply(Kind.ACTV, "relu1")
    stack.pool("pool1", 2, 2)
    stack.conv("conv2", 4, 3, padding=1)
    stack.apply(Kind.ACTV, "relu2")
    stack.fc("fc", 10)
    stack.apply(Kind.SOFTMAX, "softmax")
    return build_network("tiny", (1, 1, 16, 16), stack.specs)


def made_up_trace(network: Network) -> Trace:
    """CONV passes of 2000 ns without workspace or 1000 ns with 8192 B, other passes of 500 ns; sizes do not matter."""
    rows = []
    for layer in network.layers:
        for pass_ in layer.passes if layer.kind != Kind.CONCAT else ():
            if layer.kind == Kind.CONV:
                rows.append(TraceRow(layer.name, pass_, "IMPLICIT_GEMM", 2000, 0))
                rows.append(TraceRow(layer.name, pass_, "FFT", 1000, 8192, provenance=Provenance.PUBLISHED))
            else:
                rows.append(TraceRow(layer.name, pass_, "default", 500, 0))
    header = TraceHeader.of(network, "test-gpu", "fp32", sources={"made-up": "no measurement"})
    return Trace(header, rows)


@pytest.fixture(scope="session")
def run_tiny() -> Compare:
    """Compares policies on the tiny network in a memory of so many bytes."""

    def run(capacity_bytes: int = 1_000_000, policies: Sequence[str] = POLICIES) -> Comparison:
        network = tiny()
        return compare_policies(make_study(network, gpu=gpu(capacity_bytes), trace=made_up_trace(network)), policies)

    return run


@pytest.fixture(scope="session")
def roomy(run_tiny: Compare) -> Comparison:
    """Everything trains."""
    return run_tiny()


@pytest.fixture(scope="session")
def ranged() -> Comparison:
    """Iterations with a range: kernels and launches spread."""
    network = tiny()
    trace = made_up_trace(network)
    rows = [row._replace(spread=RowSpread(20_000, 0, 0, 300_000)) for row in trace.rows]
    study = make_study(network, gpu=gpu(1_000_000), trace=Trace(trace.header, rows))
    return compare_policies(study, POLICIES)


@pytest.fixture(scope="session")
def tight(run_tiny: Compare) -> Comparison:
    """Neither the baseline nor vdnn-all(p) trains; vdnn-dyn does, after five trials."""
    return run_tiny(32_768)


def large_comparison(name: str) -> Comparison:
    network = load_network(name, 1)
    return compare_policies(make_study(network, gpu=gpu(10**9), trace=made_up_trace(network)), POLICIES)


@pytest.fixture(scope="session")
def googlenet() -> Comparison:
    """Forks and joins."""
    return large_comparison("googlenet")


@pytest.fixture(scope="session")
def vgg116() -> Comparison:
    """Many layers."""
    return large_comparison("vgg116")


@pytest.fixture(params=["roomy", "ranged", "tight", "googlenet", "vgg116"])
def every(request: pytest.FixtureRequest) -> Comparison:
    """Each comparison that there is here."""
    comparison: Comparison = request.getfixturevalue(request.param)
    return comparison
