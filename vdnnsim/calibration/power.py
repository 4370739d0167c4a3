"""What the board draws: idle, with the kernels of a training iteration running, and what copies add.

Read from nvidia-smi, which averages over some tens of milliseconds, while one kind of work is repeated for seconds. The
first second is left out: the board's power follows the work with a delay.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean
from typing import NamedTuple

from vdnnsim.calibration.bench import Bench
from vdnnsim.calibration.kernels import plan_of_first_choices
from vdnnsim.gpu.profile import Power
from vdnnsim.machines.real.device import Action
from vdnnsim.network import load_network
from vdnnsim.policies.plan import Layout
from vdnnsim.program import Stream, build_program

_FIELDS = ("power.draw.instant", "power.draw")
_EVERY_MS = 50
_DELAY_S, _LENGTH_S = 1.0, 3.0
_COPY_BYTES = 256 << 20
_NETWORK, _BATCH, _ITERATIONS = "alexnet", 128, 20


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
    """The three figures of a profile and how they were measured, or None where nvidia-smi tells no power.

    Kernels are those of AlexNet (128) in fp32, each with the first algorithm that cuDNN names for it: other networks
    draw more or less. Copies go in one direction at a time, with nothing else running.
    """
    idle = draw_of(lambda: time.sleep(0.01))
    if idle is None:
        return None
    training = draw_of(_training(bench))
    copying = draw_of(_copies(bench))
    if training is None or copying is None:
        return None
    power = Power(
        round(idle.average_w, 1), round(training.average_w, 1), round(max(0.0, copying.average_w - idle.average_w), 1)
    )
    fewest = min(draw.readings for draw in (idle, training, copying))
    return power, (
        f"Board power by nvidia-smi, averages over {_LENGTH_S - _DELAY_S:g} s: with nothing running but a "
        f"process that holds the GPU; of iterations of AlexNet ({_BATCH}) in fp32; of copies out and in by turns, less "
        f"idle. {fewest} readings or more of each."
    )


def draw_of(work: Callable[[], object], length_s: float = _LENGTH_S, delay_s: float = _DELAY_S) -> Draw | None:
    """What the board draws while `work` is repeated for so long, the delay left out; None where nobody tells."""
    with _metered() as meter:
        if meter is None:
            return None
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
def _metered() -> Iterator[_Meter | None]:
    """A meter that reads until the end of the block; None where nvidia-smi is missing or knows no power."""
    name = next((name for name in _FIELDS if _watts(_ask(name)) is not None), None)
    if name is None:
        yield None
        return
    command = ["nvidia-smi", f"--query-gpu={name}", "--format=csv,noheader,nounits", "--id=0", f"--loop-ms={_EVERY_MS}"]
    meter = _Meter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        reader = threading.Thread(target=_read, args=(process, meter), daemon=True)
        reader.start()
        try:
            yield meter
        finally:
            process.terminate()
            reader.join(timeout=5)


def _read(process: subprocess.Popen[str], meter: _Meter) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        watts = _watts(line)
        if watts is not None:
            meter.readings.append((time.monotonic(), watts))


def _ask(name: str) -> str:
    command = ["nvidia-smi", f"--query-gpu={name}", "--format=csv,noheader,nounits", "--id=0"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def _watts(text: str) -> float | None:
    """The number in a line of nvidia-smi, or None for "[N/A]" and the like."""
    try:
        return float(text.strip())
    except ValueError:
        return None
