"""`offload` in the user's own loop, on the CPU: gradients to the bit, whatever the loop does."""

from __future__ import annotations

import gc
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.utils.checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pytorch.probing import may_leave, plan_for, probe
from pytorch.tricky_models import MODELS, Convolutions, equal, gradients, made, tricky_step
from support.examples import tries
from vdnnsim.captured import PlanFile
from vdnnsim.errors import InvalidInput
from vdnnsim.pytorch import ChangedInPlace, OffloadWarning, offload
from vdnnsim.pytorch.running import Running
from vdnnsim.pytorch.saved import Block


@pytest.mark.parametrize("name", MODELS)
@given(data=st.data())
@settings(max_examples=tries(8))
def test_any_plan_gives_the_gradients_of_the_step_without_it(name: str, data: st.DataObject) -> None:
    model, step = made(name)
    probed = probe(model, step)
    leaving = data.draw(st.lists(st.sampled_from(may_leave(probed)), unique=True, min_size=1))
    ahead, in_flight_bytes = data.draw(st.integers(0, 4)), data.draw(st.sampled_from([None, 0, 2000]))
    plan = plan_for(probed, leaving, ahead, in_flight_bytes)
    expected = [gradients(model, step, seed) for seed in (1, 2)]
    with offload(model, plan, checked=True) as running:
        found = [gradients(model, step, seed) for seed in (1, 2)]
    assert all(map(equal, found, expected))
    report = running.report()
    assert (report.steps, report.as_planned, report.late, report.stayed) == (2, 2, 0, {})
    assert report.copies_out == report.copies_in == 2 * len(leaving)
    assert report.bytes_out == report.bytes_in == 2 * report.pinned_bytes == 2 * plan.pinned_bytes


def test_a_plan_is_taken_from_its_file(tmp_path: Path) -> None:
    model, step = made("tricky")
    plan_for(probe(model, step)).save(tmp_path / "plan.json")
    expected = gradients(model, step)
    with offload(model, tmp_path / "plan.json") as running:
        assert equal(gradients(model, step), expected)
    assert "1 of 1 steps as planned" in str(running.report())


def test_a_step_of_another_shape_stays_and_is_told_once() -> None:
    model, step = made("tricky")
    last = tricky_step(model, batch=3)
    plan = plan_for(probe(model, step))
    expected = [gradients(model, one) for one in (step, last, last, step)]
    with (
        pytest.warns(OffloadWarning, match="another batch or mode") as messages,
        offload(model, plan, checked=True) as running,
    ):
        found = [gradients(model, one) for one in (step, last, last, step)]
    assert all(map(equal, found, expected))
    assert [Path(one.filename).name for one in messages] == ["tricky_models.py"]  # where the model saves the tensor
    report = running.report()
    assert (report.steps, report.as_planned, report.late) == (4, 2, 0)
    assert list(report.stayed) == ["of a step that is not the plan's"]


def test_a_batch_that_is_a_slice_of_all_data_stays_alone() -> None:
    """Of the same shape as the batch that was captured, which had memory of its own."""
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))
    data = torch.randn(12, 6)

    def trained(batch: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = model(batch).square().sum()
        model.zero_grad()
        loss.backward()
        return loss

    plan = plan_for(probe(model, lambda: trained(data[:4].clone())))
    slices = [data[:4], data[4:8], data[8:].clone()]
    expected = [gradients(model, lambda batch=batch: trained(batch)) for batch in slices]
    with pytest.warns(OffloadWarning, match="slice of all data") as told, offload(model, plan, checked=True) as running:
        found = [gradients(model, lambda batch=batch: trained(batch)) for batch in slices]
    assert all(map(equal, found, expected))
    report = running.report()
    assert (report.as_planned, len(told), sum(report.stayed.values())) == (3, 1, 2)
    assert report.copies_out == 3 * len(plan.leaving) - 2


@pytest.mark.parametrize("evaluation", ["no_grad", "without backward", "other mode", "held without backward"])
def test_an_evaluation_between_steps_costs_no_step(evaluation: str) -> None:
    model, step = made("tricky")
    plan = plan_for(probe(model, step))
    tokens = torch.randint(0, 20, (4, 8))
    expected = gradients(model, step)
    held = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OffloadWarning)
        with offload(model, plan, checked=True) as running:
            for _ in range(3):
                assert equal(gradients(model, step), expected)
                if evaluation == "no_grad":
                    with torch.no_grad():
                        model(tokens)
                elif evaluation == "other mode":
                    model.eval()
                    model(tokens)
                    model.train()
                else:
                    held = [model(tokens)] if evaluation.startswith("held") else []
                    model(tokens)
    assert (running.report().as_planned, len(held)) == (3, evaluation.startswith("held"))


def test_accumulated_gradients_are_those_of_steps_without_it() -> None:
    model, step = made("convolutions")
    plan = plan_for(probe(model, step))

    def accumulate() -> list[torch.Tensor]:
        torch.manual_seed(3)
        for parameter in model.parameters():
            parameter.grad = None
        for images, targets in [(torch.randn(4, 3, 8, 8), torch.randint(0, 10, (4,))) for _ in range(3)]:
            nn.functional.cross_entropy(model(images), targets).backward()
        return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]

    expected = accumulate()
    with offload(model, plan, checked=True) as running:
        assert equal(accumulate(), expected)
    assert running.report().as_planned == 3


def test_a_graph_that_is_kept_gives_the_same_again() -> None:
    model, step = made("tricky")
    plan = plan_for(probe(model, step))
    tokens, targets = torch.randint(0, 20, (4, 8)), torch.randint(0, 20, (4, 8))
    with offload(model, plan, checked=True) as running:
        found = []
        torch.manual_seed(1)
        loss = nn.functional.cross_entropy(model(tokens).flatten(0, 1), targets.flatten())
        for _ in range(3):
            model.zero_grad()
            loss.backward(retain_graph=True)
            found.append([one.grad.clone() for one in model.parameters() if one.grad is not None])
    assert equal(found[0], found[1])
    assert equal(found[0], found[2])
    assert running.report().late > 0


def test_what_a_step_knew_of_its_blocks_is_let_go_within_it() -> None:
    """The next step's first call would take the host longer, where the device waits for it."""
    model, step = made("tricky")
    with offload(model, plan_for(probe(model, step))):
        step()
        assert not [one for one in gc.get_objects() if isinstance(one, Block)]


def test_a_graph_of_an_earlier_step_keeps_its_host_memory() -> None:
    model, step = made("tricky")
    plan = plan_for(probe(model, step))
    tokens, targets = torch.randint(0, 20, (4, 8)), torch.randint(0, 20, (4, 8))

    def loss_of(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return nn.functional.cross_entropy(model(tokens).flatten(0, 1), targets.flatten())

    def gradients_of(loss: torch.Tensor) -> list[torch.Tensor]:
        model.zero_grad()
        loss.backward(retain_graph=True)
        return [one.grad.clone() for one in model.parameters() if one.grad is not None]

    expected = [gradients_of(loss_of(1)), gradients_of(loss_of(2))]
    told = pytest.warns(OffloadWarning, match="an earlier step's backward")
    with told, offload(model, plan, checked=True) as running:
        first = loss_of(1)
        assert equal(gradients_of(first), expected[0])
        second = loss_of(2)
        assert equal(gradients_of(second), expected[1])
        assert equal(gradients_of(first), expected[0])
        del first, second
        gradients(model, step)
        gradients(model, step)
    assert running.report().as_planned >= 2


@pytest.mark.parametrize("place", ["forward", "backward"])
def test_a_step_that_raises_leaves_nothing_behind(place: str) -> None:
    model, step = made("tricky")
    plan = plan_for(probe(model, step))
    expected = gradients(model, step)

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    with warnings.catch_warnings(), offload(model, plan, checked=True) as running:
        warnings.simplefilter("ignore", OffloadWarning)
        assert equal(gradients(model, step), expected)
        hooked = model.blocks[1]  # type: ignore[index]
        handle = (
            hooked.register_forward_hook(broken) if place == "forward" else hooked.register_full_backward_hook(broken)
        )
        for _ in range(2):
            with pytest.raises(RuntimeError, match="broken"):
                step()
        handle.remove()
        assert equal(gradients(model, step), expected)
    assert running.report().as_planned == 2


def test_an_exception_gives_everything_back() -> None:
    model, step = made("tricky")
    plan = plan_for(probe(model, step))

    def train() -> None:
        with offload(model, plan) as running:
            found.append(running)
            step()
            raise KeyError

    found: list[Running] = []
    before = torch._C._autograd._top_saved_tensors_default_hooks(True)
    with pytest.raises(KeyError):
        train()
    assert torch._C._autograd._top_saved_tensors_default_hooks(True) == before
    assert found[0].report().as_planned == 1
    assert not model._forward_pre_hooks


@pytest.mark.parametrize("leaves", [True, False])
def test_a_change_in_place_is_refused_as_without_hooks(leaves: bool) -> None:
    """PyTorch's own check is off where there are hooks: the gradient would be wrong without a word."""
    model = nn.Linear(8, 8)
    inputs = torch.randn(4, 8)

    def forward(change: bool) -> torch.Tensor:
        x = model(inputs)
        y = x.exp()
        z = y * 2
        if change:
            y.add_(1)
        return z.sum()

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        forward(True).backward()
    probed = probe(model, lambda: forward(False).backward())  # type: ignore[arg-type, return-value]
    first, second = may_leave(probed)
    plan = plan_for(probed, [second if leaves else first])  # the second is what is changed
    with offload(model, plan), pytest.raises(ChangedInPlace, match=r"shape \[4, 8\] .* found version 1, expected 0"):
        forward(True).backward()
    with offload(model, plan) as running:
        forward(False).backward()
    assert running.report().as_planned == 1


def test_backward_behind_the_block_is_refused() -> None:
    model, step = made("convolutions")
    plan = plan_for(probe(model, step))
    images, targets = torch.randn(4, 3, 8, 8), torch.randint(0, 10, (4,))
    with offload(model, plan):
        loss = nn.functional.cross_entropy(model(images), targets)
    with pytest.raises(InvalidInput, match="host memory that was given back"):
        loss.backward()


def test_a_plan_of_something_else_is_refused_with_the_first_difference() -> None:
    model, step = made("tricky")
    plan = plan_for(probe(model, step))
    other = Convolutions()
    with (
        pytest.raises(InvalidInput, match="plan of probed, model: found parameters and buffers of other names"),
        offload(other, plan),
    ):
        pass
    sizes = [one.untyped_storage().nbytes() for one in model.state_dict().values()]
    known = replace(plan, held_bytes=(*sizes[:1], 12, *sizes[2:]))
    name, size_bytes = list(model.state_dict())[1], sizes[1]
    said = f"plan of probed, model: found parameter {name} of {size_bytes} bytes, expected 12; capture"
    model_known = replace(known, model_sha256="0" * 64)
    with pytest.raises(InvalidInput, match=said), offload(model, model_known):
        pass
    older = replace(plan, torch="1.0")
    with pytest.raises(InvalidInput, match=r"PyTorch: found .*, expected 1\.0; capture a step"), offload(model, older):
        pass
    with pytest.raises(InvalidInput, match="plan: found a int, expected the plan of"), offload(model, 3):  # type: ignore[arg-type]
        pass
    said = "plan: found no file 'vdnn-all', expected the plan of .* which 'vdnnsim plan' writes"
    with pytest.raises(InvalidInput, match=said), offload(model, "vdnn-all"):
        pass
    expected = "offload: found a tuple as model, expected a torch.nn.Module"
    with pytest.raises(InvalidInput, match=expected), offload((model, None), 3):  # type: ignore[arg-type]
        pass


def test_hooks_around_the_block_are_told() -> None:
    model, step = made("tricky")
    plan = plan_for(probe(model, step))

    def enter() -> None:
        with offload(model, plan):
            pass

    told = pytest.warns(OffloadWarning, match="other saved-tensor hooks are set around it")
    with torch.autograd.graph.save_on_cpu(), told:
        enter()
    enter()


def test_hooks_inside_the_step_are_told() -> None:
    """Only the innermost hooks see what is saved."""
    model, step = made("tricky")
    plan = plan_for(probe(model, step))
    expected = gradients(model, step)

    def with_checkpoint() -> torch.Tensor:
        whole = model.forward
        model.forward = lambda x: torch.utils.checkpoint.checkpoint(whole, x, use_reentrant=False)  # type: ignore
        try:
            return step()
        finally:
            model.forward = whole  # type: ignore[method-assign]

    told = pytest.warns(OffloadWarning, match="checkpoint")
    with told, offload(model, plan, checked=True) as running:
        assert equal(gradients(model, with_checkpoint), expected)
        assert equal(gradients(model, step), expected)
    assert running.report().as_planned == 1
    assert "no step was seen" not in str(running.report())


def test_a_step_that_hooks_do_not_see_is_told_with_what_to_do() -> None:
    """Once, at the next forward or the end of the block; not where nothing is to leave."""
    model, step = made("tricky")
    plan = plan_for(probe(model, step))

    def under_other_hooks() -> None:
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor.clone(), lambda kept: kept):
            step()

    def in_a_thread() -> None:
        thread = threading.Thread(target=step)
        thread.start()
        thread.join()

    def train(run: Callable[[], object], plan: PlanFile = plan, times: int = 2) -> None:
        with offload(model, plan) as running:
            for _ in range(times):
                run()
        assert running.report().steps == 0
        assert "no step was seen" in str(running.report())
        assert not model._forward_hooks
        assert not model._forward_pre_hooks

    for run, times, said in (
        (under_other_hooks, 2, "hooks inside the step"),
        (in_a_thread, 1, "in the thread that trains"),
    ):
        with pytest.warns(OffloadWarning, match=said) as told:
            train(run, times=times)
        assert len(told) == 1
    train(step, plan_for(probe(model, step), []))
