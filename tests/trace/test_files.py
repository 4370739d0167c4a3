"""Traces on disk: what is written is read back, whatever system it was written on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.cases import conv, join, layer, network_of, row, trace_of
from support.examples import tries
from support.small_trace import NETWORK, TABLE
from support.strategies import networks, traces
from vdnnsim.errors import InvalidFile, InvalidInput
from vdnnsim.network import Kind
from vdnnsim.trace import (
    Trace,
    TraceHeader,
    TraceRow,
    check_trace,
    read_header,
    read_trace,
    required_passes,
    write_trace,
)
from vdnnsim.trace.files import table_text
from vdnnsim.trace.header import header_text


def test_a_valid_trace(table: Path) -> None:
    trace = read_trace(table, NETWORK)
    assert trace.header == TraceHeader(
        "test-gpu",
        "small",
        1,
        "fp32",
        "",
        {"bench": "Our bench", "paper": "A paper", "rule": "A rule"},
        {"date": "2026-11-22"},
    )
    assert len(trace.rows) == 9
    assert trace.rows[1] == TraceRow("a", "forward", "FFT", 700, 4096, 1_170_000, 1_100_000, "measured", "bench")  # type: ignore[arg-type]
    assert read_header(table).title == "small batch 1 on test-gpu, fp32"


def test_line_ends_and_byte_order_marks_of_other_systems(table: Path) -> None:
    plain = read_trace(table, NETWORK).rows
    for path in (table, table.with_suffix(".toml")):
        text = path.read_text(encoding="utf-8")
        path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert read_trace(table, NETWORK).rows == plain


def test_columns_may_stand_in_any_order(table: Path) -> None:
    plain = read_trace(table, NETWORK).rows
    lines = [",".join(reversed(line.split(","))) for line in TABLE.splitlines()]
    table.write_text("\n".join(lines), encoding="utf-8")
    assert read_trace(table, NETWORK).rows == plain


def test_columns_of_measured_traces(table: Path) -> None:
    lines = TABLE.splitlines()
    lines[0] += ",launch_ns,start_ns"
    lines[1] += ",4000,2500"
    lines[2:] = [line + ",," for line in lines[2:]]
    table.write_text("\n".join(lines), encoding="utf-8")
    rows = read_trace(table, NETWORK).rows
    assert (rows[0].launch_ns, rows[0].start_ns) == (4000, 2500)
    assert (rows[1].launch_ns, rows[1].start_ns) == (None, None)


def test_without_a_network_only_the_file_itself_is_checked(table: Path) -> None:
    table.write_text(TABLE.replace("relu,", "elsewhere,"), encoding="utf-8")
    assert len(read_trace(table).rows) == 9


def test_a_trace_made_in_code_is_checked_alike() -> None:
    trace = trace_of(NETWORK)
    check_trace(trace, NETWORK)
    with pytest.raises(InvalidFile, match="layer 'fc': found no backward row"):
        check_trace(Trace(trace.header, [entry for entry in trace.rows if entry[:2] != ("fc", "backward")]), NETWORK)


def test_required_passes() -> None:
    """No data gradient for a CONV on the input data, no kernel for a CONCAT that is only a view."""
    network = network_of(
        conv("a"),
        conv("b", "a"),
        conv("c", "a"),
        join(Kind.CONCAT, "view", "b", "c"),
        join(Kind.CONCAT, "copy", "view", "data"),
        layer(Kind.SOFTMAX, "loss"),
    )
    assert required_passes(network) == [
        ("a", "forward"),
        ("a", "backward_filter"),
        ("b", "forward"),
        ("b", "backward_data"),
        ("b", "backward_filter"),
        ("c", "forward"),
        ("c", "backward_data"),
        ("c", "backward_filter"),
        ("copy", "forward"),
        ("copy", "backward"),
        ("loss", "forward"),
        ("loss", "backward"),
    ]


def test_writing_is_whole_and_readable(tmp_path: Path) -> None:
    header = TraceHeader(
        "test-gpu",
        "small",
        1,
        "fp32",
        'made "by" \\ hand\n\x7f\t',
        {"test": "süß, 'quoted' \"twice\"\nand more"},
        {"a key.with = signs": "x"},
    )
    trace = Trace(header, trace_of(NETWORK, [row("a", "forward", 7, 9, 'odd, "name"', 1.25, 0.5)]).rows)
    path = tmp_path / "made.csv"
    write_trace(trace, path)
    again = read_trace(path, NETWORK)
    assert again.rows == trace.rows
    assert again.header == header
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["made.csv", "made.toml"]


@settings(max_examples=tries(60))
@given(st.data())
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    network = data.draw(networks(3))
    trace = data.draw(traces(network))
    path = tmp_path_factory.getbasetemp() / "again.csv"
    write_trace(trace, path)
    assert read_trace(path, network).rows == trace.rows
    assert table_text(read_trace(path)) == table_text(trace)


def test_texts_of_tables_and_headers() -> None:
    trace = Trace(TraceHeader("g", "n", 1, "fp32"), [row("a", "forward", 7, 9, "X", 1.25, 1)])
    assert table_text(trace).splitlines()[1] == "a,forward,X,7,9,1.25,1,modelled,test"
    text = 'schema = 1\ngpu = "g"\nnetwork = "n"\nbatch = 1\nmath = "fp32"\ncreated_by = ""\n\n[identity]\nrows = 1\n'
    assert header_text(trace) == text
    known = Trace(replace(trace.header, layers=("01234567", "89abcdef")), trace.rows)
    assert header_text(known) == text + 'layers = [\n"01234567", "89abcdef"\n]\n'


def test_a_header_replaces_no_other_file(tmp_path: Path) -> None:
    """A network lies where the header would: both stay what they are."""
    network = tmp_path / "tiny.toml"
    network.write_text('name = "tiny"\n', encoding="utf-8")
    trace = Trace(TraceHeader("gpu", "tiny", 1, "fp32"), [TraceRow("a", "forward", "default", 1, 0)])
    with pytest.raises(InvalidInput, match="is no header of a trace"):
        write_trace(trace, tmp_path / "tiny.csv")
    assert network.read_text(encoding="utf-8") == 'name = "tiny"\n'
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.toml"]
