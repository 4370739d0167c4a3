"""Steps replayed until their memory is at rest: peaks worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.examples import tries
from vdnnsim.errors import InvalidInput
from vdnnsim.machines import DeviceMemory, OutOfMemory, replay_memory
from vdnnsim.machines.steady import SteadyMemory, StepMemory, steady_memory
from vdnnsim.memory import ENDLESS_BYTES, POOLS, CachingPool, HeldBlock, PlainPool, Pool, Segment, make_pool
from vdnnsim.program import Allocate, Buffer, Command, Free, MemoryClass, Program, Step

MIB = 2**20


def buffer(name: str, size_bytes: int) -> Buffer:
    return Buffer(name, size_bytes, MemoryClass.FEATURE_MAPS, "a", False)


W, OLD, NEW, X = buffer("w", 1000), buffer("old", 3 * MIB), buffer("new", 3 * MIB), buffer("x", 16 * MIB)


def program(*commands: Command) -> Program:
    return Program((W, OLD), commands, (Step("a", False, False, 0, len(commands)),), {}, ())


TRAINS = program(Allocate(X), Free(OLD), Allocate(NEW), Free(X))
"""The gradient of the step before goes while the map is there; the new one stays."""


def test_peaks_as_asked_for_as_given_and_as_held() -> None:
    """w has a segment of 2 MiB, the gradient one of 20, in which 17 are left: x gets them whole. The new gradient lies
    where the old one did, so that the second step needs no more."""
    memory = steady_memory(TRAINS, DeviceMemory(CachingPool(ENDLESS_BYTES)), {"new": "old"})
    needs = StepMemory(19 * MIB + 1000, 20 * MIB + 1024, 22 * MIB, 0)
    assert memory == SteadyMemory((needs, needs), settled=True)


def test_what_has_no_successor_goes_between_steps_and_what_has_none_before_it_comes_there() -> None:
    """The new one is dropped, and another old one taken: 3 MiB at the place of the old one or of the new one."""
    memory = steady_memory(TRAINS, DeviceMemory(PlainPool(ENDLESS_BYTES)))
    assert [step.requested_bytes for step in memory.steps] == [19 * MIB + 1000] * 2
    read = program(Free(OLD), Allocate(X), Free(X))
    memory = steady_memory(read, DeviceMemory(PlainPool(ENDLESS_BYTES)))
    assert [step.requested_bytes for step in memory.steps] == [16 * MIB + 1000] * 2
    assert memory.settled


def test_a_step_that_begins_in_a_cut_up_segment_needs_more_until_it_has_come_to_rest() -> None:
    """Of the 20 MiB one block has the first 3 and one the last 3. The new gradient, taken before the old one goes, lies
    behind it; x then finds 11 MiB, too few, and has a segment of 16. In the second step the new one lies where the old
    one was first, and so on by turns."""
    small, segment = Segment(0, 2 * MIB, small=True), Segment(64 * MIB, 20 * MIB, small=False)
    kept = buffer("kept", 3 * MIB)
    addresses = {"w": 0, "old": 64 * MIB, "kept": 81 * MIB}
    sizes_bytes = {"w": 1000, "old": 3 * MIB, "kept": 3 * MIB}
    pool = CachingPool.begun(
        ENDLESS_BYTES, [small, segment], [HeldBlock(addresses[name], size) for name, size in sizes_bytes.items()]
    )
    commands = (Allocate(NEW), Free(OLD), Allocate(X), Free(X))
    trains = Program((W, OLD, kept), commands, (Step("a", False, False, 0, 4),), {}, ())
    memory = steady_memory(trains, DeviceMemory(pool, addresses), {"new": "old"})
    needs = StepMemory(22 * MIB + 1000, 22 * MIB + 1024, 38 * MIB, 0)
    assert memory == SteadyMemory((needs, needs), settled=True)
    assert pool.segments()[2:] == [Segment(84 * MIB, 16 * MIB, small=False)]


def test_retries_of_a_step_under_a_cap() -> None:
    """Small and large requests share no segment: each gives the other's back where there is room for one."""
    y = buffer("y", 22 * MIB)
    commands = (Allocate(y), Free(y), Allocate(W), Free(W))
    alone = Program((), commands, (Step("a", False, False, 0, 4),), {}, ())
    memory = steady_memory(alone, DeviceMemory(CachingPool(22 * MIB)))
    assert memory.steps == tuple(StepMemory(22 * MIB, 22 * MIB, 22 * MIB, retries) for retries in (1, 2, 2))
    assert memory.settled


def test_out_of_memory_under_a_cap_says_where() -> None:
    y = buffer("y", 30 * MIB)
    with pytest.raises(OutOfMemory) as caught:
        steady_memory(program(Allocate(X), Allocate(y)), DeviceMemory(CachingPool(50 * MIB)), {})
    assert (caught.value.where, caught.value.buffer) == ("a forward", "y")
    assert "out of memory in a forward: no room for 31.5 MB (y); of 52.4 MB in use" in str(caught.value)


def test_out_of_memory_between_steps() -> None:
    """Of 6 MiB the new gradient has the second to the fourth, so that the next data find no 3 in one place."""
    data, little = buffer("data", 3 * MIB), buffer("little", MIB)
    commands = (Free(OLD), Free(data), Allocate(little), Allocate(NEW), Free(little))
    cut = Program((OLD, data), commands, (Step("a", False, False, 0, len(commands)),), {}, ())
    with pytest.raises(OutOfMemory, match=r"out of memory in the time between steps: no room for 3\.1 MB \(data\)"):
        steady_memory(cut, DeviceMemory(make_pool("best-fit", 6 * MIB)), {"new": "old"})


def test_on_a_cpu_bytes_are_those_asked_for() -> None:
    memory = steady_memory(TRAINS, DeviceMemory(PlainPool(ENDLESS_BYTES)), {"new": "old"})
    assert memory.last == StepMemory(*[19 * MIB + 1000] * 3, 0)


def test_a_successor_is_of_the_same_size() -> None:
    with pytest.raises(InvalidInput, match="found new of 3145728 bytes for w of 1000, expected equal sizes"):
        steady_memory(TRAINS, DeviceMemory(make_pool("best-fit", ENDLESS_BYTES)), {"new": "w"})


@settings(max_examples=tries(150), deadline=None)
@given(
    sizes_bytes=st.lists(st.integers(1, 12 * MIB) | st.sampled_from([512, MIB, 10 * MIB]), min_size=1, max_size=20),
    data=st.data(),
    pool=st.sampled_from([*POOLS, "plain"]),
)
def test_the_first_step_needs_what_its_program_needs_and_the_others_find_the_same_blocks(
    sizes_bytes: list[int], data: st.DataObject, pool: str
) -> None:
    """By a replay that counts for itself, in any pool."""
    buffers = [buffer(f"b{number}", size) for number, size in enumerate(sizes_bytes)]
    there = buffers[: data.draw(st.integers(0, len(buffers)))]
    to_come = buffers[len(there) :]
    live, commands = list(there), list[Command]()
    while to_come or (live and data.draw(st.booleans())):
        if to_come and (not live or data.draw(st.booleans())):
            live.append(to_come.pop(0))
            commands.append(Allocate(live[-1]))
        else:
            commands.append(Free(live.pop(data.draw(st.integers(0, len(live) - 1)))))
    its = Program(tuple(there), tuple(commands), (Step("a", False, False, 0, len(commands)),), {}, ())

    def fresh() -> Pool:
        return PlainPool(ENDLESS_BYTES) if pool == "plain" else make_pool(pool, ENDLESS_BYTES)

    first = steady_memory(its, DeviceMemory(fresh()), most_steps=1).last
    memory = DeviceMemory(fresh())
    replay_memory(its, memory)
    requested, peak = sum(buffer.size_bytes for buffer in there), 0
    for command in (None, *commands):
        if command is not None:
            requested += command.buffer.size_bytes if isinstance(command, Allocate) else -command.buffer.size_bytes
        peak = max(peak, requested)
    assert first == StepMemory(peak, memory.peak_in_use_bytes, memory.pool.high_water_bytes, 0)
    steady = steady_memory(its, DeviceMemory(fresh()))
    assert {step.requested_bytes for step in steady.steps} == {peak}
