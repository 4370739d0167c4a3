"""The same network as a plain PyTorch model, trained by autograd: what every policy's gradients are held against.

It shares nothing with the machine but the weights' layout and the dropout masks: no slab, no views, no program.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional

from vdnnsim.machines.operands import split_weights
from vdnnsim.machines.operators import dropout_mask
from vdnnsim.machines.real import Training
from vdnnsim.network import DATA, Kind, Layer, Network


def reference_gradients(network: Network, training: Training, double: bool = False) -> dict[str, torch.Tensor]:
    """The gradient of each layer's weights as one flat tensor on the host, and "loss"; in fp32, or in fp64 as a judge
    of both."""
    dtype = torch.float64 if double else torch.float32
    flat = {name: weights.detach().to(dtype, copy=True).requires_grad_() for name, weights in training.weights.items()}
    parameters = {name: split_weights(network.by_name[name], weights) for name, weights in flat.items()}
    values: dict[str, torch.Tensor] = {DATA: training.images.to(dtype)}
    generator = torch.Generator(training.images.device)
    for layer in network.layers[:-1]:
        inputs = [values[source] for source in layer.inputs]
        values[layer.name] = _forward(layer, inputs, parameters.get(layer.name, ()), generator)
    loss = functional.cross_entropy(values[network.layers[-1].inputs[0]], training.labels)
    gradients = torch.autograd.grad(loss, list(flat.values()))
    found = {"loss": loss.detach().cpu()}
    for name, gradient in zip(flat, gradients, strict=True):
        count = network.by_name[name].weight_gradients_bytes // 4
        found[name] = gradient.reshape(-1)[:count].cpu()
    return found


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
            return x * dropout_mask(mask, layer, generator) / (1 - layer.rate)
        case Kind.CONCAT:
            return torch.cat(inputs, 1)
        case Kind.ADD:
            return torch.stack(inputs).sum(0)
    raise AssertionError(f"{layer.kind} is no layer before the loss")
