"""By which words policies choose among saved tensors: graph nodes, layers, sizes, the last ones."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captured.steps import MIB, three_layers
from vdnnsim.captured import CapturedStep, SavedTensor
from vdnnsim.captured.choosing import (
    _layers_of_modules,
    can_go,
    kind_of,
    layers_of,
    may_leave,
    numbers_of,
    read_by,
    repeated_of,
    spread,
)
from vdnnsim.errors import InvalidInput
from vdnnsim.policies.offload import Offload

STEP = three_layers()


@pytest.mark.parametrize(
    ("node", "attribute", "kind"),
    [
        ("ConvolutionBackward0", "input", "CONV"),
        ("CudnnConvolutionBackward0", "self", "CONV"),
        ("MkldnnConvolutionBackward0", "input", "CONV"),
        ("AddmmBackward0", "mat1", "GEMM"),
        ("MmBackward0", "self", "GEMM"),
        ("BmmBackward0", "mat2", "GEMM"),
        ("BaddbmmBackward0", "batch1", "GEMM"),
        ("LinearBackward0", "input", "GEMM"),
        ("ScaledDotProductCudnnAttentionBackward0", "query", "ATTENTION"),
        ("ScaledDotProductFlashAttentionForCpuBackward0", "value", "ATTENTION"),
        ("ScaledDotProductEfficientAttentionBackward0", "output", ""),
        ("ScaledDotProductFlashAttentionBackward0", "logsumexp", ""),
        ("ReluBackward0", "result", ""),
        ("NativeLayerNormBackward0", "input", ""),
        ("SoftmaxBackward0", "result", ""),
        ("CompiledFunctionBackward", "0", ""),
        ("", "", ""),
    ],
)
def test_what_a_node_reads_by_its_attribute(node: str, attribute: str, kind: str) -> None:
    assert kind_of(SavedTensor(0, node, attribute, "", "float32", (1,), (1,), 0)) == kind


@pytest.mark.parametrize(
    ("modules", "layers"),
    [
        (["transformer.h.0.attn", "transformer.h.1.mlp.fc", "lm_head", ""],
         ["transformer.h.0", "transformer.h.1", "", ""]),
        (["layer1.0.conv1", "layer1.0.bn1", "layer2.1.conv2", "layer3.0", "layer4.0.conv1", "conv1", "bn1", "fc"],
         ["layer1.0", "layer1.0", "layer2.1", "layer3.0", "layer4.0", "", "", ""]),
        (["encoder.layers.encoder_layer_0.mlp.0", "encoder.layers.encoder_layer_1.ln_1",
          "encoder.layers.encoder_layer_2.self_attention", "heads.head"],
         ["encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1", "encoder.layers.encoder_layer_2", ""]),
        (["model.layers.0.self_attn.q_proj", "model.layers.31.mlp.up_proj", "model.norm"],
         ["model.layers.0", "model.layers.31", ""]),
        (["features.0", "features.3", "classifier.1"], ["features.0", "features.3", "classifier.1"]),
    ],
)  # fmt: skip
def test_layers_are_what_goes_by_numbers(modules: list[str], layers: list[str]) -> None:
    assert list(_layers_of_modules(modules).values()) == layers


def in_modules(*modules: str) -> CapturedStep:
    """The step of three layers, the saved tensors that may leave in these modules."""
    free = dict(zip((2, 4, 6), modules, strict=True))
    saved = tuple(tensor._replace(module=free.get(number, "")) for number, tensor in enumerate(STEP.saved))
    return replace(STEP, saved=saved)


def test_blocks_by_layer() -> None:
    assert layers_of(STEP) == {"layers.1": (7,), "layers.2": (8,)}  # y3, which the loss saves, is in none
    assert layers_of(in_modules("up", "up", "down")) == {"up": (7, 8), "down": (9,)}
    assert layers_of(in_modules("", "", "")) == {"b7": (7,), "b8": (8,), "b9": (9,)}
    assert layers_of(in_modules("net", "net", "net")) == {"net": (7, 8, 9)}


def test_the_numbers_of_a_small_head_are_not_the_layers_of_a_model() -> None:
    step = in_modules("time.0", "time.1", "up")
    assert list(layers_of(step)) == list(repeated_of(step)) == ["time.0", "time.1"]
    large = (*step.blocks[:9], step.blocks[9]._replace(size_bytes=100 * MIB), *step.blocks[10:])
    step = replace(step, blocks=large)
    assert layers_of(step) == {"time.0": (7,), "time.1": (8,), "up": (9,)}
    assert repeated_of(step) == repeated_of(in_modules("up", "up", "down")) == {}


def test_blocks_that_nodes_read() -> None:
    assert may_leave(STEP) == (7, 8, 9)
    assert read_by(STEP, ("GEMM",)) == {7, 8, 9}
    assert read_by(STEP, ("CONV", "ATTENTION")) == frozenset()


def test_what_is_small_and_copies_of_weights_go_with_everything_alone() -> None:
    stays = {7: "weight copy", 8: "small", 9: "input"}
    saved = tuple(one._replace(stays=stays.get(one.block, one.stays)) for one in STEP.saved)
    step = replace(STEP, saved=saved)
    assert (may_leave(step), can_go(step)) == ((), (7, 8))
    assert Offload().chosen(step) == Offload("gemm").chosen(step) == []
    assert Offload("everything").chosen(step) == [7, 8]
    assert Offload("everything", min_bytes=10 * MIB).chosen(step) == [8]
    small_last = replace(STEP, saved=(*STEP.saved[:-1], STEP.saved[-1]._replace(stays="small")))
    assert Offload("everything", keep_last=1).chosen(small_last) == [7]  # y3 is saved behind the last layer's y2


def test_names_that_no_block_has() -> None:
    assert numbers_of(STEP, ["b9", "b0"]) == [9, 0]
    with pytest.raises(InvalidInput, match="plan: found 'y1', expected a block of three: b0 to b14"):
        numbers_of(STEP, ["b1", "y1"])


@pytest.mark.parametrize(
    ("count", "share", "places"),
    [
        (12, 1 / 2, [0, 2, 4, 6, 8, 10]),
        (12, 1 / 4, [0, 4, 8]),
        (5, 1 / 4, [0, 4]),
        (3, 0.01, [0]),
        (4, 1.0, [0, 1, 2, 3]),
        (10, 0.3, [0, 3, 6]),
        (0, 1 / 2, []),
    ],
)
def test_a_share_is_spread_evenly(count: int, share: float, places: list[int]) -> None:
    assert spread(count, share) == places


@given(st.integers(0, 60), st.floats(0.01, 1))
def test_a_share_is_as_many_as_it_says(count: int, share: float) -> None:
    places = spread(count, share)
    assert abs(len(places) - math.ceil(count * share - 1e-9)) <= (1 if count else 0)
    assert places == sorted(set(places))
    assert not places or (places[0] == 0 and places[-1] < count)


@pytest.mark.parametrize(
    ("policy", "blocks"),
    [
        (Offload(), [7, 8, 9]),
        (Offload("gemm"), [7, 8, 9]),
        (Offload("half"), [7]),
        (Offload("0.6"), [7, 8]),
        (Offload(min_bytes=10 * MIB), [8, 9]),
        (Offload(keep_last=1), [7]),
        (Offload(keep_last=2), []),
        (Offload(keep_last=9), []),
    ],
)
def test_what_offload_has_leave(policy: Offload, blocks: list[int]) -> None:
    assert policy.chosen(STEP) == blocks
