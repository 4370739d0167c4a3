"""Small networks that hold every kind of layer, and a CPU device to run them on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest

torch = pytest.importorskip("torch")

from vdnnsim.machines.real.cpu import CpuDevice  # noqa: E402
from vdnnsim.network import DATA, Kind, LayerSpec, Network, build_network  # noqa: E402
from vdnnsim.network.chains import mobilenet  # noqa: E402
from vdnnsim.network.specs import Stack  # noqa: E402


def linear() -> list[LayerSpec]:
    """CONV, ACTV, LRN, POOL of both modes and with ceil, FC, DROPOUT; one CONV in groups."""
    stack = Stack()
    stack.conv("conv1", 8, 3, padding=1)
    stack.apply(Kind.ACTV, "relu1")
    stack.apply(Kind.LRN, "norm1")
    stack.pool("pool1", 3, 2, ceil=True)
    stack.conv("conv2", 12, 3, 2, 1, groups=2)
    stack.apply(Kind.ACTV, "relu2")
    stack.pool("pool2", 2, 2, average=True)
    stack.fc("fc3", 16)
    stack.apply(Kind.ACTV, "relu3")
    stack.apply(Kind.DROPOUT, "drop3")
    stack.fc("fc4", 10)
    stack.apply(Kind.SOFTMAX, "softmax")
    return stack.specs


def fork_and_join() -> list[LayerSpec]:
    """A fork of three, a CONCAT of slices with a POOL among them, and a CONCAT that owns its map because one of its
    inputs is read elsewhere too; DROPOUT on a map that two layers read; no FC."""
    stack = Stack()
    stack.conv("stem", 6, 3, padding=1)
    source = stack.apply(Kind.ACTV, "stem_relu")
    stack.conv("left", 4, 1, source=source)
    left = stack.apply(Kind.ACTV, "left_relu")
    stack.conv("right", 5, 3, padding=1, source=source)
    right = stack.apply(Kind.ACTV, "right_relu")
    middle = stack.pool("middle", 3, 1, 1, source=source)
    stack.join(Kind.CONCAT, "slices", (left, right, middle))
    shared = stack.conv("mix", 6, 3, padding=1)
    dropped = stack.apply(Kind.DROPOUT, "drop", shared)
    thin = stack.conv("thin", 3, 1, source=shared)
    stack.join(Kind.CONCAT, "copies", (dropped, shared, thin))
    stack.conv("classes", 10, 1)
    stack.global_average_pool("mean")
    stack.apply(Kind.SOFTMAX, "softmax")
    return stack.specs


def residual() -> list[LayerSpec]:
    """BN, two blocks with an ADD each (a projection in one), an ADD of three that reads one map twice, and an ACTV that
    cannot work in place."""
    stack = Stack()
    stack.conv("stem", 6, 3, padding=1, bias=False)
    stack.apply(Kind.BN, "stem_bn")
    source = stack.apply(Kind.ACTV, "stem_relu")
    stack.conv("a1", 6, 3, padding=1, bias=False)
    stack.apply(Kind.BN, "a1_bn")
    stack.apply(Kind.ACTV, "a1_relu")
    branch = stack.conv("a2", 6, 3, padding=1)
    stack.join(Kind.ADD, "a_add", (branch, source))
    source = stack.apply(Kind.ACTV, "a_relu")
    stack.conv("b1", 8, 3, 2, 1, bias=False)
    branch = stack.apply(Kind.BN, "b1_bn")
    shortcut = stack.conv("b_projection", 8, 1, 2, source=source)
    stack.join(Kind.ADD, "b_add", (branch, shortcut))
    positive = stack.apply(Kind.ACTV, "b_relu", "b_add")
    stack.join(Kind.ADD, "three", (positive, "b_add", positive))
    stack.fc("fc", 10)
    stack.apply(Kind.SOFTMAX, "softmax")
    return stack.specs


def straight_from_data() -> list[LayerSpec]:
    """Layers other than CONV and FC that read the network's input, so that its gradient has to have room."""
    stack = Stack()
    stack.apply(Kind.BN, "norm", DATA)
    stack.conv("conv", 5, 3, padding=1)
    skip = stack.conv("skip", 5, 3, padding=1, source=DATA)
    stack.join(Kind.ADD, "add", ("conv", skip))
    stack.apply(Kind.ACTV, "relu")
    stack.fc("fc", 10)
    stack.apply(Kind.SOFTMAX, "softmax")
    return stack.specs


NETWORKS: dict[str, Callable[[], list[LayerSpec]]] = {
    "linear": linear,
    "fork-and-join": fork_and_join,
    "residual": residual,
    "depthwise": partial(mobilenet, 6, ((8, 1), (10, 2))),
    "straight-from-data": straight_from_data,
}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Network:
    return build_network(request.param, (3, 3, 12, 14), NETWORKS[request.param]())


@pytest.fixture
def small_network() -> Network:
    return build_network("linear", (3, 3, 12, 14), linear())


@pytest.fixture
def device() -> Iterator[CpuDevice]:
    device = CpuDevice()
    yield device
    device.close()
