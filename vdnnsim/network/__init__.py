"""Networks: layers with shapes, the graph of feature maps between them, the built-in ones."""

from vdnnsim.network.builtin import NETWORKS, load_network
from vdnnsim.network.graph import FeatureMap, Network, View, build_network
from vdnnsim.network.iteration import (
    WRITES_GRADIENT,
    gradient_operand,
    iteration_of,
    map_operand,
    operator_of,
    saved_operand,
    weight_gradient_operand,
    weights_operand,
)
from vdnnsim.network.layers import DATA, Kind, Layer, LayerFault, LayerSpec, Shape, infer_layer, shape_bytes
from vdnnsim.network.likeness import layer_digests, layout_of, network_sha256, shape_key

__all__ = [
    "DATA",
    "NETWORKS",
    "WRITES_GRADIENT",
    "FeatureMap",
    "Kind",
    "Layer",
    "LayerFault",
    "LayerSpec",
    "Network",
    "Shape",
    "View",
    "build_network",
    "gradient_operand",
    "infer_layer",
    "iteration_of",
    "layer_digests",
    "layout_of",
    "load_network",
    "map_operand",
    "network_sha256",
    "operator_of",
    "saved_operand",
    "shape_bytes",
    "shape_key",
    "weight_gradient_operand",
    "weights_operand",
]
