"""Networks with forks and joins: GoogLeNet, ResNet-50, SqueezeNet.

Sources: Szegedy et al. 2014 (1409.4842) without LRN and auxiliary heads, as timed by convnet-benchmarks; He et
al. 2015 (1512.03385), with the stride in the 3x3 CONV as in Torch's and PyTorch's model; Iandola et al. 2016
(1602.07360), version 1.0.
"""

from __future__ import annotations

from vdnnsim.network.layers import Kind, LayerSpec
from vdnnsim.network.specs import Stack

_INCEPTIONS: dict[str, tuple[int, int, int, int, int, int]] = {
    # 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def googlenet() -> list[LayerSpec]:
    """GoogLeNet, 224 pixels, nine inception modules."""
    stack = Stack()
    _conv_relu(stack, "conv1/", "7x7_s2", 64, 7, 2, 3)
    stack.pool("pool1/3x3_s2", 3, 2, ceil=True)
    _conv_relu(stack, "conv2/", "3x3_reduce", 64, 1)
    _conv_relu(stack, "conv2/", "3x3", 192, 3, 1, 1)
    stack.pool("pool2/3x3_s2", 3, 2, ceil=True)
    for module, channels in _INCEPTIONS.items():
        if module in ("4a", "5a"):
            number = int(module[0]) - 1
            stack.pool(f"pool{number}/3x3_s2", 3, 2, ceil=True)
        _inception(stack, f"inception_{module}/", channels)
    stack.pool("pool5/7x7_s1", 7, 1, average=True)
    stack.apply(Kind.DROPOUT, "pool5/drop_7x7_s1")
    stack.fc("loss3/classifier", 1000)
    stack.apply(Kind.SOFTMAX, "softmax")
    return stack.specs


def _inception(stack: Stack, prefix: str, channels: tuple[int, int, int, int, int, int]) -> None:
    source = stack.top
    one, reduce3, three, reduce5, five, projection = channels
    branches = [_conv_relu(stack, prefix, "1x1", one, 1, source=source)]
    _conv_relu(stack, prefix, "3x3_reduce", reduce3, 1, source=source)
    branches.append(_conv_relu(stack, prefix, "3x3", three, 3, 1, 1))
    _conv_relu(stack, prefix, "5x5_reduce", reduce5, 1, source=source)
    branches.append(_conv_relu(stack, prefix, "5x5", five, 5, 1, 2))
    stack.pool(f"{prefix}pool", 3, 1, 1, source=source)
    branches.append(_conv_relu(stack, prefix, "pool_proj", projection, 1))
    stack.join(Kind.CONCAT, f"{prefix}output", branches)


def _conv_relu(
    stack: Stack,
    prefix: str,
    name: str,
    channels: int,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    source: str | None = None,
) -> str:
    stack.conv(f"{prefix}{name}", channels, kernel, stride, padding, source)
    relu = "relu_7x7" if name == "7x7_s2" else f"relu_{name}"
    return stack.apply(Kind.ACTV, f"{prefix}{relu}")


def resnet50() -> list[LayerSpec]:
    """ResNet-50, 224 pixels: bottlenecks of 3, 4, 6 and 3."""
    stack = Stack()
    stack.conv_bn("conv1", 64, 7, 2, 3)
    stack.apply(Kind.ACTV, "relu1")
    stack.pool("pool1", 3, 2, 1)
    for stage, (blocks, width) in enumerate(zip((3, 4, 6, 3), (64, 128, 256, 512), strict=True), start=2):
        for block in range(1, blocks + 1):
            _bottleneck(stack, f"res{stage}_{block}", width, 2 if block == 1 and stage > 2 else 1, block == 1)
    stack.global_average_pool("pool5")
    stack.fc("fc", 1000)
    stack.apply(Kind.SOFTMAX, "softmax")
    return stack.specs


def _bottleneck(stack: Stack, name: str, width: int, stride: int, projected: bool) -> None:
    source = stack.top
    stack.conv_bn(f"{name}_1x1_in", width, 1, source=source)
    stack.apply(Kind.ACTV, f"{name}_relu1")
    stack.conv_bn(f"{name}_3x3", width, 3, stride, 1)
    stack.apply(Kind.ACTV, f"{name}_relu2")
    branch = stack.conv_bn(f"{name}_1x1_out", 4 * width, 1)
    shortcut = stack.conv_bn(f"{name}_projection", 4 * width, 1, stride, source=source) if projected else source
    stack.join(Kind.ADD, f"{name}_add", (branch, shortcut))
    stack.apply(Kind.ACTV, f"{name}_relu3")


def squeezenet() -> list[LayerSpec]:
    """SqueezeNet 1.0, 224 pixels; its classifier is a CONV, so that all but the loss counts as feature extraction."""
    stack = Stack()
    stack.conv("conv1", 96, 7, 2)
    stack.apply(Kind.ACTV, "relu1")
    stack.pool("pool1", 3, 2, ceil=True)
    for number, squeeze, expand in ((2, 16, 64), (3, 16, 64), (4, 32, 128)):
        _fire(stack, number, squeeze, expand)
    stack.pool("pool4", 3, 2, ceil=True)
    for number, squeeze, expand in ((5, 32, 128), (6, 48, 192), (7, 48, 192), (8, 64, 256)):
        _fire(stack, number, squeeze, expand)
    stack.pool("pool8", 3, 2, ceil=True)
    _fire(stack, 9, 64, 256)
    stack.apply(Kind.DROPOUT, "drop9")
    stack.conv("conv10", 1000, 1)
    stack.apply(Kind.ACTV, "relu10")
    stack.global_average_pool("pool10")
    stack.apply(Kind.SOFTMAX, "softmax")
    return stack.specs


def _fire(stack: Stack, number: int, squeeze: int, expand: int) -> None:
    prefix = f"fire{number}/"
    stack.conv(f"{prefix}squeeze1x1", squeeze, 1)
    source = stack.apply(Kind.ACTV, f"{prefix}relu_squeeze1x1")
    stack.conv(f"{prefix}expand1x1", expand, 1, source=source)
    left = stack.apply(Kind.ACTV, f"{prefix}relu_expand1x1")
    stack.conv(f"{prefix}expand3x3", expand, 3, 1, 1, source=source)
    right = stack.apply(Kind.ACTV, f"{prefix}relu_expand3x3")
    stack.join(Kind.CONCAT, f"{prefix}concat", (left, right))
