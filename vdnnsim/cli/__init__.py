"""The command line: words to calls, nothing else."""

from __future__ import annotations

import os
import sys

from vdnnsim.errors import VdnnsimError

EXIT_READER_GONE = 1
EXIT_INVALID_INPUT = 2
EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line and end the process.

    Exit codes: 0 done (also when a policy does not train: that is an answer), 2 wrong input or usage, 130 interrupted;
    1 when whoever reads our output has gone, as `head` does, without a word. SIGPIPE stays ignored, as Python has it:
    its default would also end us, silently, where a worker's pipe or a cluster's socket breaks.
    """
    try:
        from vdnnsim.cli.app import app

        try:
            app()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        sys.exit(EXIT_READER_GONE)
    except VdnnsimError as error:
        print(f"vdnnsim: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        print(f"vdnnsim: cannot write: {error.strerror}", file=sys.stderr)
        sys.exit(EXIT_INVALID_INPUT)
    except KeyboardInterrupt:  # before or after a command; under one it is an error like others
        print("vdnnsim: interrupted", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
