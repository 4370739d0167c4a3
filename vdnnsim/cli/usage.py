"""What Typer finds wrong with a command line, in one line as all our errors are: what, what was found, what was
expected, and where help is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from vdnnsim.errors import InvalidInput, printable, shown

UsageError: Any = typer.BadParameter.__bases__[0]
"""Typer's, or that of the click that it is built on: by its version."""
_PYDANTIC_BEGINS = "Input should be "


@contextmanager
def in_our_words() -> Iterator[None]:
    """Raise what is wrong with a command line as `InvalidInput`; a group that was given no command shows its help."""
    try:
        yield
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            raise
        where = error.ctx.command_path if error.ctx else "vdnnsim"
        raise InvalidInput(f"{_said(error)}; '{where} --help' says more") from None


def _said(error: Any) -> str:
    param = getattr(error, "param", None)
    if param is None:
        return _begun_small(printable(error.format_message()))
    name = param.opts[0] if param.opts[0].startswith("-") else param.metavar or param.name.upper()
    if type(error).__name__ == "MissingParameter":
        return f"{name}: found none, expected {_begun_small(param.help or 'one')}"
    expected = _begun_small(printable(error.format_message().split(": ", 1)[-1]))
    expected = expected.replace(_begun_small(_PYDANTIC_BEGINS), "expected ", 1)
    faults: list[Any] = getattr(error.__cause__, "errors", list)()
    return f"{name}: found {shown(str(faults[0]['input']))}, {expected}" if faults else f"{name}: {expected}"


def _begun_small(sentence: str) -> str:
    """A sentence within another: without its end, its first letter small where it is no name."""
    small = sentence[:1].lower() if sentence[1:2] == " " or sentence[1:2].islower() else sentence[:1]
    return f"{small}{sentence[1:]}".rstrip(".?")
