"""`calibrate trace`: a measured trace of one network on the device at hand."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from vdnnsim.calibration.bench import Bench
from vdnnsim.calibration.kernels import choices_of
from vdnnsim.calibration.link import measure_synchronise
from vdnnsim.calibration.pairs import Slowdown
from vdnnsim.calibration.progress import OnProgress, silent
from vdnnsim.calibration.rounds import (
    LONG_KERNEL_NS,
    Effort,
    Timings,
    hopeless,
    kernels_of_program,
    program_of,
    rounds_of,
    time_in_stream,
    time_one_by_one,
    unsteady,
    waiting_program_of,
)
from vdnnsim.calibration.samples import STEADY_PPM, Sample, sample
from vdnnsim.calibration.screening import Look, Looks, screen
from vdnnsim.calibration.slowdown import NONE, CopySlowdowns
from vdnnsim.calibration.stored import machine_id
from vdnnsim.calibration.watch import Watch
from vdnnsim.gpu import AfterWait
from vdnnsim.machines.real.machine import LoadedProgram, RealMachine
from vdnnsim.network import Network, shape_key
from vdnnsim.policies.plan import Algorithms, performance_optimal
from vdnnsim.trace import Provenance, RowSpread, Trace, TraceHeader, TraceRow

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
    slowdowns: dict[tuple[object, ...], tuple[Slowdown, Slowdown]]
    after_wait: AfterWait | None


def measure_trace(
    bench: Bench,
    network: Network,
    math: str,
    gpu: str,
    created_by: str,
    progress: OnProgress = silent,
    after_wait: AfterWait | None = None,
) -> Trace:
    """Time every layer and pass of a network, CONV with every algorithm that runs.

    The leanest and the fastest algorithms, which most policies use, are repeated most. Raises `DeviceRefused` where not
    even one layer at a time finds room, `InvalidInput` for a math mode that the device does not have. `after_wait` is
    that of the profile which the trace will be used with: launches are then told as warm ones.
    """
    device, operators = bench.device, bench.operators_in(math)
    before = device.describe()
    begun = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    looks = screen(network, choices_of(network, operators), device, operators, progress)
    machine = bench.machine(network, math)
    measured = _Measured(looks, Timings(), {}, after_wait)
    rounds = rounds_of(looks)
    synchronise = measure_synchronise(bench.watch)
    for number, algorithms in enumerate(rounds):
        progress(number, len(rounds) + 1, f"round {number + 1} of {len(rounds) + 1}")
        _measure_round(bench, machine, measured, algorithms, main=number < 2)
    header = TraceHeader.of(network, gpu, math, created_by, _SOURCES)
    first = Trace(header, _rows(network, measured, synchronise.median_ns))
    progress(len(rounds), len(rounds) + 1, "the fastest once more")
    _measure_round(bench, machine, measured, performance_optimal(network, first), main=True)
    rows = _rows(network, measured, synchronise.median_ns)
    conditions = _conditions(before, device.describe(), begun, measured, synchronise)
    conditions |= bench.watch.describe()
    conditions["machine"] = machine_id(device)
    conditions["launches"] = "of a warm host" if after_wait else "as they came, after waits as long as the kernels"
    return Trace(replace(header, conditions=conditions), rows)


def _measure_round(bench: Bench, machine: RealMachine, measured: _Measured, algorithms: Algorithms, main: bool) -> None:
    device, watch = bench.device, bench.watch
    program = program_of(machine.network, measured.looks, algorithms, device.free_bytes())
    loaded = bench.load(machine, program)
    effort = Effort(main, device.budget_ns)
    time_in_stream(watch, loaded, measured.timings, effort)
    keys = kernels_of_program(loaded.program).values()
    if main and len(unsteady(measured.timings, keys)) > _MOST_UNSTEADY * len(measured.timings.durations):
        time_in_stream(watch, loaded, measured.timings, effort)
    waiting = bench.load(machine, waiting_program_of(machine.network, measured.looks, algorithms)).one_by_one()
    time_one_by_one(watch, waiting, measured.timings, effort, measured.after_wait)
    loaded.prepare()
    _measure_slowdowns(watch, loaded, measured)


def _measure_slowdowns(watch: Watch, loaded: LoadedProgram, measured: _Measured) -> None:
    machine = loaded.machine
    slowdowns = CopySlowdowns(watch)
    for index, (name, pass_, algorithm) in kernels_of_program(loaded.program).items():
        key = (*shape_key(machine.network, machine.network.by_name[name], pass_), algorithm)
        if key not in measured.slowdowns:
            duration = sample(measured.timings.durations[name, pass_, algorithm])
            launch = sample(measured.timings.launches[name, pass_, algorithm])
            call = loaded.orders[index].call
            measured.slowdowns[key] = slowdowns.measure(call, duration.median_ns, launch.median_ns)


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
    duration, launch, alone = (sample(found[key]) for found in (timings.durations, timings.launches, timings.alone))
    shape = (*shape_key(network, network.by_name[name], pass_), look.algorithm.name)
    out, back = measured.slowdowns.get(shape, (NONE, NONE))
    disturbed_by = {*timings.disturbed_by(key), out.disturbed, back.disturbed} - {""}
    return TraceRow(
        name,
        pass_,
        look.algorithm.name,
        duration.median_ns,
        look.algorithm.workspace_bytes,
        out.ppm,
        back.ppm,
        Provenance.MEASURED,
        IN_STREAM,
        launch.median_ns,
        max(0, alone.median_ns - duration.median_ns - synchronise_ns),
        RowSpread(duration.spread_ppm, out.spread_ppm, back.spread_ppm, launch.spread_ppm),
        "; ".join(sorted(disturbed_by)),
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
