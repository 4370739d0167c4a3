"""Programs whose streams wait for each other and whose host hardly waits, on the CPU: right against autograd with what
they free overwritten, and visibly wrong without one of their waits."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from support.cases import conv, layer, network_of  # noqa: E402
from support.examples import tries  # noqa: E402
from support.fake_device import Marks as TrueMarks  # noqa: E402
from support.fake_device import TrueKernel, Truth, derived_kernels, fake_bench  # noqa: E402
from support.strategies import networks  # noqa: E402
from support.waits import Pair, by_events, by_pieces, ending_in_a_wait  # noqa: E402
from vdnnsim.calibration.kernels import plan_of_first_choices  # noqa: E402
from vdnnsim.calibration.reference import reference_gradients, worst_error  # noqa: E402
from vdnnsim.calibration.training import make_training  # noqa: E402
from vdnnsim.errors import InvalidInput  # noqa: E402
from vdnnsim.gpu import HostCosts  # noqa: E402
from vdnnsim.iteration import Waits, WeightGradients  # noqa: E402
from vdnnsim.machines.checking import BrokenProgram, check_program  # noqa: E402
from vdnnsim.machines.device_memory import DeviceMemory  # noqa: E402
from vdnnsim.machines.real import lowering  # noqa: E402
from vdnnsim.machines.real.cpu import CpuDevice, CpuEvent  # noqa: E402
from vdnnsim.machines.real.machine import LoadedProgram, RealMachine  # noqa: E402
from vdnnsim.machines.real.operators_cpu import CpuOperators  # noqa: E402
from vdnnsim.machines.real.streams import far_ahead, left_under_way, waits_for_all  # noqa: E402
from vdnnsim.machines.real.timeline import Marks, timeline_of  # noqa: E402
from vdnnsim.machines.simulated import SimulatedMachine  # noqa: E402
from vdnnsim.memory import make_pool  # noqa: E402
from vdnnsim.network import Kind, Layer, Network, iteration_of  # noqa: E402
from vdnnsim.policies import make_policy  # noqa: E402
from vdnnsim.policies.plan import Layout  # noqa: E402
from vdnnsim.policies.schedules import layer_wise  # noqa: E402
from vdnnsim.program import (  # noqa: E402
    GPU_STREAMS,
    Buffer,
    Command,
    CopyIn,
    CopyOut,
    HostCall,
    HostWait,
    Kernel,
    MemoryClass,
    NotGiven,
    Piece,
    Program,
    Step,
    Stream,
    StreamWait,
    Synchronise,
    build_program,
)
from vdnnsim.program.order import stream_of  # noqa: E402
from vdnnsim.timeline import COPY_IN, COPY_OUT, StallRecord, Timeline  # noqa: E402

COMPUTE, OUT, IN = GPU_STREAMS
LIMIT = 1e-4
COSTS = st.builds(HostCosts, *[st.integers(0, 20_000)] * 7)
NETWORK = network_of(
    conv("a", channels=4, kernel=3, padding=1),
    layer(Kind.ACTV, "a_relu"),
    layer(Kind.LRN, "norm"),
    conv("b", channels=4, kernel=3, padding=1),
    layer(Kind.ACTV, "b_relu"),
    conv("c", channels=4, kernel=3, padding=1),
    layer(Kind.LRN, "c_norm"),
    conv("d", channels=4),
    layer(Kind.SOFTMAX, "loss"),
    batch=2,
)
"""All maps are of one size, so that blocks are taken over."""
OFFLOAD = frozenset(one.name for one in NETWORK.layers)
PLAN = plan_of_first_choices(NETWORK, CpuOperators(), Layout.LAYER_WISE, OFFLOAD)
PROGRAM = build_program(NETWORK, PLAN)


def load(program: Program, device: CpuDevice) -> LoadedProgram:
    machine = RealMachine(device, CpuOperators(), NETWORK, make_training(NETWORK, device.torch_device))
    return machine.load(program, lambda: make_pool("best-fit", 1 << 30))


def error_of(program: Program, device: CpuDevice, lagging: Container[Stream] = ()) -> float:
    """How far loss and gradients of an iteration with poison are from autograd's."""
    loaded = load(program, device)
    found = loaded.poisoned(lagging)
    reference = reference_gradients(NETWORK, loaded.machine.training, found.choices)
    return worst_error(found.results, reference.results)[0]


@pytest.fixture
def device() -> Iterator[CpuDevice]:
    device = CpuDevice()
    yield device
    device.close()


LAGGING = {"nothing": (), "kernels": (COMPUTE,), "copies out": (OUT,), "copies in": (IN,), "copies": (OUT, IN)}
by_what_lags = pytest.mark.parametrize("lagging", LAGGING.values(), ids=LAGGING)


@by_what_lags
def test_streams_that_wait_for_each_other_need_no_host(device: CpuDevice, lagging: tuple[Stream, ...]) -> None:
    program = by_events(PROGRAM)
    assert not any(isinstance(command, Synchronise | HostWait) for command in program.commands)
    assert error_of(program, device, lagging) < LIMIT


@by_what_lags
def test_a_host_that_waits_for_pieces(device: CpuDevice, lagging: tuple[Stream, ...]) -> None:
    assert error_of(by_pieces(PROGRAM), device, lagging) < LIMIT


@pytest.mark.parametrize(
    ("missing", "lagging"),
    [
        ((COMPUTE, OUT), "copies out"),  # kernels write where a map is still being copied from
        ((COMPUTE, IN), "copies in"),  # kernels read what is not back
        ((OUT, COMPUTE), "kernels"),  # copied before it is written
        ((IN, COMPUTE), "kernels"),  # fetched over what kernels still use
    ],
)
def test_a_missing_wait_shows(device: CpuDevice, missing: Pair, lagging: str) -> None:
    """With it the same lag does no harm, as above."""
    assert error_of(by_events(PROGRAM, without=(missing,)), device, LAGGING[lagging]) > LIMIT


def test_what_the_checking_mode_refuses_shows_in_poisoned_gradients(device: CpuDevice) -> None:
    """Where the host waits for copies one by one, each such wait is left out by itself, with that copy's stream
    lagging: some number differs then. The machine may be busy with other things, so that it gets six tries."""
    iteration = iteration_of(NETWORK, frozenset(PLAN.algorithms))
    schedule = layer_wise(iteration, OFFLOAD, WeightGradients.PER_LAYER, Waits.KERNELS)
    program = build_program(NETWORK, replace(PLAN, schedule=schedule))
    expected = load(program, device).poisoned().results
    refused, missed = 0, []
    for wait in program.commands:
        if not isinstance(wait, HostWait):
            continue
        commands = tuple(Synchronise(()) if command is wait else command for command in program.commands)
        hasty = replace(program, commands=commands)
        try:
            check_program(NETWORK, hasty, DeviceMemory(make_pool("best-fit", 1 << 30)))
        except BrokenProgram:
            refused += 1
            tries = (load(hasty, device).poisoned((wait.piece.stream,)).results for _ in range(6))
            if all(all(torch.equal(value, found[name]) for name, value in expected.items()) for found in tries):
                missed.append(wait)
    assert refused > 8
    assert missed == []


def test_an_event_is_recorded_behind_what_somebody_waits_for_and_nothing_else(device: CpuDevice) -> None:
    assert load(PROGRAM, device)._events == {}
    program = by_pieces(PROGRAM)
    waits = [command.piece for command in program.commands if isinstance(command, HostWait)]
    assert set(load(program, device)._events) == set(waits)


def test_a_wait_for_what_comes_later_is_refused(device: CpuDevice) -> None:
    program = replace(PROGRAM, commands=(HostWait(Piece(COMPUTE, 1)), *PROGRAM.commands))
    with pytest.raises(NotGiven, match="piece 1 of compute"):
        load(program, device)


@pytest.mark.parametrize("change", [by_events, by_pieces])
def test_programs_given_twice_or_one_by_one_wait_for_the_same_pieces(
    change: Callable[[Program], Program], device: CpuDevice
) -> None:
    """Piece n is the last of its kind given: in a program given twice the one numbered 2 n."""
    program = change(PROGRAM)
    loaded = load(program, device)
    waits = [command for command in program.commands if isinstance(command, HostWait | StreamWait)]
    for other, times in ((loaded.doubled(), 2), (loaded.one_by_one(), 1)):
        found = [command for command in other.program.commands if isinstance(command, HostWait | StreamWait)]
        assert found == [wait._replace(piece=wait.piece._replace(number=times * wait.piece.number)) for wait in waits]
        assert other.run() > 0
        timeline = other.observe()
        assert len(timeline.kernels) == times * len(loaded.observe().kernels)


def there_at_once(layer: Layer, pass_: str) -> list[TrueKernel]:
    return [kernel._replace(start_ns=kernel.launch_ns) for kernel in derived_kernels(layer, pass_)]


@patch.object(lowering, "_MOST_AHEAD", 1 << 30)
@settings(max_examples=tries(40), deadline=None)
@given(st.sampled_from([by_events, by_pieces]), st.sampled_from(["vdnn-all(p)", "vdnn-conv(m)"]), networks(3), COSTS)
def test_a_known_machine_takes_as_long_as_the_simulated_one(
    change: Callable[[Program], Program], policy: str, network: Network, costs: HostCosts
) -> None:
    """To the nanosecond, for streams that wait as well, and with the same stalls: two engines written apart. Here work
    is there when its launch is over, which is all that marks tell of it; and no host is held back, as none is that is
    simulated."""
    bench = fake_bench(truth=Truth(host=costs, marks=TrueMarks(), kernels=there_at_once))
    study = bench.study(network)
    program = ending_in_a_wait(change(study.run(make_policy(policy)).program))
    expected = SimulatedMachine(study.trace, study.gpu).run(program, make_pool("best-fit", 1 << 40))
    loaded = bench.load(bench.machine(network, "fp32"), program)
    assert loaded.run() == expected.iteration_time_ns
    found = loaded.observe()
    assert (found.stalls, found.waits) == (expected.stalls, expected.waits)
    assert found.step_ends_ns == expected.step_ends_ns


X = Buffer("map:x", 512, MemoryClass.FEATURE_MAPS, "a", False)
RUN, COPY, FETCH = Kernel("a", "forward", "x"), CopyOut(X, "a"), CopyIn(X, "a", "b")


def program_of(*commands: Command) -> Program:
    return Program((X,), commands, (Step("a", False, False, 0, len(commands)),), {}, (X,))


def test_what_is_under_way_at_the_end_is_what_the_host_knows_no_end_of() -> None:
    """A host that waits for a copy which waited for a kernel knows of that kernel, and of no later one."""
    waited = (RUN, StreamWait(OUT, Piece(COMPUTE, 1)), COPY)
    assert left_under_way(program_of(*waited)) == [COMPUTE, OUT]
    assert left_under_way(program_of(*waited, HostWait(Piece(OUT, 1)))) == []
    assert left_under_way(program_of(*waited, RUN, HostWait(Piece(OUT, 1)))) == [COMPUTE]
    assert left_under_way(program_of()) == []


def test_an_iteration_falls_into_parts_where_the_host_knows_that_all_is_done() -> None:
    waited = (RUN, StreamWait(OUT, Piece(COMPUTE, 1)), COPY)
    assert waits_for_all(program_of(*waited, HostWait(Piece(OUT, 1)), RUN, Synchronise((OUT,)))) == [3]
    assert waits_for_all(program_of(*waited, HostWait(Piece(COMPUTE, 1)), RUN, Synchronise((COMPUTE, OUT)))) == [5]


def timeline_of_marks(commands: tuple[Command, ...], done_ns: list[int], spans: list[tuple[int, int]]) -> Timeline:
    given = [index for index, command in enumerate(commands) if stream_of(command)]
    memory = DeviceMemory(make_pool("best-fit", 1 << 30))
    marks = Marks(0, done_ns, dict(zip(given, spans, strict=True)))
    return timeline_of(program_of(*commands), marks, memory, [0] * len(commands))


def test_a_kernel_that_its_stream_holds_for_a_copy_stalls() -> None:
    """The copy ends at 250; the first kernel at 100, the second is given at 40, and the third follows it."""
    commands = (RUN, COPY, StreamWait(COMPUTE, Piece(OUT, 1)), RUN, RUN)
    timeline = timeline_of_marks(commands, [10, 20, 30, 40, 50], [(0, 100), (0, 250), (250, 350), (350, 450)])
    assert timeline.stalls == (StallRecord(0, 100, 250, COPY_OUT, "map:x", late=False),)
    assert timeline.waits == ()
    late = timeline_of_marks(commands, [10, 20, 30, 240, 250], [(0, 100), (0, 250), (250, 350), (350, 450)])
    assert late.stalls == (StallRecord(0, 240, 250, COPY_OUT, "map:x", late=False),), "nobody waits before it is given"


def test_a_copy_that_ends_while_kernels_run_holds_nothing_up() -> None:
    commands = (RUN, COPY, StreamWait(COMPUTE, Piece(OUT, 1)), RUN)
    assert timeline_of_marks(commands, [10, 20, 30, 40], [(0, 100), (0, 90), (100, 200)]).stalls == ()


def test_a_copy_that_waits_for_a_kernel_stalls_nothing() -> None:
    commands = (RUN, StreamWait(OUT, Piece(COMPUTE, 1)), COPY)
    timeline = timeline_of_marks(commands, [10, 20, 30], [(0, 100), (100, 350)])
    assert timeline.stalls == (StallRecord(0, 100, 350, COPY_OUT, "map:x", late=False),), "but the end waits for it"
    assert timeline.iteration_time_ns == 350


def test_a_host_that_waits_for_one_of_two_copies_stalls_until_that_one_ends() -> None:
    commands = (RUN, FETCH, FETCH, HostWait(Piece(IN, 1)), RUN)
    timeline = timeline_of_marks(commands, [10, 20, 30, 205, 210], [(0, 100), (0, 200), (200, 400), (210, 500)])
    assert timeline.stalls == (StallRecord(0, 100, 200, COPY_IN, "map:x", late=False),)
    assert [(wait.begin_ns, wait.end_ns) for wait in timeline.waits] == [(30, 205)]
    assert timeline.iteration_time_ns == 500, "the second ended beside the kernel"


def test_a_call_of_a_framework_is_refused_since_nothing_here_does_it(device: CpuDevice) -> None:
    with pytest.raises(InvalidInput, match="found the call 'hook' of a framework, expected kernels, copies"):
        load(program_of(HostCall("hook")), device)


def test_a_host_rehearses_while_it_waits_except_at_the_end(device: CpuDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rehearsal's copy slows those under way, and nothing follows for which the host had to be warm."""
    rehearses: list[bool] = []

    def wait(stream: Stream, meanwhile: Callable[[], None] | None = None) -> Callable[[], None]:
        rehearses.append(meanwhile is not None)
        return CpuDevice.wait(device, stream, meanwhile)

    monkeypatch.setattr(device, "wait", wait)
    load(PROGRAM, device)
    waits = [len(command.streams) for command in PROGRAM.commands if isinstance(command, Synchronise)]
    assert rehearses[: sum(waits)] == [True] * sum(waits[:-1]) + [False] * waits[-1]


def test_a_host_that_never_waits_is_held_back_behind_earlier_kernels() -> None:
    kernel, wait = Kernel("a", "forward", "x"), Synchronise((COMPUTE,))
    assert far_ahead(program_of(*[kernel] * 9), most=4, every=2) == {4: 0, 6: 2, 8: 4}
    assert far_ahead(program_of(*[kernel] * 4), most=4, every=2) == {}
    assert far_ahead(program_of(*[kernel] * 4, wait, *[kernel] * 5), most=4, every=2) == {9: 5}


def test_a_program_whose_host_is_held_back_computes_the_same(
    device: CpuDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[CpuEvent] = []

    def host_wait(event: CpuEvent, meanwhile: Callable[[], None] | None = None) -> Callable[[], None]:
        waits = plain(event, meanwhile)

        def wait() -> None:
            waited.append(event)
            waits()

        return wait

    plain = CpuEvent.host_wait
    monkeypatch.setattr(CpuEvent, "host_wait", host_wait)
    monkeypatch.setattr(lowering, "_MOST_AHEAD", 4)
    monkeypatch.setattr(lowering, "_LOOKS_EVERY", 2)
    program = by_events(PROGRAM)
    assert error_of(program, device) < LIMIT
    kernels = sum(isinstance(command, Kernel) for command in program.commands)
    assert len(waited) == len(range(4, kernels, 2))
