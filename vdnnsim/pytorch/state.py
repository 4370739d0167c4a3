"""What a training step changes, kept on the host and put back: parameters, buffers, gradients, the optimiser's state,
modes of modules, and random states."""

from __future__ import annotations

import copy
import random
import sys
import weakref
from typing import Any

import torch

from vdnnsim.pytorch.user_step import Optimizers, each_of


class KeptTensor:
    """The values of a tensor, without holding its memory: it may die, and then another one takes its place."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = weakref.ref(tensor)
        self._values = tensor.detach().to("cpu", copy=True)
        self._device, self._needs_grad = tensor.device, tensor.requires_grad

    def put_back(self) -> torch.Tensor:
        """The tensor itself, with its values as they were, or a new one of these values."""
        tensor = self._tensor()
        if tensor is None:
            return self._values.to(self._device, copy=True).requires_grad_(self._needs_grad)
        tensor.data.copy_(self._values)
        return tensor


class KeptState:
    """All that `capture` may change, as it was when this was made."""

    def __init__(self, model: torch.nn.Module, optimizer: Optimizers) -> None:
        self._optimizers = [(one, _KeptOptimizer(one)) for one in each_of(optimizer)]
        self._modes = [(module, module.training) for module in model.modules()]
        self._buffers = [
            (module, name, KeptTensor(buffer))
            for module in model.modules()
            for name, buffer in module.named_buffers(recurse=False)
        ]
        groups = [group for one, _ in self._optimizers for group in one.param_groups]
        grouped = [parameter for group in groups for parameter in group["params"]]
        parameters = {id(one): one for one in (*model.parameters(), *grouped)}.values()
        self._parameters = [(one, KeptTensor(one), _kept(one.grad)) for one in parameters]
        self._random = RandomState(next(iter(parameters)).device)

    def put_back(self) -> None:
        """Everything as it was."""
        for module, training in self._modes:
            module.training = training
        for module, name, buffer in self._buffers:
            setattr(module, name, buffer.put_back())
        for parameter, values, gradient in self._parameters:
            values.put_back()
            parameter.grad = _put_back(gradient)
        for optimizer, its in self._optimizers:
            its.put_back(optimizer)
        self._random.put_back()


class _KeptOptimizer:
    """An optimiser's groups and state."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._groups = [
            {key: _kept(value) for key, value in group.items() if key != "params"} for group in optimizer.param_groups
        ]
        self._state = {parameter: _kept(value) for parameter, value in optimizer.state.items()}

    def put_back(self, optimizer: torch.optim.Optimizer) -> None:
        for group, kept in zip(optimizer.param_groups, self._groups, strict=True):
            for key in [key for key in group if key != "params" and key not in kept]:
                del group[key]
            group.update({key: _put_back(value) for key, value in kept.items()})
        optimizer.state.clear()
        optimizer.state.update({parameter: _put_back(value) for parameter, value in self._state.items()})


class RandomState:
    """The random states of PyTorch, on the host and on a GPU, of Python, and of NumPy where it is in use."""

    def __init__(self, device: torch.device) -> None:
        self._cpu = torch.get_rng_state()
        self._device = device
        self._gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        self._python = random.getstate()
        numpy = sys.modules.get("numpy")
        self._numpy = numpy.random.get_state() if numpy else None

    def put_back(self) -> None:
        torch.set_rng_state(self._cpu)
        if self._gpu is not None:
            torch.cuda.set_rng_state(self._gpu, self._device)
        random.setstate(self._python)
        if self._numpy is not None:
            sys.modules["numpy"].random.set_state(self._numpy)


def _kept(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return KeptTensor(value)
    if isinstance(value, dict):
        return {key: _kept(one) for key, one in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_kept(one) for one in value)
    try:
        return copy.deepcopy(value)
    except Exception:  # what cannot be copied stays the object it is
        return value


def _put_back(value: Any) -> Any:
    if isinstance(value, KeptTensor):
        return value.put_back()
    if isinstance(value, dict):
        return {key: _put_back(one) for key, one in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_put_back(one) for one in value)
    return value
