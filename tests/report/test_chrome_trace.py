"""Chrome trace JSON: structure, nesting, flows, counters."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

from vdnnsim.metrics import StepTime
from vdnnsim.program import Allocate, Free
from vdnnsim.report.chrome_trace import LANES, timeline_json
from vdnnsim.results import Comparison, PolicyRun
from vdnnsim.timeline import (
    COPY_IN,
    COPY_OUT,
    CopyRecord,
    KernelRecord,
    MemoryRecord,
    StallRecord,
    Timeline,
    WaitRecord,
)

Compare = Callable[..., Comparison]
Event = dict[str, Any]


def load(text: str) -> dict[str, Any]:
    """Numbers as they stand in the text, not as floats."""
    document = json.loads(text, parse_float=Decimal)
    assert isinstance(document, dict)
    return document


def events_of(text: str) -> list[Event]:
    return list(load(text)["traceEvents"])


def of_phase(events: list[Event], phase: str) -> list[Event]:
    return [event for event in events if event["ph"] == phase]


def ns(value: int | Decimal) -> int:
    nanoseconds = Decimal(value) * 1000
    assert nanoseconds == int(nanoseconds)
    return int(nanoseconds)


def span(event: Event) -> tuple[int, int]:
    return ns(event["ts"]), ns(event["ts"]) + ns(event["dur"])


def slices_by_thread(events: list[Event]) -> dict[tuple[int, int], list[Event]]:
    threads: dict[tuple[int, int], list[Event]] = {}
    for event in of_phase(events, "X"):
        threads.setdefault((event["pid"], event["tid"]), []).append(event)
    return threads


def thread_of(process: int, lane: str) -> tuple[int, int]:
    return process, 100 * process + LANES.index(lane)


def written_by_hand(comparison: Comparison) -> PolicyRun:
    """Two layers: a's kernel, slower copy out, stall; b's; and the copy back under b's backward."""
    timeline = Timeline(
        kernels=(
            KernelRecord(0, "a", "forward", "FFT", 12, 1012),
            KernelRecord(1, "b", "forward", "default", 5001, 5501),
            KernelRecord(2, "b", "backward", "default", 5601, 8601),
        ),
        copies=(
            CopyRecord(0, COPY_OUT, "map:x", 4000, 22, 4901, 4000),
            CopyRecord(2, COPY_IN, "map:x", 4000, 5602, 8500, 2898),
        ),
        waits=(WaitRecord(0, 30, 5000, 1), WaitRecord(1, 5010, 5600, 2), WaitRecord(2, 5610, 8700, 3)),
        stalls=(StallRecord(0, 1012, 4901, COPY_OUT, "map:x", late=False),),
        memory=(
            MemoryRecord(-1, 0, True, "weights:a", "weights", False, 0, 100),
            MemoryRecord(-1, 0, True, "map:x", "feature maps", False, 512, 4000),
            MemoryRecord(0, 5000, False, "map:x", "feature maps", False, 512, 4000),
            MemoryRecord(2, 5601, True, "map:x", "feature maps", False, 512, 4000),
            MemoryRecord(2, 8699, False, "map:x", "feature maps", False, 512, 4000),
        ),
        step_ends_ns=(5000, 5600, 8700),
        iteration_time_ns=8700,
        pool_high_water_bytes=4608,
        largest_hole_bytes=0,
    )
    steps = (
        StepTime("a", False, False, 0, 5000, 1000, 3889, 4000, 0),
        StepTime("b", False, False, 5000, 5600, 500, 0, 0, 0),
        StepTime("b", True, False, 5600, 8700, 3000, 0, 0, 4000),
    )
    run = comparison.runs[1]
    result = replace(run.result, bytes_by_class_at_peak={"weights": 100, "feature maps": 4000})
    return replace(run, result=result, timeline=timeline, steps=steps)


def test_a_timeline_written_out(roomy: Comparison) -> None:
    events = events_of(timeline_json([written_by_hand(roomy)]))
    slices = {
        lane: [
            (event["name"], event["ts"], event["dur"]) for event in slices_by_thread(events).get(thread_of(1, lane), [])
        ]
        for lane in LANES
    }
    times = {lane: [(name, str(ts), str(dur)) for name, ts, dur in entries] for lane, entries in slices.items()}
    assert times == {
        "layers": [
            ("a forward", "0.0", "5.0"),
            ("b forward", "5.0", "0.6"),
            ("b backward", "5.6", "3.1"),
        ],
        "host": [
            ("synchronise", "0.03", "4.97"),
            ("synchronise", "5.01", "0.59"),
            ("synchronise", "5.61", "3.09"),
        ],
        "compute": [
            ("a forward", "0.012", "1.0"),
            ("b forward", "5.001", "0.5"),
            ("b backward", "5.601", "3.0"),
            ("stall", "1.012", "3.889"),
        ],
        "copy out": [("copy out map:x", "0.022", "4.879")],
        "copy in": [("copy in map:x", "5.602", "2.898")],
    }
    [start], [end] = of_phase(events, "s"), of_phase(events, "f")
    assert (start["id"], start["tid"], str(start["ts"])) == (1, thread_of(1, "copy out")[1], "0.022")
    assert (end["id"], end["tid"], str(end["ts"])) == (1, thread_of(1, "copy in")[1], "5.602")
    counters = [event for event in of_phase(events, "C") if event["name"] == "bytes in use"]
    assert [(ns(event["ts"]), event["args"]) for event in counters] == [
        (0, {"weights": 100, "feature maps": 4000}),
        (5000, {"weights": 100, "feature maps": 0}),
        (5601, {"weights": 100, "feature maps": 4000}),
        (8699, {"weights": 100, "feature maps": 0}),
        (8700, {"weights": 100, "feature maps": 0}),
    ]


def test_arguments_say_layer_pass_algorithm_and_bytes(roomy: Comparison) -> None:
    threads = slices_by_thread(events_of(timeline_json([written_by_hand(roomy)])))
    assert threads[thread_of(1, "compute")][0]["args"] == {"layer": "a", "pass": "forward", "algorithm": "FFT"}
    assert threads[thread_of(1, "copy in")][0]["args"] == {
        "layer": "b",
        "buffer": "map:x",
        "bytes": 4000,
        "alone_ns": 2898,
    }
    assert threads[thread_of(1, "layers")][0]["args"] == {
        "kernel_ns": 1000,
        "stall_ns": 3889,
        "copied_out_bytes": 4000,
        "copied_in_bytes": 0,
    }
    assert threads[thread_of(1, "compute")][3]["args"] == {
        "during": "a forward",
        "waits for": "copy out map:x",
        "late": False,
    }


def test_processes_and_threads_are_named(tight: Comparison) -> None:
    names = of_phase(events_of(timeline_json(tight)), "M")
    processes = {event["pid"]: event["args"]["name"] for event in names if event["name"] == "process_name"}
    assert processes == {
        1: "baseline(p) (does not train)",
        2: "vdnn-all(p) (does not train)",
        3: "vdnn-conv(m)",
        4: "vdnn-dyn",
        5: "oracle",
    }
    threads = {event["tid"]: event["args"]["name"] for event in names if event["name"] == "thread_name"}
    assert len(threads) == 5 * len(LANES)
    assert [threads[tid] for tid in sorted(threads)[: len(LANES)]] == list(LANES)
    assert not set(threads) & set(processes)


def test_events_keep_the_rules_of_the_format(every: Comparison) -> None:
    text = timeline_json(every)
    assert "displayTimeUnit" not in text
    for event in events_of(text):
        assert event["ph"] in {"X", "M", "C", "s", "f"}
        assert isinstance(event["name"], str)
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        if event["ph"] != "M":
            assert ns(event["ts"]) >= 0
        if event["ph"] == "X":
            assert ns(event["dur"]) > 0
        assert not any(isinstance(value, list) for value in event.values())


def check_nesting(text: str) -> None:
    for slices in slices_by_thread(events_of(text)).values():
        open_until: list[int] = []
        for begin_ns, end_ns in sorted(map(span, slices), key=lambda span: (span[0], -span[1])):
            while open_until and open_until[-1] <= begin_ns:
                open_until.pop()
            assert not open_until or end_ns <= open_until[-1]
            open_until.append(end_ns)
            assert len(open_until) == 1


def test_slices_of_a_thread_nest(every: Comparison) -> None:
    check_nesting(timeline_json(every))


def test_a_stall_that_lies_in_no_wait_nests_as_well(roomy: Comparison) -> None:
    """As where a kernel waits by its stream, and the host is at a wait of its own that begins later."""
    run = written_by_hand(roomy)
    later = run.timeline.waits[0]._replace(begin_ns=2000)
    check_nesting(timeline_json([replace(run, timeline=replace(run.timeline, waits=(later, *run.timeline.waits[1:])))]))


def test_slices_add_up_to_the_results(every: Comparison) -> None:
    threads = slices_by_thread(events_of(timeline_json(every)))

    def total_ns(process: int, lane: str, name: str = "") -> int:
        slices = threads.get(thread_of(process, lane), [])
        return sum(ns(event["dur"]) for event in slices if event["name"].startswith(name))

    for process, result in enumerate(every, start=1):
        assert total_ns(process, "layers") == result.iteration_time_ns
        kernels_ns = sum(layer.kernel_ns for layer in result.layers)
        assert total_ns(process, "compute") == kernels_ns + total_ns(process, "compute", "stall")
        assert total_ns(process, "compute", "stall") == result.stall_ns


def test_flows_lead_from_each_copy_out_to_its_copy_in(every: Comparison) -> None:
    events = events_of(timeline_json(every))
    begins = {(event["pid"], event["tid"], event["ts"]): event for event in of_phase(events, "X")}
    starts = {event["id"]: event for event in of_phase(events, "s")}
    ends = {event["id"]: event for event in of_phase(events, "f")}
    assert starts.keys() == ends.keys()
    assert len(starts) == len(of_phase(events, "s")) == len(of_phase(events, "f"))
    copies_in = sum(copy.direction == "copy in" for run in every.runs for copy in run.timeline.copies)
    assert len(starts) == copies_in > 0
    for identity, start in starts.items():
        end = ends[identity]
        out, back = (begins[event["pid"], event["tid"], event["ts"]] for event in (start, end))
        assert start["name"] == end["name"] == out["args"]["buffer"] == back["args"]["buffer"]
        assert (out["name"].split(" map:")[0], back["name"].split(" map:")[0]) == ("copy out", "copy in")
        assert span(out)[1] <= span(back)[0]
        assert start["pid"] == end["pid"]
        assert end["bp"] == "e"


def test_counters_begin_and_end_with_what_stays(every: Comparison) -> None:
    counters = of_phase(events_of(timeline_json(every)), "C")
    for process, run in enumerate(every.runs, start=1):
        own = [event for event in counters if event["pid"] == process]
        classes = [event for event in own if event["name"] == "bytes in use"]
        totals = [event for event in own if event["name"] == "bytes"]
        assert all(ns(one["ts"]) <= ns(two["ts"]) for one, two in pairwise(classes))
        assert [event["args"]["in use"] for event in totals] == [sum(event["args"].values()) for event in classes]
        setup_bytes = sum(buffer.size_bytes for buffer in run.program.setup)
        assert totals[0]["args"]["in use"] == setup_bytes
        changes = [command for command in run.program.commands if isinstance(command, Allocate | Free)]
        sizes = [command.buffer.size_bytes * (1 if isinstance(command, Allocate) else -1) for command in changes]
        assert totals[-1]["args"]["in use"] == setup_bytes + sum(sizes)
        assert ns(totals[-1]["ts"]) == run.result.iteration_time_ns
        assert max(event["args"]["in use"] for event in totals) == run.result.peak_bytes


def test_runs_alone_are_a_timeline_too(roomy: Comparison) -> None:
    alone = load(timeline_json([roomy.runs[1]]))
    assert alone["otherData"] == {}
    assert {event["pid"] for event in alone["traceEvents"]} == {1}
    whole = load(timeline_json(roomy))["otherData"]
    assert whole["subject"].startswith("tiny, batch 1, on test-gpu")
    assert whole["provenance"].startswith("Provenance: modelled")


def test_equal_comparisons_give_equal_bytes(run_tiny: Compare, roomy: Comparison) -> None:
    assert timeline_json(run_tiny()) == timeline_json(roomy)
