"""One device with what belongs to it, as all measurements use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from vdnnsim.calibration.training import make_training
from vdnnsim.calibration.watch import Watch
from vdnnsim.errors import InvalidInput, UnknownName, first_line
from vdnnsim.machines.real.machine import LoadedProgram, RealMachine
from vdnnsim.memory import ENDLESS_BYTES, make_pool
from vdnnsim.network import Network
from vdnnsim.program import Program

if TYPE_CHECKING:
    from vdnnsim.machines.real.device import Device
    from vdnnsim.machines.real.operators import Operators

DEVICES = ("cuda", "cpu")


@dataclass
class Bench:
    """A device, and the operators of each math mode on it."""

    device: Device
    operators: dict[str, Operators]

    @cached_property
    def watch(self) -> Watch:
        """What is looked at before and after each measurement."""
        return Watch(self.device)

    def operators_in(self, math: str) -> Operators:
        """The kernels in a math mode; made once. Raises `InvalidInput` for a mode that the device does not have."""
        if math not in self.operators:
            self.operators[math] = _make_operators(self.device, math)
        return self.operators[math]

    def machine(self, network: Network, math: str) -> RealMachine:
        """A machine that trains this network."""
        training = make_training(network, self.device.torch_device)
        return RealMachine(self.device, self.operators_in(math), network, training)

    def load(
        self, machine: RealMachine, program: Program, pool: str = "best-fit", capacity_bytes: int = ENDLESS_BYTES
    ) -> LoadedProgram:
        """A program made ready in a pool of this kind and capacity. Raises `OutOfMemory`, `DeviceRefused`."""
        return machine.load(program, lambda: make_pool(pool, capacity_bytes))


@contextmanager
def open_bench(device: str) -> Iterator[Bench]:
    """The device of this name, given back at the end whatever happens. Raises `UnknownName`, or `InvalidInput` in one
    line where the machine has none."""
    made = _make_device(device)
    try:
        yield Bench(made, {})
    finally:
        made.close()


def _make_device(name: str) -> Device:
    if name == "cuda":
        from vdnnsim.machines.real.cuda import CudaDevice

        try:
            return CudaDevice()
        except RuntimeError as error:  # PyTorch's: no memory for a context, or held by one process alone
            raise InvalidInput(
                f"device cuda: found '{first_line(error)}' on opening it, expected a GPU with memory to spare that "
                "this process may use; nvidia-smi shows what else is on it"
            ) from None
    if name == "cpu":
        from vdnnsim.machines.real.cpu import CpuDevice

        return CpuDevice()
    raise UnknownName("device", name, DEVICES)


def _make_operators(device: Device, math: str) -> Operators:
    from vdnnsim.machines.real.cpu import CpuDevice

    if isinstance(device, CpuDevice):
        from vdnnsim.machines.real.operators_cpu import CpuOperators

        return CpuOperators(math)
    from vdnnsim.machines.real.cuda import CudaDevice
    from vdnnsim.machines.real.operators_cudnn import CudnnOperators

    assert isinstance(device, CudaDevice)
    return CudnnOperators(device.cudnn, math, device.record)
