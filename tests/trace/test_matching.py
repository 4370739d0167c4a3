"""A trace of another network is told by its layers, whatever the two are called; one that does not say is unchecked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from support.cases import conv, fc, gpu_of, join, layer, network_of, trace_of
from support.small_files import NETWORK_TOML
from vdnnsim.comparing import compare
from vdnnsim.errors import InvalidFile, InvalidInput
from vdnnsim.making import make_study
from vdnnsim.network import Kind, LayerSpec, Network, layer_digests, load_network
from vdnnsim.trace import Trace, check_trace, read_header, read_trace, write_trace

SPECS = (
    conv("a"),
    layer(Kind.ACTV, "relu"),
    conv("b"),
    join(Kind.ADD, "sum", "relu", "b"),
    fc("fc"),
    layer(Kind.SOFTMAX, "loss"),
)
NETWORK = network_of(*SPECS)
TRACE = trace_of(NETWORK)


def changed(name: str, **fields: object) -> Network:
    return network_of(*(replace(spec, **fields) if spec.name == name else spec for spec in SPECS))  # type: ignore[arg-type]


def test_the_batch_is_beside_the_digests_and_not_in_them() -> None:
    digests = layer_digests(network_of(*SPECS, batch=7))
    assert digests == layer_digests(NETWORK) == TRACE.header.layers
    assert len(set(digests)) == len(SPECS)
    assert all(len(digest) == 8 for digest in digests)


@pytest.mark.parametrize(
    ("network", "first"),
    [
        (network_of(*SPECS, side=6), "a"),
        (network_of(*SPECS, channels=2), "a"),
        (changed("b", kernel=(3, 3), padding=(1, 1)), "b"),
        (changed("b", bias=True), "b"),
        (changed("sum", inputs=("a", "b")), "sum"),
        (changed("relu", kind=Kind.DROPOUT), "relu"),
        (changed("fc", channels=4), "fc"),
        (network_of(*SPECS[:4], layer(Kind.ACTV, "more"), *SPECS[4:]), "more"),
        (network_of(*SPECS[:4], *SPECS[5:]), "loss"),
    ],
)
def test_the_first_layer_that_differs_is_named(network: Network, first: str) -> None:
    with pytest.raises(InvalidFile) as caught:
        check_trace(TRACE, network)
    assert [fault.field for fault in caught.value.faults] == [f"layer '{first}' differs first"]
    assert "trace of another network called small" in str(caught.value)


def test_the_layer_that_was_expected_is_described() -> None:
    with pytest.raises(InvalidFile, match=r"CONV from 1 x 6 x 6 to 1 x 6 x 6; this is a trace of another"):
        check_trace(TRACE, network_of(*SPECS, side=6))


def test_what_changes_no_time_and_no_byte_is_the_same_network() -> None:
    rates = [LayerSpec("drop", Kind.DROPOUT, ("",), rate=rate) for rate in (0.5, 0.3)]
    half, less = (layer_digests(network_of(*SPECS[:5], drop, SPECS[5])) for drop in rates)
    assert half == less


def test_a_trace_without_digests_goes_by_its_names() -> None:
    check_trace(Trace(replace(TRACE.header, layers=()), TRACE.rows), changed("b", bias=True))


def test_a_header_keeps_them(tmp_path: Path) -> None:
    write_trace(TRACE, tmp_path / "small.csv")
    assert read_header(tmp_path / "small.csv").layers == layer_digests(NETWORK)
    with pytest.raises(InvalidFile, match="layer 'b' differs first"):
        read_trace(tmp_path / "small.csv", changed("b", bias=True))


def test_a_table_that_lost_a_row_is_told(tmp_path: Path) -> None:
    table = tmp_path / "small.csv"
    write_trace(TRACE, table)
    table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(
        InvalidFile, match=f"rows: found {len(TRACE.rows) - 1}; expected {len(TRACE.rows)}, which small"
    ):
        read_trace(table)


def test_a_network_that_took_the_name_of_a_built_in_one_gets_none_of_its_times(tmp_path: Path) -> None:
    """VGG-16 at 112 pixels: every layer has its name, none its shape."""
    own = tmp_path / "vgg16.toml"
    own.write_text(NETWORK_TOML.replace('"tiny"', '"vgg16"'), encoding="utf-8")
    with pytest.raises(InvalidFile, match=r"layer 'c1' differs first.*another network called vgg16"):
        compare(own, batch=64, gpu="titan-x-maxwell")


def test_a_trace_of_another_gpu_is_refused_as_an_object_and_as_a_file(tmp_path: Path) -> None:
    table = tmp_path / "small.csv"
    write_trace(TRACE, table)
    for trace in (TRACE, table):
        with pytest.raises(InvalidInput, match="found GPU 'test-gpu', expected 'other'"):
            make_study(NETWORK, gpu=replace(gpu_of(), name="other"), trace=trace)


def test_the_traces_that_came_with_the_package_say_what_they_are_of() -> None:
    from vdnnsim.trace import list_traces

    for path, header in list_traces():
        assert header.layers == layer_digests(load_network(header.network, header.batch)), path
        assert (path.with_suffix(".toml")).stat().st_size < 16_000
