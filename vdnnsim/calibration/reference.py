"""The same network as a plain PyTorch model, trained by autograd: what every policy's gradients are held against.

It shares nothing with the machine but the weights' layout and the seed of the dropout masks: no slab, no views, no
program. Where two numbers are equal but for rounding, a ReLU may open and a max-pool choose otherwise than on the
machine, and in a network of millions of activations some do; the gradients then differ by far more than rounding,
in whatever arithmetic. So the reference can be told the machine's choices, and counts those it would not have made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch.nn import functional

from vdnnsim.machines.real.machine import Training
from vdnnsim.machines.real.operands import split_weights
from vdnnsim.machines.real.operators import MASK_SEED, draw_mask
from vdnnsim.network import DATA, Kind, Layer, Network


class Reference(NamedTuple):
    """`results` as `Checked.results`; `other_choices` is the share of all choices that it would not have made."""

    results: dict[str, torch.Tensor]
    other_choices: float


def reference_gradients(
    network: Network,
    training: Training,
    choices: Mapping[str, torch.Tensor] | None = None,
    dtype: torch.dtype = torch.float64,
) -> Reference:
    """Loss and gradients by autograd, with the machine's choices where they are given; fp32 without TF32."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        return _reference_gradients(network, training, choices, dtype)


def _reference_gradients(
    network: Network, training: Training, choices: Mapping[str, torch.Tensor] | None, dtype: torch.dtype
) -> Reference:
    flat = {name: weights.detach().to(dtype, copy=True).requires_grad_() for name, weights in training.weights.items()}
    parameters = {name: split_weights(network.by_name[name], weights) for name, weights in flat.items()}
    values: dict[str, torch.Tensor] = {DATA: training.images.to(dtype)}
    generator = torch.Generator(training.images.device).manual_seed(MASK_SEED)
    made, other = 1, 0
    for layer in network.layers[:-1]:
        inputs = [values[source] for source in layer.inputs]
        choice = choices.get(layer.name) if choices else None
        if choice is None:
            values[layer.name] = _forward(layer, inputs, parameters.get(layer.name, ()), generator)
        else:
            choice = choice.to(inputs[0].device)
            values[layer.name], differing = _chosen(layer, inputs[0], choice)
            made, other = made + choice.numel(), other + differing
    loss = functional.cross_entropy(values[network.layers[-1].inputs[0]], training.labels)
    gradients = torch.autograd.grad(loss, list(flat.values()))
    found = {"loss": loss.detach().cpu()}
    for name, gradient in zip(flat, gradients, strict=True):
        count = network.by_name[name].weight_gradients_bytes // 4
        found[name] = gradient.reshape(-1)[:count].cpu()
    return Reference(found, other / made)


def _chosen(layer: Layer, x: torch.Tensor, choice: torch.Tensor) -> tuple[torch.Tensor, int]:
    """An ACTV or a max-pool with its choices given, and how many of them are not its own."""
    with torch.no_grad():
        if layer.kind == Kind.ACTV:
            own = x > 0
        else:
            window = (layer.kernel, layer.stride, layer.padding)
            _, own = functional.max_pool2d(x, *window, ceil_mode=layer.ceil, return_indices=True)
        differing = int((own != choice).sum())
    if layer.kind == Kind.ACTV:
        return x * choice, differing
    return x.flatten(2).gather(2, choice.flatten(2)).view(choice.shape), differing


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """|found - expected| / |expected| over all elements; infinite where something is not a number."""
    difference = (found.double() - expected.double()).norm().item()
    size = expected.double().norm().item()
    error = difference / size if size else difference
    return error if error == error else float("inf")


def worst_error(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> tuple[float, str]:
    """The largest relative error over the loss and each layer's gradient, and where it is."""
    return max((relative_error(found[name], value), name) for name, value in expected.items())


def _forward(
    layer: Layer, inputs: list[torch.Tensor], weights: tuple[torch.Tensor, ...], generator: torch.Generator
) -> torch.Tensor:
    x = inputs[0]
    match layer.kind:
        case Kind.CONV:
            bias = weights[1] if layer.bias else None
            return functional.conv2d(x, weights[0], bias, layer.stride, layer.padding, 1, layer.groups)
        case Kind.ACTV:
            return functional.relu(x)
        case Kind.POOL:
            if layer.average:
                return functional.avg_pool2d(x, layer.kernel, layer.stride, layer.padding, layer.ceil)
            return functional.max_pool2d(x, layer.kernel, layer.stride, layer.padding, ceil_mode=layer.ceil)
        case Kind.LRN:
            return functional.local_response_norm(x, layer.size)
        case Kind.BN:
            return functional.batch_norm(x, None, None, weights[0], weights[1], training=True)
        case Kind.FC:
            bias = weights[1] if layer.bias else None
            flat = functional.linear(x.flatten(1), weights[0], bias)
            return flat[:, :, None, None]
        case Kind.DROPOUT:
            mask = torch.empty(x.shape, dtype=torch.uint8, device=x.device)
            return x * draw_mask(mask, layer, generator) / (1 - layer.rate)
        case Kind.CONCAT:
            return torch.cat(inputs, 1)
        case Kind.ADD:
            return torch.stack(inputs).sum(0)
    raise AssertionError(f"{layer.kind} is no layer before the loss")
