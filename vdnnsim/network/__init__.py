"""Networks: layers with shapes, the graph of feature maps between them, the built-in ones."""

from vdnnsim.network.builtin import NETWORKS, load_network
from vdnnsim.network.graph import FeatureMap, Network, View, build_network
from vdnnsim.network.layers import DATA, Kind, Layer, LayerFault, LayerSpec, Shape, infer_layer, shape_bytes
from vdnnsim.network.likeness import layer_digests, layout_of, network_sha256, shape_key

__all__ = [
    "DATA",
    "NETWORKS",
    "FeatureMap",
    "Kind",
    "Layer",
    "LayerFault",
    "LayerSpec",
    "Network",
    "Shape",
    "View",
    "build_network",
    "infer_layer",
    "layer_digests",
    "layout_of",
    "load_network",
    "network_sha256",
    "shape_bytes",
    "shape_key",
]
