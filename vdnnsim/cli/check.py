"""`vdnnsim check`: every fault of the given files, with file, line, field, found, expected."""

from __future__ import annotations

import contextlib
import os
import tomllib
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from vdnnsim.errors import Fault, InvalidFile, InvalidInput, UnknownName, for_terminal
from vdnnsim.file_kinds import FileKind, kind_of
from vdnnsim.files import read_text


class _Checked(NamedTuple):
    """A file without faults: what it is, and what in it is worth a look."""

    what: str
    warnings: tuple[str, ...] = ()


def check_command(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Traces (.csv or their .toml), GPU profiles, topologies, networks, sweeps, calibration cases (.toml), "
            "folders of captured steps, plans (.json)."
        ),
    ],
) -> None:
    """Check traces, GPU profiles, networks, sweeps, captured steps, plans, lists of cases; a trace also against its
    network.

    What is no fault but seldom meant is a warning, on standard error; the exit code tells faults alone.
    """
    faulty = 0
    networks = _networks_among(files)
    for path in files:
        try:
            checked = _check(path, networks)
        except InvalidInput as error:
            faulty += 1
            typer.echo(for_terminal(error), err=True)
        else:
            for warning in checked.warnings:
                typer.echo(f"{path}: warning: {warning}", err=True)
            warned = f", {_count(len(checked.warnings), 'warning')}" if checked.warnings else ""
            typer.echo(f"{path}: {checked.what}: no faults{warned}")
    if faulty:
        typer.echo(f"vdnnsim: {faulty} of {len(files)} files have faults", err=True)
        raise typer.Exit(InvalidInput.exit_code)


def _networks_among(files: list[Path]) -> dict[str, Path]:
    """The networks of one's own among the files, by name; faults are told when their turn comes."""
    from vdnnsim.network.toml_file import read_network

    networks = {}
    for path in files:
        with contextlib.suppress(InvalidInput):
            if path.suffix == ".toml" and kind_of(_top_level_keys(path)) is FileKind.NETWORK:
                networks[read_network(path, batch=1).name] = path
    return networks


def _check(path: Path, networks: dict[str, Path]) -> _Checked:
    if not os.path.lexists(path):
        read_text(path)  # says that there is nothing, whatever it is called
    if path.is_dir():
        return _check_captures(path)
    if path.suffix == ".json":
        from vdnnsim.captured import PlanFile
        from vdnnsim.policies.stored import read_plan

        if '"planned_for"' in read_text(path):
            document = read_plan(path)
            return _Checked(f"plan of {document.policy} for {document.planned_for.network}")
        plan = PlanFile.load(path)
        return _Checked(f"plan of {plan.policy} for {plan.step}, {_count(len(plan.leaving), 'block')} of it leave")
    if path.suffix == ".csv":
        return _check_trace(path, networks)
    if path.suffix != ".toml":
        expected = "a name that ends in .csv or .toml, a plan's in .json"
        raise InvalidFile([Fault(str(path), None, "name", f"'{path.name}'", expected)])
    keys = _top_level_keys(path)
    kind = kind_of(keys)
    if kind is FileKind.NETWORK:
        from vdnnsim.network.toml_file import read_network

        network = read_network(path, batch=1)
        return _Checked(f"network of {_count(len(network.layers), 'layer')}")
    if kind is FileKind.TOPOLOGY:
        from vdnnsim.topology import read_topology

        found = read_topology(path)
        return _Checked(f"topology of {_count(len(found.gpus), 'GPU')}, {_count(len(found.links), 'shared link')}")
    if kind is FileKind.PROFILE:
        from vdnnsim.gpu import read_profile, read_profile_file

        profile = read_profile_file(path)
        return _Checked(f"GPU profile of {(profile if profile.no_link else read_profile(path)).name}")
    if kind is FileKind.SWEEP:
        from vdnnsim.sweep.spec import read_spec

        title = read_spec(path).title
        return _Checked(f"sweep, {title}" if title else "sweep")
    if kind is FileKind.CASES:
        from vdnnsim.calibration.cases import read_cases

        cases = read_cases(path)
        return _Checked(f"calibration of {cases.gpu}, {_count(len(cases.case), 'group')} of cases")
    if kind in (FileKind.STEP, FileKind.STEPS):
        return _check_captures(path.parent)
    if kind is FileKind.TRACE:
        return _check_trace(path.with_suffix(".csv"), networks)
    expected = (
        "a network ([[layer]]), a GPU profile ([memory], [link]), a trace's header (gpu, network), a sweep ([axes]), "
        "a topology (gpus, [[link]]) or a list of cases ([[case]])"
    )
    raise InvalidFile([Fault(str(path), None, "tables", ", ".join(sorted(keys)) or "none", expected)])


def _check_captures(folder: Path) -> _Checked:
    from vdnnsim.captured import is_steps, read_step, read_steps

    if is_steps(folder):
        varied, steps = read_steps(folder)
        return _Checked(f"captured steps of {varied} {', '.join(map(str, steps))}")
    step = read_step(folder)
    counts = f"{_count(len(step.kernels), 'kernel')}, {_count(len(step.saved), 'saved tensor')}"
    return _Checked(f"captured step of {step.header.name} on {step.header.gpu}, {counts}")


def _check_trace(table: Path, networks: dict[str, Path]) -> _Checked:
    from vdnnsim.network import Network, load_network
    from vdnnsim.trace import oddities, read_trace
    from vdnnsim.trace.header import read_header_file

    file = read_header_file(table)
    network: Network | None = None
    with contextlib.suppress(UnknownName):  # a user's own network: the table is still checked for itself
        network = load_network(networks.get(file.network, file.network), file.batch)
    trace = read_trace(table, network)
    promised = "as promised" if file.identity.rows else "its header promises no number"
    what = f"trace of {trace.header.title}, {_count(len(trace.rows), 'row')}, {promised}"
    return _Checked(what, tuple(oddities(trace, network)))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _top_level_keys(path: Path) -> set[str]:
    text = read_text(path)
    try:
        return set(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidFile([Fault(str(path), None, "TOML", str(error), "well-formed TOML")]) from None
