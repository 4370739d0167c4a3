"""A device on a virtual clock, of which everything is known: what a calibration has to find whatever disturbs it."""

from support.fake_device.bench import FakeBench, FakeOperators, fake_bench
from support.fake_device.device import FakeDevice
from support.fake_device.disturbances import Disturbance, Range, What, bursts, half_speed_spells
from support.fake_device.truth import Marks, TrueKernel, Truth, derived_kernels, straight_curve

__all__ = [
    "Disturbance",
    "FakeBench",
    "FakeDevice",
    "FakeOperators",
    "Marks",
    "Range",
    "TrueKernel",
    "Truth",
    "What",
    "bursts",
    "derived_kernels",
    "fake_bench",
    "half_speed_spells",
    "straight_curve",
]
