"""The baseline's program: what is set up, and which buffers are shared."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from support.cases import conv, fc, join, layer, network_of, plan_of, pool, row, trace_of
from support.examples import tries
from support.strategies import Case, cases
from vdnnsim.network import DATA, Kind, LayerSpec, Network
from vdnnsim.policies.plan import Layout
from vdnnsim.program import Buffer, Kernel, Program, Synchronise, WeightGradients, build_program
from vdnnsim.trace import TraceRow

LOSS = layer(Kind.SOFTMAX, "loss")


def program_of(
    *specs: LayerSpec,
    rows: tuple[TraceRow, ...] = (),
    weight_gradients: WeightGradients = WeightGradients.NONE,
) -> Program:
    network = network_of(*specs)
    trace = trace_of(network, rows)
    names = [entry.name for entry in network.layers]
    plan = plan_of(network, trace, names, layout=Layout.NETWORK_WIDE, weight_gradients=weight_gradients)
    return build_program(network, plan)


def gradient_buffers(program: Program) -> list[int]:
    return [buffer.size_bytes for buffer in program.setup if buffer.name.startswith("gradient buffer")]


def test_everything_is_set_up_and_nothing_moves() -> None:
    program = program_of(conv("a", channels=2), layer(Kind.ACTV, "relu"), pool("p"), fc("fc"), LOSS)
    assert [(buffer.name, buffer.size_bytes) for buffer in program.setup] == [
        ("weights:a", 8),
        ("weights:fc", 25 * 50 * 4),
        ("map:data", 100),
        ("map:a", 200),  # relu works in place
        ("map:p", 200),
        ("map:fc", 100),
        ("map:loss", 100),
        ("gradient buffer:network:0", 200),
        ("gradient buffer:network:1", 200),
    ]
    assert {type(command) for command in program.commands} == {Kernel, Synchronise}
    assert program.offloaded == ()
    assert program.pinned_host_bytes == 0


def test_the_host_waits_once_at_the_end() -> None:
    program = program_of(conv("a"), conv("b"), LOSS)
    assert [index for index, command in enumerate(program.commands) if isinstance(command, Synchronise)] == [7]
    assert program.steps[-1].last == len(program.commands) == 8


@pytest.mark.parametrize("channels", [(1, 4, 2), (4, 1, 1), (1, 1, 4)])
def test_a_chain_shares_two_gradient_buffers_of_the_largest_size(channels: tuple[int, int, int]) -> None:
    """dX is written while dY is read, so that a chain needs two; both as large as the largest gradient (the paper)."""
    program = program_of(*(conv(f"c{index}", channels=count) for index, count in enumerate(channels)), LOSS)
    assert gradient_buffers(program) == [400, 400]


def test_the_input_data_have_no_gradient() -> None:
    """64 channels in, one in between: data are by far the largest map, but their gradient is not made."""
    network = network_of(conv("a"), conv("b"), LOSS, channels=64)
    program = build_program(network, plan_of(network, trace_of(network), layout=Layout.NETWORK_WIDE))
    assert gradient_buffers(program) == [100, 100]


def test_a_fork_needs_a_third_gradient_buffer() -> None:
    """d's backward makes b's and c's gradients from its own: three at once. Then c makes a's, as b's still waits."""
    program = program_of(conv("a"), conv("b", "a"), conv("c", "a"), join(Kind.ADD, "d", "b", "c"), LOSS)
    assert len(gradient_buffers(program)) == 3
    held = program.operands
    assert len({held["gradient:b"], held["gradient:c"], held["gradient:d"]}) == 3
    assert len({held["gradient:a"], held["gradient:c"], held["gradient:b"]}) == 3


def test_one_workspace_as_large_as_the_largest_is_shared() -> None:
    rows = (
        row("a", "forward", 10, 30),
        row("b", "backward_filter", 10, 70),
        row("b", "backward_data", 10, 50),
    )
    program = program_of(conv("a"), conv("b"), LOSS, rows=rows)
    workspaces = [buffer for buffer in program.setup if buffer.name == "workspace"]
    assert [buffer.size_bytes for buffer in workspaces] == [70]
    used: dict[tuple[str, str], Buffer | None] = {
        (command.layer, command.pass_): command.workspace for command in program.commands if isinstance(command, Kernel)
    }
    assert {key for key, workspace in used.items() if workspace} == {
        ("a", "forward"),
        ("b", "backward_filter"),
        ("b", "backward_data"),
    }


def test_no_workspace_where_no_algorithm_needs_one() -> None:
    assert "workspace" not in [buffer.name for buffer in program_of(conv("a"), LOSS).setup]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (WeightGradients.NONE, []),
        (WeightGradients.PER_LAYER, [("weight gradient buffer", 25 * 50 * 4)]),  # one shared, as large as the largest
        (WeightGradients.RESIDENT, [("weight gradient:a", 8), ("weight gradient:fc", 25 * 50 * 4)]),
    ],
)
def test_weight_gradients(choice: WeightGradients, expected: list[tuple[str, int]]) -> None:
    program = program_of(conv("a", channels=2), fc("fc"), LOSS, weight_gradients=choice)
    assert [(b.name, b.size_bytes) for b in program.setup if b.name.startswith("weight gradient")] == expected


@settings(max_examples=tries(60))
@given(cases(layout=Layout.NETWORK_WIDE))
def test_gradient_buffers_are_large_enough_and_all_maps_are_there(case: Case) -> None:
    program = build_program(case.network, case.plan)
    sizes = {buffer.name: buffer.size_bytes for buffer in program.setup}
    for feature_map in case.network.maps.values():
        assert sizes[f"map:{feature_map.name}"] == feature_map.size_bytes
        gradient = program.operands.get(f"gradient:{feature_map.name}")
        assert gradient is None or sizes[gradient] >= feature_map.size_bytes


def written_by(network: Network, name: str) -> set[str]:
    """The maps whose gradient the layer's backward writes."""
    layer = network.by_name[name]
    maps = {feature_map.name for feature_map in network.input_maps(layer)}
    return maps - {DATA} if layer.kind in (Kind.CONV, Kind.FC) else maps


@settings(max_examples=tries(60))
@given(cases(layout=Layout.NETWORK_WIDE))
def test_there_are_no_more_gradient_buffers_than_gradients_at_once(case: Case) -> None:
    """A gradient lives from the backward of its map's last reader that writes it (CONV and FC leave that of the input
    data out) to that of the map's first writer, both included."""
    network = case.network
    program = build_program(network, case.plan)
    spans = []
    for feature_map in network.maps.values():
        if f"gradient:{feature_map.name}" in program.operands:
            written = min((network.position[name] for name in feature_map.writers), default=-1)
            writing = [name for name in feature_map.readers if feature_map.name in written_by(network, name)]
            read = max((network.position[name] for name in writing), default=len(network.layers))
            spans.append((written, read))
    most = max(sum(first <= place <= last for first, last in spans) for place in range(len(network.layers)))
    assert len(gradient_buffers(program)) == most
