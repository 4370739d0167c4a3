"""Traces built from layers of equal shape: by hand, what is not equal, and those that come with the package."""

from pathlib import Path

import pytest

from support.cases import conv, fc, join, layer, network_of, pool, row, trace_of
from vdnnsim.catalog import data_directory
from vdnnsim.errors import InvalidInput
from vdnnsim.network import Kind, LayerSpec, Network, load_network
from vdnnsim.trace import Provenance, TraceRow, find_trace, read_trace
from vdnnsim_builder import SHIPPED_SAME_SHAPE, build_same_shape, write_shipped_same_shape
from vdnnsim_builder.__main__ import main

LOSS = layer(Kind.SOFTMAX, "loss")


def chain(*names: str) -> Network:
    """CONVs of one channel after a first one of two."""
    return network_of(*(conv(name) for name in names), LOSS, channels=2)


def test_rows_are_taken_over_and_several_become_their_median() -> None:
    timed_network = chain("a", "b", "c", "d")
    rows = [
        row("b", "forward", 100, 4000, "FFT", 1.1, 1.2)._replace(launch_ns=7, start_ns=9),
        row("c", "forward", 400, 4000, "FFT", 1.3, 1.4)._replace(launch_ns=8, start_ns=None),
        row("d", "forward", 103, 4000, "FFT", 1.2, 1.0)._replace(launch_ns=30, start_ns=12),
        *(row(name, "forward", 200, 0, "GEMM") for name in "bcd"),
        row("b", "backward_data", 50, 8, "FFT"),
        row("c", "backward_data", 53, 8, "FFT"),
        row("d", "backward_data", 51, 8, "FFT"),
    ]
    built = build_same_shape(chain(*"vwxyz"), trace_of(timed_network, rows), timed_network)
    fft = built.row("z", "forward", "FFT")
    assert (fft.duration_ns, fft.workspace_bytes) == (103, 4000)
    assert (fft.copy_out_slowdown_ppm, fft.copy_in_slowdown_ppm) == (1_200_000, 1_200_000)
    assert (fft.launch_ns, fft.start_ns) == (8, 10)
    assert (fft.provenance, fft.source) == (Provenance.MODELLED, "test-same-shape")
    assert [found.algorithm for found in built.choices("w", "forward")] == ["FFT", "GEMM"]
    assert [built.row(name, "backward_data", "FFT").duration_ns for name in "wxyz"] == [51] * 4
    assert built.row("w", "forward", "GEMM").launch_ns is None
    assert built.choices("v", "backward_data") == ()  # the first layer needs none
    assert (built.header.network, built.header.batch, built.header.gpu) == ("small", 1, "test-gpu")
    assert built.header.sources == {
        "test-same-shape": "modelled: as in the trace of small (batch 1) for a layer of equal shape, the median for "
        "each algorithm where there are several; there: made up"
    }


@pytest.mark.parametrize(
    "other",
    [
        (conv("a"), conv("b", channels=2), conv("c", channels=1), LOSS),
        (conv("a"), conv("b", kernel=3, padding=1), LOSS),
        (conv("a"), pool("p"), LOSS),
        (conv("a"), fc("f"), LOSS),
        (conv("a"), LayerSpec("b", Kind.CONV, ("",), 1, (1, 1), bias=True), LOSS),
    ],
    ids=["channels", "kernel", "kind", "classifier", "bias"],
)
def test_a_layer_without_an_equal_is_refused(other: tuple[LayerSpec, ...]) -> None:
    timed_network = chain("a", "b")
    with pytest.raises(InvalidInput, match=r"no layer of the shape of '[bpf]' of small batch 1 \((CONV|POOL|FC), .*"):
        build_same_shape(network_of(*other, channels=2), trace_of(timed_network), timed_network)


def test_another_batch_is_another_shape() -> None:
    timed_network = chain("a", "b")
    with pytest.raises(InvalidInput, match="no layer of the shape of 'a' of small batch 2"):
        build_same_shape(
            network_of(conv("a"), conv("b"), LOSS, channels=2, batch=2), trace_of(timed_network), timed_network
        )


def test_a_slice_of_a_map_is_not_a_map() -> None:
    """The branches of a CONCAT write to channels of a larger map, with other strides than a map of their own has."""
    timed_network = network_of(conv("a"), conv("b"), conv("c", "b", channels=2), LOSS)
    joined = network_of(conv("a"), conv("b"), conv("b2", "a"), join(Kind.CONCAT, "c", "b", "b2"), LOSS)
    with pytest.raises(InvalidInput, match="no layer of the shape of 'b'"):
        build_same_shape(joined, trace_of(timed_network), timed_network)


def test_a_gradient_that_is_added_to_is_another_kernel() -> None:
    """Of two readers of a map, the first in the network is the last in backward and adds to what the other wrote."""
    timed_network = chain("a", "b")
    forked = network_of(conv("a"), conv("b", "a"), conv("c", "a"), join(Kind.ADD, "sum", "b", "c"), LOSS, channels=2)
    with pytest.raises(InvalidInput, match=r"'b' of small batch 1 .* whose backward_data needs one"):
        build_same_shape(forked, trace_of(timed_network), timed_network)
    times = [row("b", "backward_data", 70), row("c", "backward_data", 30)]
    built = build_same_shape(forked, trace_of(forked, times), forked)
    assert [built.fastest(name, "backward_data").duration_ns for name in "bc"] == [70, 30]


@pytest.mark.parametrize("changed", [row("c", "forward", 5, 9, "FFT"), row("c", "forward", 5, 8, "GEMM")])
def test_equal_layers_with_other_kernels_are_refused(changed: TraceRow) -> None:
    timed_network = chain("a", "b", "c")
    timed = trace_of(timed_network, [row("b", "forward", 5, 8, "FFT"), changed])
    with pytest.raises(InvalidInput, match="forward of layer 'c' has other algorithms or workspaces than layer 'b'"):
        build_same_shape(timed_network, timed, timed_network)


def test_shipped_traces_are_regenerated_byte_for_byte(tmp_path: Path) -> None:
    """Where the measured trace has changed: python -m vdnnsim.builder --all --out traces."""
    tables = write_shipped_same_shape(tmp_path)
    assert len(tables) == len(SHIPPED_SAME_SHAPE) == 6
    for table in tables:
        for path in (table, table.with_suffix(".toml")):
            assert path.read_bytes() == (data_directory("traces") / "h200" / path.name).read_bytes(), path.name


@pytest.mark.parametrize("math", ["fp32", "tf32"])
def test_shipped_traces_have_the_kernels_of_the_measured_one(math: str) -> None:
    """Every layer of VGG-416 has, for each pass, just the algorithms and workspaces of some layer of VGG-116."""
    network = load_network("vgg416", 32)
    built = find_trace(network, "h200", math)
    measured = find_trace(load_network("vgg116", 32), "h200", math)
    kernels = {
        tuple((found.algorithm, found.workspace_bytes) for found in measured.choices(*key))
        for key in {(found.layer, found.pass_) for found in measured.rows}
    }
    for key in {(found.layer, found.pass_) for found in built.rows}:
        assert tuple((found.algorithm, found.workspace_bytes) for found in built.choices(*key)) in kernels
    assert {found.provenance for found in built.rows} == {Provenance.MODELLED}
    assert {found.provenance for found in measured.rows} == {Provenance.MEASURED}


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = data_directory("traces") / "h200" / "vgg19_b64_fp32.csv"
    arguments = ["vgg16", "--batch", "64", "--same-shape", str(table), "--out", str(tmp_path)]
    assert main(arguments) == 0
    built = tmp_path / "h200" / "vgg16_b64_fp32.csv"
    assert capsys.readouterr().out == f"{built}\n"
    assert read_trace(built, load_network("vgg16", 64)).header.created_by == "python -m vdnnsim.builder --same-shape"


def test_command_says_what_does_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = data_directory("traces") / "h200" / "vgg19_b64_fp32.csv"
    assert main(["vgg16", "--batch", "32", "--same-shape", str(table), "--out", str(tmp_path)]) == 2
    assert "no layer of the shape of 'conv1_1' of vgg16 batch 32" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
