"""An optimiser that the host runs: a literal timeline, what memory it saves, and what is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from captured.steps import HEADER, HOOKS, MIB, kernel, saved, three_layers
from support.cases import conv, gpu_of, layer, network_of, trace_of
from vdnnsim.captured import (
    BEFORE_STEP,
    AllocatorSegment,
    Block,
    BlockClass,
    CapturedStep,
    Deed,
    Doing,
    ModelOperator,
    Phase,
    Seen,
)
from vdnnsim.captured.checking import check_step_program
from vdnnsim.captured.optimiser import Optimised, Updated
from vdnnsim.errors import InvalidInput
from vdnnsim.gpu import GpuProfile, HostCosts, read_profile
from vdnnsim.iteration import BrokenSchedule, Leave, OwnCopy
from vdnnsim.machines import BrokenProgram, DeviceMemory
from vdnnsim.making import make_study
from vdnnsim.memory import PlainPool
from vdnnsim.network import Kind
from vdnnsim.results import PolicyRun
from vdnnsim.study import Study
from vdnnsim.summary import profile_labels

TAKE, LAUNCH, SAVE, NEED = Doing
NETWORK = network_of(conv("a"), layer(Kind.SOFTMAX, "loss"))
TRACE = trace_of(NETWORK)


def two_layers(embedding: bool = False) -> CapturedStep:
    """Two layers with a weight each, and Adam. Forward launches the kernels 0, 1 and 2, backward 3, which makes the
    second weight's gradient, and 4, which makes the first's, the optimiser 5. Gradients are let go before the step. An
    `embedding` takes another one in 4, as large as both."""
    first = "EmbeddingBackward0" if embedding else "AddmmBackward0"
    operators = (
        *(ModelOperator("aten::addmm", f"layers.{n}", Phase.FORWARD) for n in range(2)),
        ModelOperator("aten::nll_loss", "", Phase.FORWARD),
        ModelOperator("AddmmBackward0", "layers.1", Phase.BACKWARD),
        ModelOperator(first, "layers.0", Phase.BACKWARD),
        ModelOperator("Optimizer.step", "", Phase.OPTIMISER),
    )

    def there(holds: BlockClass, n: int, given: int | None = None) -> Block:
        return Block(MIB, holds, BEFORE_STEP, given, given, address=n * 2 * MIB)

    blocks = (
        *(there(BlockClass.PARAMETER, n) for n in range(2)),  # 0, 1
        *(there(BlockClass.GRADIENT, 2 + n, BEFORE_STEP) for n in range(2)),  # 2, 3
        *(there(BlockClass.OPTIMISER_STATE, 4 + n) for n in range(4)),  # 4 to 7
        Block(4 * MIB, BlockClass.SAVED, 0, 7, 7, 5, 7, 0),  # 8
        Block(MIB, BlockClass.GRADIENT, 7, None, None, operator=3),  # 9: of 1
        Block(MIB, BlockClass.GRADIENT, 9, None, None, operator=4),  # 10: of 0
        Block(2 * MIB, BlockClass.OTHER, 11, 12, 12, operator=5),  # 11: the optimiser's
        *([Block(MIB, BlockClass.OTHER, 10, 10, 10, operator=4)] if embedding else []),  # 12
    )
    deeds = (
        *((TAKE, 8), (LAUNCH, 0), (SAVE, 0), (SAVE, 1), (LAUNCH, 1), (LAUNCH, 2)),  # 0 to 5
        *((NEED, 0), (TAKE, 9), (LAUNCH, 3), (TAKE, 10), (LAUNCH, 4), (TAKE, 11), (LAUNCH, 5)),  # 6 to 12
    )
    if embedding:
        blocks = (*blocks[:10], blocks[10], blocks[11]._replace(taken=12, given=13, given_hooked=13), blocks[12])
        deeds = (*deeds[:10], (TAKE, 12), *deeds[10:])
    return CapturedStep(
        HEADER,
        Seen(1_000_000, 5_000, 16 * MIB, 16 * MIB, 16 * MIB),
        HOOKS,
        operators,
        tuple(kernel(number) for number in range(6)),
        blocks,
        (saved(8, "layers.1", 4 * MIB), saved(1, "layers.1", MIB, "parameter")),
        tuple(Deed(*deed) for deed in deeds),
        tuple(AllocatorSegment(n * 2 * MIB, 2 * MIB, True) for n in range(8)),
    )


def gpu(updates_per_s: int | None = 10**9) -> GpuProfile:
    return replace(gpu_of(), host=HostCosts(updates_per_s=updates_per_s))


def ran(step: CapturedStep, policy: str = "zero-offload") -> PolicyRun:
    return replace(make_study(step, gpu=gpu()), checked=True).run(policy)


def copies(run: PolicyRun) -> list[tuple[str, str, int, int]]:
    return [(copy.direction, copy.buffer, copy.begin_ns, copy.end_ns) for copy in run.timeline.copies]


def test_gradients_go_the_host_updates_and_parameters_come_back() -> None:
    """Kernels take 101 us, the first begins at 12; the fourth ends at 416 us, the fifth at 517. A copy takes a
    nanosecond a byte. The host waits for the second gradient, and updates 262,144 parameters in as many nanoseconds,
    twice."""
    run = ran(two_layers())
    there = 416_000 + 2 * MIB
    first = there + MIB // 4
    assert copies(run) == [
        ("copy out", "b9", 416_000, 416_000 + MIB),
        ("copy out", "b10", 416_000 + MIB, there),
        ("copy in", "b0", first, first + MIB),
        ("copy in", "b1", first + MIB, first + 2 * MIB),
    ]
    assert run.timeline.iteration_time_ns == first + 2 * MIB
    assert [kernel.algorithm for kernel in run.timeline.kernels] == [f"kernel{n}" for n in range(5)]
    assert run.result.spent.copies_out_ns == 416_000 + 2 * MIB - 517_000
    assert (run.result.offloaded_bytes, run.result.pinned_host_bytes) == (2 * MIB, 4 * MIB)
    with pytest.raises(InvalidInput, match="found an optimiser on the host; expected blocks that leave"):
        _ = run.result.plan
    labels = profile_labels(replace(gpu(), provenance={"host.optimiser": "published"}), run.program, TRACE)
    assert "published" in labels


def test_kernels_and_link_need_no_updates_and_the_host_that_runs_them_binds() -> None:
    """By the timeline above, less the first launch of 10 us and the first update, beside which nothing runs; an update
    at once is rounded up to a nanosecond."""
    found = ran(two_layers()).result
    assert found.pace
    assert found.pace.bound
    assert found.pace.device_ns == found.iteration_time_ns - 10_000 - MIB // 4 + 1


def test_state_and_the_last_gradients_are_not_there_and_what_the_allocator_held_for_them_neither() -> None:
    """2 parameters, 4 of state, 4 that are saved and a gradient; and the same without the state. Held are a segment of
    2 MiB for each parameter, where gradients find room beside it, and one of 20 for what is saved."""
    plain, run = ran(two_layers(), "baseline"), ran(two_layers())
    assert (plain.result.peak_bytes, run.result.peak_bytes) == (11 * MIB, 7 * MIB)
    assert plain.result.memory
    assert run.result.memory
    assert run.result.memory.requested_bytes == 7 * MIB
    assert run.result.memory.reserved_bytes == 2 * 2 * MIB + 20 * MIB
    assert run.result.peak_bytes_by_class["optimiser state"] == 0


def test_what_the_pool_held_for_the_state_is_no_part_of_what_it_holds_at_most() -> None:
    """16 MiB are held before the step is without its state; 2 for each parameter are all that this one needs, with a
    MiB that is saved."""
    step = two_layers()
    blocks = (*step.blocks[:8], step.blocks[8]._replace(size_bytes=MIB), *step.blocks[9:])
    run = ran(replace(step, blocks=blocks, saved=(saved(8, "layers.1", MIB), step.saved[1])))
    assert run.result.pool_high_water_bytes == 4 * MIB


@pytest.mark.parametrize("room", ["1MiB", "1B"])
def test_no_more_gradients_are_on_their_way_than_may_be(room: str) -> None:
    """With room for one, or for none, which is as good, the block of the second weight's goes when the first weight's
    is given, and what came behind would wait for its copy; in the end nothing does."""
    run = ran(two_layers(), f"zero-offload(in_flight={room})")
    taken = {(record.buffer, record.taken): record.step for record in run.timeline.memory}
    titles = run.program.titles
    assert titles[taken["b9", False]] == "layers.0 backward"
    assert titles[taken["b10", False]] == "optimiser backward"
    assert copies(run) == copies(ran(two_layers()))


def test_an_embedding_s_gradient_is_added_to_those_as_large() -> None:
    optimised = Optimised(two_layers(embedding=True))
    assert optimised.complete == {4: [9, 10]}
    assert Optimised(two_layers()).complete == {3: [9], 4: [10]}
    assert copies(ran(two_layers(embedding=True)))[0] == ("copy out", "b9", 517_000, 517_000 + MIB)


def test_gradients_that_stay_go_behind_backward_and_keep_their_blocks() -> None:
    """As of `zero_grad(set_to_none=False)`."""
    run = ran(three_layers())
    assert Optimised(three_layers()).updated == (Updated(0, 5), Updated(1, 4), Updated(2, 3))
    end_ns = run.timeline.kernels[-1].end_ns
    assert [(way, begin) for way, _, begin, _ in copies(run)[:2]] == [("copy out", end_ns), ("copy out", end_ns + MIB)]
    assert not any(record.buffer == "b3" and not record.taken for record in run.timeline.memory)


def test_a_wait_that_is_missing_is_found() -> None:
    """A copy out that does not wait for its kernel."""
    step = two_layers()
    program = ran(step).program
    wait = next(n for n, command in enumerate(program.commands) if type(command).__name__ == "StreamWait")
    commands = (*program.commands[:wait], *program.commands[wait + 1 :])
    steps = tuple(
        part._replace(first=part.first - (part.first > wait), last=part.last - (part.last > wait))
        for part in program.steps
    )
    with pytest.raises(BrokenProgram, match="b9"):
        check_step_program(step, replace(program, commands=commands, steps=steps), DeviceMemory(PlainPool(1 << 30)))


def test_what_it_cannot_work_on_is_told() -> None:
    for told, study in (
        (r"host: found no optimiser, expected \[host\.optimiser\]", make_study(two_layers(), gpu=gpu(None))),
        ("found small, a network of layers; expected a captured step", Study(NETWORK, TRACE, gpu())),
        ("found no optimiser in three, expected a captured step", make_study(without_optimiser(), gpu=gpu())),
        ("found a gradient of 1048576 bytes without a parameter as large", make_study(without_parameter(), gpu=gpu())),
    ):
        with pytest.raises(InvalidInput, match=told):
            study.run("zero-offload")


def without_optimiser() -> CapturedStep:
    step = two_layers()
    backward = tuple(one._replace(phase=Phase.BACKWARD) for one in step.operators)
    return replace(step, operators=backward)


def without_parameter() -> CapturedStep:
    step = two_layers()
    return replace(step, blocks=(step.blocks[0]._replace(holds=BlockClass.OTHER), *step.blocks[1:]))


@pytest.mark.parametrize("moved", [{"actions": {"b8": Leave(1, 2, 3, 3)}}, {"own_copies": {"s0": OwnCopy(1)}}])
def test_nothing_else_leaves_beside_it(moved: dict[str, Any]) -> None:
    study = make_study(two_layers(), gpu=gpu())
    plan = study.run("zero-offload").plan
    both = replace(plan, schedule=replace(plan.schedule, **moved))
    with pytest.raises(BrokenSchedule, match="expected an optimiser on the host by itself"):
        study.run_plan("both", both)


def test_a_network_has_no_optimiser() -> None:
    study = Study(NETWORK, TRACE, gpu())  # type: ignore[arg-type]
    plan = study.run("vdnn-all(p)").plan
    with pytest.raises(BrokenSchedule, match="found that the host runs it; expected a captured step, which has one"):
        study.run_plan("both", replace(plan, schedule=replace(plan.schedule, host_optimiser=0)))


def test_what_goes_and_comes_may_be_compressed() -> None:
    run = ran(two_layers(), "cdma(zero-offload, density=0.46875)")
    assert all(copy.alone_ns == MIB // 2 for copy in run.timeline.copies)


def test_a_profile_may_add_it_to_its_base(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    table = '[host.optimiser]\nparameters_per_s = 5\nprovenance = "published"\nsource = "somebody"\n'
    own.write_text(f'schema = 1\nbase = "h200"\ntitle = "own"\n{table}')
    profile = read_profile(own)
    assert profile.host.updates_per_s == 5
    assert profile.provenance["host.optimiser"] == "published"
