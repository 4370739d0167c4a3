"""Kernels timed in the order in which an iteration runs them, with the caches, clocks and power of training.

A round is one program whose CONV passes each use one of their algorithms. The device is kept busy beforehand so that
the host is ahead and no kernel waits for its launch. The marks around kernels cost time themselves; what they add is
seen by comparing with an iteration that has two marks in all, and taken off each kernel in equal parts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from vdnnsim.calibration.samples import STEADY_PPM, repetitions_within, sample
from vdnnsim.calibration.screening import HOPELESS, Look, Looks
from vdnnsim.machines.device_memory import DeviceMemory, replay_memory
from vdnnsim.machines.real.machine import LoadedProgram
from vdnnsim.memory import ENDLESS_BYTES, make_pool
from vdnnsim.network import Network
from vdnnsim.policies.plan import Algorithms, Layout, Plan, feature_extraction_layers
from vdnnsim.program import Kernel, Program, Synchronise, build_program
from vdnnsim.trace.table import MEMORY_OPTIMAL_NAME

Key = tuple[str, str, str]
"""(layer, pass, algorithm)."""
LONG_KERNEL_NS = 100_000
"""Shorter kernels spread by what marks and launches do."""
_HEAD_START_PER_KERNEL_NS = 25_000
_LONGEST_HEAD_START_NS = 60_000_000
Spans = Mapping[int, tuple[int, int]]
"""(begin, end) of each marked command, by index."""


@dataclass
class Timings:
    """Everything seen of each kernel, in nanoseconds: its duration in a busy stream; what its launch cost the host and
    how long it took from launch to the end of a wait, on an idle stream."""

    durations: dict[Key, list[int]] = field(default_factory=lambda: defaultdict(list))
    launches: dict[Key, list[int]] = field(default_factory=lambda: defaultdict(list))
    alone: dict[Key, list[int]] = field(default_factory=lambda: defaultdict(list))
    mark_costs: list[int] = field(default_factory=list)
    clock_costs: list[int] = field(default_factory=list)


class Effort(NamedTuple):
    """How often a round is repeated: the `main` ones, whose algorithms most policies use, more than the others."""

    main: bool

    def repetitions(self, one_ns: int) -> int:
        """Of something that takes so long."""
        if self.main:
            return repetitions_within(1_000_000_000, one_ns, 2, 15)
        return repetitions_within(200_000_000, one_ns, 1, 3)

    @property
    def tries(self) -> int:
        """How often an iteration is taken again where the host ran slower than it can."""
        return 4 if self.main else 2


def rounds_of(looks: Looks) -> list[Algorithms]:
    """The algorithms of each round: the leanest everywhere, the fastest everywhere, then every other one that is not
    hopeless, as many passes at a time as possible."""
    worth = {key: tuple(look for look in found if not hopeless(look, found)) for key, found in looks.items()}
    rounds: list[Algorithms] = [
        {key: leanest(found).algorithm.name for key, found in looks.items()},
        {key: found[0].algorithm.name for key, found in worth.items()},
    ]
    for index in range(1, max(len(found) for found in worth.values())):
        rounds.append({key: found[min(index, len(found) - 1)].algorithm.name for key, found in worth.items()})
    return rounds


def hopeless(look: Look, found: tuple[Look, ...]) -> bool:
    """Whether an algorithm is so slow that it is not timed in a round, unless it is the leanest."""
    return look.duration_ns > HOPELESS * found[0].duration_ns and look is not leanest(found)


def leanest(found: tuple[Look, ...]) -> Look:
    """As `Trace.leanest` chooses."""
    return min(
        found,
        key=lambda look: (
            look.algorithm.workspace_bytes,
            look.algorithm.name != MEMORY_OPTIMAL_NAME,
            look.duration_ns,
            look.algorithm.name,
        ),
    )


def program_of(network: Network, looks: Looks, algorithms: Algorithms, free_bytes: int) -> Program:
    """A round's program: everything allocated beforehand, or where that finds no room in the device's free memory,
    layer by layer with everything offloaded."""
    workspaces = _workspaces(looks, algorithms)
    program = build_program(network, Plan(Layout.NETWORK_WIDE, frozenset(), algorithms, workspaces))
    if span_bytes(program) > free_bytes:
        offload = feature_extraction_layers(network)
        program = build_program(network, Plan(Layout.LAYER_WISE, offload, algorithms, workspaces))
    return program


def waiting_program_of(network: Network, looks: Looks, algorithms: Algorithms) -> Program:
    """The same kernels layer by layer, with allocations and waits between them as vDNN has, and nothing offloaded: what
    the host does between kernels decides how fast it launches them."""
    plan = Plan(Layout.LAYER_WISE, frozenset(), algorithms, _workspaces(looks, algorithms))
    return build_program(network, plan)


def _workspaces(looks: Looks, algorithms: Algorithms) -> dict[tuple[str, str], int]:
    sizes = {
        (key, look.algorithm.name): look.algorithm.workspace_bytes for key, found in looks.items() for look in found
    }
    return {key: sizes[key, name] for key, name in algorithms.items()}


def span_bytes(program: Program) -> int:
    """The slab that a program needs."""
    pool = make_pool("best-fit", ENDLESS_BYTES)
    replay_memory(program, DeviceMemory(pool))
    return pool.span_bytes


def time_in_stream(loaded: LoadedProgram, timings: Timings, effort: Effort) -> None:
    """Add the durations of a program's kernels as they follow each other in a busy stream."""
    kernels = kernels_of_program(loaded.program)
    head_start_ns = min(_LONGEST_HEAD_START_NS, _HEAD_START_PER_KERNEL_NS * len(kernels))

    def mark(which: Container[int]) -> Spans:
        host = loaded.machine.device.host
        return host.undisturbed(lambda: loaded.mark(which, head_start_ns).spans_ns, effort.tries)[0]

    marked = [mark(kernels)]
    repetitions = effort.repetitions(_between(marked[0]))
    marked += [mark(kernels) for _ in range(repetitions - 1)]
    # Where the host waits inside the program, marks are not all that lies between kernels: nothing is taken off.
    waits = sum(isinstance(command, Synchronise) for command in loaded.program.commands)
    if waits <= 1 and (effort.main or not timings.mark_costs):
        ends = {min(kernels), max(kernels)}
        totals = [_between(mark(ends)) for _ in range(min(5, repetitions))]
        sums = [sum(end - begin for begin, end in spans.values()) for spans in marked]
        timings.mark_costs.append(round((median(sums) - median(totals)) / len(kernels)))
    cost_ns = round(median(timings.mark_costs)) if waits <= 1 else 0
    for spans in marked:
        for index, (begin_ns, end_ns) in spans.items():
            timings.durations[kernels[index]].append(max(1, end_ns - begin_ns - cost_ns))


def unsteady(timings: Timings, keys: Iterable[Key]) -> list[Key]:
    """Those kernels of some length whose duration spreads by more than `STEADY_PPM`."""
    found = {key: sample(timings.durations[key]) for key in keys}
    return [key for key, one in found.items() if one.median_ns >= LONG_KERNEL_NS and one.spread_ppm > STEADY_PPM]


def time_one_by_one(waiting: LoadedProgram, timings: Timings, effort: Effort) -> None:
    """Add what each launch costs and each kernel takes alone; `waiting` waits after every kernel. What reading the
    clock after every command adds is seen against plain iterations, and taken off in equal parts."""
    kernels = kernels_of_program(waiting.program)
    host = waiting.machine.device.host
    totals = [host.undisturbed(waiting.run, effort.tries)[0]]
    paced = [host.undisturbed(waiting.run_paced, effort.tries)[0]]
    for _ in range(effort.repetitions(2 * totals[0]) - 1):
        totals.append(host.undisturbed(waiting.run, effort.tries)[0])
        paced.append(host.undisturbed(waiting.run_paced, effort.tries)[0])
    if effort.main or not timings.clock_costs:
        excess_ns = median(times[-1] - begin_ns for times, begin_ns in paced) - median(totals)
        timings.clock_costs.append(max(0, round(excess_ns / len(waiting.program.commands))))
    one_ns = round(median(timings.clock_costs))
    for times, begin_ns in paced:
        for index, key in kernels.items():
            before_ns = times[index - 1] if index else begin_ns
            timings.launches[key].append(max(0, times[index] - before_ns - one_ns))
            timings.alone[key].append(times[index + 1] - before_ns - 2 * one_ns)


def kernels_of_program(program: Program) -> dict[int, Key]:
    """Which kernel each command is, by the command's index."""
    return {
        index: (command.layer, command.pass_, command.algorithm)
        for index, command in enumerate(program.commands)
        if isinstance(command, Kernel)
    }


def _between(spans: Spans) -> int:
    return int(max(end for _, end in spans.values()) - min(begin for begin, _ in spans.values()))
