"""The command line in this process: the same words, output and exit codes, without half a second of imports."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple

import pytest

from vdnnsim.cli import main


class Done(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


def in_process(words: Sequence[str]) -> Done:
    """`vdnnsim` with these arguments."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    code = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["vdnnsim", *words])
        patch.setattr(sys, "path", [*sys.path])
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return Done(code, *(stream.detach().getvalue().decode() for stream in (out, err)))
