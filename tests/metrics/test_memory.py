"""Bytes in use, worked out by hand."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from support.examples import tries
from support.strategies import Case, cases
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.memory import make_pool
from vdnnsim.metrics import MemoryUse, memory_use, use_by_class
from vdnnsim.program import MemoryClass, build_program
from vdnnsim.timeline import SETUP, MemoryRecord

CLASSES = ("maps", "weights")


def taken(step: int, time_ns: int, name: str, size_bytes: int, memory_class: str = "maps") -> MemoryRecord:
    return MemoryRecord(step, time_ns, True, name, memory_class, False, 0, size_bytes)


def freed(step: int, time_ns: int, name: str, size_bytes: int, memory_class: str = "maps") -> MemoryRecord:
    return MemoryRecord(step, time_ns, False, name, memory_class, False, 0, size_bytes)


def test_peak_averages_and_classes() -> None:
    """
    time    0   10   20   30   40        step 0 until 20, step 1 (empty) until 30, step 2 until 40
    weights 100 100  100  100            step peaks: 600, 300, 400
    maps      0 500  200  200, 300 from 35
    """
    records = [
        taken(SETUP, 0, "w", 100, "weights"),
        taken(0, 10, "a", 300),
        taken(0, 10, "b", 200),
        freed(0, 20, "a", 300),
        taken(2, 35, "c", 100),
    ]
    assert memory_use(records, 3, 40, CLASSES) == MemoryUse(
        peak_bytes=600,
        average_bytes=(100 * 10 + 600 * 10 + 300 * 15 + 400 * 5) // 40,
        average_bytes_per_step=(600 + 300 + 400) // 3,
        by_class_at_peak={"maps": 500, "weights": 100},
        peak_by_class={"maps": 500, "weights": 100},
        peak_step=0,
    )


def test_the_peak_of_one_class_may_be_at_another_time() -> None:
    records = [
        taken(0, 0, "w", 100, "weights"),
        freed(0, 5, "w", 100, "weights"),
        taken(1, 5, "a", 300),
        taken(1, 6, "v", 50, "weights"),
    ]
    use = memory_use(records, 2, 10, CLASSES)
    assert use.by_class_at_peak == {"maps": 300, "weights": 50}
    assert use.peak_by_class == {"maps": 300, "weights": 100}
    assert use.peak_step == 1


def test_the_first_of_equal_peaks_counts() -> None:
    records = [taken(0, 0, "a", 5), freed(0, 1, "a", 5), taken(1, 2, "b", 5)]
    assert memory_use(records, 2, 4, CLASSES).peak_step == 0


def test_what_is_set_up_and_stays_is_peak_and_average() -> None:
    use = memory_use([taken(SETUP, 0, "w", 100, "weights")], 5, 1000, CLASSES)
    assert (use.peak_bytes, use.average_bytes, use.average_bytes_per_step, use.peak_step) == (100, 100, 100, SETUP)


def test_nothing_and_no_time() -> None:
    nothing = memory_use([], 0, 0, CLASSES)
    assert nothing == MemoryUse(0, 0, 0, {"maps": 0, "weights": 0}, {"maps": 0, "weights": 0}, SETUP)
    assert memory_use([taken(0, 0, "a", 7)], 1, 0, CLASSES).average_bytes == 7


@settings(max_examples=tries(60))
@given(cases(), st.booleans())
def test_against_a_count_moment_by_moment(case: Case, inner: bool) -> None:
    """Peak, class sums and both averages from every record's prefix, for whole runs and for feature extraction."""
    program = build_program(case.network, case.plan)
    timeline = SimulatedMachine(case.trace, case.gpu).run(program, make_pool("best-fit", 2**40))
    records = [record for record in timeline.memory if not (inner and record.in_classifier)]
    end_ns = timeline.iteration_time_ns
    classes = [memory_class.value for memory_class in MemoryClass]
    use = memory_use(records, len(program.steps), end_ns, classes)
    levels = [0]
    for record in records:
        levels.append(levels[-1] + (record.size_bytes if record.taken else -record.size_bytes))
    assert use.peak_bytes == max(levels)
    assert sum(use.by_class_at_peak.values()) == use.peak_bytes
    assert all(use.peak_by_class[name] >= use.by_class_at_peak[name] for name in classes)
    times = [record.time_ns for record in records] + [end_ns]
    area = sum(level * (times[index + 1] - times[index]) for index, level in enumerate(levels[1:]))
    assert times == sorted(times)
    assert use.average_bytes == (area // end_ns if end_ns else levels[-1])
    peaks = []
    for step in range(len(program.steps)):
        before = [level for level, record in zip(levels[1:], records, strict=True) if record.step < step]
        during = [level for level, record in zip(levels[1:], records, strict=True) if record.step == step]
        peaks.append(max([before[-1] if before else 0, *during]))
    assert use.average_bytes_per_step == sum(peaks) // len(peaks)


def test_by_class_each_class_is_counted_for_itself() -> None:
    """maps: 10 bytes for 10 ns of 20, in one step of two; weights: 4 bytes always."""
    records = [taken(SETUP, 0, "w", 4, "weights"), taken(0, 0, "a", 10), freed(0, 10, "a", 10)]
    use = use_by_class(records, 2, 20, CLASSES)
    assert use.peak_bytes == {"maps": 10, "weights": 4}
    assert use.average_bytes == {"maps": 5, "weights": 4}
    assert use.average_bytes_per_step == {"maps": 5, "weights": 4}
