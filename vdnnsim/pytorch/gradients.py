"""The gradients of a step, to compare to the bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch

from vdnnsim.pytorch.state import KeptState
from vdnnsim.pytorch.user_step import Step

Gradients = Mapping[str, torch.Tensor]


def gradients_of(step: Step, model: torch.nn.Module, kept: KeptState) -> Gradients:
    """What the step accumulates, parameter by parameter, from the kept state on; on the host."""
    found: dict[str, torch.Tensor] = {}

    def note(name: str, parameter: torch.Tensor) -> None:
        assert parameter.grad is not None
        found[name] = parameter.grad.detach().to("cpu", copy=True)

    handles = [
        parameter.register_post_accumulate_grad_hook(partial(note, name))
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    ]
    kept.put_back()
    try:
        step()
    finally:
        for handle in handles:
            handle.remove()
    return found


def same_bits(ours: Gradients, theirs: Gradients) -> bool:
    """Whether all of them are equal to the bit, NaN included."""
    return ours.keys() == theirs.keys() and all(torch.equal(_bits(ours[name]), _bits(theirs[name])) for name in ours)


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    return tensor.contiguous().reshape(-1).view(torch.uint8)


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """PyTorch's deterministic algorithms, if wanted."""
    was = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        if wanted:
            torch.use_deterministic_algorithms(True)
        yield
    finally:
        torch.use_deterministic_algorithms(was, warn_only=warns)
