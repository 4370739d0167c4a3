"""The traces of the Titan X (Maxwell): published rows exact, splits exact, totals near, every byte reproducible."""

from itertools import pairwise
from pathlib import Path

import pytest

from vdnnsim.catalog import data_directory
from vdnnsim.network import Kind, load_network
from vdnnsim.trace import Provenance, Trace, read_trace, required_passes
from vdnnsim_builder import SHIPPED, build_trace, write_shipped
from vdnnsim_builder.checks import BATCH_16, autotuned, near_zero_workspace, pass_totals
from vdnnsim_builder.published import published_layers
from vdnnsim_builder.workspace import CONV_PASSES


def built(name: str, batch: int) -> Trace:
    return build_trace(load_network(name, batch))


def test_near_zero_workspace_gives_every_published_layer_back_exactly() -> None:
    compared = near_zero_workspace()
    assert len(compared) == 397
    assert [entry for entry in compared if entry.published_ns != entry.modelled_ns] == []


def test_a_published_row_by_hand() -> None:
    trace = built("vgg11", 64)
    row = trace.row("conv3_2", "forward", "IMPLICIT_PRECOMP_GEMM")
    assert (row.duration_ns, row.provenance, row.source) == (42_493_200, Provenance.PUBLISHED, "caffe-log")
    parts = [trace.row("conv3_2", f"backward_{part}", "IMPLICIT_PRECOMP_GEMM") for part in ("data", "filter")]
    assert sum(part.duration_ns for part in parts) == 82_505_800
    assert {(part.provenance, part.source) for part in parts} == {(Provenance.MODELLED, "split-of-caffe-log")}


def test_vgg16_takes_eleven_conv_layers_from_the_logs_as_they_are() -> None:
    network = load_network("vgg16", 64)
    trace = build_trace(network)
    convolutions = [layer.name for layer in network.layers if layer.kind == Kind.CONV]
    rows = [trace.row(name, "forward", "IMPLICIT_PRECOMP_GEMM") for name in convolutions]
    assert [row.layer for row in rows if row.provenance != Provenance.PUBLISHED] == ["conv1_2", "conv2_2"]


@pytest.mark.parametrize("network", ["alexnet", "overfeat", "vgg11"])
def test_fastest_algorithms_land_near_the_published_autotuned_totals(network: str) -> None:
    found = {entry.what.rsplit(" ", 1)[1]: entry.ratio for entry in autotuned() if entry.what.startswith(network)}
    assert found["sum"] == pytest.approx(1, abs=0.1)
    assert found["forward"] == pytest.approx(1, abs=0.1)
    assert found["backward_data"] == pytest.approx(1, abs=0.2)  # Caffe's max pools against cuDNN's
    assert found["backward_filter"] == pytest.approx(1, abs=0.11)


def test_what_is_farther_off_is_known() -> None:
    googlenet = [entry.ratio for entry in autotuned() if entry.what == "googlenet batch 128 sum"]
    batch_16 = [entry.ratio for entry in autotuned(BATCH_16) if entry.what.endswith("sum")]
    assert googlenet == [pytest.approx(0.89, abs=0.02)]
    assert batch_16 == [pytest.approx(0.87, abs=0.02)] * 2


def test_shipped_traces_are_regenerated_byte_for_byte(tmp_path: Path) -> None:
    shipped = data_directory("traces") / "titan-x-maxwell"
    tables = write_shipped(tmp_path)
    files = sorted(path for table in tables for path in (table, table.with_suffix(".toml")))
    assert [path.name for path in files] == sorted(path.name for path in shipped.iterdir())
    for path in files:
        assert path.read_bytes() == (shipped / path.name).read_bytes(), path.name


@pytest.mark.parametrize(
    ("name", "batch"), [*SHIPPED, ("resnet50", 32), ("squeezenet", 8), ("mobilenet", 4), ("alexnet", 1)]
)
def test_traces_fit_their_networks(name: str, batch: int, tmp_path: Path) -> None:
    from vdnnsim_builder import write_built

    network = load_network(name, batch)
    trace = read_trace(write_built(network, tmp_path), network)
    assert trace.rows == build_trace(network).rows
    for row in trace.rows:
        assert row.duration_ns > 0
        assert row.copy_out_slowdown_ppm == row.copy_in_slowdown_ppm == 1_000_000
    for layer, pass_ in required_passes(network):
        leanest = trace.leanest(layer, pass_)
        assert leanest.workspace_bytes == 0
        if pass_ in CONV_PASSES and network.by_name[layer].kind == Kind.CONV:
            assert leanest.algorithm == "IMPLICIT_GEMM"


def test_only_logged_times_are_called_published() -> None:
    logged = {entry.forward_ns for entry in published_layers()} | {entry.backward_ns for entry in published_layers()}
    for name, batch in SHIPPED:
        for row in built(name, batch).rows:
            if row.provenance == Provenance.PUBLISHED and row.pass_ != "backward_sum":
                assert row.duration_ns in logged
                assert row.source in ("caffe-log", "caffe-log-same-shape")
            assert row.provenance != Provenance.MEASURED


@pytest.mark.parametrize("fastest", [True, False])
def test_larger_batches_take_longer_and_gain_per_image(fastest: bool) -> None:
    totals = [sum(pass_totals("vgg16", batch, fastest).values()) for batch in (32, 64, 128, 256)]
    for smaller, larger in pairwise(totals):
        assert smaller < larger < 2.02 * smaller


def test_gradients_of_forks_are_summed() -> None:
    trace = built("googlenet", 128)
    sums = [row for row in trace.rows if row.pass_ == "backward_sum"]
    assert len(sums) == 9
    assert trace.row("inception_3a/output", "backward_sum", "default").duration_ns == 3_448_010
    modelled = [row for row in built("resnet50", 2).rows if row.pass_ == "backward_sum"]
    assert modelled
    assert {row.provenance for row in modelled} == {Provenance.MODELLED}
