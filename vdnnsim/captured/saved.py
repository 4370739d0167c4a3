"""Saved tensors one by one: what schedules call them, and where each is needed."""

from __future__ import annotations

from vdnnsim.captured.step import CapturedStep, Doing

NO_COPY = ("no plain tensor", "no memory of the device")
"""Why a saved tensor cannot be copied by itself, as `SavedTensor.stays` has it."""


def saved_name(number: int) -> str:
    """What schedules and programs call `saved[number]`."""
    return f"s{number}"


def need_stages(step: CapturedStep) -> dict[int, int]:
    """In which stage each saved tensor that backward needs is needed first."""
    found: dict[int, int] = {}
    for stage, call in enumerate(step.hook_calls, start=1):
        doing, number = step.deeds[call]
        if doing is Doing.NEED:
            found.setdefault(number, stage)
    return found
