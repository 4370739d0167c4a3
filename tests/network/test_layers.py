"""Shapes and sizes of single layers, worked out by hand."""

from __future__ import annotations

import pytest

from vdnnsim.network import Kind, LayerFault, LayerSpec, Shape, infer_layer, shape_bytes


def infer(kind: Kind, shape: Shape, **fields: object) -> tuple[Shape, int, int, int]:
    """Output shape; bytes of weights, of their gradients, and saved."""
    layer = infer_layer(LayerSpec("x", kind, ("data",), **fields), (shape,))  # type: ignore[arg-type]
    return layer.output_shape, layer.weights_bytes, layer.weight_gradients_bytes, layer.saved_bytes


@pytest.mark.parametrize(
    ("fields", "shape", "output", "weights"),
    [
        ({"channels": 64, "kernel": (3, 3), "padding": (1, 1)}, (2, 3, 8, 8), (2, 64, 8, 8), 64 * 27 + 64),
        ({"channels": 64, "kernel": (3, 3), "padding": (1, 1), "bias": False}, (2, 3, 8, 8), (2, 64, 8, 8), 64 * 27),
        (
            {"channels": 96, "kernel": (11, 11), "stride": (4, 4), "padding": (2, 2)},
            (1, 3, 224, 224),
            (1, 96, 55, 55),
            34_944,
        ),
        ({"channels": 8, "kernel": (2, 3), "stride": (2, 1), "padding": (0, 1)}, (1, 1, 7, 5), (1, 8, 3, 5), 8 * 6 + 8),
        ({"channels": 4, "kernel": (1, 1), "groups": 2}, (1, 6, 3, 3), (1, 4, 3, 3), 4 * 3 + 4),
        ({"channels": 5}, (1, 6, 3, 3), (1, 5, 3, 3), 5 * 6 + 5),  # without a kernel 1 x 1
    ],
)
def test_conv(fields: dict[str, object], shape: Shape, output: Shape, weights: int) -> None:
    assert infer(Kind.CONV, shape, **fields) == (output, 4 * weights, 4 * weights, 0)


@pytest.mark.parametrize(
    ("fields", "size", "output"),
    [
        ({"kernel": (3, 3), "stride": (2, 2)}, 55, 27),
        ({"kernel": (2, 2), "stride": (2, 2)}, 7, 3),
        ({"kernel": (2, 2), "stride": (2, 2), "ceil": True}, 7, 4),
        ({"kernel": (3, 3), "stride": (2, 2), "ceil": True}, 112, 56),  # GoogLeNet: 112 -> 56, not 55
        ({"kernel": (3, 3), "stride": (2, 2)}, 112, 55),
        ({"kernel": (3, 3), "stride": (1, 1), "padding": (1, 1)}, 28, 28),
        # The last window must begin inside: with padding 1 and stride 3 a third one would begin in the padding behind.
        ({"kernel": (2, 2), "stride": (3, 3), "padding": (1, 1), "ceil": True}, 5, 2),
        ({}, 7, 1),  # without a kernel all of it
        ({"padding": (0, 0), "stride": (2, 2)}, 7, 1),
    ],
)
def test_pool(fields: dict[str, object], size: int, output: int) -> None:
    assert infer(Kind.POOL, (2, 3, size, size), **fields) == ((2, 3, output, output), 0, 0, 0)


def test_fc_takes_all_there_is_of_one_image() -> None:
    assert infer(Kind.FC, (2, 3, 4, 5), channels=7) == ((2, 7, 1, 1), 4 * (60 * 7 + 7), 4 * (60 * 7 + 7), 0)
    assert infer(Kind.FC, (2, 3, 4, 5), channels=7, bias=False)[1] == 4 * 60 * 7


def test_bn_has_scale_shift_and_running_statistics_and_saves_those_of_the_batch() -> None:
    assert infer(Kind.BN, (2, 3, 4, 5)) == ((2, 3, 4, 5), 4 * 12, 4 * 6, 4 * 6)


def test_dropout_saves_a_mask_of_a_byte_for_each_element() -> None:
    assert infer(Kind.DROPOUT, (2, 3, 4, 5)) == ((2, 3, 4, 5), 0, 0, 120)


@pytest.mark.parametrize("kind", [Kind.ACTV, Kind.LRN, Kind.SOFTMAX])
def test_others_keep_the_shape_and_have_nothing_else(kind: Kind) -> None:
    assert infer(kind, (2, 3, 4, 5)) == ((2, 3, 4, 5), 0, 0, 0)


def test_passes() -> None:
    for kind in Kind:
        shapes: tuple[Shape, ...] = ((1, 2, 3, 3),) * (2 if kind in (Kind.ADD, Kind.CONCAT) else 1)
        layer = infer_layer(LayerSpec("x", kind, ("a", "b")[: len(shapes)], 2), shapes)
        backward = ("backward_data", "backward_filter") if kind is Kind.CONV else ("backward",)
        assert layer.passes == ("forward", *backward)


def test_bytes_are_fp32() -> None:
    assert shape_bytes((256, 64, 224, 224)) == 3_288_334_336


def test_a_concat_adds_channels() -> None:
    layer = infer_layer(LayerSpec("x", Kind.CONCAT, ("a", "b", "c")), ((2, 1, 5, 5), (2, 2, 5, 5), (2, 4, 5, 5)))
    assert layer.output_shape == (2, 7, 5, 5)


def test_a_fault_keeps_its_data() -> None:
    with pytest.raises(LayerFault) as caught:
        infer(Kind.CONV, (1, 1, 2, 2), channels=1, kernel=(3, 3))
    assert caught.value.args == ("x", "kernel", "3 (stride 1, padding 0)", "a window that fits a side of 2")
