"""What NVML tells of a GPU, what of it is missing, what changed between two states; a stand-in gives the answers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from vdnnsim.machines.real.nvml import GpuState, open_card, what_changed

UUID = "GPU-b4682494-0210-028a-873f-2c37aef88d0d"
HANDLE = object()
COUNTED_NS = {
    pynvml.NVML_FI_DEV_PERF_POLICY_POWER: 271_048_000,
    pynvml.NVML_FI_DEV_PERF_POLICY_THERMAL: 4_000,
    pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN: 5_000,
    pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN: 0,
}


def process(pid: int, memory_bytes: int | None) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, usedGpuMemory=memory_bytes)


class Nvml:
    """The module `pynvml` with another library behind it; constants and errors are the real ones."""

    def __init__(self, *failing: str, error: int = pynvml.NVML_ERROR_NOT_SUPPORTED) -> None:
        self.opened = 0
        self.counted_ns = COUNTED_NS
        self.processes = [process(os.getpid(), 1 << 30)]
        self.answers: dict[str, Callable[..., Any]] = {
            "nvmlInit": self.init,
            "nvmlShutdown": self.shutdown,
            "nvmlSystemGetDriverVersion": lambda: "580.159.04",
            "nvmlDeviceGetHandleByUUID": lambda uuid: (
                HANDLE if uuid == UUID else self.fail(pynvml.NVML_ERROR_NOT_FOUND)
            ),
            "nvmlDeviceGetClockInfo": self.clocks(1755, 2619),
            "nvmlDeviceGetMaxClockInfo": self.clocks(1980, 2619),
            "nvmlDeviceGetPerformanceState": lambda _: 0,
            "nvmlDeviceGetTemperature": lambda _, sensor: 47 + sensor,
            "nvmlDeviceGetPowerUsage": lambda _: 133_237,
            "nvmlDeviceGetEnforcedPowerLimit": lambda _: 700_000,
            "nvmlDeviceGetCurrentClocksEventReasons": lambda _: 0x44,
            "nvmlDeviceGetCurrentClocksThrottleReasons": lambda _: 0x01,
            "nvmlDeviceGetFieldValues": lambda _, numbers: [self.field(number) for number in numbers],
            "nvmlDeviceGetComputeRunningProcesses": lambda _: self.processes,
            "nvmlDeviceGetEccMode": lambda _: [1, 1],
            "nvmlDeviceGetUtilizationRates": lambda _: SimpleNamespace(gpu=93, memory=41),
            "nvmlDeviceGetTotalEccErrors": lambda _, kind, counter: 3 - 3 * kind if counter == 0 else 99,
        }
        for name in failing:
            self.answers[name] = lambda *_: self.fail(error)

    def __getattr__(self, name: str) -> Any:
        if name in self.answers:
            return self.answers[name]
        assert not name.startswith("nvmlDevice"), f"{name} is not expected"
        return getattr(pynvml, name)

    def init(self) -> None:
        self.opened += 1

    def shutdown(self) -> None:
        self.opened -= 1

    @staticmethod
    def fail(error: int) -> None:
        raise pynvml.NVMLError(error)

    @staticmethod
    def clocks(sm_mhz: int, memory_mhz: int) -> Callable[[object, int], int]:
        return lambda _, kind: {pynvml.NVML_CLOCK_SM: sm_mhz, pynvml.NVML_CLOCK_MEM: memory_mhz}[kind]

    def field(self, number: int) -> SimpleNamespace:
        if number == pynvml.NVML_FI_DEV_POWER_INSTANT:
            return SimpleNamespace(nvmlReturn=0, value=SimpleNamespace(uiVal=696_585))
        if number not in self.counted_ns:
            return SimpleNamespace(nvmlReturn=pynvml.NVML_ERROR_NOT_SUPPORTED, value=SimpleNamespace(ullVal=0))
        return SimpleNamespace(nvmlReturn=0, value=SimpleNamespace(ullVal=self.counted_ns[number]))


def state_of(nvml: Nvml) -> GpuState:
    card = open_card(UUID, nvml)
    assert card is not None
    return card.state()


FULL = GpuState(
    sm_mhz=1755,
    sm_max_mhz=1980,
    memory_mhz=2619,
    memory_max_mhz=2619,
    p_state=0,
    temperature_c=47,
    power_w=696.585,
    power_limit_w=700.0,
    reasons=("power cap", "hardware thermal slowdown"),
    reason_ns={"power cap": 271_048_000, "software thermal slowdown": 5_000, "hardware thermal slowdown": 0},
    other_processes=0,
    other_bytes=0,
    ecc=True,
    ecc_corrected=3,
    ecc_uncorrected=0,
    busy_percent=93,
)


def test_everything_that_a_card_tells() -> None:
    nvml = Nvml()
    card = open_card(UUID, nvml)
    assert card is not None
    assert card.state() == FULL
    assert (card.uuid, card.driver_version, card.power_w()) == (UUID, "580.159.04", 696.585)
    assert nvml.opened == 1
    card.close()
    assert nvml.opened == 0


@pytest.mark.parametrize(
    ("query", "missing"),
    [
        ("ClockInfo", ("sm_mhz", "memory_mhz")),
        ("MaxClockInfo", ("sm_max_mhz", "memory_max_mhz")),
        ("PerformanceState", ("p_state",)),
        ("Temperature", ("temperature_c",)),
        ("EnforcedPowerLimit", ("power_limit_w",)),
        ("ComputeRunningProcesses", ("other_processes", "other_bytes")),
        ("EccMode", ("ecc",)),
        ("TotalEccErrors", ("ecc_corrected", "ecc_uncorrected")),
        ("UtilizationRates", ("busy_percent",)),
    ],
)
@pytest.mark.parametrize("error", [pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_NO_PERMISSION])
def test_what_one_query_refuses_is_none_and_the_rest_is_told(query: str, missing: tuple[str, ...], error: int) -> None:
    assert state_of(Nvml(f"nvmlDeviceGet{query}", error=error)) == replace(FULL, **dict.fromkeys(missing))


def test_reasons_by_their_old_name() -> None:
    old = Nvml("nvmlDeviceGetCurrentClocksEventReasons", error=pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
    assert state_of(old) == replace(FULL, reasons=("idle",))
    neither = Nvml("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
    assert state_of(neither) == replace(FULL, reasons=None)


def test_without_fields_there_are_no_counters_and_the_power_is_the_average() -> None:
    assert state_of(Nvml("nvmlDeviceGetFieldValues")) == replace(FULL, reason_ns=None, power_w=133.237)
    neither = state_of(Nvml("nvmlDeviceGetFieldValues", "nvmlDeviceGetPowerUsage"))
    assert neither == replace(FULL, reason_ns=None, power_w=None)


def test_a_thermal_counter_by_its_old_number() -> None:
    nvml = Nvml()
    nvml.counted_ns = {pynvml.NVML_FI_DEV_PERF_POLICY_THERMAL: 4_000}
    assert state_of(nvml).reason_ns == {"software thermal slowdown": 4_000}
    nvml.counted_ns = {}
    assert state_of(nvml).reason_ns is None


OWN = process(os.getpid(), 1 << 30)


@pytest.mark.parametrize(
    ("processes", "number", "held_bytes"),
    [
        ([], 0, 0),
        ([OWN, process(1, 5), process(2, 7)], 2, 12),
        ([OWN, process(1, None)], 1, None),
        ([process(1, 5)], 0, 0),  # this process by a number of another namespace
        ([process(1, 5), process(2, 7)], 1, None),
    ],
)
def test_other_processes(processes: list[SimpleNamespace], number: int, held_bytes: int | None) -> None:
    nvml = Nvml()
    nvml.processes = processes
    state = state_of(nvml)
    assert (state.other_processes, state.other_bytes) == (number, held_bytes)


def test_a_driver_that_does_not_tell_its_version() -> None:
    card = open_card(UUID, Nvml("nvmlSystemGetDriverVersion"))
    assert card is not None
    assert card.driver_version == "unknown"


def test_a_card_that_cannot_be_left_is_no_error() -> None:
    card = open_card(UUID, Nvml("nvmlShutdown", error=pynvml.NVML_ERROR_UNINITIALIZED))
    assert card is not None
    card.close()


@pytest.mark.parametrize("error", [pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_NO_PERMISSION])
@pytest.mark.parametrize("query", ["nvmlInit", "nvmlDeviceGetHandleByUUID"])
def test_where_nvml_or_the_card_refuses_there_is_no_card(query: str, error: int) -> None:
    nvml = Nvml(query, error=error)
    assert open_card(UUID, nvml) is None
    assert nvml.opened == 0


def test_a_card_that_is_gone_or_none_at_all() -> None:
    nvml = Nvml()
    assert open_card("GPU-another", nvml) is None
    assert open_card("", nvml) is None
    assert nvml.opened == 0


def test_without_the_module_or_with_an_old_one_there_is_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert open_card(UUID) is None
    nvml = Nvml()
    kept = {name: getattr(pynvml, name) for name in dir(pynvml) if "EVENT_REASON" not in name}
    old = SimpleNamespace(**kept | nvml.answers)
    assert open_card(UUID, old) is None
    assert nvml.opened == 0


def test_without_a_driver_there_is_no_card() -> None:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        assert open_card(UUID) is None
    else:
        pynvml.nvmlShutdown()
        pytest.skip("there is a driver here")


def test_a_state_in_one_line() -> None:
    assert str(FULL) == (
        "SM 1755 of 1980 MHz, memory 2619 of 2619 MHz, P0, 696.6 of 700 W, 47 C, clocks by power cap and hardware "
        "thermal slowdown"
    )
    assert str(GpuState(sm_mhz=1980, other_processes=2, other_bytes=1 << 30)) == (
        "SM 1980 MHz, 2 other processes with 1.07 GB on the card"
    )
    assert str(GpuState()) == "not readable"


QUIET = replace(FULL, sm_mhz=1980, reasons=())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ()),
        ({"sm_mhz": 1941}, ()),
        ({"sm_mhz": 1940}, ("SM clock 1940 MHz, 1980 before",)),
        ({"memory_mhz": 1593}, ("memory clock 1593 MHz, 2619 before",)),
        ({"sm_mhz": 345, "reasons": ("idle",)}, ()),
        ({"sm_mhz": 345, "reasons": None}, ("SM clock 345 MHz, 1980 before",)),
        ({"sm_mhz": None, "memory_mhz": None}, ()),
        ({"reasons": ("power brake",)}, ("clocks held back by power brake",)),
        (
            {"reason_ns": {**(FULL.reason_ns or {}), "power cap": 272_298_000}},
            ("clocks held back by power cap for 1.2 ms",),
        ),
        (
            {"reason_ns": {"power cap": 371_048_000}, "reasons": ("power cap", "sync boost")},
            ("clocks held back by power cap for 100.0 ms", "clocks held back by sync boost"),
        ),
        ({"reason_ns": {"board limit": 5}}, ()),  # not told before
        ({"reason_ns": None}, ()),
        ({"other_processes": 1, "other_bytes": 12_000}, ("1 other process with 12.0 KB on the card",)),
        ({"other_processes": 2, "other_bytes": None}, ("2 other processes on the card",)),
        ({"other_processes": None}, ()),
        ({"ecc_corrected": 4}, ("1 corrected ECC error",)),
        ({"ecc_corrected": 0, "ecc_uncorrected": 2}, ("2 uncorrected ECC errors",)),
        ({"ecc_corrected": None, "ecc_uncorrected": None}, ()),
        ({"temperature_c": 80, "power_w": 100.0, "p_state": 2}, ()),
    ],
)
def test_what_changed(changes: dict[str, Any], words: tuple[str, ...]) -> None:
    assert what_changed(QUIET, replace(QUIET, **changes)) == words


def test_nothing_is_said_of_what_was_there_before_or_is_not_told() -> None:
    assert what_changed(FULL, FULL) == ()
    assert what_changed(replace(FULL, reasons=None), FULL) == ()
    assert what_changed(replace(QUIET, sm_mhz=345, reasons=("idle",)), QUIET) == ()
    assert what_changed(None, FULL) == what_changed(FULL, None) == what_changed(GpuState(), GpuState()) == ()


def test_a_process_that_left_was_there() -> None:
    left = what_changed(replace(QUIET, other_processes=1, other_bytes=5), QUIET)
    assert left == ("1 other process with 5 B on the card",)
