"""``python -m vdnnsim.builder``: build a trace for titan-x-maxwell, one from layers of equal shape, or all shipped."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vdnnsim import Network, VdnnsimError, load_network, read_header, read_trace
from vdnnsim.cli.ends import run_to_the_end
from vdnnsim_builder import checks, fits
from vdnnsim_builder.same_shape import write_same_shape, write_shipped_same_shape
from vdnnsim_builder.titan_x_maxwell import write_built, write_shipped


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m vdnnsim.builder",
        description="Build traces for titan-x-maxwell (published times where there are some, modelled otherwise), or "
        "for any GPU from the trace of a network with layers of equal shape.",
    )
    parser.add_argument("network", nargs="?", help="a built-in network, or the path of a TOML network")
    parser.add_argument("--batch", type=int, help="images per iteration")
    parser.add_argument("--out", type=Path, help="folder of traces to write into")
    parser.add_argument(
        "--same-shape", type=Path, metavar="TABLE", help="take every row from this trace of another built-in network"
    )
    parser.add_argument(
        "--all", action="store_true", help="build every trace of both kinds that comes with the package"
    )
    parser.add_argument("--check", action="store_true", help="compare the model with published totals")
    parser.add_argument("--fits", action="store_true", help="refit every constant and show it beside the one in use")
    options = parser.parse_args(arguments)
    if options.check or options.fits:
        print("\n".join(checks.report() if options.check else fits.fit_table()))
        return 0
    if options.out is None or (options.network is None) != options.all or options.all == (options.batch is not None):
        parser.error("give either NETWORK --batch N --out DIR, or --all --out DIR")
    if options.all and options.same_shape:
        parser.error("--same-shape is for one NETWORK")
    try:
        if options.all:
            tables = [*write_shipped(options.out), *write_shipped_same_shape(options.out)]
        elif options.same_shape:
            tables = [_write_same_shape(load_network(options.network, options.batch), options.same_shape, options.out)]
        else:
            tables = [write_built(load_network(options.network, options.batch), options.out)]
    except VdnnsimError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print("\n".join(str(table) for table in tables))
    return 0


def _write_same_shape(network: Network, table: Path, directory: Path) -> Path:
    header = read_header(table)
    timed_network = load_network(header.network, header.batch)
    return write_same_shape(network, read_trace(table, timed_network), timed_network, directory)


if __name__ == "__main__":
    run_to_the_end("vdnnsim.builder", lambda: sys.exit(main()))
