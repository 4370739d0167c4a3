"""What each kernel reads and writes, against cuDNN's signatures written out by hand."""

from __future__ import annotations

import pytest

from support.cases import conv, fc, join, layer, network_of
from vdnnsim.network import Kind
from vdnnsim.program import Kernel, operands_of

# BN comes twice so that ACTV, LRN, POOL, DROPOUT have an X of their own; `fork` makes `out` work out of place.
NETWORK = network_of(
    conv("conv"),
    layer(Kind.ACTV, "relu"),
    layer(Kind.BN, "bn"),
    layer(Kind.LRN, "lrn"),
    layer(Kind.POOL, "pool"),
    layer(Kind.ACTV, "out", "pool"),
    join(Kind.ADD, "add", "pool", "out"),
    conv("left", "add"),
    conv("right", "add"),
    join(Kind.CONCAT, "cat", "left", "right"),
    fc("fc", "cat"),
    layer(Kind.DROPOUT, "drop"),
    layer(Kind.SOFTMAX, "loss"),
)


@pytest.mark.parametrize(
    ("name", "pass_", "reads", "writes"),
    [
        ("conv", "forward", "map:data, weights:conv", "map:conv"),
        ("conv", "backward_filter", "map:data, gradient:conv", "weight gradient:conv"),
        ("conv", "backward_data", "weights:conv, gradient:conv", ""),  # data need no gradient
        ("relu", "forward", "map:conv", "map:conv"),  # in place
        ("relu", "backward", "map:conv, gradient:conv", "gradient:conv"),
        ("bn", "forward", "map:conv, weights:bn", "map:bn, saved:bn"),
        (
            "bn",
            "backward",
            "map:conv, gradient:bn, weights:bn, saved:bn",
            "gradient:conv, weight gradient:bn",
        ),
        ("lrn", "backward", "map:bn, map:lrn, gradient:lrn", "gradient:bn"),
        ("pool", "backward", "map:lrn, map:pool, gradient:pool", "gradient:lrn"),
        ("out", "forward", "map:pool", "map:out"),
        ("out", "backward", "map:out, gradient:out", "gradient:pool"),
        ("out", "backward_sum", "gradient:out", "gradient:out"),
        ("add", "forward", "map:pool, map:out", "map:add"),
        ("add", "backward", "gradient:add", "gradient:pool, gradient:out"),
        ("left", "forward", "map:add, weights:left", "map:cat"),  # straight into its channels of cat's map
        ("left", "backward_data", "gradient:cat, weights:left", "gradient:add"),
        ("cat", "forward", "", "map:cat"),
        ("fc", "backward", "map:cat, gradient:fc, weights:fc", "gradient:cat, weight gradient:fc"),
        ("drop", "forward", "map:fc", "map:fc, saved:drop"),
        ("drop", "backward", "gradient:fc, saved:drop", "gradient:fc"),
        ("loss", "forward", "map:fc", "map:loss"),
        ("loss", "backward", "map:loss", "gradient:fc"),
    ],
)
def test_operands(name: str, pass_: str, reads: str, writes: str) -> None:
    operands = operands_of(NETWORK, Kernel(name, pass_, "any"))
    assert operands.reads == _split(reads)
    assert operands.writes == _split(writes)


def test_a_kernel_that_adds_to_a_gradient_reads_it() -> None:
    kernel = Kernel("left", "backward_data", "any", None, frozenset({"add"}))
    assert operands_of(NETWORK, kernel).reads == {"gradient:cat", "weights:left", "gradient:add"}


@pytest.mark.parametrize(
    ("name", "reads", "writes"),
    [
        ("conv", "map:data, weights:conv", "map:conv"),
        ("bn", "map:conv, weights:bn", "map:bn"),
        ("drop", "map:fc, saved:drop", "map:fc"),
    ],
)
def test_made_again_a_layer_leaves_what_it_saved(name: str, reads: str, writes: str) -> None:
    operands = operands_of(NETWORK, Kernel(name, "forward", "any", again=True))
    assert (operands.reads, operands.writes) == (_split(reads), _split(writes))


def _split(names: str) -> frozenset[str]:
    return frozenset(names.split(", ")) - {""}
