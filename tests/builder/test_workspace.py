"""Workspace formulas against numbers worked out by hand, and which algorithm exists for which pass."""

import pytest

from vdnnsim_builder.published import forward_workspaces
from vdnnsim_builder.shapes import ConvShape
from vdnnsim_builder.workspace import CONV_PASSES, algorithms, fft_spectra, tiling_spectra, workspace_bytes

CONV5 = ConvShape(64, 512, 14, 14, 512, 3, 3, 1, 1)
CONV1_2 = ConvShape(64, 64, 224, 224, 64, 3, 3, 1, 1)
ALEXNET_CONV1 = ConvShape(128, 3, 224, 224, 64, 11, 11, 2, 2, 4, 4)
OVERFEAT_CONV2 = ConvShape(128, 96, 28, 28, 256, 5, 5)


def test_no_workspace_for_implicit_gemm() -> None:
    assert [workspace_bytes(CONV5, pass_, "IMPLICIT_GEMM") for pass_ in CONV_PASSES] == [0, 0, 0]


def test_index_table_of_precomputed_gemm() -> None:
    assert workspace_bytes(CONV5, "forward", "IMPLICIT_PRECOMP_GEMM") == 6 * 14 * 14 + 8
    assert workspace_bytes(OVERFEAT_CONV2, "forward", "IMPLICIT_PRECOMP_GEMM") == 6 * 24 * 24 + 8
    assert workspace_bytes(OVERFEAT_CONV2, "backward_data", "IMPLICIT_PRECOMP_GEMM") == 6 * 28 * 28 + 8


def test_column_matrix_of_explicit_gemm() -> None:
    assert workspace_bytes(CONV1_2, "forward", "GEMM") == 4 * 64 * 64 * 9 * 224 * 224 == 7_398_752_256


def test_fft_of_a_14_pixel_map_takes_edge_16() -> None:
    spectrum = 8 * 16 * 9
    assert workspace_bytes(CONV5, "forward", "FFT") == 2 * spectrum * (512 * 512 + 64 * 512) + 4 * 512 * 512 * 9
    assert workspace_bytes(CONV5, "forward", "FFT") == 688_914_432
    assert workspace_bytes(CONV5, "backward_filter", "FFT") == 2 * spectrum * 512 * 512 + 4 * 512 * 512 * 9


def test_fft_of_a_224_pixel_map_takes_edge_256_and_more_is_refused() -> None:
    spectra = fft_spectra(CONV1_2, "forward")
    assert spectra is not None
    assert spectra.edge == 256
    assert workspace_bytes(CONV1_2, "forward", "FFT") == 4_328_669_184
    assert fft_spectra(ConvShape(1, 64, 256, 256, 64, 3, 3, 1, 1), "forward") is None


def test_data_gradient_swaps_channels_and_pads_by_the_filter() -> None:
    # dY is 24 x 24 and padded by 4 to 32; C = 96 in the place of K
    spectrum = 8 * 32 * 17
    expected = 2 * spectrum * (96 * 256 + 128 * 256) + 4 * 96 * 256 * 25
    assert workspace_bytes(OVERFEAT_CONV2, "backward_data", "FFT") == expected


def test_tiles() -> None:
    spectra = tiling_spectra(CONV1_2, "forward")
    assert spectra is not None
    assert spectra.tiles == 8 * 8  # ceil(224 / 30) each way
    assert workspace_bytes(CONV1_2, "forward", "FFT_TILING") == 4352 * (64 * 64 + 2 * 64 * 128) + 96 * 256 * 2
    assert workspace_bytes(CONV5, "forward", "FFT_TILING") == 4352 * (512 * 512 + 64 * 1024) + 96 * 256


def test_what_cudnn_4_has_per_pass() -> None:
    gemms = ("IMPLICIT_GEMM", "IMPLICIT_PRECOMP_GEMM")
    assert algorithms(CONV5, "forward") == (*gemms, "GEMM", "FFT", "FFT_TILING")
    assert algorithms(CONV5, "backward_data") == (*gemms, "FFT", "FFT_TILING")
    assert algorithms(CONV5, "backward_filter") == (*gemms, "FFT")
    assert algorithms(ALEXNET_CONV1, "forward") == (*gemms, "GEMM")  # stride 4
    pointwise = ConvShape(128, 192, 28, 28, 64, 1, 1)
    assert algorithms(pointwise, "backward_filter") == gemms


def test_missing_algorithm_is_an_error() -> None:
    with pytest.raises(ValueError, match="no FFT_TILING for backward_filter"):
        workspace_bytes(CONV5, "backward_filter", "FFT_TILING")


def test_formulas_agree_with_the_published_workspaces() -> None:
    compared = 0
    for shape, found in forward_workspaces().items():
        for algorithm in set(found) & set(algorithms(shape, "forward")):
            off = abs(workspace_bytes(shape, "forward", algorithm) - found[algorithm])
            assert off <= (2 if algorithm == "IMPLICIT_PRECOMP_GEMM" else 0), (shape, algorithm)
            compared += 1
    assert compared > 100
