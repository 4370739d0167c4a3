"""Calibration of machines of which everything is known: what is measured is the truth, whatever disturbs it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from support.examples import thorough, tries  # noqa: E402
from support.fake_device import (  # noqa: E402
    Disturbance,
    FakeBench,
    Marks,
    Range,
    Truth,
    What,
    bursts,
    fake_bench,
    half_speed_spells,
    straight_curve,
)
from support.strategies import networks  # noqa: E402
from vdnnsim.calibration.cases import read_cases  # noqa: E402
from vdnnsim.calibration.host_costs import LONG_WAIT_NS, measure_stream_waits  # noqa: E402
from vdnnsim.calibration.link import LinkReport, measure_link  # noqa: E402
from vdnnsim.calibration.records import Verdict, read_records, record_of, records_json  # noqa: E402
from vdnnsim.calibration.report import Report, make_report  # noqa: E402
from vdnnsim.calibration.resimulation import simulate_again  # noqa: E402
from vdnnsim.calibration.running import CaseRun, run_case  # noqa: E402
from vdnnsim.calibration.tracing import IN_STREAM, measure_trace  # noqa: E402
from vdnnsim.gpu import AfterWait, GpuProfile, HostCosts, Link  # noqa: E402
from vdnnsim.network import Kind, Network, build_network  # noqa: E402
from vdnnsim.network.specs import Stack  # noqa: E402
from vdnnsim.policies import POLICIES, make_policy  # noqa: E402
from vdnnsim.policies.plan import Bound, Plan, Problem  # noqa: E402
from vdnnsim.study import Study  # noqa: E402
from vdnnsim.trace import Trace, TraceRow  # noqa: E402

FOR_EVER_NS = 10**15


@cache
def network() -> Network:
    """Maps of up to 67 MB, so that copies take as long as kernels; they hold no bytes here."""
    stack = Stack()
    stack.conv("conv1", 64, 3, padding=1)
    stack.apply(Kind.ACTV, "relu1")
    stack.pool("pool1", 2, 2)
    stack.conv("conv2", 128, 3, padding=1)
    stack.fc("fc3", 10)
    stack.apply(Kind.SOFTMAX, "softmax")
    return build_network("known", (64, 3, 64, 64), stack.specs)


def measured_trace(bench: FakeBench) -> Trace:
    return measure_trace(bench, network(), "fp32", "fake", "a test")


def run(bench: FakeBench, policy: str, study: Study | None = None, iterations: int | None = None) -> CaseRun:
    study = study or bench.study(network())
    return run_case(bench, bench.machine(study.network, "fp32"), study, make_policy(policy), iterations)


def is_told(found: CaseRun) -> bool:
    """Whether a case counts as measured."""
    return not found.doubts


def rows(found: Trace, true: Trace) -> Iterable[tuple[TraceRow, TraceRow]]:
    """Each row that was measured in full, and not marked as disturbed, beside the true one."""
    assert sorted(row[:3] for row in found.rows) == sorted(row[:3] for row in true.rows)
    return [(row, true.row(*row[:3])) for row in found.rows if row.source == IN_STREAM and not row.disturbed]


def check_kernels(found: Trace, true: Trace, relative: float = 1e-9, launch_ns: int = 0) -> None:
    """Durations within a part of themselves, launches and starts within nanoseconds."""
    for row, truth in rows(found, true):
        where = str(row[:3])
        assert row.duration_ns == pytest.approx(truth.duration_ns, rel=relative), where
        assert row.launch_ns == pytest.approx(truth.launch_ns, abs=launch_ns), where
        assert row.start_ns == pytest.approx(truth.start_ns, abs=launch_ns + relative * truth.duration_ns), where
        assert row.workspace_bytes == truth.workspace_bytes


def check_slowdowns(found: Trace, true: Trace, relative: float = 0.01) -> None:
    for row, truth in rows(found, true):
        for ours, theirs in zip(row[5:7], truth[5:7], strict=True):
            assert ours == pytest.approx(theirs, rel=relative), str(row[:3])


def check_link(found: LinkReport, truth: Truth, relative: float = 0.001) -> None:
    """A copy alone takes what it has to, from its call until it is done; how much of that comes before the copy itself
    is told apart only as far as the marks allow."""
    for ours, theirs in ((found.link.copy_out, truth.link.copy_out), (found.link.copy_in, truth.link.copy_in)):
        for point in ours.points:
            whole_ns = theirs.duration_ns(point.size_bytes) + truth.host.copy_start_ns
            assert point.duration_ns + found.host.copy_start_ns == pytest.approx(whole_ns, rel=relative), point
    link = truth.link
    assert found.link.both_ways_out_slowdown_ppm == pytest.approx(link.both_ways_out_slowdown_ppm, rel=relative)
    assert found.link.both_ways_in_slowdown_ppm == pytest.approx(link.both_ways_in_slowdown_ppm, rel=relative)


AFTER_WAITS = st.builds(
    lambda wait_ns, kernel_ns, copy_ns: AfterWait((0, wait_ns), (0, kernel_ns), (0, copy_ns), (0, 0), (0, 0)),
    st.integers(1, 10**7),
    *[st.integers(0, 90_000)] * 2,
)
"""Not of the pool and of waits: the real machine calls both just before an iteration, so that they begin warm."""
COSTS = st.builds(HostCosts, *[st.integers(0, 20_000)] * 7, after_wait=st.none() | AFTER_WAITS)
LINKS = st.builds(
    lambda start_ns, speeds, both: Link(*(straight_curve(start_ns, speed) for speed in speeds), *both),
    st.integers(0, 10_000),
    st.tuples(*[st.integers(1, 100)] * 2),
    st.tuples(*[st.sampled_from([10**6, 1_040_000, 1_500_000])] * 2),
)


@settings(max_examples=tries(40))
@given(networks(3), st.sampled_from([policy for policy in POLICIES if policy != "oracle"]), COSTS, LINKS)
def test_a_known_machine_does_what_the_simulated_one_does(
    network: Network, policy: str, costs: HostCosts, link: Link
) -> None:
    """Both to the nanosecond, for any network, policy, link and costs of calls: two engines written apart."""
    bench = fake_bench(truth=Truth(link=link, host=costs))
    study = bench.study(network)
    found = run_case(bench, bench.machine(network, "fp32"), study, make_policy(policy), iterations=1)
    assert found.error == 0
    assert found.same_addresses
    assert found.same_decisions


class Sought:
    """A policy that finds another plan each time."""

    name = "sought"

    def __init__(self, *names: str) -> None:
        self.names = list(names)

    def check(self, problem: Problem) -> None: ...

    def plan(self, problem: Problem) -> Plan:
        return replace(make_policy(self.names.pop(0)).plan(problem), bound=Bound(1, None, 0.0))


def test_what_a_solver_found_is_what_both_machines_run() -> None:
    bench = fake_bench()
    study = bench.study(network())
    found = run_case(bench, bench.machine(network(), "fp32"), study, Sought("vdnn-all(m)", "vdnn-all(p)"), iterations=1)
    assert found.same_decisions
    assert found.predicted.plan.algorithms == study.run("vdnn-all(m)").plan.algorithms


@pytest.mark.parametrize(
    ("policy", "room_bytes"), [("baseline(m)", 1 << 30), ("vdnn-all(m)", 230_000_000), ("vdnn-conv+recompute", 1 << 30)]
)
def test_what_a_solver_found_is_simulated_again_as_it_was_stored(policy: str, room_bytes: int, tmp_path: Path) -> None:
    """With blocks that are shared, tensors that leave, and such as are made again; by a policy that finds it once."""
    bench = fake_bench()
    study = bench.study(network()).within(room_bytes)
    run = run_case(bench, bench.machine(network(), "fp32"), study, Sought(policy), iterations=1)
    (tmp_path / "results.json").write_text(records_json([record_of(study, "sought", run)], {}), encoding="utf-8")
    (stored,) = read_records(tmp_path / "results.json")
    again, found = simulate_again(stored, study)
    assert found.plan == run.predicted.plan
    assert again == stored


@pytest.mark.parametrize("marks", [Marks(), Marks(start_ns=2_500), Marks(host_ns=1_000, stream_ns=0, start_ns=2_500)])
def test_the_link_of_a_quiet_machine(marks: Marks) -> None:
    truth = Truth(marks=marks)
    found = measure_link(fake_bench(truth=truth))
    check_link(found, truth)
    costs = truth.host
    assert found.host.copy_ns == costs.copy_ns
    assert found.host.synchronise_ns == costs.synchronise_ns
    assert (found.host.allocate_ns, found.host.free_ns) == (costs.allocate_ns, costs.free_ns)
    assert found.host.stream_wait_ns == costs.stream_wait_ns
    assert found.host.pinning.call_ns == pytest.approx(costs.pinning.call_ns, rel=0.001)
    assert found.host.pinning.bytes_per_s == pytest.approx(costs.pinning.bytes_per_s, rel=0.001)
    assert found.conditions["waits of streams"].startswith(f"{costs.stream_wait_ns} ns to record an event")
    assert 4_000 <= found.host.kernel_ns <= 12_000, "the median launch of the kernels"


def test_waits_of_streams_are_told_without_what_reading_the_clock_costs() -> None:
    """Of this machine no wait of the host makes them cost more."""
    bench = fake_bench(truth=Truth(clock_ns=60, host=HostCosts(1_000, 1_000, 600, stream_wait_ns=1_700)))
    found = measure_stream_waits(bench.watch)
    assert (found.warm.median_ns, found.after_wait.median_ns) == (1_700, 1_700)
    assert bench.device.now_ns() > 30 * LONG_WAIT_NS


def test_the_kernels_of_a_quiet_machine() -> None:
    bench = fake_bench()
    found, true = measured_trace(bench), bench.device.truth.trace(network())
    check_kernels(found, true)
    check_slowdowns(found, true)


def test_what_marks_and_clock_readings_cost_is_taken_off() -> None:
    """Marks of 700 ns around 12 kernels. The totals they are told from have marks of their own, three of which count,
    so that a quarter of a mark stays; clock readings of 60 ns stay in part."""
    bench = fake_bench(truth=Truth(marks=Marks(1_000, 700, 2_500), clock_ns=60))
    found, true = measured_trace(bench), bench.device.truth.trace(network())
    for row, truth in rows(found, true):
        assert row.duration_ns == pytest.approx(truth.duration_ns, abs=250)
        assert row.launch_ns == pytest.approx(truth.launch_ns, abs=60)
        assert row.start_ns == pytest.approx(truth.start_ns, abs=400)


@pytest.mark.parametrize("policy", ["baseline(p)", "vdnn-all(m)", "vdnn-conv(p)", "vdnn-dyn"])
def test_a_quiet_machine_is_predicted_from_its_measurements(policy: str) -> None:
    """Profile and trace measured, then predicted, against what the machine does."""
    bench = fake_bench()
    found = run(bench, policy, Study(network(), quiet_trace(), quiet_profile()))
    assert abs(found.error) < 0.001


@cache
def quiet_trace() -> Trace:
    return measured_trace(fake_bench())


@cache
def quiet_profile() -> GpuProfile:
    report = measure_link(fake_bench())
    return replace(Truth().profile(), link=report.link, host=report.host)


SHORT_SPELLS = Range(20, 200)
"""In milliseconds, so that many of them fall into the seconds of a measurement."""
ALL_CORES = half_speed_spells(20, 0.5, lasts_ms=SHORT_SPELLS)
ONLY_CORE = half_speed_spells(20, 0.5, cores=1, lasts_ms=SHORT_SPELLS)
"""Cores that are at half their speed for half of the time."""


def test_kernels_on_slow_cores() -> None:
    bench = fake_bench(ALL_CORES)
    found, true = measured_trace(bench), bench.device.truth.trace(network())
    check_kernels(found, true)
    check_slowdowns(found, true)
    assert bench.device.host.core != 7, "there was something to move away from"


@pytest.mark.parametrize("policy", ["baseline(p)", "vdnn-all(m)"])
def test_cases_on_slow_cores(policy: str) -> None:
    for script, cores in ((ALL_CORES, 8), (ONLY_CORE, 1)):
        found = run(fake_bench(script, cores=cores), policy, iterations=30)
        assert found.error == 0
        assert is_told(found)


def test_kernels_on_the_only_core() -> None:
    """Where there is no other core, a measurement waits until this one is fast."""
    bench = fake_bench(ONLY_CORE, cores=1)
    check_kernels(measured_trace(bench), bench.device.truth.trace(network()))


def test_the_link_beside_a_slow_core() -> None:
    """The core that is watched is fast; the thread is on another one."""
    bench = fake_bench([Disturbance(What.HOST, 10_000_000, FOR_EVER_NS, 1.8, core=0)])
    check_link(measure_link(bench), bench.device.truth)


LINK_SCRIPTS = {
    "both ways together": bursts(What.LINK_BOTH, 1, 0.4),
    "in": bursts(What.LINK_IN, 1, 0.4),
    "each for itself": [*bursts(What.LINK_OUT, 2, 0.25), *bursts(What.LINK_IN, 3, 0.5)],
}
"""Links that are slow for 2 to 180 ms at a time, a quarter to half of the time, by 3 to 150 %."""
on_bad_links = pytest.mark.parametrize("link", LINK_SCRIPTS)


@cache
def trace_on(link: str) -> Trace:
    return measured_trace(fake_bench(LINK_SCRIPTS[link]))


@on_bad_links
def test_kernels_have_nothing_to_do_with_the_link(link: str) -> None:
    check_kernels(trace_on(link), Truth().trace(network()))


@on_bad_links
def test_slowdowns_on_a_bad_link(link: str) -> None:
    check_slowdowns(trace_on(link), Truth().trace(network()))


@on_bad_links
def test_a_bad_link(link: str) -> None:
    check_link(measure_link(fake_bench(LINK_SCRIPTS[link])), Truth(), relative=0.01)


def test_a_case_on_a_link_that_became_slow_for_good() -> None:
    """All iterations are alike then, and all wrong."""
    found = run(fake_bench([Disturbance(What.LINK_BOTH, 300_000_000, FOR_EVER_NS, 1.2)]), "vdnn-all(m)")
    assert abs(found.error) < 0.002 or not is_told(found)


@pytest.mark.parametrize("what", [What.CLOCK, What.OTHER_PROCESS])
def test_kernels_on_a_gpu_that_is_held_back(what: What) -> None:
    """Other processes come and go; at the beginning there are none."""
    script = [one for one in bursts(what, 1, 0.4, excess=Range(0.05, 0.3)) if one.from_ns > 500_000_000]
    bench = fake_bench(script)
    check_kernels(measured_trace(bench), bench.device.truth.trace(network()), relative=0.002, launch_ns=500)


def test_a_process_that_only_stays_on_the_card_disturbs_nothing() -> None:
    bench = fake_bench([Disturbance(What.OTHER_PROCESS, 0, FOR_EVER_NS, 1)])
    found = measured_trace(bench)
    assert not any(row.disturbed for row in found.rows)
    assert is_told(run(bench, "vdnn-all(m)"))


def test_a_process_that_came_before_a_case_and_stayed_through_it_is_told() -> None:
    bench = fake_bench([Disturbance(What.OTHER_PROCESS, 1_000_000_000, FOR_EVER_NS, 1.2)])
    bench.watch.clocks.settle()
    bench.device.idle(1_000_000_000)
    assert run(bench, "vdnn-all(m)").doubts == ("1 other processes on the card, 0 at other times",)


def test_a_case_on_a_gpu_whose_clock_dropped_for_good() -> None:
    found = run(fake_bench([Disturbance(What.CLOCK, 300_000_000, FOR_EVER_NS, 1.1)]), "vdnn-all(m)")
    assert abs(found.error) < 0.002 or not is_told(found)


GOES_COLD = AfterWait((0, 1_000_000, 10_000_000), (0, 40_000, 80_000), (0, 15_000, 30_000), (0, 500, 900), (0, 0, 0))


def test_a_host_whose_calls_go_cold_while_it_waits() -> None:
    truth = replace(Truth(), host=replace(Truth().host, after_wait=GOES_COLD))
    bench = fake_bench(truth=truth)
    report = measure_link(bench)
    profile = replace(truth.profile(), link=report.link, host=report.host)
    trace = measure_trace(bench, network(), "fp32", "fake", "a test", after_wait=report.host.after_wait)
    found = run(bench, "vdnn-all(m)", Study(network(), trace, profile))
    assert abs(found.error) < 0.005


CASES = """schema = 1
gpu = "fake"
[[case]]
network = "{network}"
batch = 64
{policies}
"""
POLICIES_OF_ALL_KINDS = 'policies = ["baseline(p)", "vdnn-all(m)", "vdnn-conv(p)"]\nmeasures_host = true'
NETWORK_TOML = """schema = 1
name = "known"
input = [3, 64, 64]
layer = [
  { name = "conv1", kind = "CONV", channels = 64, kernel = 3, padding = 1 },
  { name = "relu1", kind = "ACTV" },
  { name = "pool1", kind = "POOL", kernel = 2, stride = 2 },
  { name = "conv2", kind = "CONV", channels = 128, kernel = 3, padding = 1 },
  { name = "fc3", kind = "FC", channels = 10 },
  { name = "softmax", kind = "SOFTMAX" },
]
"""


def report_on(folder: Path, script: Iterable[Disturbance], policies: str = POLICIES_OF_ALL_KINDS) -> Report:
    (folder / "known.toml").write_text(NETWORK_TOML)
    (folder / "cases.toml").write_text(CASES.format(network=folder / "known.toml", policies=policies))
    return make_report(fake_bench(script), read_cases(folder / "cases.toml"), folder / "out")


def test_a_report_on_a_quiet_machine(tmp_path: Path) -> None:
    found = report_on(tmp_path, ())
    assert len(found.records) == 4
    assert all(one.equal and one.steady for one in found.records)
    assert max(abs(one.error) for one in found.records) < 0.001


def test_a_report_on_a_bad_link(tmp_path: Path) -> None:
    found = report_on(tmp_path, LINK_SCRIPTS["each for itself"])
    assert max(abs(one.error) for one in found.records) < 0.01


@thorough
def test_a_report_on_a_link_that_never_rests(tmp_path: Path) -> None:
    """A case that is far off is not called measured."""
    never = bursts(What.LINK_BOTH, 1, 0.97, lasts_ms=Range(2, 40))
    found = report_on(tmp_path, never, 'policies = ["vdnn-all(m)", "vdnn-conv(p)"]\nlimited = {}')
    assert len(found.records) == 2
    assert all(abs(one.error) < 0.01 or one.verdict is Verdict.CANNOT_BE_TOLD for one in found.records)
