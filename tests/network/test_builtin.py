"""The built-in networks against published numbers, and against sums written out from their shapes by hand."""

from __future__ import annotations

from collections import Counter

import pytest

from support.cases import gpu_of, trace_of
from vdnnsim.errors import InvalidInput, UnknownName
from vdnnsim.network import NETWORKS, Kind, load_network
from vdnnsim.policies import make_policy
from vdnnsim.study import Study

PARAMETERS = {
    # As counted by torchvision for its models; those of OverFeat and of the very deep VGGs below.
    "alexnet": 61_100_840,
    "vgg11": 132_863_336,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "resnet50": 25_557_032,
    "squeezenet": 1_248_424,
    # Howard et al. say 4.2 million. Filters: 864 + 9 x 4960 (one channel each) + 3 139 584 (1 x 1), no biases; scale
    # and shift of 10 944 channels in the BNs; FC 1 025 000
    "mobilenet": 4_231_976,
    "googlenet": 6_998_552,  # Caffe's bvlc_googlenet without the auxiliary heads
    # (11 x 11 x 3 + 1) x 96 + (5 x 5 x 96 + 1) x 256 + (9 x 256 + 1) x 512 + (9 x 512 + 1) x 1024
    # + (9 x 1024 + 1) x 1024 + (36 x 1024 + 1) x 3072 + 3073 x 4096 + 4097 x 1000
    "overfeat": 34_944 + 614_656 + 1_180_160 + 4_719_616 + 9_438_208 + 113_249_280 + 12_587_008 + 4_097_000,
    # VGG-19, and 20 more CONVs of 3 x 3 in each group: C x (9 C + 1) for C = 64, 128, 256, 512, 512
    "vgg116": 143_667_240 + 20 * (36_928 + 147_584 + 590_080 + 2_359_808 + 2_359_808),
    "vgg216": 143_667_240 + 40 * (36_928 + 147_584 + 590_080 + 2_359_808 + 2_359_808),
    "vgg316": 143_667_240 + 60 * (36_928 + 147_584 + 590_080 + 2_359_808 + 2_359_808),
    "vgg416": 143_667_240 + 80 * (36_928 + 147_584 + 590_080 + 2_359_808 + 2_359_808),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_trained_parameters(name: str) -> None:
    network = load_network(name, 1)
    assert sum(layer.weight_gradients_bytes for layer in network.layers) == 4 * PARAMETERS[name]


def test_weights_are_parameters_and_running_statistics() -> None:
    """BN keeps a running mean and variance besides: 26 560 channels in ResNet-50."""
    assert load_network("resnet50", 1).weights_bytes == 4 * (25_557_032 + 2 * 26_560)
    assert load_network("vgg16", 1).weights_bytes == 4 * 138_357_544


KINDS = {
    "alexnet": {"CONV": 5, "POOL": 3, "FC": 3},
    "overfeat": {"CONV": 5, "POOL": 3, "FC": 3},
    "googlenet": {"CONV": 57, "POOL": 14, "FC": 1, "CONCAT": 9},
    "vgg11": {"CONV": 8, "POOL": 5, "FC": 3},
    "vgg16": {"CONV": 13, "POOL": 5, "FC": 3},
    "vgg19": {"CONV": 16, "POOL": 5, "FC": 3},
    "vgg116": {"CONV": 116, "POOL": 5, "FC": 3},
    "vgg216": {"CONV": 216, "POOL": 5, "FC": 3},
    "vgg316": {"CONV": 316, "POOL": 5, "FC": 3},
    "vgg416": {"CONV": 416, "POOL": 5, "FC": 3},
    "resnet50": {"CONV": 53, "BN": 53, "POOL": 2, "FC": 1, "ADD": 16},
    "squeezenet": {"CONV": 26, "POOL": 4, "CONCAT": 8},
    "mobilenet": {"CONV": 27, "BN": 27, "POOL": 1, "FC": 1},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_of_each_kind(name: str) -> None:
    counts = Counter(layer.kind.value for layer in load_network(name, 1).layers)
    others = {Kind.ACTV.value, Kind.DROPOUT.value, Kind.SOFTMAX.value}
    assert {kind: count for kind, count in counts.items() if kind not in others} == KINDS[name]
    assert counts["SOFTMAX"] == 1


SHAPES = {
    "alexnet": {"conv1": (64, 55, 55), "pool1": (64, 27, 27), "conv2": (192, 27, 27), "pool5": (256, 6, 6)},
    "overfeat": {"conv1": (96, 56, 56), "pool1": (96, 28, 28), "conv2": (256, 24, 24), "pool5": (1024, 6, 6)},
    "vgg11": {"conv1_1": (64, 224, 224), "conv3_2": (256, 56, 56), "pool5": (512, 7, 7)},
    "vgg16": {"conv1_2": (64, 224, 224), "pool2": (128, 56, 56), "conv5_3": (512, 14, 14), "pool5": (512, 7, 7)},
    "vgg19": {"conv3_4": (256, 56, 56), "conv5_4": (512, 14, 14), "fc8": (1000, 1, 1)},
    "vgg416": {"conv1_82": (64, 224, 224), "conv5_84": (512, 14, 14), "pool5": (512, 7, 7)},
    "googlenet": {
        "conv1/7x7_s2": (64, 112, 112),
        "pool1/3x3_s2": (64, 56, 56),
        "pool2/3x3_s2": (192, 28, 28),
        "inception_3a/output": (256, 28, 28),
        "inception_3b/output": (480, 28, 28),
        "inception_4a/output": (512, 14, 14),
        "inception_4d/output": (528, 14, 14),
        "inception_4e/output": (832, 14, 14),
        "inception_5b/output": (1024, 7, 7),
        "pool5/7x7_s1": (1024, 1, 1),
    },
    "resnet50": {
        "conv1": (64, 112, 112),
        "pool1": (64, 56, 56),
        "res2_3_add": (256, 56, 56),
        "res3_1_1x1_in": (128, 56, 56),
        "res3_1_3x3": (128, 28, 28),
        "res4_6_add": (1024, 14, 14),
        "res5_3_add": (2048, 7, 7),
        "pool5": (2048, 1, 1),
    },
    "squeezenet": {
        "conv1": (96, 109, 109),
        "pool1": (96, 54, 54),
        "fire4/concat": (256, 54, 54),
        "pool8": (512, 13, 13),
        "conv10": (1000, 13, 13),
    },
    "mobilenet": {
        "conv1": (32, 112, 112),
        "conv2_depthwise": (32, 112, 112),
        "conv3_depthwise": (64, 56, 56),
        "conv6_1x1": (256, 28, 28),
        "conv12_1x1": (512, 14, 14),
        "conv13_depthwise": (512, 7, 7),
        "conv14_1x1": (1024, 7, 7),
        "pool": (1024, 1, 1),
    },
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str) -> None:
    network = load_network(name, 7)
    found = {layer: network.by_name[layer].output_shape for layer in SHAPES[name]}
    assert found == {layer: (7, *shape) for layer, shape in SHAPES[name].items()}


# Elements of one image's maps, by hand. First those that CONVs read, then those that only POOLs (and BNs) read.

VGG16_CONV = [
    3 * 224 * 224,  # data
    64 * 224 * 224,  # conv1_1
    64 * 112 * 112,  # pool1
    128 * 112 * 112,  # conv2_1
    128 * 56 * 56,  # pool2
    2 * 256 * 56 * 56,  # conv3_1, conv3_2
    256 * 28 * 28,  # pool3
    2 * 512 * 28 * 28,  # conv4_1, conv4_2
    512 * 14 * 14,  # pool4
    2 * 512 * 14 * 14,  # conv5_1, conv5_2
]
VGG16_POOL = [
    64 * 224 * 224,
    128 * 112 * 112,
    256 * 56 * 56,
    512 * 28 * 28,
    512 * 14 * 14,
]  # the last CONV of each group
VGG19_CONV = [*VGG16_CONV, 256 * 56 * 56, 512 * 28 * 28, 512 * 14 * 14]  # one CONV more in each of the last three
ALEXNET_CONV = [3 * 224 * 224, 64 * 27 * 27, 192 * 13 * 13, 384 * 13 * 13, 256 * 13 * 13]
ALEXNET_POOL = [64 * 55 * 55, 192 * 27 * 27, 256 * 13 * 13]
OVERFEAT_CONV = [3 * 231 * 231, 96 * 28 * 28, 256 * 12 * 12, 512 * 12 * 12, 1024 * 12 * 12]
OVERFEAT_POOL = [96 * 56 * 56, 256 * 24 * 24, 1024 * 12 * 12]
GOOGLENET_CONV = [
    3 * 224 * 224,  # data
    64 * 56 * 56,  # pool1
    64 * 56 * 56,  # conv2/3x3_reduce
    192 * 28 * 28,  # pool2
    (96 + 16 + 192) * 28 * 28,  # 3a: 3x3 reduce, 5x5 reduce, pool
    256 * 28 * 28,  # 3a's output
    (128 + 32 + 256) * 28 * 28,  # 3b
    480 * 14 * 14,  # pool3
    (96 + 16 + 480) * 14 * 14,  # 4a
    512 * 14 * 14,
    (112 + 24 + 512) * 14 * 14,  # 4b
    512 * 14 * 14,
    (128 + 24 + 512) * 14 * 14,  # 4c
    512 * 14 * 14,
    (144 + 32 + 512) * 14 * 14,  # 4d
    528 * 14 * 14,
    (160 + 32 + 528) * 14 * 14,  # 4e
    832 * 7 * 7,  # pool4
    (160 + 32 + 832) * 7 * 7,  # 5a
    832 * 7 * 7,
    (192 + 48 + 832) * 7 * 7,  # 5b
]
GOOGLENET_POOL = [
    64 * 112 * 112,  # conv1
    192 * 56 * 56,  # conv2/3x3
    480 * 28 * 28,  # 3b's output
    832 * 14 * 14,  # 4e's
    1024 * 7 * 7,  # 5b's
]
SQUEEZENET_CONV = [
    3 * 224 * 224,  # data
    96 * 54 * 54,  # pool1
    (16 + 128 + 16 + 128 + 32) * 54 * 54,  # fire2 and 3: squeeze and output; fire4: squeeze
    256 * 27 * 27,  # pool4
    (32 + 256 + 48 + 384 + 48 + 384 + 64) * 27 * 27,  # fire5 to 7; fire8: squeeze
    512 * 13 * 13,  # pool8
    (64 + 512) * 13 * 13,  # fire9
]
SQUEEZENET_POOL = [96 * 109 * 109, 256 * 54 * 54, 512 * 27 * 27, 1000 * 13 * 13]  # conv1, fire4, fire8, conv10
RESNET50_CONV = [
    3 * 224 * 224,  # data
    64 * 56 * 56,  # pool1
    # each block: the X of its 3x3 and of its last 1x1, and its output, which the next block reads
    3 * (64 + 64 + 256) * 56 * 56,
    (4 * 128 + 128 + 512) * 28 * 28 + 3 * (128 + 128 + 512) * 28 * 28,  # a first block's 3x3 reads twice the side
    (4 * 256 + 256 + 1024) * 14 * 14 + 5 * (256 + 256 + 1024) * 14 * 14,
    (4 * 512 + 512 + 2048) * 7 * 7 + (512 + 512 + 2048) * 7 * 7 + (512 + 512) * 7 * 7,  # POOL reads the last output
]
RESNET50_OTHERS = [
    64 * 112 * 112,  # conv1, for its BN
    64 * 112 * 112,  # that BN's, for pool1
    # each block: the outputs of its CONVs, for their BNs; that of the projection where there is one
    (3 * (64 + 64 + 256) + 256) * 56 * 56,
    (4 * 128 + 128 + 512 + 512) * 28 * 28 + 3 * (128 + 128 + 512) * 28 * 28,
    (4 * 256 + 256 + 1024 + 1024) * 14 * 14 + 5 * (256 + 256 + 1024) * 14 * 14,
    (4 * 512 + 512 + 2048 + 2048) * 7 * 7 + 2 * (512 + 512 + 2048) * 7 * 7,
    2048 * 7 * 7,  # the last block's output, for pool5
]

MOBILENET_MAPS = [
    # the outputs of all CONVs but the last: as CONVs wrote them for their BNs, and as the BNs wrote them for CONVs
    (32 + 32 + 64) * 112 * 112,
    (64 + 3 * 128) * 56 * 56,
    (128 + 3 * 256) * 28 * 28,
    (256 + 11 * 512) * 14 * 14,
    (512 + 2 * 1024) * 7 * 7,
]
MOBILENET_LAST = 1024 * 7 * 7  # for its BN, and that BN's for pool


def _very_deep(added_to_each_group: int) -> list[int]:
    sizes = (64 * 224 * 224, 128 * 112 * 112, 256 * 56 * 56, 512 * 28 * 28, 512 * 14 * 14)
    return [*VGG19_CONV, *(added_to_each_group * size for size in sizes)]


OFFLOADED = [
    ("vgg16", 256, VGG16_CONV, VGG16_POOL, 9_299_820_544, 15_568_207_872),
    ("vgg16", 64, VGG16_CONV, VGG16_POOL, 2_324_955_136, 3_892_051_968),
    ("vgg19", 256, VGG19_CONV, VGG16_POOL, 10_635_706_368, 16_904_093_696),
    ("alexnet", 128, ALEXNET_CONV, ALEXNET_POOL, 172_949_504, 365_887_488),
    ("overfeat", 128, OVERFEAT_CONV, OVERFEAT_POOL, 252_618_240, 557_753_856),
    ("googlenet", 128, GOOGLENET_CONV, GOOGLENET_POOL, 1_433_427_968, 2_454_609_920),
    ("squeezenet", 32, SQUEEZENET_CONV, SQUEEZENET_POOL, None, None),
    ("resnet50", 32, RESNET50_CONV, RESNET50_OTHERS, None, None),
    ("mobilenet", 32, [3 * 224 * 224, *MOBILENET_MAPS], [*MOBILENET_MAPS, 2 * MOBILENET_LAST], None, None),
    ("vgg116", 32, _very_deep(20), VGG16_POOL, None, None),
    ("vgg416", 32, _very_deep(80), VGG16_POOL, None, None),
]


@pytest.mark.parametrize(
    ("name", "batch", "conv_maps", "other_maps", "by_conv", "by_all"),
    OFFLOADED,
    ids=[f"{entry[0]} ({entry[1]})" for entry in OFFLOADED],
)
def test_offloaded_bytes(
    name: str, batch: int, conv_maps: list[int], other_maps: list[int], by_conv: int | None, by_all: int | None
) -> None:
    network = load_network(name, batch)
    study = Study(network, trace_of(network), gpu_of(2**50))
    expected_conv = 4 * batch * sum(conv_maps)
    expected_all = expected_conv + 4 * batch * sum(other_maps)
    assert (by_conv or expected_conv, by_all or expected_all) == (expected_conv, expected_all)
    for policy, expected in (("vdnn-conv(m)", expected_conv), ("vdnn-all(m)", expected_all)):
        result = study.run(make_policy(policy)).result
        assert result.offloaded_bytes == expected
        assert result.prefetched_bytes == expected
        assert result.pinned_host_bytes == expected


def test_names_and_batches() -> None:
    with pytest.raises(UnknownName, match="did you mean 'vgg16'"):
        load_network("vgg-16", 64)
    for batch in (0, -1, 2**20 + 1, 2.5, "64"):
        with pytest.raises(InvalidInput, match="batch: found"):
            load_network("vgg16", batch)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NETWORKS)
def test_everything_grows_with_the_batch(name: str) -> None:
    small, large = load_network(name, 2), load_network(name, 6)
    assert [layer.name for layer in small.layers] == [layer.name for layer in large.layers]
    assert small.weights_bytes == large.weights_bytes
    assert {m.name: 3 * m.size_bytes for m in small.maps.values()} == {
        m.name: m.size_bytes for m in large.maps.values()
    }
