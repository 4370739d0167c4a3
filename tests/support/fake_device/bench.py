"""The fake device with what measurements need beside it: kernels, training data without numbers, pools whose calls cost
the host their time."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch

from support.fake_device.device import FakeDevice
from support.fake_device.disturbances import Disturbance
from support.fake_device.truth import Truth
from vdnnsim.calibration.bench import Bench
from vdnnsim.errors import InvalidInput
from vdnnsim.machines.real.device import Action
from vdnnsim.machines.real.machine import LoadedProgram, RealMachine, Training
from vdnnsim.machines.real.operands import Tensors
from vdnnsim.machines.real.operators import Algorithm, Operators, Place
from vdnnsim.memory import ENDLESS_BYTES, POOLS, Pool
from vdnnsim.network import Layer, Network
from vdnnsim.program import Kernel, Program
from vdnnsim.study import Study


class FakeOperators:
    """See `Operators`: the kernels of the fake device's truth."""

    def __init__(self, device: FakeDevice, math: str) -> None:
        self.math = math
        self._device = device

    def begin(self) -> None:
        """As `Operators.begin`."""

    def algorithms(self, layer: Layer, pass_: str, x: Place, y: Place) -> list[Algorithm]:  # noqa: ARG002
        return [Algorithm(one.algorithm, one.workspace_bytes) for one in self._device.truth.kernels(layer, pass_)]

    def prepare(self, layer: Layer, kernel: Kernel, tensors: Tensors) -> Action:
        true = self._device.truth.kernel(layer, kernel.pass_, kernel.algorithm)
        found_bytes = 0 if tensors.workspace is None else tensors.workspace.numel()
        if found_bytes < true.workspace_bytes:
            raise InvalidInput(f"workspace of {layer.name}: found {found_bytes}, expected {true.workspace_bytes}")
        return partial(self._device.launch, true)


class FakeBench(Bench):
    """See `Bench`."""

    device: FakeDevice

    def operators_in(self, math: str) -> Operators:
        return self.operators.setdefault(math, FakeOperators(self.device, math))

    def machine(self, network: Network, math: str) -> RealMachine:
        batch, _, height, width = network.layers[-1].output_shape
        empty = partial(torch.empty, device=self.device.torch_device)
        weights = {layer.name: empty(layer.weights_bytes // 4) for layer in network.layers if layer.weights_bytes}
        labels = empty((batch, height, width), dtype=torch.int64)
        training = Training(empty(network.input_shape), labels, weights)
        return RealMachine(self.device, self.operators_in(math), network, training)

    def load(
        self, machine: RealMachine, program: Program, pool: str = "best-fit", capacity_bytes: int = ENDLESS_BYTES
    ) -> LoadedProgram:
        return machine.load(program, partial(_costly(POOLS[pool], self.device), capacity_bytes))

    def study(self, network: Network) -> Study:
        """The study that predicts what happens on the fake device."""
        truth = self.device.truth
        return Study(network, truth.trace(network), truth.profile())


def fake_bench(disturbances: Iterable[Disturbance] = (), truth: Truth | None = None, cores: int = 8) -> FakeBench:
    """A bench with a fake device on which this happens."""
    return FakeBench(FakeDevice(disturbances, truth, cores), {})


def _costly(kind: type[Pool], device: FakeDevice) -> type[Pool]:
    """Pools of a kind whose calls cost the host time. A class, since timelines make a pool like the one they saw."""
    costs = device.truth.host

    class Costly(kind):  # type: ignore[valid-type,misc]
        def allocate(self, size_bytes: int) -> int:
            device.pool_call(costs.allocate_ns)
            address: int = super().allocate(size_bytes)
            return address

        def free(self, address: int) -> None:
            device.pool_call(costs.free_ns)
            super().free(address)

    return Costly
