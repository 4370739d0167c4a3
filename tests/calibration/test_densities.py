"""Densities are those of the maps as they leave, and a trace keeps them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from calibration.test_gradients import made_up_trace
from support.cases import conv, gpu_of, layer, network_of
from vdnnsim.calibration.bench import Bench
from vdnnsim.calibration.densities import with_densities
from vdnnsim.errors import InvalidInput
from vdnnsim.machines.real.cpu import CpuDevice
from vdnnsim.machines.real.operators_cpu import CpuOperators
from vdnnsim.memory import make_pool
from vdnnsim.network import Kind
from vdnnsim.study import Study
from vdnnsim.trace import read_header, write_trace


def test_what_is_zero_behind_a_relu_is_counted(device: CpuDevice, tmp_path: Path) -> None:
    network = network_of(conv("a", channels=4), layer(Kind.ACTV, "r"), conv("b"), layer(Kind.SOFTMAX, "loss"))
    bench = Bench(device, {"fp32": CpuOperators()})
    trace = with_densities(made_up_trace(network), bench, network)
    training = bench.machine(network, "fp32").training
    weights = training.weights["a"].view(4, 1, 1, 1)
    made = torch.relu(torch.nn.functional.conv2d(training.images, weights))
    density_ppm = round(1e6 * int((made != 0).sum()) / made.numel())
    assert trace.header.densities_ppm == {"map:data": 1_000_000, "map:a": density_ppm}
    assert 0 < density_ppm < 1_000_000
    write_trace(trace, tmp_path / "t.csv")
    assert read_header(tmp_path / "t.csv").densities_ppm == trace.header.densities_ppm


def test_a_real_machine_compresses_nothing(device: CpuDevice) -> None:
    network = network_of(conv("a"), conv("b"), layer(Kind.SOFTMAX, "loss"))
    machine = Bench(device, {"fp32": CpuOperators()}).machine(network, "fp32")
    program = Study(network, made_up_trace(network), gpu_of()).run("cdma(density=0.5)").program
    with pytest.raises(InvalidInput, match="found copies that are compressed; expected plain ones"):
        machine.load(program, lambda: make_pool("best-fit", 1 << 20))
