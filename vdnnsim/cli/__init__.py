"""The command line: words to calls, nothing else."""

from __future__ import annotations

import signal
import sys

from vdnnsim.errors import VdnnsimError

EXIT_INVALID_INPUT = 2
EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line and end the process.

    Exit codes: 0 done (also when a policy does not train: that is an answer), 2 wrong input or usage, 130 interrupted.
    """
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly when whoever reads our output has gone, as ls does
    try:
        from vdnnsim.cli.app import app

        app()
    except VdnnsimError as error:
        print(f"vdnnsim: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        print(f"vdnnsim: cannot write: {error.strerror}", file=sys.stderr)
        sys.exit(EXIT_INVALID_INPUT)
    except KeyboardInterrupt:
        print("vdnnsim: interrupted", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
