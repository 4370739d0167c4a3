"""A logged program: what a framework without plans ran, operator by operator, and how long it held each tensor.

Tensors are counted from 0, in the order in which operators make them. Times are integer nanoseconds, sizes bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

CONSTANT = "constant"
"""The operator that makes what is there before the program, and stays."""
NO_ALIAS = -1


class Does(StrEnum):
    """What the program does; `LoggedDeed.number` is that of an operator or a tensor."""

    RUN = "run"
    """Runs `operators[number]`; the program holds each tensor that it makes once."""
    HOLD = "hold"
    """Holds a tensor once more."""
    DROP = "drop"
    """Holds it once less."""
    PIN = "pin"
    """Wants it to be there, from now on for good."""


class LoggedDeed(NamedTuple):
    """One thing that the program does."""

    does: Does
    number: int


class LoggedOperator(NamedTuple):
    """One operator: what it reads, and of each tensor that it makes the bytes; 0 where it is a view of one that is
    read, of which `aliases` says which of `reads` (`NO_ALIAS`: of none)."""

    name: str
    duration_ns: int
    reads: tuple[int, ...]
    sizes_bytes: tuple[int, ...]
    aliases: tuple[int, ...]


@dataclass(frozen=True)
class LoggedProgram:
    """A program, in order. `source` is the file it was read from."""

    name: str
    source: str
    operators: tuple[LoggedOperator, ...]
    deeds: tuple[LoggedDeed, ...]

    @property
    def tensors(self) -> int:
        """How many tensors it makes."""
        return sum(len(operator.sizes_bytes) for operator in self.operators)

    @property
    def operators_ns(self) -> int:
        """The time of all operators, each as often as it is run."""
        return sum(self.operators[deed.number].duration_ns for deed in self.deeds if deed.does is Does.RUN)

    @property
    def constant_bytes(self) -> int:
        """What is there before the program and stays."""
        return sum(sum(operator.sizes_bytes) for operator in self.operators if operator.name == CONSTANT)

    @property
    def peak_bytes(self) -> int:
        """The most that it needs at once where nothing is made again: tensors go when nothing holds them any more, and
        what is there from the beginning does, too."""
        in_use = peak = 0
        storage_of: list[int] = []
        held: dict[int, int] = {}
        sizes: dict[int, int] = {}
        for does, number in self.deeds:
            if does is Does.RUN:
                operator = self.operators[number]
                for size_bytes, alias in zip(operator.sizes_bytes, operator.aliases, strict=True):
                    storage = len(storage_of) if alias == NO_ALIAS else storage_of[operator.reads[alias]]
                    storage_of.append(storage)
                    sizes.setdefault(storage, size_bytes)
                    held[storage] = held.get(storage, 0) + 1
                    in_use += size_bytes
                peak = max(peak, in_use)
            elif does is not Does.PIN:
                storage = storage_of[number]
                held[storage] += 1 if does is Does.HOLD else -1
                in_use -= 0 if held[storage] else sizes[storage]
        return peak

    def save(self, folder: str | Path) -> None:
        """Write it as a folder that `read_log` and `vdnnsim replay` take. Raises `CannotWrite`."""
        from vdnnsim.replay.files import write_log  # which knows this module

        write_log(self, Path(folder))


class Wrong(NamedTuple):
    """One thing that cannot be: in `operators` or `deeds`, the row, and its field."""

    table: str
    row: int
    field: str
    found: str
    expected: str


def wrongs_of(log: LoggedProgram) -> Iterator[Wrong]:
    """What does not go together: tensors that are not made yet, views of nothing, what is held without being there."""
    made = 0
    for row, operator in enumerate(log.operators):
        if bad := [number for number in operator.reads if number >= made]:
            yield Wrong("operators", row, "reads", str(bad[0]), f"a tensor made before, below {made}")
        if not operator.sizes_bytes:
            yield Wrong("operators", row, "sizes_bytes", "none", "one for each tensor that it makes, at least one")
        if len(operator.aliases) != len(operator.sizes_bytes):
            found = str(len(operator.aliases))
            yield Wrong("operators", row, "aliases", found, f"{len(operator.sizes_bytes)}, one for each tensor made")
        for alias, size_bytes in zip(operator.aliases, operator.sizes_bytes, strict=False):
            if alias != NO_ALIAS and (alias >= len(operator.reads) or size_bytes):
                expected = f"0, or 1 to {len(operator.reads)} with a size of 0"
                yield Wrong("operators", row, "aliases", str(alias + 1), expected)
        made += len(operator.sizes_bytes)
    yield from _wrong_deeds(log)


def _wrong_deeds(log: LoggedProgram) -> Iterator[Wrong]:
    held: list[int] = []
    ran = 0
    for row, (does, number) in enumerate(log.deeds):
        if does is Does.RUN:
            if number != ran or number >= len(log.operators):
                yield Wrong("deeds", row, "number", str(number), f"operator {ran}, each once and in order")
                return
            held += [1] * len(log.operators[number].sizes_bytes)
            ran += 1
        elif number >= len(held) or not held[number]:
            yield Wrong("deeds", row, "number", str(number), "a tensor that is held then")
        elif does is not Does.PIN:
            held[number] += 1 if does is Does.HOLD else -1
    if ran != len(log.operators):
        yield Wrong("deeds", max(len(log.deeds) - 1, 0), "number", f"{ran} operators run", f"{len(log.operators)}")
