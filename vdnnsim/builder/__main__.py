"""``python -m vdnnsim.builder``: build a trace for titan-x-maxwell, or all that come with the package."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vdnnsim.builder import checks, fits
from vdnnsim.builder.titan_x_maxwell import write_built, write_shipped
from vdnnsim.errors import VdnnsimError
from vdnnsim.network import load_network


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m vdnnsim.builder",
        description="Build traces for titan-x-maxwell: published times where there are some, modelled otherwise.",
    )
    parser.add_argument("network", nargs="?", help="a built-in network, or the path of a TOML network")
    parser.add_argument("--batch", type=int, help="images per iteration")
    parser.add_argument("--out", type=Path, help="folder of traces to write into")
    parser.add_argument("--all", action="store_true", help="build every trace that comes with the package")
    parser.add_argument("--check", action="store_true", help="compare the model with published totals")
    parser.add_argument("--fits", action="store_true", help="refit every constant and show it beside the one in use")
    options = parser.parse_args(arguments)
    if options.check or options.fits:
        print("\n".join(checks.report() if options.check else fits.fit_table()))
        return 0
    if options.out is None or (options.network is None) != options.all or options.all == (options.batch is not None):
        parser.error("give either NETWORK --batch N --out DIR, or --all --out DIR")
    try:
        if options.all:
            tables = write_shipped(options.out)
        else:
            tables = [write_built(load_network(options.network, options.batch), options.out)]
    except VdnnsimError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print("\n".join(str(table) for table in tables))
    return 0


if __name__ == "__main__":
    sys.exit(main())
