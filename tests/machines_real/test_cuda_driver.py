"""Events of the CUDA driver, against a library that notes its calls: what it is handed, and what is given back."""

from __future__ import annotations

import ctypes
import gc
from itertools import chain, repeat
from typing import Any

import pytest

pytest.importorskip("torch")

from vdnnsim.machines.real import cuda_driver
from vdnnsim.machines.real.cuda_driver import CudaFailure, Driver

NOT_READY, WITHOUT_TIMING = 600, 2
STREAM, OTHER_STREAM, EVENT = 0x10, 0x20, 0x30


class Library:
    """libcuda as far as the driver sees it; `codes` are what a function answers before it answers 0."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.codes: dict[str, list[int]] = {}

    def __getitem__(self, name: str) -> Any:
        answers = chain(self.codes.get(name, ()), repeat(0))

        def function(*arguments: Any) -> int:
            kinds = function.argtypes or [None] * len(arguments)  # type: ignore[attr-defined]
            for kind, argument in zip(kinds, arguments, strict=True):
                if kind is not None:
                    kind.from_param(argument)
            if name == "cuEventCreate":
                arguments[0]._obj.value = EVENT
            if name == "cuGetErrorString":
                arguments[1]._obj.value = b"broken"
                return 0
            values = [getattr(one, "_as_parameter_", one) for one in arguments]
            self.calls.append((name, *(getattr(value, "value", value) for value in values)))
            return next(answers)

        function.__name__, function.argtypes = name, ()  # type: ignore[attr-defined]
        return function

    __getattr__ = __getitem__


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    monkeypatch.setattr(cuda_driver, "_REHEARSE_EVERY_NS", 0)
    return library


def test_an_event_is_recorded_waited_for_and_given_back_with_the_last_action_of_it(library: Library) -> None:
    driver = Driver()
    event = driver.event()
    record, hold, wait = driver.record(event, STREAM), driver.hold(OTHER_STREAM, event), driver.wait_for(event)
    assert library.calls[0][0] == "cuEventCreate"
    assert library.calls[0][2] == WITHOUT_TIMING
    library.calls.clear()
    del event
    for action in (record, hold, wait):
        action()
    assert library.calls == [
        ("cuEventRecord", EVENT, STREAM),
        ("cuStreamWaitEvent", OTHER_STREAM, EVENT, 0),
        ("cuEventQuery", EVENT),
    ]
    library.calls.clear()
    del record, hold, action
    gc.collect()
    assert library.calls == []
    del wait
    gc.collect()
    assert library.calls == [("cuEventDestroy_v2", EVENT)]


def test_the_hosts_wait_asks_until_it_is_done_and_rehearses_meanwhile(library: Library) -> None:
    library.codes["cuEventQuery"] = [NOT_READY] * 3
    driver = Driver()
    rehearsed: list[int] = []
    event = driver.event()
    driver.wait_for(event, lambda: rehearsed.append(len(library.calls)))()
    assert [call[0] for call in library.calls[1:]] == ["cuEventQuery"] * 4
    assert rehearsed


@pytest.mark.parametrize("name", ["cuEventCreate", "cuEventRecord", "cuEventQuery", "cuStreamWaitEvent"])
def test_a_call_that_fails_is_told(library: Library, name: str) -> None:
    library.codes[name] = [700]
    driver = Driver()

    def all_calls() -> None:
        event = driver.event()
        driver.record(event, STREAM)()
        driver.hold(STREAM, event)()
        driver.wait_for(event)()

    with pytest.raises(CudaFailure, match=f"{name}: broken \\(error 700\\)"):
        all_calls()
