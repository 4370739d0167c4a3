"""Bytes that kernels touch and move, on numbers that can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.cases import conv, layer, network_of, trace_of
from vdnnsim import layer_traffic, load_profile
from vdnnsim.network import Kind
from vdnnsim.program import WeightGradients
from vdnnsim.study import Study


def small_study() -> Study:
    """conv1, relu1, conv2, loss on maps of 100 bytes; weights of 4 bytes; every kernel takes 10 ns."""
    network = network_of(conv("conv1"), layer(Kind.ACTV, "relu1"), conv("conv2"), layer(Kind.SOFTMAX, "loss"))
    gpu = load_profile("titan-x-maxwell")
    return Study(network, trace_of(network), gpu, weight_gradients=WeightGradients.NONE)


def test_bandwidth_counts_every_operand_once_for_reading_and_once_for_writing() -> None:
    study = small_study()
    steps = layer_traffic(study, study.run("oracle"))
    assert [(step.layer, step.backward) for step in steps][:4] == [(name, False) for name in study.network.by_name]
    rates = {(step.layer, "backward" if step.backward else "forward"): step.bandwidth_bytes_per_s for step in steps}
    assert rates["conv2", "forward"] == pytest.approx((100 + 4 + 100) / 10e-9)  # X, W, Y
    assert rates["conv2", "backward"] == pytest.approx(max(100 + 100 + 4, 100 + 4 + 100) / 10e-9)
    assert rates["relu1", "forward"] == pytest.approx((100 + 100) / 10e-9)  # in place: reads and writes it
    assert rates["relu1", "backward"] == pytest.approx((100 + 100 + 100) / 10e-9)  # Y, dY, dX


def test_most_touched_is_backward_of_a_conv_between_maps() -> None:
    """conv2 backward: X, dY, W, dX; its weight gradient is not counted."""
    study = small_study()
    most = max(layer_traffic(study, study.run("baseline(p)")), key=lambda step: step.touched_bytes)
    assert (most.layer, most.backward, most.touched_bytes) == ("conv2", True, 100 + 100 + 4 + 100)


def test_weight_gradients_are_touched_where_the_study_counts_them() -> None:
    study = replace(small_study(), weight_gradients=WeightGradients.PER_LAYER)
    touched = {(step.layer, step.backward): step.touched_bytes for step in layer_traffic(study, study.run("oracle"))}
    assert touched["conv2", True] == 100 + 100 + 4 + 100 + 4
