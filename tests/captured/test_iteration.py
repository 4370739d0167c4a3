"""A captured step as operators and tensors, and as a trace."""

from __future__ import annotations

import pickle

from captured.steps import MIB, one_block_thrice, three_layers
from vdnnsim.captured import BlockClass, hook_schedule, host_of_step, iteration_of_step, trace_of_step
from vdnnsim.gpu import HostCosts
from vdnnsim.iteration import Operator, Stage
from vdnnsim.machines import DeviceMemory
from vdnnsim.memory import make_pool
from vdnnsim.trace import RowSpread


def test_stages_are_hook_calls() -> None:
    step = three_layers()
    stages = iteration_of_step(step).stages
    assert len(stages) == len(step.hook_calls) + 1
    assert stages[0] == Stage("outside modules", False, False, "", (), 0)
    assert stages[3] == Stage("layers.1", False, False, "AddmmBackward0", ("b7",), 3)
    assert stages[12] == Stage("layers.1", True, False, "AddmmBackward0", ("b7",), 3)
    assert stages[4].inputs == ()  # a weight stays


def test_kernels_and_hook_calls_are_operators() -> None:
    operators = iteration_of_step(three_layers()).operators
    assert [one for one in operators if one.stage in (5, 6)] == [
        Operator("layers.2", "save 5", 5, (), ("b8",)),
        Operator("layers.2", "save 6", 6, (), ("b2",)),
        Operator("outside modules", "aten::nll_loss 3", 6, (), ()),
    ]
    assert operators[-1] == Operator("optimiser", "Optimizer.step 8", 14, (), ())
    assert len({operator.key for operator in operators}) == len(operators)


def test_tensors_are_blocks_and_saved_tensors_parts_of_them() -> None:
    iteration = iteration_of_step(one_block_thrice())
    assert iteration.tensors["b0"].aliases == ("s0", "s1", "s2")
    assert (iteration.first_stage["b0"], iteration.last_stage["b0"], iteration.first_read_in_backward["b0"]) == (
        1,
        6,
        4,
    )
    step = three_layers()
    buffer = iteration_of_step(step).buffers["b7"]
    assert buffer == ("b7", 8 * MIB, BlockClass.SAVED, "layers.0", False, None, False)
    assert iteration_of_step(step).inputs == {f"b{number}" for number in range(7)}
    assert iteration_of_step(step) is iteration_of_step(step)


def test_a_step_travels_without_what_was_made_of_it() -> None:
    step = three_layers()
    hook_schedule(step, [7])
    trace_of_step(step)
    copy = pickle.loads(pickle.dumps(step))
    assert copy == step
    assert copy.made == {}
    assert "stages" not in copy.__dict__


def test_rows_of_the_trace() -> None:
    row = trace_of_step(three_layers()).rows[3]
    assert (row.layer, row.pass_, row.algorithm) == ("outside modules", "aten::nll_loss 3", "kernel3")
    assert (row.duration_ns, row.launch_ns, row.start_ns) == (101_000, 10_000, 12_000)
    assert row.spread == RowSpread(10_000, 0, 0, 0)


def test_the_host_pays_for_hooks_what_was_captured() -> None:
    host = host_of_step(three_layers(), HostCosts(1, 2, 3, 4, 5, 6, 7))
    assert host.calls_ns == {
        "hook": 500,
        "hook copy out": 20_000,
        "hook copy in": 40_000,
        "hook stream wait": 1_000,
        "hook waited copy": 20_000,
    }
    assert (host.synchronise_ns, host.copy_start_ns, host.copy_ns, host.stream_wait_ns) == (3, 6, 0, 0)


def test_memory_tells_classes_of_blocks() -> None:
    memory = DeviceMemory(make_pool("first-fit", 10**9))
    memory.allocate(iteration_of_step(three_layers()).buffers["b7"], "here")
    assert memory.bytes_by_class() == {holds.value: 8 * MIB * (holds is BlockClass.SAVED) for holds in BlockClass}
