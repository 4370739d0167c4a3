"""Networks without forks: AlexNet ("one weird trick"), OverFeat (fast), VGG, the very deep VGGs, and MobileNet.

Sources: Krizhevsky 2014 (arXiv 1404.5997) for AlexNet, Sermanet et al. 2013 (1312.6229) for OverFeat, Simonyan and
Zisserman 2014 (1409.1556) for VGG, Howard et al. 2017 (1704.04861) for MobileNet; shapes of the first two as timed by
convnet-benchmarks. The very deep VGGs follow vDNN (MICRO 2016): VGG with 16 CONV layers, and 20 more in each of its
five groups per 100 added.
"""

from __future__ import annotations

from collections.abc import Sequence

from vdnnsim.network.layers import Kind, LayerSpec
from vdnnsim.network.specs import Stack

_VGG_CHANNELS = (64, 128, 256, 512, 512)
_MOBILENET_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
_CLASSES = 1000


def alexnet() -> list[LayerSpec]:
    """AlexNet, one tower, 224 pixels: 64-192-384-256-256."""
    stack = Stack()
    _conv(stack, "1", 64, kernel=11, stride=4, padding=2)
    stack.pool("pool1", 3, 2)
    _conv(stack, "2", 192, kernel=5, padding=2)
    stack.pool("pool2", 3, 2)
    _conv(stack, "3", 384, kernel=3, padding=1)
    _conv(stack, "4", 256, kernel=3, padding=1)
    _conv(stack, "5", 256, kernel=3, padding=1)
    stack.pool("pool5", 3, 2)
    return _classifier(stack, (4096, 4096))


def overfeat() -> list[LayerSpec]:
    """OverFeat's fast model, 231 pixels: 96-256-512-1024-1024."""
    stack = Stack()
    _conv(stack, "1", 96, kernel=11, stride=4)
    stack.pool("pool1", 2, 2)
    _conv(stack, "2", 256, kernel=5)
    stack.pool("pool2", 2, 2)
    _conv(stack, "3", 512, kernel=3, padding=1)
    _conv(stack, "4", 1024, kernel=3, padding=1)
    _conv(stack, "5", 1024, kernel=3, padding=1)
    stack.pool("pool5", 2, 2)
    return _classifier(stack, (3072, 4096))


def vgg(convs_per_group: Sequence[int]) -> list[LayerSpec]:
    """A VGG with so many 3x3 CONV layers in each of its five groups."""
    stack = Stack()
    for group, (count, channels) in enumerate(zip(convs_per_group, _VGG_CHANNELS, strict=True), start=1):
        for index in range(1, count + 1):
            _conv(stack, f"{group}_{index}", channels, kernel=3, padding=1)
        stack.pool(f"pool{group}", 2, 2)
    return _classifier(stack, (4096, 4096))


def very_deep_vgg(added_convs: int) -> list[LayerSpec]:
    """VGG with 16 CONV layers and `added_convs` more, spread evenly over the five groups."""
    return vgg([count + added_convs // 5 for count in (2, 2, 4, 4, 4)])


def mobilenet(first: int = 32, blocks: Sequence[tuple[int, int]] = _MOBILENET_BLOCKS) -> list[LayerSpec]:
    """MobileNet v1, width 1.0, 224 pixels: a CONV of `first` channels, then blocks of (channels, stride), each a 3x3
    CONV on every channel by itself and a 1x1 CONV over them. The last 3x3 has stride 1: with the 2 of the paper's Table
    1 its output would not be the 7x7 that stands there."""
    stack = Stack()
    channels = first
    stack.conv_bn("conv1", channels, 3, 2, 1)
    stack.apply(Kind.ACTV, "relu1")
    for number, (wanted, stride) in enumerate(blocks, start=2):
        stack.conv_bn(f"conv{number}_depthwise", channels, 3, stride, 1, groups=channels)
        stack.apply(Kind.ACTV, f"relu{number}_depthwise")
        stack.conv_bn(f"conv{number}_1x1", wanted, 1)
        stack.apply(Kind.ACTV, f"relu{number}_1x1")
        channels = wanted
    stack.global_average_pool("pool")
    stack.fc("fc", _CLASSES)
    stack.apply(Kind.SOFTMAX, "softmax")
    return stack.specs


def _conv(stack: Stack, number: str, channels: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
    stack.conv(f"conv{number}", channels, kernel, stride, padding)
    stack.apply(Kind.ACTV, f"relu{number}")


def _classifier(stack: Stack, hidden: Sequence[int]) -> list[LayerSpec]:
    for number, channels in enumerate(hidden, start=6):
        stack.fc(f"fc{number}", channels)
        stack.apply(Kind.ACTV, f"relu{number}")
        stack.apply(Kind.DROPOUT, f"drop{number}")
    stack.fc(f"fc{6 + len(hidden)}", _CLASSES)
    stack.apply(Kind.SOFTMAX, "softmax")
    return stack.specs
