"""Damaged traces: each kind of damage is told with file, line, field, what was found and what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.damage import damaged, read_or_refuse
from support.examples import tries
from support.small_trace import HEADER, NETWORK, TABLE
from vdnnsim.errors import InvalidFile
from vdnnsim.network import Network
from vdnnsim.trace import read_trace

CSV, TOML = "small_b1_fp32.csv", "small_b1_fp32.toml"
TIME = "a whole number from 0 to 1000000000000000, without unit"
WORKSPACE = "a whole number from 0 to 281474976710656, without unit"
RATIO = "a ratio from 0.1 to 1000; 1 means not slowed"
COLUMNS = (
    "layer, pass, algorithm, duration_ns, workspace_bytes, copy_out_slowdown, copy_in_slowdown, provenance, source, "
    "and for measured traces launch_ns, start_ns, duration_spread, copy_out_spread, copy_in_spread, launch_spread, "
    "disturbed"
)


def faults_of(path: Path, network: Network | None = NETWORK) -> list[str]:
    """The faults, each without the folder."""
    with pytest.raises(InvalidFile) as caught:
        read_trace(path, network)
    return [str(fault).replace(f"{path.parent}/", "") for fault in caught.value.faults]


# Damage to the table: what is replaced by what, and the whole of what is said.
DAMAGE: dict[str, tuple[str, str, list[str]]] = {
    "wrong unit": (
        ",1000,0",
        ",1000 ns,0",
        [f"{CSV}:2: duration_ns: found '1000 ns'; expected {TIME}"],
    ),
    "a time in another unit": (
        ",1000,0",
        ",0.001,0",
        [f"{CSV}:2: duration_ns: found '0.001'; expected {TIME}"],
    ),
    "negative time": (
        ",1000,0",
        ",-1000,0",
        [f"{CSV}:2: duration_ns: found '-1000'; expected {TIME}"],
    ),
    "NaN time": (
        ",1000,0",
        ",NaN,0",
        [f"{CSV}:2: duration_ns: found 'NaN'; expected {TIME}"],
    ),
    "infinite time": (
        ",1000,0",
        ",1e400,0",
        [f"{CSV}:2: duration_ns: found '1e400'; expected {TIME}"],
    ),
    "a time of thirty years": (
        ",1000,0",
        ",999999999999999999,0",
        [f"{CSV}:2: duration_ns: found '999999999999999999'; expected {TIME}"],
    ),
    "a time of a nanosecond too much": (
        ",1000,0",
        ",1000000000000001,0",
        [f"{CSV}:2: duration_ns: found '1000000000000001'; expected {TIME}"],
    ),
    "a workspace of a byte too much": (
        ",700,4096",
        ",700,281474976710657",
        [f"{CSV}:3: workspace_bytes: found '281474976710657'; expected {WORKSPACE}"],
    ),
    "digits that are not ASCII": (
        ",1000,0",
        ",١٠٠٠,0",
        [f"{CSV}:2: duration_ns: found '١٠٠٠'; expected {TIME}"],
    ),
    "negative workspace": (
        ",700,4096",
        ",700,-4096",
        [f"{CSV}:3: workspace_bytes: found '-4096'; expected {WORKSPACE}"],
    ),
    "NaN slowdown": (
        ",1.17,",
        ",nan,",
        [f"{CSV}:3: copy_out_slowdown: found 'nan'; expected {RATIO}"],
    ),
    "a slowdown in per cent": (
        ",1.1,",
        ",10%,",
        [f"{CSV}:3: copy_in_slowdown: found '10%'; expected {RATIO}"],
    ),
    "a slowdown of nothing": (
        ",1.1,",
        ",0,",
        [f"{CSV}:3: copy_in_slowdown: found '0'; expected {RATIO}"],
    ),
    "unknown provenance": (
        "published,paper",
        "guessed,paper",
        [f"{CSV}:4: provenance: found 'guessed'; expected one of measured, published, modelled"],
    ),
    "unknown source": (
        "published,paper",
        "published,hearsay",
        [f"{CSV}:4: source: found 'hearsay'; expected a key of [sources] in the header"],
    ),
    "unknown pass": (
        "a,backward_filter",
        "a,sideways",
        [
            f"{CSV}:4: pass: found 'sideways'; "
            "expected one of forward, backward_data, backward_filter, backward, backward_sum"
        ],
    ),
    "no algorithm": (
        "a,forward,FFT",
        "a,forward,",
        [f"{CSV}:3: algorithm: found ''; expected a name"],
    ),
    "missing pass": (
        "loss,backward,default,5,0,1,1,modelled,rule\n",
        "",
        [f"{CSV}: layer 'loss': found no backward row; expected one or more"],
    ),
    "a pass that the layer does not have": (
        "relu,backward,",
        "relu,backward_data,",
        [
            f"{CSV}:6: pass: found 'backward_data'; expected forward or backward for ACTV",
            f"{CSV}: layer 'relu': found no backward row; expected one or more",
        ],
    ),
    "a layer that the network lacks": (
        "relu,forward",
        "relu9,forward",
        [
            f"{CSV}:5: layer: found 'relu9'; expected a layer of small",
            f"{CSV}: layer 'relu': found no forward row; expected one or more",
        ],
    ),
    "a row twice": (
        "a,forward,FFT",
        "a,forward,IMPLICIT_GEMM",
        [f"{CSV}:3: row: found 'a forward IMPLICIT_GEMM' again, as in line 2; expected one row of each"],
    ),
    "a cell too many": (
        ",measured,bench\na,forward,FFT",
        ",measured,bench,7\na,forward,FFT",
        [f"{CSV}:2: row: found 10 cells; expected 9, one for each column"],
    ),
    "an empty line": (
        "relu,forward",
        "\nrelu,forward",
        [f"{CSV}:5: row: found 0 cells; expected 9, one for each column"],
    ),
    "an open quote": (
        "a,forward,FFT",
        '"a,forward,FFT',
        [f"{CSV}:10: CSV: found unexpected end of data; expected well-formed CSV"],
    ),
    "unknown column": (
        "workspace_bytes",
        "workspace_mb",
        [
            f"{CSV}:1: column 'workspace_mb': found a column of this name; expected only {COLUMNS}",
            f"{CSV}:1: column 'workspace_bytes': found no such column; expected it",
        ],
    ),
    "a column twice": (
        ",source\n",
        ",source,source\n",
        [f"{CSV}:1: columns: found a column twice; expected each column once"],
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_told_with_line_and_field(table: Path, name: str) -> None:
    old, new, expected = DAMAGE[name]
    assert TABLE.count(old) >= 1
    table.write_text(TABLE.replace(old, new, 1), encoding="utf-8")
    assert faults_of(table) == expected


def test_the_largest_numbers_are_read(table: Path) -> None:
    text = TABLE.replace(",1000,0", ",1000000000000000,0").replace(",700,4096", ",700,281474976710656")
    table.write_text(text, encoding="utf-8")
    first, second = read_trace(table, NETWORK).rows[:2]
    assert (first.duration_ns, second.workspace_bytes) == (10**15, 2**48)


def test_every_fault_is_told_not_only_the_first(table: Path) -> None:
    table.write_text(TABLE.replace(",0,1,1,", ",-7,1,0,"), encoding="utf-8")
    assert len(faults_of(table)) == 2 * 8


def test_control_characters_do_not_reach_the_terminal(table: Path) -> None:
    table.write_text(TABLE.replace("relu,forward", "\x1b[31mred\x07,forward"), encoding="utf-8")
    assert "found '\\x1b[31mred\\x07'; expected a layer of small" in faults_of(table)[0]


BINARY: dict[str, tuple[bytes, str]] = {
    "binary": (b"\x89PNG\r\n\x1a\n\x00\x00", "text: found a byte that is not UTF-8 at 0; expected a text file"),
    "NUL": (TABLE.encode() + b"\0", "text: found a NUL byte; expected a text file, not a binary one"),
    "UTF-16": (TABLE.encode("utf-16"), "text: found a byte that is not UTF-8 at 0; expected a text file"),
    "empty": (b"", "column 'layer': found no such column; expected it"),
    "header only": (TABLE.splitlines()[0].encode(), "table: found no rows; expected a row for each pass of each layer"),
}


@pytest.mark.parametrize("name", BINARY)
def test_files_that_are_no_tables(table: Path, name: str) -> None:
    contents, message = BINARY[name]
    table.write_bytes(contents)
    assert message in faults_of(table)[0]


def test_two_gigabytes_are_refused_before_they_are_read(table: Path) -> None:
    with table.open("wb") as out:
        out.truncate(2**31)
    assert faults_of(table) == [f"{CSV}: size: found 2147483648 bytes; expected at most 67108864 bytes"]


@pytest.mark.parametrize("name", [".", "..", "nowhere.csv", "nul\0.csv", "long" * 200])
def test_paths_that_are_no_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidFile):
        read_trace(tmp_path / name)
    with pytest.raises(InvalidFile):
        read_trace(Path(name))


def test_a_table_without_its_header(table: Path) -> None:
    table.with_suffix(".toml").unlink()
    assert faults_of(table) == [f"{CSV}: header: found no {TOML} beside it; expected the header of a trace there"]


HEADERS: dict[str, tuple[str, str, list[str]]] = {
    "another batch": (
        "batch = 1",
        "batch = 2",
        [f"{CSV}: header: found small, batch 2; expected small, batch 1"],
    ),
    "no batch": ("batch = 1\n", "", [f"{TOML}: batch: found nothing; expected this field"]),
    "a batch of text": (
        "batch = 1",
        'batch = "1"',
        [f"{TOML}:4: batch: found '1'; expected a valid integer"],
    ),
    "a huge batch": (
        "batch = 1",
        "batch = " + "9" * 40,
        [f"{TOML}:4: batch: found {'9' * 40}; expected less than or equal to 1048576"],
    ),
    "unknown math": ('"fp32"', '"fp8"', [f"{TOML}:5: math: found 'fp8'; expected 'fp32' or 'tf32'"]),
    "unknown field": (
        "batch = 1",
        "batch = 1\nbatches = 2",
        [f"{TOML}:5: batches: found 2; expected no field of this name"],
    ),
    "another schema": ("schema = 1", "schema = 2", [f"{TOML}:1: schema: found 2; expected 1"]),
    "a source that is a number": (
        'paper = "A paper"',
        "paper = 7",
        [f"{TOML}:9: sources.paper: found 7; expected a valid string"],
    ),
}


@pytest.mark.parametrize("name", HEADERS)
def test_damage_to_the_header(table: Path, name: str) -> None:
    old, new, expected = HEADERS[name]
    table.with_suffix(".toml").write_text(HEADER.replace(old, new), encoding="utf-8")
    assert faults_of(table) == expected


def reading(path: Path) -> object:
    return read_trace(path, NETWORK)


random_damage = settings(max_examples=tries(100), suppress_health_check=[HealthCheck.function_scoped_fixture])


@random_damage
@given(damaged(TABLE.encode()))
def test_random_damage_to_the_table(table: Path, contents: bytes) -> None:
    table.write_bytes(contents)
    read_or_refuse(reading, table)


@random_damage
@given(damaged(HEADER.encode()))
def test_random_damage_to_the_header(table: Path, contents: bytes) -> None:
    table.with_suffix(".toml").write_bytes(contents)
    read_or_refuse(reading, table)


@random_damage
@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_random_bytes(table: Path, contents: bytes) -> None:
    table.write_bytes(contents)
    assert not read_or_refuse(reading, table)
    table.write_text(TABLE, encoding="utf-8")
    table.with_suffix(".toml").write_bytes(contents)
    assert not read_or_refuse(reading, table)
