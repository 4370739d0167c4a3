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

from vdnnsim.calibration.samples import STEADY_PPM, quiet_ones, quiet_sample, repetitions_within, sample
from vdnnsim.calibration.screening import HOPELESS, Look, Looks
from vdnnsim.calibration.watch import HOST, Seen, Watch
from vdnnsim.gpu import AfterWait, CallKind
from vdnnsim.iteration import Layout
from vdnnsim.machines.device_memory import DeviceMemory, replay_memory
from vdnnsim.machines.real.machine import LoadedProgram
from vdnnsim.memory import ENDLESS_BYTES, make_pool
from vdnnsim.network import Network
from vdnnsim.policies.plan import Algorithms, feature_extraction_layers, plan_of
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


class Readings(list[int]):
    """Of one kernel. Undisturbed ones take the place of those that were not, and are not joined by more of these."""

    disturbed_by: tuple[str, ...] = ()

    def add(self, reading_ns: int, disturbed_by: tuple[str, ...]) -> None:
        if disturbed_by and self and not self.disturbed_by:
            return
        if self.disturbed_by and not disturbed_by:
            self.clear()
        self.disturbed_by = disturbed_by
        self.append(reading_ns)


@dataclass
class Timings:
    """Everything seen of each kernel, in nanoseconds: its duration in a busy stream; what its launch cost the host and
    how long it took from launch to the end of a wait, on an idle stream."""

    durations: dict[Key, Readings] = field(default_factory=lambda: defaultdict(Readings))
    launches: dict[Key, Readings] = field(default_factory=lambda: defaultdict(Readings))
    alone: dict[Key, Readings] = field(default_factory=lambda: defaultdict(Readings))
    mark_costs: list[int] = field(default_factory=list)
    clock_costs: list[int] = field(default_factory=list)

    def disturbed_by(self, key: Key) -> set[str]:
        """What a kernel's numbers never were undisturbed by."""
        return {*self.durations[key].disturbed_by, *self.launches[key].disturbed_by}


class Effort(NamedTuple):
    """How often a round is repeated: the `main` ones, whose algorithms most policies use, more than the others."""

    main: bool
    budget_ns: int

    def repetitions(self, one_ns: int) -> int:
        """Of something that takes so long."""
        if self.main:
            return repetitions_within(self.budget_ns, one_ns, 2, 15)
        return repetitions_within(self.budget_ns // 5, one_ns, 2, 3)


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
    program = build_program(network, plan_of(network, Layout.NETWORK_WIDE, (), algorithms, workspaces))
    if span_bytes(program) > free_bytes:
        offload = feature_extraction_layers(network)
        program = build_program(network, plan_of(network, Layout.LAYER_WISE, offload, algorithms, workspaces))
    return program


def waiting_program_of(network: Network, looks: Looks, algorithms: Algorithms) -> Program:
    """The same kernels layer by layer, with allocations and waits between them as vDNN has, and nothing offloaded: what
    the host does between kernels decides how fast it launches them."""
    plan = plan_of(network, Layout.LAYER_WISE, (), algorithms, _workspaces(looks, algorithms))
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


def time_in_stream(watch: Watch, loaded: LoadedProgram, timings: Timings, effort: Effort) -> None:
    """Add the durations of a program's kernels as they follow each other in a busy stream."""
    kernels = kernels_of_program(loaded.program)
    head_start_ns = min(_LONGEST_HEAD_START_NS, _HEAD_START_PER_KERNEL_NS * len(kernels))

    def mark(which: Container[int]) -> Seen[Spans]:
        return watch.undisturbed(lambda: loaded.mark(which, head_start_ns).spans_ns, clocks=True)

    seen = [mark(kernels)]
    repetitions = effort.repetitions(_between(seen[0].value))
    seen += [mark(kernels) for _ in range(repetitions - 1)]
    marked, disturbed_by = quiet_ones([_without_host(one) for one in seen])
    # Where the host waits inside the program, marks are not all that lies between kernels: nothing is taken off.
    waits = sum(isinstance(command, Synchronise) for command in loaded.program.commands)
    if waits <= 1 and (effort.main or not timings.mark_costs):
        ends = {min(kernels), max(kernels)}
        totals = [_between(mark(ends).value) for _ in range(min(5, repetitions))]
        sums = [sum(end - begin for begin, end in spans.values()) for spans in marked]
        timings.mark_costs.append(round((median(sums) - median(totals)) / len(kernels)))
    cost_ns = round(median(timings.mark_costs)) if waits <= 1 else 0
    for spans in marked:
        for index, (begin_ns, end_ns) in spans.items():
            timings.durations[kernels[index]].add(max(1, end_ns - begin_ns - cost_ns), disturbed_by)


def _without_host(one: Seen[Spans]) -> Seen[Spans]:
    """What ran in a busy stream does not depend on the host."""
    return one._replace(disturbed_by=tuple({*one.disturbed_by} - {HOST}))


def unsteady(timings: Timings, keys: Iterable[Key]) -> list[Key]:
    """Those kernels of some length whose duration spreads by more than `STEADY_PPM`."""
    found = {key: sample(timings.durations[key]) for key in keys}
    return [key for key, one in found.items() if one.median_ns >= LONG_KERNEL_NS and one.spread_ppm > STEADY_PPM]


def time_one_by_one(
    watch: Watch, waiting: LoadedProgram, timings: Timings, effort: Effort, after_wait: AfterWait | None = None
) -> None:
    """Add what each launch costs and each kernel takes alone; `waiting` waits after every kernel. What reading the
    clock after every command adds is seen against plain iterations, and taken off in equal parts; what a wait adds to a
    launch is taken off as well, since the machine adds it again."""
    kernels = kernels_of_program(waiting.program)
    plain = [watch.undisturbed(waiting.run)]
    noted = [watch.undisturbed(waiting.run_paced, clocks=True)]
    for _ in range(effort.repetitions(2 * plain[0].value) - 1):
        plain.append(watch.undisturbed(waiting.run))
        noted.append(watch.undisturbed(waiting.run_paced, clocks=True))
    paced, disturbed_by = quiet_ones(noted)
    if effort.main or not timings.clock_costs:
        excess_ns = median(times[-1] - begin_ns for times, begin_ns in paced) - quiet_sample(plain).median_ns
        timings.clock_costs.append(max(0, round(excess_ns / len(waiting.program.commands))))
    one_ns = round(median(timings.clock_costs))
    for times, begin_ns in paced:
        waited_ns = after_wait.waits_ns[-1] if after_wait else 0
        for index, key in kernels.items():
            before_ns = times[index - 1] if index else begin_ns
            cold_ns = one_ns + (after_wait.extra_ns(CallKind.KERNEL, waited_ns) if after_wait else 0)
            timings.launches[key].add(max(0, times[index] - before_ns - cold_ns), disturbed_by)
            timings.alone[key].add(times[index + 1] - before_ns - one_ns - cold_ns, disturbed_by)
            waited_ns = times[index + 1] - times[index]


def kernels_of_program(program: Program) -> dict[int, Key]:
    """Which kernel each command is, by the command's index."""
    return {
        index: (command.layer, command.pass_, command.algorithm)
        for index, command in enumerate(program.commands)
        if isinstance(command, Kernel)
    }


def _between(spans: Spans) -> int:
    return int(max(end for _, end in spans.values()) - min(begin for begin, _ in spans.values()))
