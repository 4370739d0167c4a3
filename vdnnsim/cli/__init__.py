"""The command line: words to calls, nothing else."""

from __future__ import annotations

import sys

from vdnnsim.errors import VdnnsimError

EXIT_INVALID_INPUT = 2
EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line and end the process.

    Exit codes: 0 done (also when a policy does not train: that is an answer), 2 wrong input or usage, 130 interrupted.
    """
    from vdnnsim.cli.app import app

    try:
        app()
    except VdnnsimError as error:
        print(f"vdnnsim: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has gone; Python would complain about it at exit
        sys.exit(0)
    except KeyboardInterrupt:
        print("vdnnsim: interrupted", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
