"""`calibrate trace`: a measured trace of one network on the device at hand."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from vdnnsim.calibration.bench import Bench
from vdnnsim.calibration.kernels import choices_of
from vdnnsim.calibration.link import copy_piece_bytes, measure_synchronise
from vdnnsim.calibration.progress import Progress, silent
from vdnnsim.calibration.rounds import (
    LONG_KERNEL_NS,
    Effort,
    Timings,
    hopeless,
    kernels_of_program,
    program_of,
    rounds_of,
    span_bytes,
    time_in_stream,
    time_one_by_one,
    unsteady,
    waiting_program_of,
)
from vdnnsim.calibration.samples import STEADY_PPM, Sample, sample
from vdnnsim.calibration.screening import Look, Looks, screen
from vdnnsim.calibration.slowdown import CopySlowdowns
from vdnnsim.machines.real.machine import LoadedProgram, RealMachine
from vdnnsim.network import Network, shape_key
from vdnnsim.policies.plan import Algorithms, performance_optimal
from vdnnsim.trace import Provenance, Trace, TraceHeader, TraceRow
from vdnnsim.units import PPM

IN_STREAM = "in-stream"
FIRST_LOOK = "first-look"
_MOST_UNSTEADY = 0.05
"""A round in which a larger share of its kernels is unsteady is timed once more."""
_SOURCES = {
    IN_STREAM: "measured: median over iterations in the program's order in a busy stream, what the marks cost taken "
    "off; launch and start from iterations in which the host waits after every kernel; copy slowdowns from chained "
    "copies beside repeated launches of the kernel",
    FIRST_LOOK: "measured once, alone: far slower than the fastest algorithm of its pass, so not measured further; "
    "copy slowdowns taken as 1",
}


@dataclass
class _Measured:
    """What a trace is made from, while it is measured."""

    looks: Looks
    timings: Timings
    slowdowns: dict[tuple[object, ...], tuple[int, int]]


def measure_trace(
    bench: Bench, network: Network, math: str, gpu: str, created_by: str, progress: Progress = silent
) -> Trace:
    """Time every layer and pass of a network, CONV with every algorithm that runs.

    The leanest and the fastest algorithms, which most policies use, are repeated most. Raises `DeviceRefused` where not
    even one layer at a time finds room, `InvalidInput` for a math mode that the device does not have.
    """
    device, operators = bench.device, bench.operators_in(math)
    before = device.describe()
    begun = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    looks = screen(network, choices_of(network, operators), device, operators, progress)
    machine = bench.machine(network, math)
    measured = _Measured(looks, Timings(), {})
    rounds = rounds_of(looks)
    synchronise = measure_synchronise(device)
    for number, algorithms in enumerate(rounds):
        progress(number, len(rounds) + 1, f"round {number + 1} of {len(rounds) + 1}")
        _measure_round(bench, machine, measured, algorithms, main=number < 2)
    header = TraceHeader.of(network, gpu, math, created_by, _SOURCES)
    first = Trace(header, _rows(network, measured, synchronise.median_ns))
    progress(len(rounds), len(rounds) + 1, "the fastest once more")
    _measure_round(bench, machine, measured, performance_optimal(network, first), main=True)
    rows = _rows(network, measured, synchronise.median_ns)
    conditions = _conditions(before, device.describe(), begun, measured, synchronise)
    conditions["host"] = device.host.describe()
    return Trace(replace(header, conditions=conditions), rows)


def _measure_round(bench: Bench, machine: RealMachine, measured: _Measured, algorithms: Algorithms, main: bool) -> None:
    device = bench.device
    piece_bytes = copy_piece_bytes(device)
    program = program_of(machine.network, measured.looks, algorithms, device.free_bytes() - piece_bytes)
    span = span_bytes(program)
    slab = device.make_slab(span + piece_bytes)
    loaded = bench.load(machine, program)
    time_in_stream(loaded, measured.timings, Effort(main))
    keys = kernels_of_program(loaded.program).values()
    if main and len(unsteady(measured.timings, keys)) > _MOST_UNSTEADY * len(measured.timings.durations):
        time_in_stream(loaded, measured.timings, Effort(main))
    waiting = bench.load(machine, waiting_program_of(machine.network, measured.looks, algorithms)).one_by_one()
    time_one_by_one(waiting, measured.timings, Effort(main))
    loaded.prepare()
    _measure_slowdowns(loaded, measured, CopySlowdowns(device, slab[span : span + piece_bytes]))


def _measure_slowdowns(loaded: LoadedProgram, measured: _Measured, slowdowns: CopySlowdowns) -> None:
    machine = loaded.machine
    for index, (name, pass_, algorithm) in kernels_of_program(loaded.program).items():
        key = (*shape_key(machine.network, machine.network.by_name[name], pass_), algorithm)
        if key not in measured.slowdowns:
            duration = sample(measured.timings.durations[name, pass_, algorithm])
            launch = sample(measured.timings.launches[name, pass_, algorithm])
            call = loaded.orders[index].call
            measure = partial(slowdowns.measure, call, duration.median_ns, launch.median_ns)
            measured.slowdowns[key], _ = loaded.machine.device.host.undisturbed(measure, tries=2)


def _rows(network: Network, measured: _Measured, synchronise_ns: int) -> list[TraceRow]:
    rows = []
    for (name, pass_), found in measured.looks.items():
        for look in found:
            if hopeless(look, found) and (name, pass_, look.algorithm.name) not in measured.timings.durations:
                rows.append(_rough_row(name, pass_, look))
                continue
            rows.append(_row(network, name, pass_, look, measured, synchronise_ns))
    return rows


def _row(network: Network, name: str, pass_: str, look: Look, measured: _Measured, synchronise_ns: int) -> TraceRow:
    key = (name, pass_, look.algorithm.name)
    timings = measured.timings
    duration_ns = sample(timings.durations[key]).median_ns
    launch_ns = sample(timings.launches[key]).median_ns
    alone_ns = sample(timings.alone[key]).median_ns
    shape = (*shape_key(network, network.by_name[name], pass_), look.algorithm.name)
    out_ppm, in_ppm = measured.slowdowns.get(shape, (PPM, PPM))
    return TraceRow(
        name,
        pass_,
        look.algorithm.name,
        duration_ns,
        look.algorithm.workspace_bytes,
        out_ppm,
        in_ppm,
        Provenance.MEASURED,
        IN_STREAM,
        launch_ns,
        max(0, alone_ns - duration_ns - synchronise_ns),
    )


def _rough_row(name: str, pass_: str, look: Look) -> TraceRow:
    return TraceRow(
        name,
        pass_,
        look.algorithm.name,
        look.duration_ns,
        look.algorithm.workspace_bytes,
        provenance=Provenance.MEASURED,
        source=FIRST_LOOK,
    )


def _conditions(
    before: Mapping[str, str], after: Mapping[str, str], begun: str, measured: _Measured, synchronise: Sample
) -> dict[str, str]:
    timings = measured.timings
    found = {key: sample(values) for key, values in timings.durations.items()}
    counts = sorted(one.repetitions for one in found.values())
    spreads = sorted(one.spread_ppm for one in found.values())
    long = [one for one in found.values() if one.median_ns >= LONG_KERNEL_NS]
    rough = sum(key not in timings.durations for key in _keys(measured.looks))
    return {
        **{key: text for key, text in before.items() if key != "clocks"},
        "clocks_before": before.get("clocks", ""),
        "clocks_after": after.get("clocks", ""),
        "date": begun,
        "repetitions": f"{counts[0]} to {counts[-1]} iterations of each kernel; {rough} rows from a first look only",
        "spread": f"middle half over median, of durations: median {spreads[len(spreads) // 2] / 1e4:.2f} %, "
        f"largest {spreads[-1] / 1e4:.2f} %",
        "unsteady": f"{len(unsteady(timings, found))} of {len(long)} kernels of {LONG_KERNEL_NS // 1000} us or more "
        f"spread by more than {STEADY_PPM / 1e4:g} %",
        "marks": f"taken off each kernel: {sample(timings.mark_costs).median_ns if timings.mark_costs else 0} ns",
        "synchronise": f"{synchronise.median_ns} ns for a wait with nothing to wait for",
    }


def _keys(looks: Looks) -> list[tuple[str, str, str]]:
    return [(*key, look.algorithm.name) for key, found in looks.items() for look in found]
