"""Logs of Dynamic Tensor Rematerialization, as its PyTorch prototype writes and simrd reads them.

JSON lines, each an instruction; numbers are strings. Read in simrd's `parse/parse.py` (uwsampl/dtr-prototype at
eff53cc4):

* All before `ANNOTATE START` is passed over; without one, nothing is.
* `CONSTANT` is followed at once by `MEMORY`; it is there before the program and stays.
* `CALL` is followed, for each result in order, by `MEMORY` and `ALIAS` (an index into its arguments, or -1). A view has
  no bytes of its own.
* `MUTATE` makes new versions, as large, of the arguments that it names; the old ones are dropped.
* `COPY` is a further name, `COPY_FROM` another tensor by a name, `RELEASE` one name less, which need not be there.
* TIME is nanoseconds, MEMORY bytes. What has a name in the end is wanted in the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vdnnsim.errors import Fault, InvalidFile, shown
from vdnnsim.readers.kinds import Imported, Reader, text_of
from vdnnsim.replay import check_log_writable
from vdnnsim.replay.log import CONSTANT, NO_ALIAS, Does, LoggedDeed, LoggedOperator, LoggedProgram
from vdnnsim.tables import LARGEST
from vdnnsim.units import format_bytes, format_ms

_START = "START"


def _recognises(head: bytes) -> bool:
    first = head.lstrip()[:200]
    return first.startswith(b"{") and b'"INSTRUCTION"' in first.splitlines()[0]


def read_dtr_log(path: Path) -> LoggedProgram:
    """The program. Raises `InvalidFile` with the line of the first fault."""
    return _Reading(str(path), _lines(text_of(path), str(path))).program(path)


def _lines(text: str, file: str) -> list[tuple[int, dict[str, Any]]]:
    """Each instruction with its line, from behind the annotation on."""
    found: list[tuple[int, dict[str, Any]]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            instruction = json.loads(line)
        except (ValueError, RecursionError):
            instruction = None
        if not isinstance(instruction, dict) or not isinstance(instruction.get("INSTRUCTION"), str):
            raise InvalidFile([Fault(file, number, "line", shown(line), "an instruction, as JSON")])
        if instruction["INSTRUCTION"] == "ANNOTATE" and instruction.get("ANNOTATION") == _START:
            found.clear()
        found.append((number, instruction))
    return found


class _Reading:
    """The instructions taken one after the other."""

    def __init__(self, file: str, lines: Sequence[tuple[int, dict[str, Any]]]) -> None:
        self.file = file
        self.lines = iter(lines)
        self.line = 0
        self.fields: dict[str, Any] = {}
        self.named: dict[str, int] = {}
        """The tensor by each name, also of those released."""
        self.held: list[int] = []
        self.sizes_bytes: list[int] = []
        """The bytes of the storage that each tensor is a view of."""
        self.operators: list[LoggedOperator] = []
        self.deeds: list[LoggedDeed] = []

    def program(self, path: Path) -> LoggedProgram:
        for instruction in self._instructions():
            match instruction:
                case "CONSTANT":
                    self._constant()
                case "CALL":
                    self._call()
                case "MUTATE":
                    self._mutate()
                case "COPY":
                    self._copy()
                case "COPY_FROM":
                    self._copy_from()
                case "RELEASE":
                    if self._text("NAME") in self.named:
                        self._drop(self.named[self._text("NAME")])
                case "ANNOTATE":
                    pass
                case _:
                    raise self._fault("INSTRUCTION", shown(instruction), "one that DTR's logs have in this place")
        if not self.operators:
            raise self._fault("log", "no operator", "a program: CONSTANT and CALL lines")
        for number in dict.fromkeys(self.named.values()):
            if self.held[number]:
                self.deeds.append(LoggedDeed(Does.PIN, number))
        name = path.name.removesuffix(".gz").removesuffix(".log")
        return LoggedProgram(name, path.name, tuple(self.operators), tuple(self.deeds))

    def _instructions(self) -> Iterator[str]:
        for line, fields in self.lines:
            self.line, self.fields = line, fields
            yield fields["INSTRUCTION"]

    def _next(self, expected: str, name: str) -> None:
        """The instruction that has to follow, of the same tensor."""
        self.line, self.fields = next(self.lines, (self.line, {"INSTRUCTION": "the end"}))
        found = f"{self.fields['INSTRUCTION']} {self.fields.get('NAME', '')}".strip()
        if found != f"{expected} {name}":
            raise self._fault("INSTRUCTION", shown(found), f"{expected} of '{name}'")

    def _constant(self) -> None:
        name = self._text("NAME")
        self._next("MEMORY", name)
        self._run(LoggedOperator(CONSTANT, 0, (), (self._number("MEMORY"),), (NO_ALIAS,)), [name])
        self.deeds.append(LoggedDeed(Does.PIN, self.named[name]))

    def _call(self) -> None:
        operator, duration_ns = self._text("NAME"), self._number("TIME")
        reads = tuple(self._tensor(name) for name in self._texts("ARGS"))
        results = self._texts("RESULT")
        if not results:
            raise self._fault("RESULT", "none", "at least one tensor")
        sizes, aliases = [], []
        for name in results:
            self._next("MEMORY", name)
            size_bytes = self._number("MEMORY")
            self._next("ALIAS", name)
            alias = NO_ALIAS if self.fields.get("ALIAS") in ("-1", -1) else self._number("ALIAS")
            if alias >= len(reads):
                raise self._fault("ALIAS", str(alias), f"-1, or the place of one of {len(reads)} arguments")
            sizes.append(size_bytes if alias == NO_ALIAS else 0)
            aliases.append(alias)
        self._run(LoggedOperator(operator, duration_ns, reads, tuple(sizes), tuple(aliases)), results)

    def _mutate(self) -> None:
        arguments = self._texts("ARGS")
        reads = tuple(self._tensor(name) for name in arguments)
        places = [self._whole(place, "MUTATE") for place in self._list("MUTATE")]
        if not places or max(places) >= len(reads):
            raise self._fault("MUTATE", shown(str(places)), f"places of arguments, of which there are {len(reads)}")
        names = [arguments[place] for place in places]
        old = [reads[place] for place in places]
        sizes = tuple(self.sizes_bytes[number] for number in old)
        operator = LoggedOperator(
            self._text("NAME"), self._number("TIME"), reads, sizes, tuple(NO_ALIAS for _ in names)
        )
        self._run(operator, names, again=True)
        for number in old:
            self._drop(number)

    def _copy(self) -> None:
        name = self._text("DST")
        number = self._hold("SRC")
        self._new(name)
        self.named[name] = number

    def _copy_from(self) -> None:
        name = self._text("DST")
        old = self._tensor(name)
        self.named[name] = self._hold("SRC")
        self._drop(old)

    def _run(self, operator: LoggedOperator, names: Sequence[str], again: bool = False) -> None:
        """It makes tensors of these names, which are new, or known and from now on those."""
        self.deeds.append(LoggedDeed(Does.RUN, len(self.operators)))
        self.operators.append(operator)
        for name, size_bytes, alias in zip(names, operator.sizes_bytes, operator.aliases, strict=True):
            if not again:
                self._new(name)
            self.named[name] = len(self.held)
            self.held.append(1)
            self.sizes_bytes.append(size_bytes if alias == NO_ALIAS else self.sizes_bytes[operator.reads[alias]])

    def _hold(self, field: str) -> int:
        number = self._tensor(self._text(field))
        if not self.held[number]:
            raise self._fault(field, f"'{self._text(field)}'", "a tensor that was not released")
        self.held[number] += 1
        self.deeds.append(LoggedDeed(Does.HOLD, number))
        return number

    def _drop(self, number: int) -> None:
        if not self.held[number]:
            raise self._fault("NAME", "one released more often than it is held", "a tensor that is held")
        self.held[number] -= 1
        self.deeds.append(LoggedDeed(Does.DROP, number))

    def _new(self, name: str) -> None:
        if name in self.named:
            raise self._fault("NAME", f"'{name}', which there is", "a new name")

    def _tensor(self, name: str) -> int:
        if name not in self.named:
            raise self._fault("ARGS", shown(name), "the name of a tensor made before")
        return self.named[name]

    def _text(self, field: str) -> str:
        value = self.fields.get(field)
        if not isinstance(value, str) or not value:
            raise self._fault(field, shown(repr(value)), "a text")
        return value

    def _list(self, field: str) -> list[Any]:
        value = self.fields.get(field)
        if not isinstance(value, list):
            raise self._fault(field, shown(repr(value)), "a list")
        return value

    def _texts(self, field: str) -> list[str]:
        found = self._list(field)
        if not all(isinstance(one, str) and one for one in found):
            raise self._fault(field, shown(repr(found)), "a list of names")
        return found

    def _number(self, field: str) -> int:
        return self._whole(self.fields.get(field), field)

    def _whole(self, value: object, field: str) -> int:
        text = str(value)
        if isinstance(value, bool) or not (text.isascii() and text.isdigit() and len(text) <= 19):
            raise self._fault(field, shown(text), "a whole number")
        if int(text) > LARGEST:
            raise self._fault(field, text, f"at most {LARGEST}")
        return int(text)

    def _fault(self, field: str, found: str, expected: str) -> InvalidFile:
        return InvalidFile([Fault(self.file, self.line or None, field, found, expected)])


def _read(path: Path) -> Imported:
    log = read_dtr_log(path)
    constants = sum(operator.name == CONSTANT for operator in log.operators)
    says = (
        f"{len(log.operators) - constants} operators, {format_ms(log.operators_ns)} in all; {log.tensors} tensors, of "
        f"which {constants} ({format_bytes(log.constant_bytes)}) are there from the beginning",
    )
    lacks = ("shapes, layers, what the host does between operators, which streams there are, addresses",)
    return Imported(log, says, lacks, "vdnnsim replay {folder}")


READER = Reader("dtr-log", "a log of DTR's prototype (JSON lines)", _recognises, _read, check_log_writable)
