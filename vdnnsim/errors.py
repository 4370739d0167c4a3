"""The errors a user can meet: each says what is wrong, where, what was expected and what to do.

Every error keeps its data in ``args``, so that it survives pickling and SimPy, which rebuilds an exception
that leaves a process as ``type(error)(*error.args)``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NamedTuple


def shown(text: str, most: int = 60) -> str:
    """A text from outside as a message may show it: quoted, in one line, not too long."""
    return repr(text if len(text) <= most else text[:most] + "...")


def printable(text: str) -> str:
    """A text from outside in one line, without what would move a terminal's cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def for_terminal(error: BaseException) -> str:
    """What an error says, line by line, without what would move a terminal's cursor: names in it are from outside."""
    return "\n".join(map(printable, f"{error}".split("\n")))


class VdnnsimError(Exception):
    """Root of all errors raised on purpose; the command line prints it and ends with `exit_code`."""

    exit_code = 2


class InvalidInput(VdnnsimError):  # noqa: N818 - reads as what it is
    """A value from outside that cannot be used; ``args`` is (message,)."""

    def __str__(self) -> str:
        return str(self.args[0])


class NoPlan(InvalidInput):
    """A policy that found no plan with which the iteration trains in this memory; ``args`` is (message,)."""


class InvalidValue(InvalidInput):
    """A value that is not what it should be; ``args`` is (what it is of, what was found, what was expected)."""

    def __init__(self, what: str, found: str, expected: str) -> None:
        super().__init__(what, found, expected)

    @property
    def what(self) -> str:
        return str(self.args[0])

    @property
    def found(self) -> str:
        return str(self.args[1])

    @property
    def expected(self) -> str:
        return str(self.args[2])

    def __str__(self) -> str:
        return f"{self.what}: found {self.found}, expected {self.expected}"


class CannotWrite(InvalidInput):
    """A file that cannot be written: no folder, no permission, no room; ``args`` is (path, why, what to do)."""

    def __init__(self, path: str, why: str, advice: str) -> None:
        super().__init__(path, why, advice)

    @property
    def path(self) -> str:
        return str(self.args[0])

    @property
    def why(self) -> str:
        return str(self.args[1])

    def __str__(self) -> str:
        path, why, advice = self.args
        return f"cannot write {path}: {why}; {advice}"


class UnknownName(InvalidInput):
    """A name that nothing goes by; ``args`` is (kind, name, known names)."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        super().__init__(kind, name, tuple(known))

    def __str__(self) -> str:
        kind, name, known = self.args
        return f"unknown {kind} '{name}'{did_you_mean(name, known, '.')} Known: {', '.join(known) or 'none'}"


def did_you_mean(name: str, known: Iterable[str], otherwise: str = ";") -> str:
    """The nearest of the known names as a question, or what else stands there."""
    named = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), named, n=1, cutoff=0.5)
    return f"; did you mean '{named[near[0]]}'?" if near else otherwise


def check_known(kind: str, name: str, known: Iterable[str]) -> None:
    """Raise `UnknownName` for a name that nothing goes by."""
    if name not in (names := tuple(known)):
        raise UnknownName(kind, name, names)


def first_line(error: BaseException) -> str:
    """The first line of what an error says that is not ours: PyTorch's and users' may go on for pages."""
    return next(iter(f"{error}".strip().splitlines()), "")


class Fault(NamedTuple):
    """One fault in a file: where it is, what stands there, what was expected. Without `found`, `expected` is all that
    is said of the place."""

    file: str
    line: int | None
    field: str
    found: str
    expected: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        said = f"found {self.found}; expected {self.expected}" if self.found else self.expected
        return f"{place}: {self.field}: {said}"


class InvalidFile(InvalidInput):
    """A file that does not hold what it should; ``args`` is (tuple of `Fault`,)."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        super().__init__(tuple(faults))

    @property
    def faults(self) -> tuple[Fault, ...]:
        faults: tuple[Fault, ...] = self.args[0]
        return faults

    def __str__(self) -> str:
        shown = [str(fault) for fault in self.faults[:20]]
        if len(self.faults) > len(shown):
            shown.append(f"... and {len(self.faults) - len(shown)} more faults")
        return "\n".join(shown)


class MissingTrace(InvalidInput):
    """No trace for what was asked; ``args`` is (what, traces there are, how to make one)."""

    def __init__(self, wanted: str, available: Iterable[str], advice: str) -> None:
        super().__init__(wanted, tuple(available), advice)

    def but(self, wanted: str) -> MissingTrace:
        """The same of something else that was wanted."""
        return MissingTrace(wanted, *self.args[1:])

    def __str__(self) -> str:
        wanted, available, advice = self.args
        known = "\n  ".join(available) or "none"
        return f"no trace for {wanted}. There are:\n  {known}\n{advice}"
