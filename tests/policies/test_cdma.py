"""Compressed copies: what is on the wire, how long it takes, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from captured.steps import three_layers
from support.cases import conv, gpu_of, layer, network_of, trace_of
from vdnnsim.captured import PlanFile
from vdnnsim.comparing import compare_policies
from vdnnsim.errors import InvalidInput
from vdnnsim.iteration import Compression
from vdnnsim.making import make_study
from vdnnsim.network import Kind
from vdnnsim.policies import make_policy
from vdnnsim.report.table import comparison_notes
from vdnnsim.report.words import distances
from vdnnsim.results import PolicyRun
from vdnnsim.study import Study
from vdnnsim.trace import Trace

NETWORK = network_of(*(conv(name, channels=4) for name in "abc"), layer(Kind.SOFTMAX, "loss"), channels=4)
"""Every map is 400 bytes; a copy takes a nanosecond a byte, and 100 at least."""
TRACE = trace_of(NETWORK)
MEASURED = Trace(replace(TRACE.header, densities_ppm={"map:a": 218_750, "map:b": 1_000_000}), TRACE.rows)


def ran(name: str, trace: Trace = TRACE) -> PolicyRun:
    return Study(NETWORK, trace, gpu_of(), checked=True).run(name)


def copies(run: PolicyRun) -> list[tuple[str, int, int]]:
    return [(copy.buffer, copy.size_bytes, copy.alone_ns) for copy in run.timeline.copies]


def test_a_bit_for_each_word_and_the_words_that_are_not_zero_are_on_the_wire() -> None:
    """7/32 and 1/32 of a's map; b's would be more than it is; the input is not named."""
    run = ran("cdma(vdnn-all(p))", MEASURED)
    out, back = [("map:data", 400, 400), ("map:a", 400, 100), ("map:b", 400, 400)], ("map:a", 400, 100)
    assert copies(run)[:3] == out
    assert back in copies(run)[3:]
    assert run.program.pinned_host_bytes == 900
    assert run.result.offloaded_bytes == 1200


def test_a_given_density_is_that_of_all_maps_but_the_input() -> None:
    run = ran("cdma(vdnn-all(p), density=0.21875)", MEASURED)
    assert copies(run)[:3] == [("map:data", 400, 400), ("map:a", 400, 100), ("map:b", 400, 100)]


def test_nothing_but_the_copies_differs() -> None:
    plain, dense = ran("vdnn-all(p)"), ran("cdma(density=1)")
    assert dense.timeline == plain.timeline
    assert dense.plan.schedule.actions == plain.plan.schedule.actions
    assert ran("cdma(density=0.1)").result.peak_bytes == plain.result.peak_bytes


def test_the_engine_reads_no_faster_than_is_provided_for() -> None:
    squeezed = Compression({"map:a": 100_000}, engine_bytes_per_s=2 * 10**9)
    assert squeezed.copy_ns("map:a", 1000, lambda size_bytes: size_bytes) == 500
    assert squeezed.copy_ns("map:b", 1000, lambda size_bytes: size_bytes) == 1000
    assert squeezed.wire_bytes("map:a", 11) == 2


def test_what_a_policy_tries_is_compressed() -> None:
    """Without room for everything vdnn-dyn tries on, each trial with compressed copies."""
    study = Study(NETWORK, TRACE, gpu_of(2000))
    trials = study.run("cdma(vdnn-dyn, density=0)").result.trials
    assert trials
    assert all(trial.plan.schedule.compression for trial in trials)


def test_no_distance_from_a_bound_that_leaves_it_out() -> None:
    comparison = compare_policies(Study(NETWORK, TRACE, gpu_of(5000)), ["cdma(density=0)", "vdnn-all(p)", "optimal"])
    squeezed, plain, _ = (line for _, line in distances(comparison))
    assert squeezed == "1160.0 % over the oracle; its copies are compressed, which the bound leaves out"
    assert plain == "2360.0 % over the oracle; at least 0.0 % is needed; 2360.0 points to gain"


def test_of_a_step_blocks_come_back_compressed_too() -> None:
    step = three_layers()
    study = make_study(step, gpu=gpu_of())
    run = study.run("cdma(save-on-cpu, density=0.46875)")
    assert run.timeline.copies
    assert all(copy.alone_ns == copy.size_bytes // 2 for copy in run.timeline.copies)
    for name in ("cdma(save-on-cpu, density=0.46875)", "cdma(vdnn-all, density=0.46875)"):
        run = study.run(name)
        with pytest.raises(InvalidInput, match="found copies that are compressed, by an engine that no GPU has"):
            _ = run.result.plan
    with pytest.raises(InvalidInput, match="plan of cdma: found copies that are compressed"):
        PlanFile.of(step, "cdma", run.plan.schedule, 1, 1)


def test_results_say_that_no_gpu_has_the_engine_and_whose_densities_they_are() -> None:
    study = Study(NETWORK, MEASURED, gpu_of())
    notes = comparison_notes(compare_policies(study, ["cdma(density=0.5)", "cdma(vdnn-conv(p))", "oracle"]))
    told = "Compressed copies, by an engine that no GPU has: densities measured at initialisation; density 0.5, given."
    assert told in notes
    assert not any("ompressed" in note for note in comparison_notes(compare_policies(study, ["vdnn-all(p)"])))


def test_it_is_named_with_the_policy_whose_copies_it_compresses() -> None:
    assert make_policy("cdma(vdnn-dyn, density=0.5)").name == "cdma(vdnn-dyn, density=0.5)"
    assert make_policy("cdma(torchtune(stash=2), density=0.5)") == make_policy(
        "cdma(density=0.5,of=torchtune(stash=2))"
    )
    assert make_policy("cdma").name == "cdma(vdnn-all(p))"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("cdma(vdnn-dyn)", "found no densities in the trace of small, expected those that 'vdnnsim calibrate trace"),
        ("cdma(optimal)", "of: found 'optimal', expected a policy that copies plainly"),
        ("cdma(cdma(vdnn-dyn))", "expected a policy that copies plainly and is not searched for"),
        ("cdma(vdnn-dyn, half)", "found 'half', expected a parameter and its value"),
        ("cdma(vdnn-dyn, density=2)", "density: found '2', expected a share from 0 to 1"),
        ("cdma(vdnn-dym)", "unknown policy 'vdnn-dym'; did you mean 'vdnn-dyn'"),
        ("offload(vdnn-dyn)", "found 'vdnn-dyn', expected a parameter and its value"),
    ],
)
def test_what_cannot_be_is_told(name: str, told: str) -> None:
    with pytest.raises(InvalidInput) as error:
        ran(name)
    assert told in str(error.value)
