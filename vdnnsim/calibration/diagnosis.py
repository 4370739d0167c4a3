"""What an examination of `doctor` means: whether to measure on this machine, how far off what comes of it can be, and
what to do about it.

The limits are those by which `calibrate report` judges: predictions are held to 1 %; a case in which a slow link was
more than a tenth of an iteration cannot be told, and one beside whose iterations it was slow for more than half of the
time takes many of them; a report in which more than a tenth of the cases cannot be told says so first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from enum import IntEnum, StrEnum
from textwrap import wrap
from typing import NamedTuple

from vdnnsim.calibration.doctor import Examination, HostSeen, LinkSeen, Steadiness
from vdnnsim.calibration.iterations import MOST_TAKEN_OFF_PPM
from vdnnsim.calibration.records import LARGEST_ERROR, MOST_UNTOLD
from vdnnsim.machines.real.host import SLOW
from vdnnsim.machines.real.nvml import BY_CHOICE, GpuState
from vdnnsim.units import PPM, format_bytes, format_ms

HALF_SPEED_COST = 0.05
"""What an iteration of many short kernels takes longer on a core at half its speed: ResNet-50 on an H200, of 1966
commands, 133 ms for 127."""
_MOST_SLOW, _MOST_EXCESS = 0.5, MOST_TAKEN_OFF_PPM / PPM
_WIDTH = 100
_LEAST_FREE = 0.8
"""A GPU of which less memory than this share is free."""


class Grade(IntEnum):
    """How fit a machine is, the worse the higher."""

    FIT = 0
    SOME = 1
    UNFIT = 2


VERDICTS = {
    Grade.FIT: "Fit to measure on: predictions can be held to 1 %.",
    Grade.SOME: "Some cases cannot be told here: expect a part of a report to be marked so.",
    Grade.UNFIT: "Do not measure here, or not now.",
}
SHORT = {
    Grade.FIT: "within 1 %",
    Grade.SOME: "some cases cannot be told",
    Grade.UNFIT: "do not measure here",
}


class Kind(StrEnum):
    """What a finding is about."""

    LINK = "link"
    HOST = "host"
    SLOW_CORES = "slow cores"
    STATE = "state"
    KERNELS = "kernels"
    PROCESSES = "processes"
    ECC = "ecc"
    MEMORY = "memory"
    NVML = "nvml"
    NO_GPU = "no gpu"


ADVICE = {
    Kind.LINK: "Other guests of this host use the link or its memory. It comes and goes: ask again in an hour, or take "
    "a whole machine. On a machine of your own, end what copies, and keep the process on the socket that the GPU is at "
    "(nvidia-smi topo -m, numactl).",
    Kind.HOST: "Something shares the cores. End other work, or take a machine whose cores are not shared; on your own, "
    "set the CPU's governor to performance.",
    Kind.SLOW_CORES: "Nothing to do: measurements are taken on the others.",
    Kind.STATE: "Let the GPU cool, raise its power limit, or hold its clocks where it can keep them (nvidia-smi -lgc).",
    Kind.KERNELS: "Something else uses the device, or its clocks move. End what runs on it (nvidia-smi), or hold the "
    "clocks (nvidia-smi -lgc).",
    Kind.PROCESSES: "End them (nvidia-smi lists them): what they do is not told. What was measured while their number "
    "changed, or while there were more than at other times, is marked as disturbed; those that stay are let pass.",
    Kind.ECC: "Reset the GPU; where they come again, take another: what it computes may be wrong.",
    Kind.MEMORY: "End what holds the memory, or leave cases out that need more.",
    Kind.NVML: "pip install nvidia-ml-py, or a container that may ask the driver. Until then nobody tells clocks, what "
    "holds them back, and who else is on the card; only that kernels are steady is seen.",
    Kind.NO_GPU: "Good for trying the commands; leave --device out where there is a GPU.",
}


class Finding(NamedTuple):
    """Something to know of the machine, how bad it is, and the figures. One that is `Grade.FIT` only informs."""

    kind: Kind
    grade: Grade
    figures: str

    @property
    def advice(self) -> str:
        """What to do about it."""
        return ADVICE[self.kind]


class Expected(NamedTuple):
    """By which shares predictions may be off, from what was seen. Cases bound by the link: what a copy took beyond the
    fastest, in the median, and on average, which counts bursts as well; of those most are recognised and taken off.
    Cases of many short kernels: the share of slow stretches, times what slow cores cost. All: what a kernel took
    beyond the fastest, in the median."""

    link: float
    link_with_bursts: float
    host: float
    kernels: float


def expected(seen: Examination) -> Expected:
    """The errors to expect."""
    return Expected(
        _middles(seen.link),
        _means(seen.link),
        seen.host.slow_stretches * HALF_SPEED_COST,
        seen.gpu.kernels.median_excess,
    )


def grade(seen: Examination) -> Grade:
    """The worst of all findings."""
    return max((finding.grade for finding in findings(seen)), default=Grade.FIT)


def findings(seen: Examination) -> list[Finding]:
    """All that there is to say, the worst first."""
    return sorted(_findings(seen), key=lambda finding: -finding.grade)


def _findings(seen: Examination) -> Iterator[Finding]:
    host, link, gpu = seen.host, seen.link, seen.gpu
    if not seen.is_gpu:
        yield Finding(Kind.NO_GPU, Grade.FIT, "this is a CPU: its copies and kernels are those of ordinary memory")
    if of_link := _steady(link.slow_looks, _middles(link), _means(link)):
        yield Finding(Kind.LINK, of_link, _link_figures(link))
    if host.slow_stretches * HALF_SPEED_COST > LARGEST_ERROR:
        of_host = Grade.UNFIT if host.slow_stretches > _MOST_SLOW else Grade.SOME
        yield Finding(Kind.HOST, of_host, _stretches(host))
    never = len(host.cores) - len(host.fast_cores)
    if never:
        yield Finding(Kind.SLOW_CORES, Grade.FIT, f"{never} of {len(host.cores)} cores never ran at full speed")
    if against := (*gpu.doubts, *_held_back(gpu.loaded)):
        yield Finding(Kind.STATE, Grade.SOME, "; ".join(against))
    kernels = gpu.kernels
    if of_kernels := _steady(kernels.slow_share, kernels.median_excess, kernels.mean_excess):
        yield Finding(Kind.KERNELS, of_kernels, f"one kernel again and again: {_spread(kernels)}")
    yield from _of_the_card(seen)


def _of_the_card(seen: Examination) -> Iterator[Finding]:
    state, memory = seen.gpu.loaded or seen.gpu.rest, seen.memory
    if seen.is_gpu and memory.free_bytes < _LEAST_FREE * memory.total_bytes:
        yield Finding(Kind.MEMORY, Grade.SOME, _memory(seen))
    if state is None:
        if seen.is_gpu:
            yield Finding(Kind.NVML, Grade.FIT, "the GPU's state is not told")
        return
    if state.other_processes:
        held = "" if state.other_bytes is None else f", {format_bytes(state.other_bytes)}"
        yield Finding(Kind.PROCESSES, Grade.SOME, f"others on the card: {state.other_processes}{held}")
    if state.ecc_uncorrected:
        yield Finding(Kind.ECC, Grade.SOME, f"{state.ecc_uncorrected} memory errors that could not be corrected")


def _held_back(state: GpuState | None) -> list[str]:
    """What holds the clocks back at the end of the load, of what the driver does not count."""
    if state is None:
        return []
    uncounted = [name for name in state.reasons or () if name not in (*BY_CHOICE, *(state.reason_ns or {}))]
    return [f"clocks held back by {name} under load" for name in uncounted]


def _steady(slow_share: float, median_excess: float, mean_excess: float) -> Grade:
    if slow_share > _MOST_SLOW or mean_excess > _MOST_EXCESS:
        return Grade.UNFIT
    return Grade.SOME if slow_share > MOST_UNTOLD or median_excess > LARGEST_ERROR else Grade.FIT


def diagnosis_text(seen: Examination, columns: int = _WIDTH) -> str:
    """The examination for people, in lines of so many columns, and of no more than are quick to read."""
    found = findings(seen)
    advice = [
        (f"{one.kind}{'' if one.grade is Grade.FIT else f' ({SHORT[one.grade]})'}", f"{one.figures}. {one.advice}")
        for one in found
    ]
    nothing = [("nothing", "run 'vdnnsim calibrate link' or 'report' now, before it changes.")]
    blocks = [("Seen", _seen(seen)), ("Error to expect", _errors(seen)), ("What to do", advice or nothing)]
    lines = [VERDICTS[grade(seen)]]
    for title, entries in blocks:
        lines += ["", title]
        for name, text in entries:
            lines += wrap(f"{name}: {text}", min(columns, _WIDTH), initial_indent="  ", subsequent_indent="    ")
    return "\n".join(lines) + "\n"


def _seen(seen: Examination) -> list[tuple[str, str]]:
    gpu = seen.gpu
    return [
        ("machine", seen.conditions["gpu"]),
        ("host", _host(seen.host)),
        *((title, _copies(way, seen.link.size_bytes)) for title, way in _ways(seen.link)),
        ("link in reports", f"slow at {_percent(seen.link.disturbed_looks)} of the looks, by their closer limit"),
        ("kernel", f"{format_ms(gpu.kernels.fastest_ns)} at the fastest, {_spread(gpu.kernels)}"),
        ("at rest", _state(gpu.rest)),
        ("under load", _state(gpu.loaded)),
        ("memory", _memory(seen)),
    ]


def _errors(seen: Examination) -> list[tuple[str, str]]:
    likely = expected(seen)
    return [
        (
            "cases bound by the link",
            f"{_percent(likely.link)}, what a copy takes longer than the fastest in the median; on average it is "
            f"{_percent(likely.link_with_bursts)}, of which bursts are recognised and taken off",
        ),
        (
            "cases of many short kernels",
            f"{_percent(likely.host)}, the share of slow stretches ({_percent(seen.host.slow_stretches)}) of the "
            f"{_percent(HALF_SPEED_COST)} that slow cores cost ResNet-50",
        ),
        ("all cases", f"{_percent(likely.kernels)}, what a kernel takes longer than the fastest in the median"),
    ]


def diagnosis_json(seen: Examination) -> str:
    """All figures, with the verdict, as JSON text."""
    document = {
        "schema": 1,
        "grade": SHORT[grade(seen)],
        "verdict": VERDICTS[grade(seen)],
        "expected_errors": expected(seen)._asdict(),
        "findings": [
            {**finding._asdict(), "grade": SHORT[finding.grade], "advice": finding.advice} for finding in findings(seen)
        ],
        "seen": asdict(seen),
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _ways(link: LinkSeen) -> tuple[tuple[str, Steadiness], ...]:
    return (
        ("copies out", link.out),
        ("copies in", link.back),
        ("out beside in", link.out_both_ways),
        ("in beside out", link.in_both_ways),
    )


def _middles(link: LinkSeen) -> float:
    return max(link.out.median_excess, link.back.median_excess)


def _means(link: LinkSeen) -> float:
    return max(link.out.mean_excess, link.back.mean_excess)


def _link_figures(link: LinkSeen) -> str:
    longest_ns = max(link.out.longest_slow_ns, link.back.longest_slow_ns)
    return (
        f"slower by more than {_percent(link.out.slow_beyond)} are {_percent(link.out.slow_share)} of the copies out "
        f"and {_percent(link.back.slow_share)} of those in, one or the other at {_percent(link.slow_looks)} of the "
        f"looks, for up to {format_ms(longest_ns)}; they take {_percent(_middles(link))} longer than the fastest in "
        f"the median, {_percent(_means(link))} on average"
    )


def _host(host: HostSeen) -> str:
    text = (
        f"a short loop takes {host.fastest_ns / 1000:.0f} us, {_percent(host.slow_share)} of {host.probes} probes "
        f"longer by more than {_percent(SLOW - 1)}; {_stretches(host)}"
    )
    if len(host.cores) == 1:
        return text
    best, worst = (choose(host.cores, key=lambda core: core.slow_share) for choose in (min, max))
    return (
        f"{text}; of {len(host.cores)} cores the best is {best.number} with {_percent(best.slow_share)}, the worst "
        f"{worst.number} with {_percent(worst.slow_share)}"
    )


def _stretches(host: HostSeen) -> str:
    return (
        f"on a core that was fast it was slow at the end of {_percent(host.slow_stretches)} of the stretches of "
        f"{format_ms(host.stretch_ns)}"
    )


def _copies(way: Steadiness, size_bytes: int) -> str:
    speed = format_bytes(round(size_bytes / way.fastest_ns * 1e9))
    return f"{format_ms(way.fastest_ns)} at the fastest ({speed}/s), {_spread(way)}"


def _spread(found: Steadiness) -> str:
    spells = f", for up to {format_ms(found.longest_slow_ns)}" if found.longest_slow_ns else ""
    return (
        f"median {format_ms(found.median_ns)}, {_percent(found.slow_share)} of {found.number} slower by more than "
        f"{_percent(found.slow_beyond)}{spells}"
    )


def _memory(seen: Examination) -> str:
    return f"{format_bytes(seen.memory.free_bytes)} free of {format_bytes(seen.memory.total_bytes)}"


def _state(state: GpuState | None) -> str:
    return "not told" if state is None else str(state)


def _percent(share: float) -> str:
    """A digit behind the point where it is little: more would be invented."""
    return f"{100 * share:.1f} %".replace(".0 %", " %") if share < 0.1 else f"{100 * share:.0f} %"
