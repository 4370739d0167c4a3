"""Where model and optimiser have their tensors, by names that are the same in every step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch.profiler import record_function

from vdnnsim.captured import Held
from vdnnsim.profiler.recording import GRADIENTS
from vdnnsim.pytorch.user_step import Optimizers, each_of


def held_by(model: torch.nn.Module, optimizer: Optimizers, device: torch.device) -> dict[str, tuple[int, int]]:
    """Address and size of the storages of all that model and optimiser hold on the device. A name begins with what it
    is: parameter, buffer, gradient, state."""
    found: dict[str, tuple[int, int]] = {}

    def note(name: str, tensor: object) -> None:
        if isinstance(tensor, torch.Tensor) and tensor.device == device and tensor.layout == torch.strided:
            storage = tensor.untyped_storage()
            if storage.nbytes():
                found[name] = (storage.data_ptr(), storage.nbytes())

    for name, parameter in model.named_parameters():
        note(f"parameter {name}", parameter)
        note(f"gradient {name}", parameter.grad)
    for name, buffer in model.named_buffers():
        note(f"buffer {name}", buffer)
    states = (
        one.state.get(parameter, {})
        for one in each_of(optimizer)
        for group in one.param_groups
        for parameter in group["params"]
    )
    for place, state in enumerate(states):
        for key, value in state.items() if isinstance(state, dict) else ():
            note(f"state {place} {key}", value)
    return found


def model_holds(model: torch.nn.Module) -> list[Held]:
    """Parameters and buffers on the device of the first parameter, each storage once, in the order of a capture."""
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    found: dict[int, Held] = {}
    for name, (address, size_bytes) in held_by(model, (), device).items():
        if not name.startswith("gradient "):
            found.setdefault(address, Held(name, size_bytes))
    return list(found.values())


class GradientLooks:
    """Where the gradients lie each time the optimiser begins to step, and at the step's end; marked in the profile."""

    def __init__(self, optimizer: Optimizers) -> None:
        self.addresses: list[list[int]] = []
        self._optimizers = each_of(optimizer)

    @contextmanager
    def marked(self) -> Iterator[None]:
        with ExitStack() as handles:
            for optimizer in self._optimizers:
                handles.callback(optimizer.register_step_pre_hook(self._look).remove)
            yield
            self._look()

    def _look(self, *_: object) -> None:
        with record_function(f"{GRADIENTS}{len(self.addresses)}"):
            groups = (group for optimizer in self._optimizers for group in optimizer.param_groups)
            gradients = (one.grad for group in groups for one in group["params"])
            dense = [one for one in gradients if one is not None and one.layout == torch.strided]
            self.addresses.append([one.untyped_storage().data_ptr() for one in dense])
