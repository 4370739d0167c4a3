"""NVMe behind the host: literal timelines, what a program may do, room, and what is said of it."""

from __future__ import annotations

import json
import zlib
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from captured.steps import three_layers
from support.cases import conv, gpu_of, layer, network_of, trace_of
from support.examples import tries
from support.strategies import networks
from vdnnsim.comparing import compare_policies
from vdnnsim.errors import InvalidFile, InvalidInput
from vdnnsim.gpu import AfterWait, GpuProfile, HostCosts, Nvme, read_profile
from vdnnsim.iteration import BrokenSchedule
from vdnnsim.machines import BrokenProgram, DeviceMemory, check_program
from vdnnsim.making import make_study
from vdnnsim.memory import PlainPool
from vdnnsim.network import Kind, Network
from vdnnsim.pages.views import views_of
from vdnnsim.policies import Plan
from vdnnsim.policies.saves import Saves
from vdnnsim.program import NvmeWrite, Program, StreamWait
from vdnnsim.report.chakra import MEM_LOAD, MEM_STORE, chakra_nodes
from vdnnsim.report.chrome_trace import timeline_json
from vdnnsim.report.json_text import comparison_json
from vdnnsim.report.table import comparison_notes
from vdnnsim.results import PolicyRun
from vdnnsim.study import Study
from vdnnsim.summary import profile_labels
from vdnnsim.sweep.engines import Engine, run_points
from vdnnsim.sweep.links import OWN, LinkTable
from vdnnsim.sweep.prepared import prepare
from vdnnsim.together import compare_together
from vdnnsim.units import PPM, format_ms

NETWORK = network_of(*(conv(name) for name in "abcd"), layer(Kind.SOFTMAX, "loss"))
"""Stages: a to d and loss forward are 0 to 4, backward 5 to 9. Every map is 100 bytes; a copy takes 100 ns and begins
when the map is written, a kernel takes 50; CONVs have two in backward, but a."""
TRACE = trace_of(NETWORK, default_ns=50)
DRIVE = Nvme(write_bytes_per_s=500_000_000, read_bytes_per_s=250_000_000, write_latency_ns=10, read_latency_ns=20)
"""100 bytes are written in 210 ns and read in 420."""
NAMES = ("map:a", "map:b", "map:c")


def gpu(nvme: Nvme | None = DRIVE) -> GpuProfile:
    return replace(gpu_of(), nvme=nvme)


class Leaving:
    """These maps leave, each with the stage in which it begins to come back; those of `nvme` go on."""

    name = "leaving"

    def __init__(self, back: dict[str, int], nvme: frozenset[str]) -> None:
        self.back, self.nvme = back, nvme

    def check(self, problem: object) -> None:
        pass

    def plan(self, problem: object) -> Plan:
        saves = Saves(problem)  # type: ignore[arg-type]
        by_name = {one.name: one for one in saves.tensors}
        actions = {name: saves.leave(by_name[name], 3, back) for name, back in self.back.items()}
        return saves.plan(actions, nvme=self.nvme)


def ran(back: dict[str, int], nvme: tuple[str, ...], profile: GpuProfile | None = None) -> PolicyRun:
    study = Study(NETWORK, TRACE, profile or gpu(), checked=True)  # type: ignore[arg-type]
    return study.run(Leaving(back, frozenset(nvme)))


def spans(run: PolicyRun) -> dict[str, tuple[int, int]]:
    records = (*run.timeline.copies, *run.timeline.nvme)
    return {f"{one.direction} {one.buffer}": (one.begin_ns, one.end_ns) for one in records}


def test_a_tensor_is_copied_out_and_written_read_and_copied_in() -> None:
    """Forward ends at 250, loss's backward at 300, d's at 400, where c's begins; the read of b's map is given there and
    begins when that is written. c's backward itself needs it, so that the compute engine stands until it is back."""
    run = ran({"map:b": 7}, ("map:b",))
    assert spans(run) == {
        "copy out map:b": (100, 200),
        "nvme write map:b": (200, 410),
        "nvme read map:b": (410, 830),
        "copy in map:b": (830, 930),
    }
    assert [(stall.begin_ns, stall.end_ns) for stall in run.timeline.stalls] == [(400, 930)]
    assert run.timeline.iteration_time_ns == 930 + 100 + 100 + 50
    assert run.result.nvme_stall_ns == run.result.stall_ns == 530


def test_what_stays_with_the_host_passes_by() -> None:
    """a's map is the host's, b's goes on: copies are as they would be without NVMe until b's comes back."""
    run = ran({"map:a": 6, "map:b": 5}, ("map:b",))
    assert spans(run) == {
        "copy out map:a": (50, 150),
        "copy out map:b": (150, 250),
        "nvme write map:b": (250, 460),
        "nvme read map:b": (460, 880),
        "copy in map:b": (880, 980),
        "copy in map:a": (980, 1080),
    }
    assert run.program.pinned_sizes_bytes == {"map:a": 100, "staging 0": 100}
    assert run.result.offloaded_bytes == 200
    assert run.result.nvme_bytes == 100
    assert run.result.nvme_stall_ns == run.result.stall_ns
    assert ran({"map:a": 6, "map:b": 5}, ()).result.nvme_stall_ns == 0


def test_two_staging_buffers_serve_all_so_that_a_slow_drive_makes_copies_out_late() -> None:
    """c's copy out is behind a's write, whose staging buffer it takes. Reads begin with the stage that has them back:
    c's when it is written, b's behind d's backward, a's behind c's."""
    run = ran({"map:a": 8, "map:b": 7, "map:c": 6}, NAMES)
    assert spans(run) == {
        "copy out map:a": (50, 150),
        "copy out map:b": (150, 250),
        "copy out map:c": (360, 460),
        "nvme write map:a": (150, 360),
        "nvme write map:b": (360, 570),
        "nvme write map:c": (570, 780),
        "nvme read map:c": (780, 1200),
        "copy in map:c": (1200, 1300),
        "nvme read map:b": (1400, 1820),
        "copy in map:b": (1820, 1920),
        "nvme read map:a": (2020, 2440),
        "copy in map:a": (2440, 2540),
    }
    assert run.program.pinned_sizes_bytes == {"staging 0": 100, "staging 1": 100}


def test_a_read_waits_for_the_copy_in_out_of_its_staging_buffer() -> None:
    """A read takes a nanosecond, a copy in 100. c's comes back at 780, when its write is over; a's read, given next,
    has to wait for c's copy in, and b's for a's turn."""
    quick = replace(DRIVE, read_bytes_per_s=10**11, read_latency_ns=0)
    found = spans(ran({"map:a": 6, "map:b": 6, "map:c": 6}, NAMES, gpu(quick)))
    assert [found[f"nvme read {name}"] for name in NAMES] == [(881, 882), (882, 883), (780, 781)]
    assert [found[f"copy in {name}"] for name in NAMES] == [(882, 982), (982, 1082), (781, 881)]


def test_requests_under_way_limit_the_rate() -> None:
    """Eight of 4096 bytes in 10 us are 3.2768 bytes a nanosecond, less than the drive reaches."""
    deep = Nvme(10**10, 10**10, 10_000, 10_000, 8, 4096)
    assert deep.write_ns(32_768) == deep.read_ns(32_768) == 20_000
    assert deep.reached_write_bytes_per_s == 3_276_800_000
    assert replace(deep, queue_depth=None).write_ns(32_768) == 10_000 + 3277
    assert replace(deep, write_latency_ns=0).write_ns(32_768) == 3277


def is_of_nvme(command: object) -> bool:
    return isinstance(command, StreamWait) and "nvme" in f"{command.stream} {command.piece.stream}"


def without(program: Program, dropped: type, of_nvme: bool) -> Program:
    """Without the first such command; of waits, the first whose stream, or what it waits for, is of NVMe."""
    commands = list(program.commands)
    at = next(at for at, each in enumerate(commands) if isinstance(each, dropped) and (not of_nvme or is_of_nvme(each)))
    del commands[at]
    last = len(commands)
    steps = tuple(
        step._replace(first=step.first - (step.first > at), last=min(last, step.last - (step.last > at)))
        for step in program.steps
    )
    return replace(program, commands=tuple(commands), steps=steps)


def test_the_checking_mode_misses_each_wait_of_nvme() -> None:
    program = ran({"map:a": 8, "map:b": 7, "map:c": 6}, NAMES).program
    assert sum(map(is_of_nvme, program.commands)) >= 9
    check_program(NETWORK, program, DeviceMemory(PlainPool(1 << 20)))
    for broken in (without(program, StreamWait, True), without(program, NvmeWrite, False)):
        with pytest.raises(BrokenProgram):
            check_program(NETWORK, broken, DeviceMemory(PlainPool(1 << 20)))


@settings(max_examples=tries(6))
@given(networks())
def test_on_any_network_programs_are_right_and_all_that_was_written_is_read(network: Network) -> None:
    study = Study(network, trace_of(network), gpu(), checked=True)  # type: ignore[arg-type]
    run = study.run("ssdtrain(min_elements=0, place=nvme)")
    writes = {one.buffer for one in run.timeline.nvme if one.direction == "nvme write"}
    reads = {one.buffer for one in run.timeline.nvme if one.direction == "nvme read"}
    assert writes == reads
    assert run.result.nvme_bytes == run.result.offloaded_bytes
    assert len(run.program.pinned_sizes_bytes) <= 2


def test_of_a_step_blocks_go_on_too() -> None:
    study = replace(make_study(three_layers(), gpu=gpu()), checked=True)
    plan = study.run("vdnn-all").plan
    run = study.run_plan("nvme", replace(plan, schedule=replace(plan.schedule, nvme=frozenset(plan.schedule.actions))))
    assert len(run.timeline.nvme) == len(run.timeline.copies) > 0
    assert run.result.nvme_bytes == run.result.offloaded_bytes
    with pytest.raises(
        InvalidInput, match="plan of nvme: found copies that go on to NVMe; expected blocks that leave for"
    ):
        _ = run.result.plan


def test_calls_that_go_cold_after_waits_are_none_of_the_drive_s() -> None:
    """A first call of a copy is late by 7 ns, long before its turn comes: nothing else is."""
    cold = AfterWait((0, 10), (0, 0), (0, 7), (0, 0), (0, 0))
    late = replace(gpu(), host=HostCosts(after_wait=cold))
    run = ran({"map:b": 7}, ("map:b",), late)
    assert spans(run)["copy out map:b"] == (100, 200)
    assert spans(run)["copy in map:b"] == (830, 930)


def test_streams_of_the_gpu_go_on_late_behind_others_and_the_drive_s_threads_do_not() -> None:
    """By 7 ns: the copy out behind its kernel, the copy in behind the read."""
    assert spans(ran({"map:b": 7}, ("map:b",), replace(gpu(), host=HostCosts(stream_start_ns=7)))) == {
        "copy out map:b": (107, 207),
        "nvme write map:b": (207, 417),
        "nvme read map:b": (417, 837),
        "copy in map:b": (844, 944),
    }


def test_what_does_not_leave_cannot_go_on() -> None:
    with pytest.raises(BrokenSchedule, match=r"map:c.*not copied out.*one that leaves"):
        ran({"map:b": 7}, ("map:c",))


def test_a_full_drive_is_told_as_full_memory_is() -> None:
    run = ran({"map:a": 8, "map:b": 7}, ("map:a", "map:b"), gpu(replace(DRIVE, capacity_bytes=150)))
    assert not run.result.trainable
    assert run.result.needs == "needs 200 B of NVMe"
    assert "out of NVMe in c forward" in run.result.reason
    assert "of its 150 B 100 B are taken; all of it needs 200 B (200 bytes)" in run.result.reason
    assert "take a larger drive" in run.result.reason


def test_what_is_compressed_takes_as_much_of_the_drive_as_is_written() -> None:
    """Half of 100 bytes, and a bit for each word of them: 54."""
    policy = "cdma(of=ssdtrain(min_elements=0, place=nvme), density=0.5)"
    found = Study(NETWORK, TRACE, gpu(replace(DRIVE, capacity_bytes=54))).run(policy).result  # type: ignore[arg-type]
    assert (found.trainable, found.nvme_bytes, found.pinned_host_bytes, found.offloaded_bytes) == (True, 54, 54, 100)


@pytest.mark.parametrize(
    "policy", ["g10(place=nvme)", "ssdtrain(place=nvme)", Leaving({"map:b": 7}, frozenset({"map:b"}))]
)
def test_a_profile_without_nvme_is_told(policy: object) -> None:
    with pytest.raises(InvalidInput, match=r"gpu test-gpu: nvme: found nothing, expected \[nvme\] in its profile"):
        Study(NETWORK, TRACE, gpu(None)).run(policy)  # type: ignore[arg-type]


def test_tables_and_files_say_what_went_there() -> None:
    comparison = compare_policies(Study(NETWORK, TRACE, gpu()), ["oracle", "ssdtrain(min_elements=0, place=nvme)"])  # type: ignore[arg-type]
    run = comparison.runs[1]
    assert run.result.nvme_bytes
    assert "NVMe" in str(comparison)
    assert (
        f"for what is on NVMe: {format_ms(run.result.nvme_stall_ns)} ({run.result.policy})."
        in comparison_notes(comparison)[-1]
    )
    assert "NVMe" not in str(replace(comparison, runs=comparison.runs[:1]))
    labelled = replace(gpu(), provenance={"nvme": "published"})
    assert ["published" in profile_labels(labelled, one.program, TRACE) for one in comparison.runs] == [False, True]
    document = json.loads(comparison_json(comparison))["results"]
    assert [result["nvme_bytes"] for result in document] == [0, run.result.nvme_bytes]
    assert len(document[1]["timeline"]["nvme write"]["begin_ns"]) == len(run.timeline.nvme) // 2
    assert '"nvme read"' in timeline_json(comparison)
    page = json.loads(zlib.decompress(b64decode(views_of(comparison).data)))
    drawn = [page["strings"][engine] for engine in page["runs"][1]["copies"]["engine"]]
    assert drawn == [record.direction for record in (*run.timeline.copies, *run.timeline.nvme)]
    kinds = [node.kind for node in chakra_nodes(run)]
    assert kinds.count(MEM_STORE) == kinds.count(MEM_LOAD) == len(run.timeline.nvme)


def test_sweeps_run_it_on_the_reference_engine_and_no_other() -> None:
    study = Study(NETWORK, TRACE, gpu())  # type: ignore[arg-type]
    policy = "ssdtrain(min_elements=0, place=nvme)"
    prepared = prepare(study, policy)
    links = LinkTable(study.gpu, *np.array([[OWN, OWN, OWN]], dtype=np.int64).T)
    point = np.array([0])
    times, engine = run_points(prepared, links, point, np.array([PPM]), point, Engine.AUTO)
    assert engine is Engine.REFERENCE
    assert times.iteration_time_ns.tolist() == [study.run(policy).result.iteration_time_ns]
    with pytest.raises(InvalidInput, match="puts tensors on NVMe, which it does not cover; expected auto or reference"):
        run_points(prepared, links, point, np.array([PPM]), point, Engine.VECTORISED)


def test_several_gpus_share_no_drive() -> None:
    study = Study(NETWORK, TRACE, gpu())  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="gpus: found 2 and tensors on NVMe, expected one GPU"):
        compare_together(study, 2, "two-h200", ["ssdtrain(min_elements=0, place=nvme)"])


def test_g10_takes_the_ssd_where_there_is_time_and_the_host_where_its_writes_have_none() -> None:
    """16,384 bytes of a map take 16,384 ns on the link and as long on the drive, both ways; kernels take 60,000. In
    memory for five of six maps those of a and b leave, both for the drive. One that writes a quarter as fast leaves no
    budget for the second."""
    long = network_of(*(conv(name) for name in "abcd"), layer(Kind.SOFTMAX, "loss"), side=64)
    trace = trace_of(long, default_ns=60_000)

    def on_nvme(write_bytes_per_s: int, maps: float) -> tuple[set[str], frozenset[str]]:
        drive = Nvme(write_bytes_per_s, 10**9)
        small = replace(gpu_of(int(maps * 16_384)), nvme=drive)
        schedule = Study(long, trace, small, "first-fit", checked=True).run("g10(place=nvme)").plan.schedule  # type: ignore[arg-type]
        return set(schedule.actions), schedule.nvme

    assert on_nvme(10**9, 4.3) == ({"map:a", "map:b"}, {"map:a", "map:b"})
    assert on_nvme(10**9 // 8, 4.3) == ({"map:a", "map:b"}, {"map:a"})
    assert on_nvme(10**7, 4.3)[1] == set()


SIX = network_of(*(conv(name) for name in "abcdef"), layer(Kind.SOFTMAX, "loss"), side=64)
SIX_TRACE = trace_of(SIX, default_ns=60_000)


def g10_of_six(rate_bytes_per_s: int, maps: float, pinned_bytes: int | None = None) -> tuple[str, str]:
    """What leaves, and what of it for the drive, which reads and writes at this rate."""
    small = replace(gpu_of(int(maps * 16_384)), nvme=Nvme(rate_bytes_per_s, rate_bytes_per_s))
    small = small if pinned_bytes is None else small.with_pinned_budget(pinned_bytes)
    schedule = Study(SIX, SIX_TRACE, small, "first-fit").run("g10(place=nvme)").plan.schedule  # type: ignore[arg-type]
    left, on_drive = ("".join(sorted(name[-1] for name in names)) for names in (schedule.actions, schedule.nvme))
    return left, on_drive


def test_g10_keeps_a_margin_and_what_the_host_has_no_room_for_goes_to_the_drive_or_stays() -> None:
    """a's map is idle for 840,000 ns: 1.1 times what 44 MB/s take both ways, 2.2 times what 88 do. Of a drive of 125
    MB/s b's and d's writes have no budget left; with pinned memory for one map d's stays, with none for b's it is
    written late."""
    assert g10_of_six(44 * 10**6, 6.3) == ("ab", "")
    assert g10_of_six(88 * 10**6, 6.3) == ("ab", "a")
    assert g10_of_six(125 * 10**6, 5.3) == ("abcd", "ac")
    assert g10_of_six(125 * 10**6, 5.3, 16_384) == ("abc", "ac")
    assert g10_of_six(125 * 10**6, 5.3, 16_383)[1][:2] == "ab"


def test_ssdtrain_frees_a_map_when_a_slow_drive_may_have_written_it() -> None:
    """a's copy out begins at 50 and takes 100 on the link, as on a quick drive; 210 are more than forward has left."""
    for drive, freed in ((DRIVE, 4), (Nvme(10**9, 10**9), 2)):
        run = Study(NETWORK, TRACE, gpu(drive)).run("ssdtrain(min_elements=0, place=nvme)")  # type: ignore[arg-type]
        assert run.plan.schedule.leaves["map:a"].freed == freed


def test_a_profile_may_add_nvme_to_its_base(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    nvme = '[nvme]\nwrite = "1 GB/s"\nread = "2 GB/s"\nread_latency = "12 us"\nqueue_depth = 4\ncapacity = "1 TB"\n'
    sourced = 'provenance = "published"\nsource = "somebody"\n'
    own.write_text(f'schema = 1\nbase = "h200"\ntitle = "own"\n{nvme}{sourced}')
    profile = read_profile(own)
    assert profile.nvme == Nvme(10**9, 2 * 10**9, 0, 12_000, 4, 128 << 10, 10**12)
    assert profile.provenance["nvme"] == "published"
    own.write_text(f'schema = 1\nbase = "h200"\ntitle = "own"\n{nvme}')
    with pytest.raises(InvalidFile, match=r"nvme\.source"):
        read_profile(own)
