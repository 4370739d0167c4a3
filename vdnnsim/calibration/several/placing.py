"""Which GPUs of a host are measured together, and which cores each has to itself: those near it, as far as the driver
tells, and both halves of a core that two threads share."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from vdnnsim.errors import InvalidInput
from vdnnsim.machines.real.nvml import near_cores

_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


def visible_gpus(count: int) -> list[str]:
    """The first so many GPUs as CUDA_VISIBLE_DEVICES names them, where it names any. Raises `InvalidInput` where there
    are fewer."""
    import torch

    there = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    named = [name.strip() for name in (visible or "").split(",") if name.strip()]
    if there < count:
        seen = "" if visible is None else f" (CUDA_VISIBLE_DEVICES is '{visible}')"
        raise InvalidInput(
            f"--gpus: found {there} GPU{'' if there == 1 else 's'} on this host{seen}, expected {count}; "
            "ask for fewer, or use --device cpu to try the same without"
        )
    return (named or [str(number) for number in range(there)])[:count]


def names_of(visible: Sequence[str | None]) -> list[str]:
    """What GPUs are called, by their places in a report; with the name that the driver's tools know, where that is
    another."""
    return [
        f"GPU {number}" + ("" if gpu in (None, str(number)) else f" ('{gpu}' of CUDA_VISIBLE_DEVICES)")
        for number, gpu in enumerate(visible)
    ]


def own_cores(gpus: Sequence[str | None]) -> list[list[int]]:
    """The cores of each GPU's process, None of them in two, as many for each as there are; empty lists where there are
    fewer cores than GPUs."""
    if not hasattr(os, "sched_getaffinity"):
        return [[] for _ in gpus]
    usable = os.sched_getaffinity(0)
    near = [usable & near_cores(gpu) if gpu is not None else set() for gpu in gpus]
    return divided(whole_cores(usable), [cores or usable for cores in near])


def whole_cores(usable: Collection[int]) -> list[list[int]]:
    """Logical cores, those together that share a physical one."""
    found: dict[tuple[int, ...], list[int]] = {}
    for core in sorted(usable):
        found.setdefault(_siblings(core), []).append(core)
    return list(found.values())


def divided(whole: Iterable[Sequence[int]], near: Sequence[Collection[int]]) -> list[list[int]]:
    """Each whole core to one GPU among those that it is near to: the one that has fewest so far."""
    shares: list[list[int]] = [[] for _ in near]
    for cores in whole:
        takers = [share for share, own in zip(shares, near, strict=True) if set(cores) & set(own)]
        if takers:
            min(takers, key=len).extend(cores)
    return shares if all(shares) else [[] for _ in near]


def _siblings(core: int) -> tuple[int, ...]:
    try:
        text = Path(_SIBLINGS.format(core)).read_text(encoding="ascii")
        return tuple(sorted(number for part in text.strip().split(",") for number in _range(part)))
    except (OSError, ValueError):
        return (core,)


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)
