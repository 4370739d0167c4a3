"""The checking mode: what is ordered, what is not, and that quick copies do not hide it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings

from support.cases import ROOMY_BYTES, conv, gpu_of, join, layer, network_of, plan_of, trace_of
from support.examples import tries
from support.strategies import Case, cases
from vdnnsim.errors import VdnnsimError
from vdnnsim.machines import BrokenProgram, DeviceMemory, check_program
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.making import make_study
from vdnnsim.memory import POOLS, make_pool
from vdnnsim.network import Kind
from vdnnsim.program import (
    GPU_STREAMS,
    Allocate,
    Buffer,
    Builder,
    Command,
    CopyIn,
    CopyOut,
    Free,
    HostWait,
    Kernel,
    MemoryClass,
    Piece,
    Program,
    Stream,
    StreamWait,
    Synchronise,
    build_program,
)

NETWORK = network_of(
    conv("a"),
    layer(Kind.ACTV, "relu"),
    conv("b", "relu"),
    conv("c", "relu"),
    join(Kind.ADD, "d", "b", "c"),
    layer(Kind.LRN, "e"),
    layer(Kind.SOFTMAX, "loss"),
)
TRACE = trace_of(NETWORK, default_ns=1000)
GPU = gpu_of(out_ns_per_100_bytes=1, in_ns_per_100_bytes=1)
"""Copies are over long before any kernel that they could disturb: whatever goes wrong, no timeline shows it."""
ALL = [entry.name for entry in NETWORK.layers if not NETWORK.in_classifier(entry.name)]
EVERY = [entry.name for entry in NETWORK.layers]
PROGRAM = build_program(NETWORK, plan_of(NETWORK, TRACE, offload=ALL))
LATE = build_program(NETWORK, plan_of(NETWORK, TRACE, offload=ALL, deferred=EVERY))


def check(commands: tuple[Command, ...], program: Program = PROGRAM) -> None:
    steps = (program.steps[0]._replace(first=0, last=len(commands)),)
    changed = replace(program, commands=commands, steps=steps)
    SimulatedMachine(TRACE, GPU).check(changed, make_pool("best-fit", ROOMY_BYTES), NETWORK)


def places(kind: type[Command], program: Program = PROGRAM) -> Iterator[int]:
    return (index for index, command in enumerate(program.commands) if isinstance(command, kind))


def waiting_for(kept: tuple[Stream, ...], program: Program = PROGRAM) -> tuple[Command, ...]:
    """The program's commands with every wait for these streams alone."""
    return tuple(
        Synchronise(tuple(stream for stream in command.streams if stream in kept))
        if isinstance(command, Synchronise)
        else command
        for command in program.commands
    )


@settings(max_examples=tries(60))
@given(cases())
def test_every_program_of_a_plan_is_right_in_every_pool(case: Case) -> None:
    program = build_program(case.network, case.plan)
    for pool in POOLS:
        check_program(case.network, program, DeviceMemory(make_pool(pool, ROOMY_BYTES)))


@pytest.mark.parametrize("policy", ["baseline(p)", "vdnn-all(p)", "vdnn-conv(m)", "vdnn-dyn"])
def test_a_study_may_run_all_its_programs_in_the_checking_mode(policy: str) -> None:
    study = make_study("alexnet", batch=128, gpu="titan-x-maxwell")
    assert replace(study, checked=True).run(policy) == study.run(policy)


def test_a_study_in_the_checking_mode_refuses_a_broken_program(monkeypatch: pytest.MonkeyPatch) -> None:
    study = replace(make_study("alexnet", batch=128, gpu="titan-x-maxwell"), checked=True)

    build = Builder.build

    def without_waits(builder: Builder) -> Program:
        program = build(builder)
        return replace(program, commands=waiting_for((), program))

    monkeypatch.setattr(Builder, "build", without_waits)
    with pytest.raises(BrokenProgram):
        study.run("vdnn-all(m)")


@pytest.mark.parametrize(
    ("kept", "missing"),
    [
        ((Stream.COMPUTE,), "expected a wait for copy out between them"),
        ((Stream.COMPUTE, Stream.COPY_OUT), "expected a wait for copy in between them"),
        ((Stream.COPY_OUT, Stream.COPY_IN), "expected a wait for compute between them"),
    ],
)
def test_waits_for_one_stream_left_out(kept: tuple[Stream, ...], missing: str) -> None:
    check(waiting_for(GPU_STREAMS))
    with pytest.raises(BrokenProgram, match=missing):
        check(waiting_for(kept))


def test_a_late_fetch_that_nobody_waits_for() -> None:
    check(LATE.commands, LATE)
    fetches = [index for index in places(CopyIn, LATE) if LATE.commands[index + 1] == Synchronise((Stream.COPY_IN,))]
    assert fetches
    for index in fetches:
        with pytest.raises(BrokenProgram, match=r"touches map:.* while the copy in of map:.* may still be under way"):
            check(LATE.commands[: index + 1] + LATE.commands[index + 2 :], LATE)


def test_a_copy_or_an_allocation_left_out() -> None:
    for kind in (CopyIn, CopyOut, Allocate):
        for index in places(kind):
            with pytest.raises(BrokenProgram):
                check(PROGRAM.commands[:index] + PROGRAM.commands[index + 1 :])


X, Y, Z = (Buffer(f"workspace:{name}", 4096, MemoryClass.WORKSPACE, "a", False) for name in "xyz")
RUN = Kernel("a", "forward", "default")
OTHER = Buffer("map:other", 4096, MemoryClass.FEATURE_MAPS, "a", False)


def follow(*commands: Command) -> None:
    """Commands behind the allocation of a's map."""
    check((Allocate(PROGRAM.commands[0].buffer), *commands))  # type: ignore[union-attr]


def test_bytes_of_a_freed_buffer_may_go_on_in_the_same_stream() -> None:
    """A workspace given back while its kernel runs: the next kernel of the stream may have it."""
    first, second = RUN._replace(workspace=X), RUN._replace(workspace=Y)
    follow(Allocate(X), first, Free(X), Allocate(Y), second)


def test_bytes_of_a_freed_buffer_may_not_go_to_another_stream_before_a_wait() -> None:
    """map:a, copied out and freed at once, lies where the next workspace is: fine after a wait, and only then."""
    out = PROGRAM.commands[0].buffer  # type: ignore[union-attr]
    small = X._replace(size_bytes=out.size_bytes)
    copied = (RUN, Synchronise((Stream.COMPUTE,)), CopyOut(out, "b"))
    reused = (Free(out), Allocate(small), Allocate(out), RUN._replace(workspace=small))
    follow(*copied, Synchronise((Stream.COPY_OUT,)), *reused)
    with pytest.raises(BrokenProgram, match="workspace:x while the copy out of map:a may still be under way"):
        follow(*copied, *reused)


def test_a_wait_for_one_piece_orders_what_comes_after_it() -> None:
    """map:a leaves by waits for single pieces: the copy behind its kernel, its bytes' next user behind the copy."""
    out = PROGRAM.commands[0].buffer  # type: ignore[union-attr]
    small = X._replace(size_bytes=out.size_bytes)
    kernel, copy = Piece(Stream.COMPUTE, 1), Piece(Stream.COPY_OUT, 1)
    leaves = (RUN, StreamWait(Stream.COPY_OUT, kernel), CopyOut(out, "b"))
    reused = (Free(out), Allocate(small), Allocate(out), RUN._replace(workspace=small))
    follow(*leaves, HostWait(copy), *reused)
    follow(*leaves, *reused[:-1], StreamWait(Stream.COMPUTE, copy), reused[-1])
    for broken in ((*leaves, *reused), (*leaves, StreamWait(Stream.COPY_IN, copy), *reused)):
        with pytest.raises(BrokenProgram, match="workspace:x while the copy out of map:a may still be under way"):
            follow(*broken)
    with pytest.raises(BrokenProgram, match="the copy out of map:a touches map:a while a forward may still be"):
        follow(RUN, CopyOut(out, "b"))


def test_a_host_that_waits_for_a_copy_knows_of_what_the_copy_waited_for() -> None:
    """The copy out waited for the kernel, so that the kernel's bytes may go to any stream."""
    out = PROGRAM.commands[0].buffer  # type: ignore[union-attr]
    copied = CopyOut(out, "b"), HostWait(Piece(Stream.COPY_OUT, 1)), CopyIn(out, "b", "b")
    follow(RUN, StreamWait(Stream.COPY_OUT, Piece(Stream.COMPUTE, 1)), *copied)


@pytest.mark.parametrize(
    "wait", [HostWait(Piece(Stream.COMPUTE, 2)), StreamWait(Stream.COPY_IN, Piece(Stream.COMPUTE, 0))]
)
def test_a_wait_for_what_was_not_given(wait: Command) -> None:
    with pytest.raises(
        BrokenProgram, match=r"program, a forward: a wait for piece \d of compute: found 1 given so far"
    ):
        follow(RUN, wait, RUN)


def test_two_that_only_read_need_no_order() -> None:
    """A copy out beside the kernel that reads the map, as in every forward."""
    out = PROGRAM.commands[0].buffer  # type: ignore[union-attr]
    wait = Synchronise((Stream.COMPUTE,))
    b = next(command for command in PROGRAM.commands if isinstance(command, Kernel) and command.layer == "b")
    follow(RUN, wait, Allocate(Buffer("map:b", 100, MemoryClass.FEATURE_MAPS, "b", False)), CopyOut(out, "b"), b)
    with pytest.raises(BrokenProgram, match="relu forward touches map:a while the copy out"):
        follow(RUN, wait, CopyOut(out, "b"), Kernel("relu", "forward", "default"))


@pytest.mark.parametrize(
    ("commands", "message"),
    [
        ((Free(X),), "a free needs workspace:x, which is not there"),
        ((Allocate(X), Allocate(X)), "workspace:x is allocated though it is there already"),
        ((RUN._replace(workspace=X),), "a forward needs workspace:x, which is not there"),
        ((Kernel("relu", "forward", "default"),), "relu forward reads map:a, but there lies nothing yet"),
        ((CopyIn(OTHER, "a", "a"),), "the copy in of map:other brings back what was never copied out"),
        ((Allocate(OTHER), CopyOut(OTHER, "a")), "the copy out of map:other finds nothing yet there"),
    ],
)
def test_what_is_wrong_is_said_with_the_step(commands: tuple[Command, ...], message: str) -> None:
    with pytest.raises(BrokenProgram) as caught:
        follow(*commands)
    assert str(caught.value) == f"program, a forward: {message}"
    assert isinstance(caught.value, VdnnsimError)
