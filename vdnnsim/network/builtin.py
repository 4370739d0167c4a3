"""The built-in networks by name, and the one place that turns a name or a file into a `Network`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from vdnnsim.errors import InvalidInput, UnknownName
from vdnnsim.network import branching, chains
from vdnnsim.network.graph import Network, build_network
from vdnnsim.network.layers import LayerSpec
from vdnnsim.network.toml_file import read_network


class BuiltIn(NamedTuple):
    """A network that comes with the package: the side of its square images of three channels, in pixels; its layers."""

    side: int
    specs: Callable[[], list[LayerSpec]]


NETWORKS: Mapping[str, BuiltIn] = MappingProxyType(
    {
        "alexnet": BuiltIn(224, chains.alexnet),
        "overfeat": BuiltIn(231, chains.overfeat),
        "googlenet": BuiltIn(224, branching.googlenet),
        "vgg11": BuiltIn(224, partial(chains.vgg, (1, 1, 2, 2, 2))),
        "vgg16": BuiltIn(224, partial(chains.vgg, (2, 2, 3, 3, 3))),
        "vgg19": BuiltIn(224, partial(chains.vgg, (2, 2, 4, 4, 4))),
        "vgg116": BuiltIn(224, partial(chains.very_deep_vgg, 100)),
        "vgg216": BuiltIn(224, partial(chains.very_deep_vgg, 200)),
        "vgg316": BuiltIn(224, partial(chains.very_deep_vgg, 300)),
        "vgg416": BuiltIn(224, partial(chains.very_deep_vgg, 400)),
        "resnet50": BuiltIn(224, branching.resnet50),
        "squeezenet": BuiltIn(224, branching.squeezenet),
        "mobilenet": BuiltIn(224, chains.mobilenet),
    }
)
LARGEST_BATCH = 1 << 20


def load_network(name: str | Path, batch: int) -> Network:
    """The built-in network of this name, or the one in this TOML file, for `batch` images.

    Raises `UnknownName`, `InvalidInput` for an impossible batch, `InvalidFile` for a damaged file.
    """
    if not isinstance(batch, int) or not 1 <= batch <= LARGEST_BATCH:
        raise InvalidInput(f"batch: found {batch!r}, expected a whole number from 1 to {LARGEST_BATCH}")
    text = str(name)
    if text in NETWORKS:
        side, specs = NETWORKS[text]
        return build_network(text, (batch, 3, side, side), specs())
    if isinstance(name, Path) or text.endswith(".toml") or "/" in text:
        return read_network(Path(name), batch)
    raise UnknownName("network", text, NETWORKS)
