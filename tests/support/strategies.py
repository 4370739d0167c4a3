"""Hypothesis strategies: networks of all shapes that vdnnsim knows, traces for them, plans, links, host costs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from support.cases import ROOMY_BYTES, row, trace_of
from vdnnsim.gpu import AfterWait, GpuProfile, HostCosts, Link, LinkCurve, LinkPoint
from vdnnsim.iteration import Layout
from vdnnsim.memory import ENDLESS_BYTES
from vdnnsim.network import DATA, Kind, LayerSpec, Network, build_network
from vdnnsim.policies import Plan
from vdnnsim.policies.plan import kernels_of, plan_of, workspaces_of
from vdnnsim.program import (
    GPU_STREAMS,
    Allocate,
    Buffer,
    Command,
    CopyIn,
    CopyOut,
    Free,
    HostCall,
    HostWait,
    Kernel,
    MemoryClass,
    Piece,
    Program,
    Step,
    Stream,
    StreamWait,
    Synchronise,
    WeightGradients,
)
from vdnnsim.trace import PASSES, Trace, TraceHeader, TraceRow, required_passes
from vdnnsim.units import PPM

KEEPS_SHAPE = (Kind.ACTV, Kind.ACTV, Kind.BN, Kind.LRN, Kind.DROPOUT)
SLOWDOWNS = (1, 1, 1.05, 1.17, 1.25, 1.5, 2)
ALGORITHMS = ("IMPLICIT_GEMM", "GEMM", "FFT")

# Strategies are made once, and a draw decides as much as it can: a case takes hundreds, which cost more than its run.
_BOOLEANS = st.booleans()
_SIDES = st.sampled_from([1, 3])
_CHANNELS = st.integers(1, 3)
_SIMPLE = st.sampled_from([Kind.CONV, Kind.CONV, Kind.POOL, *KEEPS_SHAPE])
_KEEPING = st.sampled_from(KEEPS_SHAPE)
_ALGORITHMS = st.lists(st.sampled_from(ALGORITHMS), min_size=1, max_size=3, unique=True)
_WORKSPACES = st.integers(0, 5000)
_DURATIONS = st.integers(0, 2000)
_LAUNCHES = ((None, None), (None, None), (0, 3), (5, 2), (30, None), (200, 300))
_ROW_KINDS = st.sampled_from(tuple(product(SLOWDOWNS, SLOWDOWNS, _LAUNCHES)))


class _Growing:
    """A network under construction: every method adds layers behind `source` and returns the name of the last."""

    def __init__(self, draw: DrawFn) -> None:
        self.draw = draw
        self.specs: list[LayerSpec] = []
        self.channels = {DATA: 2}

    def add(self, kind: Kind, sources: tuple[str, ...], channels: int, **fields: object) -> str:
        name = f"l{len(self.specs)}"
        if kind in (Kind.CONV, Kind.FC):
            fields["channels"] = channels
        self.specs.append(LayerSpec(name, kind, sources, **fields))  # type: ignore[arg-type]
        self.channels[name] = channels
        return name

    def convolution(self, source: str, channels: int, stride: int = 1) -> str:
        side = self.draw(_SIDES)
        padding = (side // 2, side // 2)
        return self.add(Kind.CONV, (source,), channels, kernel=(side, side), padding=padding, stride=(stride, stride))

    def simple(self, source: str) -> str:
        """One layer that keeps the side; CONV may change the channels."""
        kind = self.draw(_SIMPLE)
        if kind is Kind.CONV:
            return self.convolution(source, self.draw(_CHANNELS))
        channels = self.channels[source]
        if kind is Kind.POOL:
            average = self.draw(_BOOLEANS)
            return self.add(kind, (source,), channels, kernel=(3, 3), padding=(1, 1), average=average)
        return self.add(kind, (source,), channels)

    def chain(self, source: str, most: int) -> str:
        for _ in range(self.draw(st.integers(1, most))):
            source = self.simple(source)
        return source

    def residual(self, source: str) -> str:
        branch = self.convolution(self.chain(source, 2), self.channels[source])
        shortcut = source
        if self.draw(_BOOLEANS):
            shortcut = self.convolution(source, self.channels[source])
        return self.add(Kind.ADD, (branch, shortcut), self.channels[source])

    def concat(self, source: str, depth: int) -> str:
        branches = []
        for _ in range(self.draw(st.integers(2, 3))):
            inner = self.draw(st.sampled_from(["chain", "chain", "source", "nested"]))
            if inner == "source" and source not in branches:
                branches.append(source)
            elif inner == "nested" and depth:
                branches.append(self.concat(source, depth - 1))
            else:
                branches.append(self.chain(source, 2))
        return self.add(Kind.CONCAT, tuple(branches), sum(self.channels[name] for name in branches))

    def heads(self, source: str) -> str:
        """Two heads on one pixel, joined: at least one is an FC, so that a map may lie partly in the classifier."""
        pooled = self.add(Kind.POOL, (source,), self.channels[source], average=True)
        branches = []
        for kind in self.draw(st.permutations([Kind.FC, self.draw(st.sampled_from([Kind.FC, Kind.CONV, Kind.BN]))])):
            if kind is Kind.FC:
                origin = self.draw(st.sampled_from([pooled, pooled, DATA])) if branches else pooled
                branches.append(self.add(Kind.FC, (origin,), 7))
            else:
                branches.append(self.convolution(pooled if kind is Kind.CONV else self.simple(pooled), 7))
            if self.draw(_BOOLEANS):
                branches[-1] = self.add(self.draw(_KEEPING), (branches[-1],), 7)
        kind = self.draw(st.sampled_from([Kind.ADD, Kind.CONCAT]))
        joined = self.add(kind, tuple(branches), 7 if kind is Kind.ADD else 14)
        return self.chain(joined, 2)

    def classifier(self, source: str) -> None:
        kind = self.draw(st.sampled_from(["plain", "plain", "pooled", "heads"]))
        if kind == "pooled":
            source = self.add(Kind.POOL, (source,), self.channels[source], average=True)
        elif kind == "heads":
            source = self.heads(source)
        for _ in range(self.draw(st.integers(0, 2))):
            source = self.add(Kind.FC, (source,), 7)
            if self.draw(_BOOLEANS):
                source = self.add(Kind.ACTV, (source,), 7)
            if self.draw(_BOOLEANS):
                source = self.add(Kind.DROPOUT, (source,), 7)
        self.add(Kind.SOFTMAX, (source,), self.channels[source])


@st.composite
def networks(draw: DrawFn, largest_modules: int = 5) -> Network:
    """Chains, residual blocks, concatenations within each other; layers in place wherever the rules allow it."""
    growing = _Growing(draw)
    top = DATA
    for _ in range(draw(st.integers(1, largest_modules))):
        module = draw(st.sampled_from(["simple", "simple", "smaller", "residual", "concat"]))
        if module == "simple":
            top = growing.simple(top)
        elif module == "smaller":
            top = growing.convolution(top, draw(_CHANNELS), stride=2)
        elif module == "residual":
            top = growing.residual(top)
        else:
            top = growing.concat(top, 1)
    growing.classifier(top)
    return build_network("random", (draw(st.integers(1, 3)), 2, 5, 5), growing.specs)


@st.composite
def traces(draw: DrawFn, network: Network, with_sums: bool = True) -> Trace:
    """Timings with several algorithms for CONV, and kernels for views and gradient sums here and there."""
    rows: list[TraceRow] = []
    for name, pass_ in required_passes(network):
        if network.by_name[name].kind is Kind.CONV:
            algorithms = draw(_ALGORITHMS)
            rows += [_row(draw, name, pass_, algorithm, draw(_WORKSPACES)) for algorithm in algorithms]
        else:
            rows.append(_row(draw, name, pass_))
    if with_sums:
        for layer in network.layers:
            extra = ["backward_sum"] if len(network.output_map(layer).readers) > 1 else []
            if layer.kind is Kind.CONCAT and network.output_map(layer).name == layer.name:
                extra += [pass_ for pass_ in ("forward", "backward") if (layer.name, pass_) not in _passes(rows)]
            rows += [_row(draw, layer.name, pass_) for pass_ in extra if draw(_BOOLEANS)]
    order = {pass_: index for index, pass_ in enumerate(PASSES)}
    rows.sort(key=lambda entry: (network.position[entry.layer], order[entry.pass_]))
    return trace_of(network, rows)


def _passes(rows: list[TraceRow]) -> set[tuple[str, str]]:
    return {(entry.layer, entry.pass_) for entry in rows}


def _row(draw: DrawFn, name: str, pass_: str, algorithm: str = "default", workspace_bytes: int = 0) -> TraceRow:
    out, back, (launch_ns, start_ns) = draw(_ROW_KINDS)
    timed = row(name, pass_, draw(_DURATIONS), workspace_bytes, algorithm, out, back)
    return timed._replace(launch_ns=launch_ns, start_ns=start_ns)


@cache
def _one_of(names: tuple[str, ...]) -> SearchStrategy[str]:
    return st.sampled_from(names)


@st.composite
def plans(
    draw: DrawFn,
    network: Network,
    trace: Trace,
    layout: Layout | None = None,
    weight_gradients: WeightGradients = WeightGradients.PER_LAYER,
) -> Plan:
    """Any layers offloading, any algorithms, any layers that put their prefetch off."""
    names = [layer.name for layer in network.layers]
    some = st.frozensets(st.sampled_from(names))
    offload = draw(st.just(frozenset(names)) | some)
    deferred = draw(st.just(frozenset[str]()) | some)
    keys = list(kernels_of(network, trace))
    choices = {key: tuple(entry.algorithm for entry in trace.choices(*key)) for key in keys}
    algorithms = {key: draw(_one_of(names)) if len(names) > 1 else names[0] for key, names in choices.items()}
    chosen = layout or draw(st.sampled_from([Layout.LAYER_WISE, Layout.LAYER_WISE, Layout.NETWORK_WIDE]))
    workspaces = workspaces_of(algorithms, trace)
    return plan_of(network, chosen, offload, algorithms, workspaces, weight_gradients, deferred)


def host_costs() -> SearchStrategy[HostCosts]:
    cost = st.sampled_from([0, 0, 1, 7, 50, 400])
    return st.builds(
        HostCosts, cost, cost, cost, cost, cost, cost, cost, calls_ns=st.fixed_dictionaries({"hook": cost})
    )


@st.composite
def after_waits(draw: DrawFn) -> AfterWait:
    """Extras that rise and fall, at waits as long as the kernels and copies of a case."""
    waits_ns = sorted(draw(st.sets(st.integers(1, 2000), min_size=1, max_size=4)))
    extras = [[0, *draw(st.lists(st.integers(0, 900), min_size=len(waits_ns), max_size=len(waits_ns)))] for _ in "four"]
    return AfterWait((0, *waits_ns), *map(tuple, extras))


@st.composite
def curves(draw: DrawFn) -> LinkCurve:
    """Two to four points, both sizes and times rising."""
    count = draw(st.integers(2, 4))
    size_bytes, duration_ns = 0, 0
    points = []
    for _ in range(count):
        size_bytes += draw(st.integers(1, 500))
        duration_ns += draw(st.integers(1, 1000))
        points.append(LinkPoint(size_bytes, duration_ns))
    return LinkCurve(tuple(points))


@st.composite
def gpus(draw: DrawFn, capacity_bytes: int = ROOMY_BYTES) -> GpuProfile:
    both = [round(draw(st.sampled_from(SLOWDOWNS)) * PPM) for _ in range(2)]
    link = Link(draw(curves()), draw(curves()), both[0], both[1])
    return GpuProfile("test-gpu", "Random GPU", capacity_bytes, ENDLESS_BYTES, link, draw(host_costs()))


@dataclass(frozen=True)
class Case:
    """All that a run needs."""

    network: Network
    trace: Trace
    plan: Plan
    gpu: GpuProfile
    weight_gradients: WeightGradients


@st.composite
def cases(draw: DrawFn, layout: Layout | None = None, with_sums: bool = True) -> Case:
    network = draw(networks())
    trace = draw(traces(network, with_sums))
    weight_gradients = draw(st.sampled_from(WeightGradients))
    plan = draw(plans(network, trace, layout, weight_gradients))
    return Case(network, trace, plan, draw(gpus()), weight_gradients)


BUFFERS = tuple(Buffer(f"b{size}", size, MemoryClass.FEATURE_MAPS, "a", size > 300) for size in (100, 250, 400, 900))


_SHORT = st.integers(0, 900)
_HOSTS = ({}, {"launch_ns": 60}, {"start_ns": 90}, {"launch_ns": 500, "start_ns": 1})
_PROGRAM_SLOWDOWNS = (1, 1.05, 1.17, 1.5, 2, 0.75)
_PROGRAM_ROWS = st.sampled_from(tuple(product(_PROGRAM_SLOWDOWNS, _PROGRAM_SLOWDOWNS, _HOSTS)))
_COUNTS = st.integers(0, 6)
_KINDS = ["kernel", "kernel", "copy", "copy", "wait", "memory"]
_COMMANDS = st.sampled_from(_KINDS)
_COMMANDS_AND_WAITS = st.sampled_from([*_KINDS, "host wait", "stream wait", "host call"])
_BUFFERS = st.sampled_from(BUFFERS)
_STREAM = st.sampled_from(GPU_STREAMS)
_STREAMS = st.lists(st.sampled_from(GPU_STREAMS), min_size=1, max_size=3, unique=True)
_OUT, _IN = True, False
_WAYS = st.sampled_from([(_OUT,), (_IN,), (_OUT, _IN)])
_COPIES = {ways: st.sampled_from(tuple(product(BUFFERS, ways, "ab"))) for ways in ((_OUT,), (_IN,), (_OUT, _IN))}
"""What is copied, whether out, and the layer that fetches it."""


@st.composite
def programs(draw: DrawFn, single_waits: bool = False) -> tuple[Program, Trace]:
    """Commands in any order: copies both ways, waits for some streams only, work that is never waited for; with
    `single_waits`, as many waits of the host and of streams for one piece of work."""
    rows = []
    for index in range(3):
        out, back, host = draw(_PROGRAM_ROWS)
        rows.append(row("a", "forward", draw(_SHORT), 0, f"k{index}", out, back)._replace(**host))
    kernels = _one_of(tuple(entry.algorithm for entry in rows))
    ways = draw(_WAYS)
    steps: list[Step] = []
    commands: list[Command] = []
    live: list[Buffer] = []
    given: list[Piece] = []

    def give(stream: Stream) -> None:
        given.append(Piece(stream, 1 + sum(piece.stream is stream for piece in given)))

    for index in range(draw(st.integers(1, 6))):
        first = len(commands)
        for _ in range(draw(_COUNTS)):
            kind = draw(_COMMANDS_AND_WAITS if single_waits else _COMMANDS)
            if kind == "kernel":
                give(Stream.COMPUTE)
                commands.append(Kernel("a", "forward", draw(kernels)))
            elif kind == "copy":
                buffer, out, layer = draw(_COPIES[ways])
                give(Stream.COPY_OUT if out else Stream.COPY_IN)
                commands.append(CopyOut(buffer, "a") if out else CopyIn(buffer, "a", layer))
            elif kind == "wait":
                commands.append(Synchronise(tuple(draw(_STREAMS))))
            elif kind == "host wait" and given:
                commands.append(HostWait(draw(st.sampled_from(given))))
            elif kind == "stream wait" and given:
                commands.append(StreamWait(draw(_STREAM), draw(st.sampled_from(given))))
            elif kind == "host call":
                commands.append(HostCall("hook"))
            elif live and draw(_BOOLEANS):
                commands.append(Free(live.pop()))
            else:
                buffer = draw(_BUFFERS)._replace(name=f"m{len(commands)}")
                live.append(buffer)
                commands.append(Allocate(buffer))
        steps.append(Step(f"s{index}", False, draw(st.booleans()), first, len(commands)))
    header = TraceHeader("test-gpu", "any", 1, "fp32", sources={"test": "made up"})
    return Program(BUFFERS[:1], tuple(commands), tuple(steps), {}, ()), Trace(header, rows)
