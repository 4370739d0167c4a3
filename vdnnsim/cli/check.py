"""`vdnnsim check`: every fault of the given files, with file, line, field, found, expected."""

from __future__ import annotations

import contextlib
import tomllib
from pathlib import Path
from typing import Annotated

import typer

from vdnnsim.errors import Fault, InvalidFile, InvalidInput, UnknownName
from vdnnsim.files import read_text


def check_command(
    files: Annotated[list[Path], typer.Argument(help="Traces (.csv or their .toml), GPU profiles, networks (.toml).")],
) -> None:
    """Check traces, GPU profiles and networks; a trace also against its network where that is built in."""
    faulty = 0
    for path in files:
        try:
            what = _check(path)
        except InvalidInput as error:
            faulty += 1
            typer.echo(str(error), err=True)
        else:
            typer.echo(f"{path}: {what}: no faults")
    if faulty:
        typer.echo(f"vdnnsim: {faulty} of {len(files)} files have faults", err=True)
        raise typer.Exit(InvalidInput.exit_code)


def _check(path: Path) -> str:
    if path.suffix == ".csv":
        return _check_trace(path)
    if path.suffix != ".toml":
        raise InvalidFile([Fault(str(path), None, "name", f"'{path.name}'", "a name that ends in .csv or .toml")])
    keys = _top_level_keys(path)
    if "layer" in keys or "input" in keys:
        from vdnnsim.network.toml_file import read_network

        network = read_network(path, batch=1)
        return f"network of {len(network.layers)} layers"
    if "memory" in keys or "link" in keys:
        from vdnnsim.gpu import read_profile

        return f"GPU profile of {read_profile(path).name}"
    if "gpu" in keys or "network" in keys:
        return _check_trace(path.with_suffix(".csv"))
    expected = "a network ([[layer]]), a GPU profile ([memory], [link]) or a trace's header (gpu, network)"
    raise InvalidFile([Fault(str(path), None, "tables", ", ".join(sorted(keys)) or "none", expected)])


def _check_trace(table: Path) -> str:
    from vdnnsim.network import Network, load_network
    from vdnnsim.trace import read_header, read_trace

    header = read_header(table)
    network: Network | None = None
    with contextlib.suppress(UnknownName):  # a user's own network: the table is still checked for itself
        network = load_network(header.network, header.batch)
    trace = read_trace(table, network)
    against = "" if network else f" (not compared with {header.network}, which is not built in)"
    return f"trace of {trace.header.title}, {len(trace.rows)} rows{against}"


def _top_level_keys(path: Path) -> set[str]:
    text = read_text(path)
    try:
        return set(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidFile([Fault(str(path), None, "TOML", str(error), "well-formed TOML")]) from None
