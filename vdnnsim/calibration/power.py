"""What the board draws: idle, with the kernels of a training iteration running, and what copies add.

Read through NVML, which averages over some tens of milliseconds, while one kind of work is repeated for seconds. The
first second is left out: the board's power follows the work with a delay.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean
from typing import NamedTuple

from vdnnsim.calibration.bench import Bench
from vdnnsim.calibration.kernels import plan_of_first_choices
from vdnnsim.gpu.profile import Power
from vdnnsim.iteration import Layout
from vdnnsim.machines.real.device import Action
from vdnnsim.machines.real.nvml import open_card
from vdnnsim.network import load_network
from vdnnsim.program import Stream, build_program

_EVERY_S = 0.05
_DELAY_S, _LENGTH_S = 1.0, 3.0
_COPY_BYTES = 256 << 20
_NETWORK, _BATCH, _ITERATIONS = "alexnet", 128, 20


Watts = Callable[[], float | None]
"""What the board draws at this moment, or None where nobody tells."""


class Draw(NamedTuple):
    """Watts on average over one kind of work, and from how many readings."""

    average_w: float
    readings: int


@dataclass
class _Meter:
    """Reads the board's power beside the work; `readings` are (when in seconds, watts)."""

    readings: list[tuple[float, float]] = field(default_factory=list)

    def between(self, begin_s: float, end_s: float) -> Draw | None:
        found = [watts for when_s, watts in self.readings if begin_s <= when_s <= end_s]
        return Draw(fmean(found), len(found)) if found else None


def measure_power(bench: Bench) -> tuple[Power, str] | None:
    """The three figures of a profile and how they were measured, or None where the device tells no power.

    Kernels are those of AlexNet (128) in fp32, each with the first algorithm that cuDNN names for it: other networks
    draw more or less. Copies go in one direction at a time, with nothing else running.
    """
    card = open_card(bench.device.uuid)
    if card is None:
        return None
    with closing(card):
        idle = draw_of(lambda: time.sleep(0.01), card.power_w)
        if idle is None:
            return None
        training = draw_of(_training(bench), card.power_w)
        copying = draw_of(_copies(bench), card.power_w)
    if training is None or copying is None:
        return None
    power = Power(
        round(idle.average_w, 1), round(training.average_w, 1), round(max(0.0, copying.average_w - idle.average_w), 1)
    )
    fewest = min(draw.readings for draw in (idle, training, copying))
    return power, (
        f"Board power by NVML, averages over {_LENGTH_S - _DELAY_S:g} s: with nothing running but a "
        f"process that holds the GPU; of iterations of AlexNet ({_BATCH}) in fp32; of copies out and in by turns, less "
        f"idle. {fewest} readings or more of each."
    )


def draw_of(
    work: Callable[[], object], watts: Watts, length_s: float = _LENGTH_S, delay_s: float = _DELAY_S
) -> Draw | None:
    """What the board draws while `work` is repeated for so long, the delay left out; None where nobody tells."""
    if watts() is None:
        return None
    with _metered(watts) as meter:
        begin_s = time.monotonic()
        while time.monotonic() < begin_s + length_s:
            work()
        return meter.between(begin_s + delay_s, begin_s + length_s)


def _training(bench: Bench) -> Action:
    network = load_network(_NETWORK, _BATCH)
    plan = plan_of_first_choices(network, bench.operators_in("fp32"), Layout.NETWORK_WIDE, frozenset())
    return partial(bench.load(bench.machine(network, "fp32"), build_program(network, plan)).train, _ITERATIONS)


def _copies(bench: Bench) -> Action:
    device = bench.device
    slab = device.make_slab(_COPY_BYTES)
    (host,) = device.make_pinned([_COPY_BYTES])
    out = device.copy(Stream.COPY_OUT, host, slab[:_COPY_BYTES])
    back = device.copy(Stream.COPY_IN, slab[:_COPY_BYTES], host)
    waits = (device.wait(Stream.COPY_OUT), device.wait(Stream.COPY_IN))

    def copies() -> None:
        out()
        waits[0]()
        back()
        waits[1]()

    return copies


@contextmanager
def _metered(watts: Watts) -> Iterator[_Meter]:
    """A meter that reads in a thread of its own until the end of the block."""
    meter = _Meter()
    ended = threading.Event()

    def read() -> None:
        while not ended.wait(_EVERY_S):
            now_w = watts()
            if now_w is not None:
                meter.readings.append((time.monotonic(), now_w))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield meter
    finally:
        ended.set()
        reader.join()
