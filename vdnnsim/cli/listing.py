"""`vdnnsim list`: what there is to name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from vdnnsim.errors import UnknownName


def list_command(
    what: Annotated[str, typer.Argument(help="networks, gpus, traces or policies.")],
) -> None:
    """List the networks, GPUs, traces or policies that can be named."""
    lists: dict[str, Callable[[], list[tuple[str, str]]]] = {
        "networks": _networks,
        "gpus": _gpus,
        "traces": _traces,
        "policies": _policies,
    }
    if what not in lists:
        raise UnknownName("list", what, lists)
    rows = lists[what]()
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
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


def _gpus() -> list[tuple[str, str]]:
    from vdnnsim.gpu import list_profiles, read_profile
    from vdnnsim.units import format_bytes

    rows = []
    for path in list_profiles():
        gpu = read_profile(path)
        link = gpu.link
        out, back = link.copy_out.bandwidth_bytes_per_s, link.copy_in.bandwidth_bytes_per_s
        text = (
            f"{gpu.title}; {format_bytes(gpu.capacity_bytes)}, "
            f"link {format_bytes(out)}/s out, {format_bytes(back)}/s in"
        )
        rows.append((gpu.name, text))
    return rows


def _traces() -> list[tuple[str, str]]:
    from vdnnsim.trace import list_traces

    return [
        (f"{header.gpu}  {header.network:9} batch {header.batch:3}  {header.math}", str(path))
        for path, header in list_traces()
    ]


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
        text = doc.strip().partition("\n")[0]
        if name in PARAMETERISED:
            text = f"{text} Parameters: {parameters_of(PARAMETERISED[name])}."
        if name in ONE_WAY_POLICIES and name not in POLICIES:
            text = f"The same on a captured step, whose kernels have one algorithm each: {text}"
        rows.append((name, text))
    return rows
