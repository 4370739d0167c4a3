"""What the GPU's state before and after a measurement says against it: a witness as host and link have theirs."""

from __future__ import annotations

import sys
from dataclasses import replace

from vdnnsim.machines.real.device import Device
from vdnnsim.machines.real.nvml import IDLE, GpuState, what_changed

CLOCKS = "clocks"
_HELD_BACK = 0.02


class ClockWitness:
    """The card from one moment to the next; see `Witness`. Nobody tells what other processes on it do: those that were
    always there are let pass, since many cards have one; while there are more it is not at full speed."""

    name = CLOCKS

    def __init__(self, device: Device) -> None:
        self._device = device
        self._before: GpuState | None = None
        self._begun_ns = 0
        self._fewest_others = sys.maxsize
        self._look()

    def settle(self) -> bool:
        """As `Witness.settle`: what comes now is held against this moment."""
        self._before, self._begun_ns = self._look(), self._device.now_ns()
        return True

    def held(self) -> bool:
        """As `Witness.held`, since the last settling."""
        return not self.doubts()

    def doubts(self) -> list[str]:
        """What the GPU's state says against what was measured since the last settling."""
        after, lasted_ns = self._look(), self._device.now_ns() - self._begun_ns
        found = state_doubts(self._before, after, lasted_ns)
        if after is not None and (others := after.other_processes or 0) > self._fewest_others and not found:
            found.append(f"{others} other processes on the card, {self._fewest_others} at other times")
        return found

    @property
    def state(self) -> GpuState | None:
        """The GPU now."""
        return self._look()

    def _look(self) -> GpuState | None:
        state = self._device.state()
        if state is not None and state.other_processes is not None:
            self._fewest_others = min(self._fewest_others, state.other_processes)
        return state


def state_doubts(before: GpuState | None, after: GpuState | None, lasted_ns: int) -> list[str]:
    """What the GPU's state says against a measurement: clocks that fell, memory errors, others that came to the card or
    left it, and reasons that held the clocks back for more than a fiftieth of the time."""
    if before is None or after is None:
        return []
    counted = before.reason_ns or {}
    found = [
        f"clocks held back by {name} in {100 * (held_ns - counted[name]) / lasted_ns:.0f} % of the time"
        for name, held_ns in (after.reason_ns or {}).items()
        if held_ns - counted.get(name, held_ns) > _HELD_BACK * lasted_ns
    ]
    same_others = (before.other_processes, before.other_bytes) == (after.other_processes, after.other_bytes)
    return found + list(what_changed(*(_reduced(state, same_others) for state in (before, after))))


def _reduced(state: GpuState, same_others: bool) -> GpuState:
    """Whether it is idle, and not what else holds the clocks back at this moment: that is counted. Processes that only
    stay are left out: many cards have one."""
    idle = tuple(reason for reason in state.reasons or () if reason == IDLE)
    others = None if same_others else state.other_processes
    return replace(state, reasons=idle, reason_ns=None, other_processes=others)
