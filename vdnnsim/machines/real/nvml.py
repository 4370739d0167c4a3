"""The state of an NVIDIA GPU as its driver tells it through NVML: clocks, what holds them back, who else is there.

Each query stands for itself: what a card, a driver or a permission does not tell is None, and a machine without NVML
has no `Card`. On an H100 a full state takes about 5 ms, most of it the counters; the power alone takes 5 us.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from vdnnsim.units import format_bytes

IDLE = "idle"
"""The one reason for a low clock that is no disturbance: nothing runs."""
BY_CHOICE = (IDLE, "application clocks", "display clocks")
"""Reasons that the card's owner set, or its rest: they hold nothing back while something is measured."""
_REASONS = (
    (IDLE, "nvmlClocksEventReasonGpuIdle"),
    ("application clocks", "nvmlClocksEventReasonApplicationsClocksSetting"),
    ("power cap", "nvmlClocksEventReasonSwPowerCap"),
    ("hardware slowdown", "nvmlClocksEventReasonHwSlowdown"),
    ("sync boost", "nvmlClocksEventReasonSyncBoost"),
    ("software thermal slowdown", "nvmlClocksEventReasonSwThermalSlowdown"),
    ("hardware thermal slowdown", "nvmlClocksEventReasonHwThermalSlowdown"),
    ("power brake", "nvmlClocksEventReasonHwPowerBrakeSlowdown"),
    ("display clocks", "nvmlClocksEventReasonDisplayClockSetting"),
)
_COUNTERS = (
    ("power cap", "NVML_FI_DEV_PERF_POLICY_POWER"),
    ("software thermal slowdown", "NVML_FI_DEV_PERF_POLICY_THERMAL"),  # the older number of the one below
    ("software thermal slowdown", "NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN"),
    ("sync boost", "NVML_FI_DEV_PERF_POLICY_SYNC_BOOST"),
    ("board limit", "NVML_FI_DEV_PERF_POLICY_BOARD_LIMIT"),
    ("reliability", "NVML_FI_DEV_PERF_POLICY_RELIABILITY"),
    ("hardware thermal slowdown", "NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN"),
    ("power brake", "NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN"),
)
"""Nanoseconds since the driver was loaded. nvmlDeviceGetViolationStatus tells the first six as well and is to go; the
counter of low utilisation, and the sums that contain it, grow while nothing runs."""
_CLOCK_DROP = 0.98
_MOST_CORES = 4096


@dataclass(frozen=True)
class GpuState:
    """A GPU at one moment; a part that is None is not told."""

    sm_mhz: int | None = None
    sm_max_mhz: int | None = None
    memory_mhz: int | None = None
    memory_max_mhz: int | None = None
    p_state: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    reasons: tuple[str, ...] | None = None
    """What sets the clocks now, where it is not the demand."""
    reason_ns: Mapping[str, int] | None = None
    """For how long each reason has held the clocks back since the driver was loaded; only those that it counts."""
    other_processes: int | None = None
    """Processes beside this one that hold the card for computing, at work or not."""
    other_bytes: int | None = None
    ecc: bool | None = None
    ecc_corrected: int | None = None
    """Memory errors since the driver was loaded."""
    ecc_uncorrected: int | None = None
    busy_percent: int | None = None
    """Of the last moments, a sixth of a second or more, the share in which any kernel ran."""

    def __str__(self) -> str:
        """In one line, for the headers of files."""
        parts = [
            _of(self.sm_mhz, self.sm_max_mhz, "SM {} MHz"),
            _of(self.memory_mhz, self.memory_max_mhz, "memory {} MHz"),
            "" if self.p_state is None else f"P{self.p_state}",
            _of(self.power_w, self.power_limit_w, "{} W"),
            "" if self.temperature_c is None else f"{self.temperature_c} C",
            f"clocks by {' and '.join(self.reasons)}" if self.reasons else "",
            _others(self),
        ]
        return ", ".join(part for part in parts if part) or "not readable"


class Card:
    """One GPU in NVML; see `open_card`."""

    def __init__(self, library: Any, handle: object, uuid: str) -> None:
        self.uuid = uuid
        self._library = library
        self._handle = handle
        self._reasons = {name: getattr(library, constant) for name, constant in _REASONS}
        self._counters = [(name, getattr(library, constant)) for name, constant in _COUNTERS]
        self._most_mhz = [self._ask("MaxClockInfo", kind) for kind in self._clocks]  # fixed, and slow to ask

    @property
    def driver_version(self) -> str:
        """As NVIDIA numbers it, or "unknown"."""
        try:
            return str(self._library.nvmlSystemGetDriverVersion())
        except self._library.NVMLError:
            return "unknown"

    def state(self) -> GpuState:
        """The card now."""
        library = self._library
        sm_mhz, memory_mhz = (self._ask("ClockInfo", kind) for kind in self._clocks)
        limit_mw = self._ask("EnforcedPowerLimit")
        modes = self._ask("EccMode")
        used = self._ask("UtilizationRates")
        return GpuState(
            sm_mhz,
            self._most_mhz[0],
            memory_mhz,
            self._most_mhz[1],
            self._ask("PerformanceState"),
            self._ask("Temperature", library.NVML_TEMPERATURE_GPU),
            self.power_w(),
            None if limit_mw is None else limit_mw / 1000,
            self._active(),
            self._counted(),
            *self._others(),
            None if modes is None else modes[0] == library.NVML_FEATURE_ENABLED,
            self._ask("TotalEccErrors", library.NVML_MEMORY_ERROR_TYPE_CORRECTED, library.NVML_VOLATILE_ECC),
            self._ask("TotalEccErrors", library.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, library.NVML_VOLATILE_ECC),
            None if used is None else used.gpu,
        )

    def power_w(self) -> float | None:
        """What the board draws at this instant; its average over a second where the card tells no other."""
        instant = self._ask("FieldValues", [self._library.NVML_FI_DEV_POWER_INSTANT])
        if instant is not None and instant[0].nvmlReturn == self._library.NVML_SUCCESS:
            return float(instant[0].value.uiVal / 1000)
        average_mw = self._ask("PowerUsage")
        return None if average_mw is None else average_mw / 1000

    def close(self) -> None:
        """Leave NVML; the card is not asked again."""
        with suppress(self._library.NVMLError):
            self._library.nvmlShutdown()

    @property
    def _clocks(self) -> tuple[int, int]:
        return self._library.NVML_CLOCK_SM, self._library.NVML_CLOCK_MEM

    def _ask(self, what: str, *arguments: object) -> Any:
        try:
            return getattr(self._library, f"nvmlDeviceGet{what}")(self._handle, *arguments)
        except self._library.NVMLError:
            return None

    def _active(self) -> tuple[str, ...] | None:
        bits = self._ask("CurrentClocksEventReasons")
        if bits is None:  # its name in drivers before 535
            bits = self._ask("CurrentClocksThrottleReasons")
        return None if bits is None else tuple(name for name, bit in self._reasons.items() if bits & bit)

    def _counted(self) -> dict[str, int] | None:
        fields = self._ask("FieldValues", [number for _, number in self._counters])
        if fields is None:
            return None
        told = {
            name: int(field.value.ullVal)
            for (name, _), field in zip(self._counters, fields, strict=True)
            if field.nvmlReturn == self._library.NVML_SUCCESS
        }
        return told or None

    def _others(self) -> tuple[int | None, int | None]:
        """(number, bytes). In some containers this process has a number that it does not know; one is then taken for
        it, and which of them holds what is not known."""
        processes = self._ask("ComputeRunningProcesses")
        if processes is None:
            return None, None
        others = [process.usedGpuMemory for process in processes if process.pid != os.getpid()]
        if others and len(others) == len(processes):
            return len(others) - 1, None if len(others) > 1 else 0
        return len(others), None if None in others else sum(others)


def open_card(uuid: str, library: Any = None) -> Card | None:
    """The card with this UUID ("GPU-..."), or None where NVML or the card cannot be asked: no driver, no permission, no
    `nvidia-ml-py` or one that is too old. `library` stands in for the module `pynvml`."""
    library = library or _library()
    if library is None or not uuid:
        return None
    try:
        library.nvmlInit()
    except library.NVMLError:
        return None
    try:
        return Card(library, library.nvmlDeviceGetHandleByUUID(uuid), uuid)
    except (library.NVMLError, AttributeError):
        with suppress(library.NVMLError):
            library.nvmlShutdown()
        return None


def near_cores(gpu: str, library: Any = None) -> set[int]:
    """The host's cores that are nearest to a GPU, which goes by its number in the order of the bus or by its UUID; none
    where that is not told. `library` stands in as above."""
    library = library or _library()
    if library is None:
        return set()
    try:
        library.nvmlInit()
    except library.NVMLError:
        return set()
    try:
        by_number = gpu.isdecimal()
        find = library.nvmlDeviceGetHandleByIndex if by_number else library.nvmlDeviceGetHandleByUUID
        words = library.nvmlDeviceGetCpuAffinity(find(int(gpu) if by_number else gpu), _MOST_CORES // 64)
        return {64 * place + bit for place, word in enumerate(words) for bit in range(64) if int(word) >> bit & 1}
    except (library.NVMLError, AttributeError):
        return set()
    finally:
        with suppress(library.NVMLError):
            library.nvmlShutdown()


def what_changed(before: GpuState | None, after: GpuState | None) -> tuple[str, ...]:
    """What disturbed a measurement between two states, in words; empty where nothing did, or nothing is told.

    Clocks are compared where the card was idle at neither end. Another process is named whether it came, went or
    stayed; what it did is not told.
    """
    if before is None or after is None:
        return ()
    found = []
    if IDLE not in (before.reasons or ()) + (after.reasons or ()):
        found += _dropped("SM", before.sm_mhz, after.sm_mhz) + _dropped("memory", before.memory_mhz, after.memory_mhz)
    found += _held_back(before, after)
    fuller = max(before, after, key=lambda state: (state.other_processes or 0, state.other_bytes or 0))
    found += [_others(fuller)] if fuller.other_processes else []
    found += _more("corrected", before.ecc_corrected, after.ecc_corrected)
    found += _more("uncorrected", before.ecc_uncorrected, after.ecc_uncorrected)
    return tuple(found)


def _library() -> ModuleType | None:
    try:
        import pynvml
    except ImportError:
        return None
    module: ModuleType = pynvml
    return module


def _dropped(clock: str, before_mhz: int | None, after_mhz: int | None) -> list[str]:
    if before_mhz is None or after_mhz is None or after_mhz >= _CLOCK_DROP * before_mhz:
        return []
    return [f"{clock} clock {after_mhz} MHz, {before_mhz} before"]


def _held_back(before: GpuState, after: GpuState) -> list[str]:
    counted = before.reason_ns or {}
    grown_ns = {name: ns - counted[name] for name, ns in (after.reason_ns or {}).items() if ns > counted.get(name, ns)}
    came = [] if before.reasons is None else [name for name in after.reasons or () if name not in before.reasons]
    return [f"clocks held back by {name} for {more_ns / 1e6:.1f} ms" for name, more_ns in grown_ns.items()] + [
        f"clocks held back by {name}" for name in came if name != IDLE and name not in grown_ns
    ]


def _more(kind: str, before: int | None, after: int | None) -> list[str]:
    if before is None or after is None or after <= before:
        return []
    return [f"{after - before} {kind} ECC error{'s' if after - before > 1 else ''}"]


def _others(state: GpuState) -> str:
    if not state.other_processes:
        return ""
    number = "1 other process" if state.other_processes == 1 else f"{state.other_processes} other processes"
    return number + (f" with {format_bytes(state.other_bytes)}" if state.other_bytes else "") + " on the card"


def _of(now: float | None, most: float | None, text: str) -> str:
    if now is None:
        return ""
    return text.format(f"{now:.4g}" if most is None else f"{now:.4g} of {most:.4g}")
