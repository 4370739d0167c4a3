"""`vdnnsim check`: every fault of the given files, with file, line, field, found, expected."""

from __future__ import annotations

import contextlib
import os
import tomllib
from pathlib import Path
from typing import Annotated

import typer

from vdnnsim.errors import Fault, InvalidFile, InvalidInput, UnknownName
from vdnnsim.files import read_text


def check_command(
    files: Annotated[
        list[Path],
        typer.Argument(help="Traces (.csv or their .toml), GPU profiles, networks, sweeps, calibration cases (.toml)."),
    ],
) -> None:
    """Check traces, GPU profiles, networks, sweeps and lists of cases; a trace also against its network."""
    faulty = 0
    networks = _networks_among(files)
    for path in files:
        try:
            what = _check(path, networks)
        except InvalidInput as error:
            faulty += 1
            typer.echo(str(error), err=True)
        else:
            typer.echo(f"{path}: {what}: no faults")
    if faulty:
        typer.echo(f"vdnnsim: {faulty} of {len(files)} files have faults", err=True)
        raise typer.Exit(InvalidInput.exit_code)


def _networks_among(files: list[Path]) -> dict[str, Path]:
    """The networks of one's own among the files, by name; faults are told when their turn comes."""
    from vdnnsim.network.toml_file import read_network

    networks = {}
    for path in files:
        with contextlib.suppress(InvalidInput):
            if path.suffix == ".toml" and "layer" in _top_level_keys(path):
                networks[read_network(path, batch=1).name] = path
    return networks


def _check(path: Path, networks: dict[str, Path]) -> str:
    if not os.path.lexists(path):
        read_text(path)  # says that there is nothing, whatever it is called
    if path.suffix == ".csv":
        return _check_trace(path, networks)
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
    if "axes" in keys:
        from vdnnsim.sweep.spec import read_spec

        return f"sweep, {read_spec(path).title}"
    if "case" in keys:
        from vdnnsim.calibration.cases import read_cases

        cases = read_cases(path)
        return f"calibration of {cases.gpu}, {len(cases.case)} groups of cases"
    if "gpu" in keys or "network" in keys:
        return _check_trace(path.with_suffix(".csv"), networks)
    expected = (
        "a network ([[layer]]), a GPU profile ([memory], [link]), a trace's header (gpu, network), a sweep ([axes]) "
        "or a list of cases ([[case]])"
    )
    raise InvalidFile([Fault(str(path), None, "tables", ", ".join(sorted(keys)) or "none", expected)])


def _check_trace(table: Path, networks: dict[str, Path]) -> str:
    from vdnnsim.network import Network, load_network
    from vdnnsim.trace import read_header, read_trace

    header = read_header(table)
    network: Network | None = None
    with contextlib.suppress(UnknownName):  # a user's own network: the table is still checked for itself
        network = load_network(networks.get(header.network, header.network), header.batch)
    trace = read_trace(table, network)
    against = "" if network else f" (not compared with {header.network}: name its file too)"
    return f"trace of {trace.header.title}, {len(trace.rows)} rows{against}"


def _top_level_keys(path: Path) -> set[str]:
    text = read_text(path)
    try:
        return set(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidFile([Fault(str(path), None, "TOML", str(error), "well-formed TOML")]) from None
