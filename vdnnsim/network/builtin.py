"""The built-in networks by name, and the one place that turns a name or a file into a `Network`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from vdnnsim.errors import InvalidInput, UnknownName
from vdnnsim.network import branching, chains
from vdnnsim.network.graph import Network, build_network
from vdnnsim.network.layers import LayerSpec
from vdnnsim.network.toml_file import read_network

_SIDES = {"overfeat": 231}

NETWORKS: Mapping[str, Callable[[], list[LayerSpec]]] = MappingProxyType(
    {
        "alexnet": chains.alexnet,
        "overfeat": chains.overfeat,
        "googlenet": branching.googlenet,
        "vgg11": partial(chains.vgg, (1, 1, 2, 2, 2)),
        "vgg16": partial(chains.vgg, (2, 2, 3, 3, 3)),
        "vgg19": partial(chains.vgg, (2, 2, 4, 4, 4)),
        "vgg116": partial(chains.very_deep_vgg, 100),
        "vgg216": partial(chains.very_deep_vgg, 200),
        "vgg316": partial(chains.very_deep_vgg, 300),
        "vgg416": partial(chains.very_deep_vgg, 400),
        "resnet50": branching.resnet50,
        "squeezenet": branching.squeezenet,
        "mobilenet": chains.mobilenet,
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
        side = _SIDES.get(text, 224)
        return build_network(text, (batch, 3, side, side), NETWORKS[text]())
    if isinstance(name, Path) or text.endswith(".toml") or "/" in text:
        return read_network(Path(name), batch)
    raise UnknownName("network", text, NETWORKS)
