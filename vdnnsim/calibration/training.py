"""What is trained when a program runs for real: random images, labels and weights from a fixed seed."""

from __future__ import annotations

import math

import torch

from vdnnsim.machines.real.machine import Training
from vdnnsim.machines.real.operands import weight_shapes
from vdnnsim.network import Kind, Layer, Network

SEED = 20161015


def make_training(network: Network, device: torch.device) -> Training:
    """Images from a normal distribution, labels at random, weights after He et al. (1502.01852) so that activations
    keep their size through deep networks; biases small and not 0, so that a bias forgotten shows."""
    generator = torch.Generator(device).manual_seed(SEED)
    images = torch.randn(network.input_shape, generator=generator, device=device)
    batch, classes, height, width = network.layers[-1].output_shape
    labels = torch.randint(classes, (batch, height, width), generator=generator, device=device)
    weights = {layer.name: _weights(layer, generator, device) for layer in network.layers if layer.weights_bytes}
    return Training(images, labels, weights)


def _weights(layer: Layer, generator: torch.Generator, device: torch.device) -> torch.Tensor:
    shapes = weight_shapes(layer)
    if layer.kind == Kind.BN:
        channels = layer.output_shape[1]
        scale = 1 + 0.1 * torch.randn(channels, generator=generator, device=device)
        shift = 0.1 * torch.randn(channels, generator=generator, device=device)
        return torch.cat([scale, shift, torch.zeros_like(scale), torch.ones_like(scale)])
    parts = []
    for shape in shapes:
        deviation = math.sqrt(2 / math.prod(shape[1:])) if len(shape) > 1 else 0.01
        parts.append(deviation * torch.randn(math.prod(shape), generator=generator, device=device))
    return torch.cat(parts)
