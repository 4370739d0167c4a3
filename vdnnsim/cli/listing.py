"""`vdnnsim list`: what there is to name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from vdnnsim.errors import UnknownName

if TYPE_CHECKING:
    from vdnnsim.gpu import ProfileFile
    from vdnnsim.gpu.schema import Curve


def list_command(
    what: Annotated[str, typer.Argument(help="networks, gpus, topologies, traces, steps or policies.")],
) -> None:
    """List the networks, GPUs, topologies of hosts, traces, captured steps or policies that can be named."""
    lists: dict[str, Callable[[], list[tuple[str, str]] | None]] = {
        "networks": _networks,
        "gpus": _print_gpus,
        "topologies": _topologies,
        "traces": _traces,
        "steps": _steps,
        "policies": _policies,
    }
    if what not in lists:
        raise UnknownName("list", what, lists)
    rows = lists[what]() or []
    if rows and sys.stdout.isatty():
        from rich.text import Text

        from vdnnsim.report.terminal import output_console, print_items

        print_items(output_console(), [(name, Text(text)) for name, text in rows])
        return
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:  # in a pipe each on one line
        typer.echo(f"{name:{width}}  {text}".rstrip())


def _networks() -> list[tuple[str, str]]:
    from vdnnsim.network import NETWORKS, Kind, load_network
    from vdnnsim.units import format_bytes

    rows = []
    for name in NETWORKS:
        network = load_network(name, 1)
        convs = sum(layer.kind == Kind.CONV for layer in network.layers)
        _, _, height, width = network.input_shape
        maps_bytes = sum(feature_map.size_bytes for feature_map in network.maps.values())
        text = (
            f"{len(network.layers):3} layers, {convs:3} CONV, input {height}x{width}, "
            f"weights {format_bytes(network.weights_bytes)}, feature maps {format_bytes(maps_bytes)} an image"
        )
        rows.append((name, text))
    return rows


def _print_gpus() -> None:
    """A table: what was not found of a GPU is "-"."""
    from rich.table import Table

    from vdnnsim.gpu import list_profiles, read_profile_file
    from vdnnsim.report.terminal import output_console, print_table

    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column("\nGPU", no_wrap=True)
    for heading in ("memory\nGB", "link out\nGB/s", "link in\nGB/s", "both ways\nout / in", "other socket\nout / in"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("memory and link are\n", no_wrap=True)
    for path in list_profiles():
        table.add_row(*_gpu_cells(read_profile_file(path)))
    print_table(output_console(), table, ("other socket", "both ways"))


def _gpu_cells(file: ProfileFile) -> list[str]:
    from vdnnsim.units import parse_bytes

    parts: dict[str, str] = {"memory": file.memory.provenance}
    cells = [file.name, f"{parse_bytes(file.memory.capacity) / 1e9:.2f}"]
    if file.link is None:
        return [*cells, "none", "none", "-", "-", parts["memory"]]
    out, back = file.link.copy_out, file.link.copy_in
    parts |= {"out": out.provenance, "in": back.provenance}
    slowed = file.link.both_ways
    if slowed:
        parts["both"] = slowed.label
    remote = file.link.remote
    return [
        *cells,
        _rate(out),
        _rate(back),
        f"{_rate(out, slowed.copy_out_slowdown)} / {_rate(back, slowed.copy_in_slowdown)}" if slowed else "-",
        f"{_rate(remote.copy_out)} / {_rate(remote.copy_in)}" if remote else "-",
        ", ".join(dict.fromkeys(parts.values())),
    ]


def _rate(curve: Curve, slowdown: float | None = 1.0) -> str:
    return f"{curve.curve().bandwidth_bytes_per_s / slowdown / 1e9:.1f}" if slowdown else "-"


def _topologies() -> list[tuple[str, str]]:
    from vdnnsim.topology import list_topologies, read_topology

    found = [read_topology(path) for path in list_topologies()]
    return [(one.name, f"{len(one.gpus)} GPUs; {one.title} ({', '.join(one.provenance)})") for one in found]


def _traces() -> list[tuple[str, str]]:
    from vdnnsim.trace import list_traces

    return [
        (f"{header.gpu}  {header.network:9} batch {header.batch:3}  {header.math}", str(path))
        for path, header in list_traces()
    ]


def _steps() -> list[tuple[str, str]]:
    from vdnnsim.captured import read_header, shipped_steps

    rows = []
    for name, folder in shipped_steps().items():
        header, seen = read_header(folder)
        setting = "".join(f", {key} {value}" for key, value in header.setting.items())
        seconds = f"{seen.step_ns / 1e6:.1f} ms a step, peak {seen.peak_requested_bytes / 1e9:.2f} GB"
        rows.append((name, f"{header.gpu}, PyTorch {header.torch}{setting}; {seconds}"))
    return rows


def _policies() -> list[tuple[str, str]]:
    from vdnnsim.errors import InvalidInput
    from vdnnsim.policies import (
        ONE_WAY_POLICIES,
        PARAMETERISED,
        POLICIES,
        built_in_policies,
        installed_policies,
        make_policy,
    )
    from vdnnsim.policies.grammar import parameters_of

    rows = []
    for name in (*built_in_policies(), *installed_policies()):
        try:
            doc = type(make_policy(name)).__doc__ or ""
        except InvalidInput as error:  # an installed one that does not work hides no other
            doc = f"cannot be used: {error}"
        text = f"{' '.join(doc.split()).partition('. ')[0].rstrip('.')}."
        if name in PARAMETERISED and (parameters := parameters_of(PARAMETERISED[name])):
            text = f"{text} Parameters: {parameters}."
        if name in ONE_WAY_POLICIES and name not in POLICIES:
            text = f"{name}(m) and {name}(p) of a captured step, whose kernels have one algorithm each."
        rows.append((name, text))
    return rows
