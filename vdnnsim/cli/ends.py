"""How a command's process ends: one line and an exit code for whatever went wrong."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

from vdnnsim.errors import VdnnsimError, for_terminal

__all__ = ["EXIT_INTERRUPTED", "EXIT_INVALID_INPUT", "EXIT_READER_GONE", "run_to_the_end"]

EXIT_READER_GONE = 1
EXIT_INVALID_INPUT = 2
EXIT_INTERRUPTED = 130


def run_to_the_end(name: str, command: Callable[[], object]) -> None:
    """Run a command, and end the process where it fails, with a line on stderr that begins with the program's name.

    Exit codes: 0 done (also when a policy does not train: that is an answer), 2 wrong input or usage, 130 interrupted;
    1 when whoever reads our output has gone, as `head` does, without a word. SIGPIPE stays ignored, as Python has it:
    its default would also end us, silently, where a worker's pipe or a cluster's socket breaks.
    """
    _hold_closed_streams()
    try:
        try:
            command()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        sys.exit(EXIT_READER_GONE)
    except VdnnsimError as error:
        _tell(f"{name}: {for_terminal(error)}")
        sys.exit(error.exit_code)
    except OSError as error:
        _drop_output()
        why = "stdout is closed" if error.errno == errno.EBADF else error.strerror
        _tell(f"{name}: cannot write: {why}")
        sys.exit(EXIT_INVALID_INPUT)
    except KeyboardInterrupt:  # before or after a command; under one it is an error like others
        _tell(f"{name}: interrupted")
        sys.exit(EXIT_INTERRUPTED)


def _tell(line: str) -> None:
    """A line on stderr; where that takes none, as on a full disk, the exit code says it alone."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _hold_closed_streams() -> None:
    """Streams that the caller closed (`>&-`) are none for Python, and the next file opened would be taken for them.
    Afterwards stdout fails where something is written to it, and stderr swallows it."""
    ways = {"stdin": ("r", os.O_RDONLY), "stdout": ("w", os.O_RDONLY), "stderr": ("w", os.O_WRONLY)}
    for number, (stream, (mode, way)) in enumerate(ways.items()):
        if getattr(sys, stream) is None:
            handle = os.open(os.devnull, way)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            setattr(sys, stream, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - for good


def _drop_output() -> None:
    """Python flushes once more at its end; what nobody can read then goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
