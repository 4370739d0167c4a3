"""The engine for GPUs with calls of the runtime that do each copy as late as waits allow, on the CPU's memory."""

from __future__ import annotations

import mmap

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytorch.lagging import BACK, COMPUTE, OUT, LaggingCalls
from pytorch.probing import may_leave, plan_for, probe
from pytorch.tricky_models import MODELS, equal, gradients, made, tricky_step
from support.examples import tries
from vdnnsim.captured import PlanFile
from vdnnsim.machines.real.device import DeviceRefused
from vdnnsim.pytorch.engine_cuda import CudaEngine, PinnedMemory
from vdnnsim.pytorch.offloading import running_by

CPU = torch.device("cpu")


def engine(plan: PlanFile, calls: LaggingCalls) -> CudaEngine:
    sizes = {block.block: block.size_bytes for block in plan.leaving}
    return CudaEngine(CPU, sizes, calls, lambda: COMPUTE, OUT, BACK)


@pytest.mark.parametrize("name", MODELS)
@given(data=st.data())
@settings(max_examples=tries(8))
def test_waits_are_enough_whenever_copies_run(name: str, data: st.DataObject) -> None:
    model, step = made(name)
    probed = probe(model, step)
    leaving = data.draw(st.lists(st.sampled_from(may_leave(probed)), unique=True, min_size=1))
    ahead, in_flight_bytes = data.draw(st.integers(0, 4)), data.draw(st.sampled_from([None, 0, 2000]))
    plan = plan_for(probed, leaving, ahead, in_flight_bytes)
    expected = [gradients(model, step, seed) for seed in (1, 2, 3)]
    calls = LaggingCalls()
    running = running_by(plan, engine(plan, calls), checked=True)
    with torch.autograd.graph.saved_tensors_hooks(running.pack, running.unpack):
        found = [gradients(model, step, seed) for seed in (1, 2, 3)]
    assert all(map(equal, found, expected))
    running.close()
    assert (calls.under_way, calls.events, calls.pinned) == (0, 0, [])


def test_steps_that_are_not_the_plans_wait_for_what_is_under_way() -> None:
    """Copies in that nobody will ask for are waited for before their blocks go."""
    model, step = made("tricky")
    plan = plan_for(probe(model, step), ahead=4)
    last = tricky_step(model, batch=3)
    expected = [gradients(model, one) for one in (step, last, step)]
    calls = LaggingCalls()
    running = running_by(plan, engine(plan, calls), checked=True)
    backwards = 0

    def interrupted(*_: object) -> None:
        nonlocal backwards
        backwards += 1
        if backwards == 2:
            raise KeyError("amid a backward, with copies in under way")

    handle = model.blocks[1].register_full_backward_hook(interrupted)  # type: ignore[index, union-attr]
    told = pytest.warns(Warning, match="another batch")
    with told, torch.autograd.graph.saved_tensors_hooks(running.pack, running.unpack):
        step()
        with pytest.raises(KeyError):
            step()
        handle.remove()
        model.skip = None  # type: ignore[assignment]
        found = [gradients(model, one) for one in (step, last, step)]
    assert all(map(equal, found, expected))
    running.close()
    assert calls.under_way == 0


def test_host_memory_is_taken_as_it_comes_and_refused_where_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 5 pages in pieces of 2 there is room for one piece at first, and no more comes after the second."""
    room: list[bool] = [True, True, False]
    asked: list[int] = []

    def has_room(size_bytes: int) -> bool:
        asked.append(size_bytes)
        return room.pop(0)

    monkeypatch.setattr("vdnnsim.pytorch.engine._PIECE_BYTES", 2 * mmap.PAGESIZE)
    monkeypatch.setattr("vdnnsim.pytorch.engine.host_has_room", has_room)
    monkeypatch.setattr("vdnnsim.pytorch.engine.available_host_bytes", lambda: 7)
    sizes = {0: 5 * mmap.PAGESIZE}
    found = f"found .* \\({4 * mmap.PAGESIZE + 7} bytes\\) available, expected .* \\({5 * mmap.PAGESIZE} bytes\\)"
    with pytest.raises(DeviceRefused, match=found):
        CudaEngine(CPU, sizes, LaggingCalls(), lambda: COMPUTE, OUT, BACK)
    assert asked == [2 * mmap.PAGESIZE, 2 * mmap.PAGESIZE, mmap.PAGESIZE]
    room = [True] * 3
    CudaEngine(CPU, sizes, LaggingCalls(), lambda: COMPUTE, OUT, BACK).close()
    assert not room


def test_a_copy_without_its_wait_would_be_seen() -> None:
    """The lagging runtime is a test only if a missing wait shows."""
    model, step = made("tricky")
    probed = probe(model, step)
    indices = {one.block for one in probed.saved if one.dtype == "int64"}
    plan = plan_for(probed, [number for number in may_leave(probed) if number not in indices])
    expected = gradients(model, step)
    calls = LaggingCalls()
    careless = engine(plan, calls)
    careless.let_use = lambda *_: None  # type: ignore[method-assign]
    running = running_by(plan, careless, checked=True)
    with torch.autograd.graph.saved_tensors_hooks(running.pack, running.unpack):
        assert not equal(gradients(model, step), expected)
    calls.given[BACK].clear()  # into memory that is long gone
    running.close()


def test_pinned_memory_serves_one_engine_after_the_other_and_stays_its_owners() -> None:
    calls = LaggingCalls()
    pinned = PinnedMemory(5000, calls)
    for sizes, own in (({0: 4000, 1: 10}, 0), ({0: 100}, 0), ({0: 4000, 1: 4000}, 1)):
        made_now = CudaEngine(CPU, sizes, calls, lambda: COMPUTE, OUT, BACK, pinned)
        assert len(calls.pinned) == 1 + own
        made_now.close()
        made_now.close()
    assert len(calls.pinned) == 1
    pinned.close()
    assert calls.pinned == []
