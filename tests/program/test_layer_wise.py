"""vDNN's rules, each as the commands of a step written out by hand."""

from __future__ import annotations

import pytest

from support.cases import conv, fc, join, layer, network_of, plan_of, pool, row, trace_of
from support.render import command_line, step_lines
from vdnnsim.network import Kind, LayerSpec, Network
from vdnnsim.policies import feature_extraction_layers
from vdnnsim.program import CopyIn, CopyOut, Kernel, Program, WeightGradients, build_program
from vdnnsim.trace import TraceRow

LOSS = layer(Kind.SOFTMAX, "loss")


def program_of(
    *specs: LayerSpec,
    offload: tuple[str, ...] | None = None,
    rows: tuple[TraceRow, ...] = (),
    deferred: tuple[str, ...] = (),
    weight_gradients: WeightGradients = WeightGradients.NONE,
) -> Program:
    """The program of a network; every layer before the classifier offloads unless some are named."""
    network = network_of(*specs)
    trace = trace_of(network, rows)
    names = feature_extraction_layers(network) if offload is None else offload
    plan = plan_of(network, trace, names, deferred=deferred, weight_gradients=weight_gradients)
    return build_program(network, plan)


def copies_in(program: Program) -> list[tuple[str, str, str]]:
    """(map, layer during whose backward it is copied in, layer for which)."""
    commands = [command for command in program.commands if isinstance(command, CopyIn)]
    return [(command.buffer.name.removeprefix("map:"), command.layer, command.for_layer) for command in commands]


def copies_out(program: Program) -> list[tuple[str, str]]:
    commands = [command for command in program.commands if isinstance(command, CopyOut)]
    return [(command.buffer.name.removeprefix("map:"), command.layer) for command in commands]


# Forward


def test_forward_allocates_launches_copies_waits_frees() -> None:
    """Y and the workspace; the kernel, and with it the copy; wait for both streams; free X and the workspace."""
    program = program_of(conv("a"), conv("b"), conv("c"), LOSS, rows=(row("b", "forward", 10, 7),))
    assert step_lines(program, "b") == [
        "allocate map:b",
        "allocate workspace:b:forward",
        "run b forward",
        "copy out map:a",
        "wait for compute, copy out",
        "free map:a",
        "free workspace:b:forward",
    ]


def test_a_layer_that_does_not_offload_waits_for_kernels_only_and_keeps_its_x() -> None:
    program = program_of(conv("a"), conv("b"), conv("c"), LOSS, offload=("c",))
    assert step_lines(program, "b") == ["allocate map:b", "run b forward", "wait for compute"]
    assert step_lines(program, "b", backward=True)[-2:] == ["free map:a", "free gradient:b"]


def test_an_in_place_layer_has_no_x_of_its_own_and_moves_nothing() -> None:
    program = program_of(conv("a"), layer(Kind.ACTV, "relu"), conv("b"), LOSS)
    assert step_lines(program, "relu") == ["run relu forward", "wait for compute"]
    assert copies_out(program) == [("data", "a"), ("a", "b")]


def test_x_of_several_readers_leaves_with_the_last_of_them() -> None:
    program = program_of(conv("a"), conv("b", "a"), conv("c", "a"), join(Kind.ADD, "d", "b", "c"), LOSS)
    assert copies_out(program) == [("data", "a"), ("a", "c")]
    assert "free map:a" not in step_lines(program, "b")
    assert "free map:a" in step_lines(program, "c")


def test_one_reader_that_offloads_is_enough_and_the_last_one_does_it() -> None:
    """b offloads its X, c does not: still it leaves once, with c."""
    specs = (conv("a"), conv("b", "a"), pool("c", "a"), join(Kind.ADD, "d", "b", "c"), LOSS)
    program = program_of(*specs, offload=("b",))
    assert copies_out(program) == [("a", "c")]


def test_a_map_that_no_backward_kernel_reads_goes_after_its_last_reader_without_a_copy() -> None:
    """ADD reads nothing again in backward, CONV not its Y: b's and c's maps are never needed again."""
    program = program_of(conv("a"), conv("b", "a"), conv("c", "a"), join(Kind.ADD, "d", "b", "c"), LOSS)
    assert step_lines(program, "d") == [
        "allocate map:d",
        "run d forward",
        "wait for compute",
        "free map:b",
        "free map:c",
    ]


def test_what_the_classifier_reads_never_leaves() -> None:
    """p's map is the first FC's X: fc is the classifier's, so that it stays although every layer offloads."""
    program = program_of(conv("a"), pool("p"), fc("fc"), LOSS)
    assert copies_out(program) == [("data", "a"), ("a", "p")]
    assert step_lines(program, "fc") == ["run fc forward", "wait for compute"]
    assert [buffer.name for buffer in program.offloaded] == ["map:data", "map:a"]


def test_set_up_holds_weights_data_and_the_classifier() -> None:
    program = program_of(conv("a"), fc("fc"), layer(Kind.DROPOUT, "drop"), fc("fc2"), LOSS)
    assert [(buffer.name, buffer.size_bytes, buffer.in_classifier) for buffer in program.setup] == [
        ("weights:a", 4, False),
        ("weights:fc", 25 * 25 * 4, True),
        ("weights:fc2", 25 * 25 * 4, True),
        ("map:data", 100, False),
        ("map:fc", 100, True),
        ("map:fc2", 100, True),
        ("map:loss", 100, True),
        ("saved:drop", 25, True),
        ("gradient buffer:classifier:0", 100, True),
        ("gradient buffer:classifier:1", 100, True),
    ]


# Backward


def test_backward_runs_filter_then_data_gradient_each_with_its_own_workspace() -> None:
    """The first workspace goes before the second one comes: the most in use is the larger of the two, not the sum."""
    rows = (row("b", "backward_filter", 10, 70), row("b", "backward_data", 10, 30))
    program = program_of(conv("a"), conv("b"), LOSS, rows=rows, weight_gradients=WeightGradients.PER_LAYER)
    assert step_lines(program, "b", backward=True) == [
        "allocate map:data",
        "copy in map:data for a",
        "allocate gradient:a",
        "allocate weight gradient:b",
        "allocate workspace:b:backward_filter",
        "run b backward_filter",
        "wait for compute",
        "free workspace:b:backward_filter",
        "allocate workspace:b:backward_data",
        "run b backward_data",
        "wait for compute, copy in",
        "free workspace:b:backward_data",
        "free weight gradient:b",
        "free map:a",
        "free gradient:b",
    ]


def test_the_first_layer_makes_no_gradient_of_the_input_data() -> None:
    program = program_of(conv("a"), conv("b"), LOSS)
    assert step_lines(program, "a", backward=True) == [
        "run a backward_filter",
        "wait for compute",
        "free map:data",
        "free gradient:a",
    ]


def test_a_first_layer_that_cannot_leave_it_out_makes_it() -> None:
    program = program_of(layer(Kind.BN, "norm"), conv("a"), LOSS)
    assert step_lines(program, "norm", backward=True) == [
        "allocate gradient:data",
        "run norm backward",
        "wait for compute",
        "free map:data",
        "free gradient:data",
        "free gradient:norm",
        "free saved:norm",
    ]


def test_a_conv_frees_its_y_with_the_actv_behind_it() -> None:
    """CONV does not read Y in backward, the in-place ACTV does: relu is the last user of a's map if b is before it."""
    program = program_of(conv("a"), layer(Kind.ACTV, "relu"), conv("b"), LOSS)
    assert "free map:a" not in step_lines(program, "b", backward=True)
    assert step_lines(program, "relu", backward=True) == ["run relu backward", "wait for compute", "free map:a"]


def test_x_of_several_readers_is_freed_by_the_last_user() -> None:
    program = program_of(conv("a"), conv("b", "a"), conv("c", "a"), join(Kind.ADD, "d", "b", "c"), LOSS)
    assert "free map:a" not in step_lines(program, "c", backward=True)
    assert "free map:a" in step_lines(program, "b", backward=True)


def test_gradients_of_a_fork_add_up() -> None:
    program = program_of(conv("a"), conv("b", "a"), conv("c", "a"), join(Kind.ADD, "d", "b", "c"), LOSS)
    assert "run c backward_data" in step_lines(program, "c", backward=True)
    assert "run b backward_data adding to a" in step_lines(program, "b", backward=True)
    assert sum("allocate gradient:a" in step_lines(program, name, backward=True) for name in "bcd") == 1


def test_fc_beside_another_reader_of_the_input_data() -> None:
    """FC leaves the data's gradient out, so that norm, which cannot, is its first writer although fc came before it."""
    network = network_of(
        layer(Kind.BN, "norm", "data"),
        fc("left", "norm", 7),
        fc("right", "data", 7),
        join(Kind.ADD, "sum", "left", "right"),
        LOSS,
    )
    program = build_program(network, plan_of(network, trace_of(network)))
    accumulating = [command for command in program.commands if isinstance(command, Kernel) and command.accumulates]
    assert accumulating == []


# Prefetch


def test_one_prefetch_for_each_layer_and_none_beyond_the_closest_conv() -> None:
    """Every layer between two CONVs has a window that ends at the CONV before it, included.

    loss sees q and then b, a CONV, and takes q's X; q sees b and takes its X; b sees p, p sees a; a has none before it.
    """
    program = program_of(conv("a"), pool("p"), conv("b"), pool("q"), LOSS)
    assert copies_in(program) == [("b", "loss", "q"), ("p", "q", "b"), ("a", "b", "p"), ("data", "p", "a")]


def test_the_window_ends_at_a_conv_whose_x_is_there() -> None:
    """Only a's X left. loss, q see the CONV b, which has its X, and take nothing; b and p see a."""
    program = program_of(conv("a"), pool("p"), conv("b"), pool("q"), LOSS, offload=("a",))
    assert copies_in(program) == [("data", "b", "a")]


def test_the_window_reaches_over_layers_without_x() -> None:
    program = program_of(conv("a"), layer(Kind.ACTV, "r"), layer(Kind.DROPOUT, "s"), LOSS, offload=("a",))
    assert copies_in(program) == [("data", "loss", "a")]


def test_a_map_of_two_readers_comes_back_once() -> None:
    program = program_of(conv("a"), conv("b", "a"), conv("c", "a"), join(Kind.ADD, "d", "b", "c"), LOSS)
    assert copies_in(program) == [("a", "loss", "c"), ("data", "b", "a")]


def test_all_maps_of_a_join_come_back_with_it() -> None:
    """ADD needs none of its X itself, but POOL needs its Y: what left comes back before the layer that read it."""
    program = program_of(conv("a"), pool("p", "a"), pool("q", "a"), join(Kind.ADD, "d", "p", "q"), LOSS)
    assert copies_out(program) == [("data", "a"), ("a", "q"), ("p", "d"), ("q", "d")]
    assert copies_in(program) == [("p", "loss", "d"), ("q", "loss", "d"), ("a", "d", "q"), ("data", "q", "a")]


def test_an_x_not_back_in_time_is_fetched_late_and_waited_for() -> None:
    program = program_of(conv("a"), conv("b"), LOSS, deferred=("loss",))
    assert step_lines(program, "loss", backward=True) == [
        "allocate gradient:b",
        "run loss backward",
        "wait for compute",
    ]
    assert step_lines(program, "b", backward=True)[:5] == [
        "allocate map:a",
        "copy in map:a late",
        "wait for copy in",
        "allocate map:data",
        "copy in map:data for a",
    ]


def test_no_layer_issues_more_than_one_prefetch() -> None:
    program = program_of(*(conv(f"c{index}") for index in range(6)), LOSS)
    issuers = [layer_name for _, layer_name, _ in copies_in(program)]
    assert len(issuers) == len(set(issuers)) == 6


# Weight gradients


@pytest.mark.parametrize(
    ("choice", "in_setup", "in_step"),
    [
        (WeightGradients.PER_LAYER, [], ["allocate weight gradient:b", "free weight gradient:b"]),
        (WeightGradients.RESIDENT, ["weight gradient:a", "weight gradient:b"], []),
        (WeightGradients.NONE, [], []),
    ],
)
def test_weight_gradients(choice: WeightGradients, in_setup: list[str], in_step: list[str]) -> None:
    program = program_of(conv("a"), conv("b"), LOSS, weight_gradients=choice)
    assert [buffer.name for buffer in program.setup if "weight gradient" in buffer.name] == in_setup
    lines = step_lines(program, "b", backward=True)
    assert [line for line in lines if "weight gradient" in line] == in_step


def test_names_of_operands_lead_to_buffers_that_exist() -> None:
    network: Network = network_of(conv("a"), layer(Kind.BN, "n"), layer(Kind.ACTV, "r"), fc("f"), LOSS)
    program = build_program(network, plan_of(network, trace_of(network), ["a", "n", "f"]))
    taken = {buffer.name for buffer in program.setup}
    taken |= {line.removeprefix("allocate ") for line in map(command_line, program.commands) if "allocate" in line}
    assert set(program.operands.values()) <= taken


def test_offloaded_maps_are_listed_in_network_order() -> None:
    """A plan's set of layers has no order of its own, and a string's hash differs from process to process."""
    program = program_of(*(conv(f"layer{index}") for index in range(20)), LOSS)
    names = ["map:data", *(f"map:layer{index}" for index in range(19))]
    assert [buffer.name for buffer in program.offloaded] == names
    assert program.pinned_host_bytes == 20 * 100
