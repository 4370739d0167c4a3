"""Ctrl-C under every command."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

from vdnnsim.errors import VdnnsimError


class Interrupted(VdnnsimError):  # noqa: N818 - reads as what it is
    """The user pressed Ctrl-C."""

    exit_code = 130

    def __str__(self) -> str:
        return "interrupted"


class InterruptibleGroup(TyperGroup):
    """All commands. Typer ends a process that Ctrl-C reaches itself, without a word or with "Aborted!" by its version;
    here it becomes an error like others before Typer sees it."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted from None
