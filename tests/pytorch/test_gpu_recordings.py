"""From a GPU's traces to a captured step, on traces made by hand: one layer, ReLU, a loss.

The layer takes its result (A, 1000 bytes asked for) and a workspace; ReLU's result (R) is saved, and dies one block
later without hooks than with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from support.kineto import ENGINE, MAIN, GpuTrace
from vdnnsim.calibration.samples import Sample
from vdnnsim.captured.step import BEFORE_STEP, AllocatorSegment, BlockClass, Doing, Phase
from vdnnsim.errors import InvalidInput
from vdnnsim.profiler.operators import Operators
from vdnnsim.profiler.order import StepsDiffer
from vdnnsim.profiler.recording import MODULE, MemoryNow, Peaks, Recorded, read_recording
from vdnnsim.profiler.timing import gpu_times
from vdnnsim.pytorch import profiling
from vdnnsim.pytorch.assembling import Blocks, keeping_view, other_view
from vdnnsim.pytorch.devices import CpuDevice
from vdnnsim.pytorch.noticing import beside_others, check_one_stream, notices, unsteady
from vdnnsim.pytorch.packed import Label, Packed
from vdnnsim.pytorch.user_step import UserStep

W, X, GRADIENT = 0x1000, 0x2000, 0x3000
A, SPACE, R, LOSS, DR, DW = (0x10000 * n for n in range(1, 7))
FETCHED = 0x90000
ASKED = {A: 1000, SPACE: 8_000_000, R: 1000, LOSS: 4, DR: 1000, DW: 4000}
HELD = {A: 1024, SPACE: 8_000_512, R: 1024, LOSS: 512, DR: 1024, DW: 4096}
KNOWN = {"parameter weight": (W, 4000), "gradient weight": (GRADIENT, 4000)}
KERNELS = [
    "sm90_xmma_gemm_f32",
    "vectorized_elementwise_kernel",
    "reduce_kernel",
    "relu_backward",
    "cutlass_wgrad",
    "fused",
]
PLAIN, KEEPING, LEAVING = "without hooks", "keeping", "leaving"


def step(trace: GpuTrace, how: str, gradient: int = DW, relu: str = KERNELS[1]) -> None:
    """One step. The gradient of the step before lies at GRADIENT and dies at its begin."""

    def hook(name: str) -> None:
        if how != PLAIN:
            trace.mark(f"vdnnsim:{name}")

    def take(address: int) -> None:
        trace.memory(address, HELD[address])

    def give(address: int) -> None:
        trace.memory(address, -HELD[address])

    trace.memory(GRADIENT, -4096)
    layer = trace.range("vdnnsim:module:layer", "user_annotation")
    with layer, trace.range("aten::linear", sequence=1), trace.range("aten::addmm", sequence=2):
        hook("save:0")
        take(A)
        take(SPACE)
        trace.launch(KERNELS[0], 50, call="cuda_driver")
        give(SPACE)
    with trace.range("aten::relu", sequence=3):
        take(R)
        trace.launch(relu, 20)
        hook("save:1")
    give(A)
    with trace.range("aten::sum", sequence=4):
        take(LOSS)
        trace.launch(KERNELS[2], 10)
    if how == LEAVING:
        give(R)
    trace.thread = ENGINE
    with trace.range("autograd::engine::evaluate_function: ReluBackward0", sequence=3):
        with trace.range("ReluBackward0", sequence=3):
            if how == LEAVING:
                with trace.range("vdnnsim:need:1", "user_annotation"):
                    trace.memory(FETCHED, 1024)
                    trace.launch("Memcpy HtoD (Pageable -> Device)", 5, category="gpu_memcpy")
            else:
                hook("need:1")
            with trace.range("aten::threshold_backward"):
                take(DR)
                trace.launch(KERNELS[3], 20)
        if how == KEEPING:
            give(R)
        if how == LEAVING:
            trace.memory(FETCHED, -1024)
    with trace.range("autograd::engine::evaluate_function: AddmmBackward0", sequence=2):
        with trace.range("AddmmBackward0", sequence=2):
            hook("need:0")
            with trace.range("aten::mm"):
                trace.memory(gradient, 4096)
                if how == PLAIN:
                    give(R)
                trace.launch(KERNELS[4], 40)
        give(DR)
    trace.thread = MAIN
    with trace.range("Optimizer.step#AdamW.step", "user_annotation"):
        if how == KEEPING:
            trace.mark("vdnnsim:gradients:0")
        with trace.range("aten::_fused_adamw_"):
            trace.launch(KERNELS[5], 30)
    give(LOSS)


def recorded(how: str, change: Callable[[GpuTrace, str], None] = step) -> Recorded:
    """A step before, of which only the gradient is left, and the step."""
    trace = GpuTrace()
    with trace.range("vdnnsim:lead-in", "user_annotation"):
        trace.memory(GRADIENT, 4096)
    with trace.range("vdnnsim:step", "user_annotation"):
        change(trace, how)
        trace.synchronize()
    asked = [(A, ASKED[A]), (SPACE, ASKED[SPACE]), (R, ASKED[R]), (LOSS, ASKED[LOSS])]
    asked += [(FETCHED, 1000)] if how == LEAVING else []
    asked += [(DR, ASKED[DR]), (DW, ASKED[DW])]
    memory = MemoryNow(
        {W: (4000, 4096), GRADIENT: (4000, 4096), X: (600, 1024), 0x4000: (8, 512)},
        (AllocatorSegment(0x1000, 2 << 20, True),),
    )
    return Recorded(read_recording(trace.json, 1, 0), KNOWN, memory, Peaks(1, 2, 3), asked)


def packed(address: int, size_bytes: int) -> Packed:
    return Packed(address, size_bytes, "float32", (size_bytes // 4,), (1,), 0, "", "layer")


def captured() -> tuple[Blocks, Operators]:
    keeping = keeping_view(recorded(KEEPING), host_runs_kernels=False)
    operators = Operators(keeping.recorded.recording, keeping.happenings)
    labels = {0: Label("AddmmBackward0", "mat1"), 1: Label("ReluBackward0", "result")}
    blocks = Blocks(keeping, [packed(X, 600), packed(R, 1000)], labels, [[DW]])
    blocks.without_hooks(other_view(recorded(PLAIN), keeping, operators, PLAIN))
    blocks.when_all_leave(other_view(recorded(LEAVING), keeping, operators, LEAVING))
    return blocks, operators


def test_deeds_are_in_the_order_of_the_host() -> None:
    blocks, _ = captured()
    first = len(blocks.before)
    assert [(deed.doing.value, deed.number - first * (deed.doing is Doing.TAKE)) for deed in blocks.deeds] == [
        ("save", 0),
        ("take", 0),  # A
        ("take", 1),  # the workspace
        ("launch", 0),
        ("take", 2),  # R
        ("launch", 1),
        ("save", 1),
        ("take", 3),  # the loss
        ("launch", 2),
        ("need", 1),
        ("take", 4),  # the gradient of R
        ("launch", 3),
        ("need", 0),
        ("take", 5),  # the gradient of the weight
        ("launch", 4),
        ("launch", 5),
    ]


def test_blocks_have_sizes_as_asked_for_classes_and_lives() -> None:
    blocks, operators = captured()
    kinds = ["gemm", "elementwise", "reduction", "elementwise", "gemm", "optimiser"]
    found = blocks.listed(other_view(recorded(PLAIN), blocks.keeping, operators, PLAIN), operators, kinds)
    before = [one for one in found if one.taken == BEFORE_STEP]
    assert [(one.size_bytes, one.held_bytes, one.holds.value, one.given, one.address) for one in before] == [
        (4000, 4096, "parameter", None, W),
        (4000, 4096, "gradient", BEFORE_STEP, GRADIENT),
        (600, 1024, "input", None, X),
        (8, 512, "other", None, 0x4000),
    ]
    taken = found[len(before) :]
    assert [one.size_bytes for one in taken] == [1000, 8_000_000, 1000, 4, 1000, 4000]
    assert [one.holds for one in taken] == [
        BlockClass.OTHER,
        BlockClass.WORKSPACE,
        BlockClass.SAVED,
        BlockClass.OTHER,
        BlockClass.OTHER,
        BlockClass.GRADIENT,
    ]
    saved = taken[2]
    assert (saved.taken, saved.given, saved.given_hooked) == (4, 13, 11)
    assert (saved.released, saved.fetched_given) == (8, 11)
    assert [one.given for one in taken] == [5, 3, 13, 15, 14, None]
    assert [one.given_hooked for one in taken] == [6, 3, 11, 15, 14, None]
    names = [operators.found[one.operator or 0] for one in taken]
    assert [(one.name, one.module, one.phase) for one in names[-2:]] == [
        ("ReluBackward0", "", Phase.BACKWARD),
        ("AddmmBackward0", "layer", Phase.BACKWARD),
    ]


def test_what_must_stay() -> None:
    blocks, _ = captured()
    assert blocks.stays(smallest_bytes=0) == ["input", ""]
    assert blocks.stays(smallest_bytes=1001) == ["input", "small"]


def test_another_kernel_is_told_with_its_operator() -> None:
    blocks, operators = captured()

    def other(trace: GpuTrace, how: str) -> None:
        step(trace, how, relu="another_kernel")

    with pytest.raises(StepsDiffer) as failure:
        other_view(recorded(PLAIN, other), blocks.keeping, operators, "the step without hooks")
    assert str(failure.value).startswith(
        "the step without hooks: block or kernel 5 (aten::relu) is another_kernel, where the step captured first had "
        "vectorized_elementwise_kernel"
    )


def test_a_history_of_other_blocks_is_refused() -> None:
    with pytest.raises(StepsDiffer, match=r"the allocator's history 6, or others \(the first is number 6\)"):
        keeping_view(recorded(KEEPING, lambda trace, how: step(trace, how, gradient=0x70000)), False)


def test_pieces_that_the_allocator_did_not_split_make_no_other_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The profiler tells what was held for a block: with up to 1 MiB of rest, by the pieces that there are."""
    blocks, operators = captured()
    monkeypatch.setitem(HELD, SPACE, HELD[SPACE] + 700_416)
    plain = other_view(recorded(PLAIN), blocks.keeping, operators, PLAIN)
    assert [one.size_bytes for one in plain.happenings if one.number == SPACE] == [8_000_000, 8_700_928]  # taken, given
    assert blocks.size_bytes(len(blocks.before) + 1) == 8_000_000


def test_a_step_that_asks_for_another_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks, operators = captured()
    monkeypatch.setitem(ASKED, A, 1001)  # held all the same in 1024 B
    with pytest.raises(StepsDiffer, match="is 1001 B, where the step captured first had 1000 B"):
        other_view(recorded(PLAIN), blocks.keeping, operators, PLAIN)


def on_two_streams(trace: GpuTrace, how: str) -> None:
    step(trace, how)
    with trace.range("aten::add"):
        trace.launch("add_kernel", 5, stream=13)
        trace.launch("Memcpy HtoD (Pinned -> Device)", 5, stream=20, category="gpu_memcpy")


def test_several_compute_streams_are_refused() -> None:
    check_one_stream(recorded(PLAIN).recording)
    with pytest.raises(InvalidInput, match=r"found kernels on 2 streams \(.* on stream 7, add_kernel on stream 13\)"):
        check_one_stream(recorded(PLAIN, on_two_streams).recording)


def test_a_capture_says_how_unlike_its_steps_were() -> None:
    assert unsteady(Sample(1_000_000, 100_000, 10)) == []
    (told,) = unsteady(Sample(1_000_000, 567_779, 10))
    assert told.startswith("unsteady: the middle half of the steps lies within 57 % of their median; peaks do not care")


def test_a_step_that_takes_far_longer_than_its_parts_is_told() -> None:
    assert beside_others(Sample(1_500_000, 0, 10), 1_000_000) == []
    (told,) = beside_others(Sample(116_000_000, 80_000, 10), 48_000_000)
    assert told.startswith("disturbed: of 116.0 ms a step its kernels and what is between them take 48.0 ms")


def test_waits_of_the_host_within_the_step_are_told() -> None:
    def waiting(trace: GpuTrace, how: str) -> None:
        trace.synchronize()
        step(trace, how)

    assert notices(recorded(KEEPING).recording, {}, 2, [0, 1]) == []
    told = notices(recorded(KEEPING, waiting).recording, {}, 2, [0, 1])
    assert told == ["the host waits for the GPU within the step (1 x cudaDeviceSynchronize): it cannot run ahead"]


def test_a_model_of_which_nothing_ran_is_told() -> None:
    recording = recorded(KEEPING).recording
    ranges = [one._replace(name=one.name.replace(MODULE, "another's ")) for one in recording.ranges]
    (told,) = notices(replace(recording, ranges=ranges), {}, 2, [0, 1])
    assert told.startswith("model: none of its modules ran in the step; is it the one that the step trains?")
    compiled = [*ranges, ranges[-1]._replace(name="Torch-Compiled Region: 0/0")]
    assert notices(replace(recording, ranges=compiled), {}, 2, [0, 1]) == []


def light(kernels: list[tuple[str, float]], host_us: float, waits: bool = False) -> GpuTrace:
    """A step profiled for times alone: no ranges. The host takes `host_us` before each launch."""
    trace = GpuTrace()
    trace.synchronize()
    for name, runs_us in kernels:
        trace.at_us += host_us
        trace.launch(name, runs_us)
        if waits:
            trace.synchronize()
    trace.synchronize()
    return trace


def times_of(*traces: GpuTrace, names: list[str], scale: float = 1.0) -> list[tuple[int, ...]]:
    return [tuple(one) for one in gpu_times([read_recording(one.json, 1, 0) for one in traces], names, scale)]


def test_times_of_kernels_and_launches() -> None:
    """Medians and spread; a launch lasts from the end of the one before; a gap counts where the launch was in time."""
    names = ["long", "short", "short"]
    traces = [light([("long", 100 + n), ("short", 10), ("short", 10)], 6) for n in (0, 4, 1, 2, 3)]
    assert times_of(*traces, names=names) == [
        (102_000, round(2e6 / 102), 10_000, 1000),
        (10_000, 0, 10_000, 1000),
        (10_000, 0, 10_000, 1000),
    ]


def test_launch_times_are_scaled_to_the_step_without_profiler_and_leave_out_waits() -> None:
    names = ["one", "two"]
    kernels = [("one", 50.0), ("two", 50.0)]
    assert [one[2] for one in times_of(light(kernels, 6, waits=True), names=names, scale=0.5)] == [5000, 5000]


def test_the_buffers_that_the_profiler_takes_are_not_the_steps() -> None:
    """Before the first launch and within it."""
    trace = GpuTrace()
    trace.synchronize()
    trace.overhead(700)
    for takes_us in (504.0, 4.0, 4.0):
        trace.launch("one", 1000, takes_us=takes_us)
    assert [one[2] for one in times_of(trace, names=["one"] * 3)] == [4000, 4000, 4000]


def test_a_kernel_that_another_step_had_not_is_refused() -> None:
    with pytest.raises(
        StepsDiffer, match="a step that was timed: kernel 2 is other, where the step captured first had two"
    ):
        times_of(light([("one", 5.0), ("other", 5.0)], 6), names=["one", "two"])


@pytest.mark.parametrize("empty", [0, 1, 2])
def test_a_light_profile_that_saw_no_kernel_is_made_again(empty: int, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [GpuTrace()] * empty + [light([("one", 10.0)], 6)]
    run: list[int] = []

    @contextmanager
    def exported(*_: object, **__: object) -> Iterator[Callable[[], object]]:
        yield lambda: left.pop(0).json

    monkeypatch.setattr(profiling, "_exported", exported)
    monkeypatch.setattr(CpuDevice, "host_runs_kernels", False)
    recording, _ = profiling.record_light(UserStep(lambda: run.append(1)), CpuDevice())
    assert [one.name for one in recording.gpu_work] == ["one"]
    assert len(run) == empty + 1
