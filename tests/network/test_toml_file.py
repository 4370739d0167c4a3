"""Networks in TOML: what is read, and every kind of damage told with file, line, field."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.damage import damaged, read_or_refuse
from support.examples import tries
from support.small_files import NETWORK_TOML
from vdnnsim.errors import InvalidFile
from vdnnsim.network import Kind, Network, load_network

SIDES = "a whole number from 1 to 16777216, or two in a list: height and width"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(NETWORK_TOML, encoding="utf-8")
    return path


def faults_of(path: Path) -> list[str]:
    with pytest.raises(InvalidFile) as caught:
        load_network(path, 2)
    return [str(fault).replace(f"{path.parent}/", "") for fault in caught.value.faults]


def test_a_valid_network(file: Path) -> None:
    network = load_network(file, 2)
    assert (network.name, network.batch, network.input_shape) == ("tiny", 2, (2, 3, 8, 8))
    assert [(entry.name, entry.kind, entry.inputs, entry.output_shape) for entry in network.layers] == [
        ("c1", Kind.CONV, ("data",), (2, 4, 8, 8)),
        ("r1", Kind.ACTV, ("c1",), (2, 4, 8, 8)),
        ("p1", Kind.POOL, ("r1",), (2, 4, 4, 4)),
        ("n1", Kind.LRN, ("p1",), (2, 4, 4, 4)),
        ("c2", Kind.CONV, ("p1",), (2, 4, 4, 4)),
        ("j1", Kind.ADD, ("n1", "c2"), (2, 4, 4, 4)),
        ("f1", Kind.FC, ("j1",), (2, 10, 1, 1)),
        ("d1", Kind.DROPOUT, ("f1",), (2, 10, 1, 1)),
        ("loss", Kind.SOFTMAX, ("d1",), (2, 10, 1, 1)),
    ]
    by_name = network.by_name
    assert by_name["c1"].weights_bytes == 4 * (4 * 27 + 4)
    assert by_name["c2"].weights_bytes == 4 * (4 * 2)  # two groups, no bias
    assert by_name["p1"].average
    assert by_name["n1"].size == 3
    assert by_name["d1"].rate == 0.25


def test_the_file_by_its_name(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    assert load_network("tiny.toml", 2) == load_network(file, 2)
    assert load_network("./tiny.toml", 2) == load_network(file, 2)


def test_line_ends_and_byte_order_marks_of_other_systems(file: Path) -> None:
    plain = load_network(file, 2)
    file.write_bytes(b"\xef\xbb\xbf" + NETWORK_TOML.replace("\n", "\r\n").encode())
    assert load_network(file, 2) == plain


DAMAGE: dict[str, tuple[str, str, list[str]]] = {
    "no input": ("input = [3, 8, 8]\n", "", ["tiny.toml: input: found nothing; expected this field"]),
    "an input of two": ("[3, 8, 8]", "[3, 8]", ["tiny.toml:3: input[2]: found nothing; expected this field"]),
    "an input of text": ("[3, 8, 8]", '[3, "8", 8]', ["tiny.toml:3: input[1]: found '8'; expected a valid integer"]),
    "a name with a path in it": (
        '"tiny"',
        '"../tiny"',
        ["tiny.toml:2: name: found '../tiny'; expected a text that matches ^[A-Za-z0-9][A-Za-z0-9._-]*$"],
    ),
    "negative channels": (
        "channels = 4\nkernel = 3",
        "channels = -4\nkernel = 3",
        ["tiny.toml:8: layer[0].channels: found -4; expected greater than or equal to 1"],
    ),
    "channels of NaN": (
        "channels = 4\nkernel = 3",
        "channels = nan\nkernel = 3",
        ["tiny.toml:8: layer[0].channels: found nan; expected a valid integer"],
    ),
    "channels without end": (
        "channels = 4\nkernel = 3",
        f"channels = {'9' * 5000}\nkernel = 3",
        ["tiny.toml: TOML: found a number of too many digits; expected well-formed TOML"],
    ),
    "hexadecimal channels without end": (
        "channels = 4\nkernel = 3",
        f"channels = 0x{'f' * 5000}\nkernel = 3",
        ["tiny.toml:8: layer[0].channels: found int beyond all measure; expected less than or equal to 16777216"],
    ),
    "a fractional kernel": (
        "kernel = 3",
        "kernel = 3.0",
        [f"tiny.toml:9: layer[0].kernel: found 3.0; expected {SIDES}"],
    ),
    "a kernel of three": (
        "kernel = 3",
        "kernel = [3, 3, 3]",
        [f"tiny.toml:9: layer[0].kernel: found [3, 3, 3]; expected {SIDES}"],
    ),
    "a true stride": ("stride = 2", "stride = true", [f"tiny.toml:20: layer[2].stride: found True; expected {SIDES}"]),
    "a flag of text": (
        "bias = false",
        'bias = "no"',
        ["tiny.toml:35: layer[4].bias: found 'no'; expected a valid boolean"],
    ),
    "an unknown mode": (
        '"average"',
        '"median"',
        ["tiny.toml:21: layer[2].mode: found 'median'; expected 'max' or 'average'"],
    ),
    "an unknown kind": (
        '"LRN"',
        '"NORM"',
        [
            "tiny.toml:25: layer[3].kind: found 'NORM'; "
            "expected one of CONV, POOL, FC, ACTV, BN, SOFTMAX, LRN, DROPOUT, CONCAT, ADD"
        ],
    ),
    "no kind": ('kind = "LRN"\n', "", ["tiny.toml:23: layer[3].kind: found nothing; expected this field"]),
    "an unknown field": (
        "size = 3",
        "sise = 3",
        ["tiny.toml:26: layer[3].sise: found 3; expected no field of this name"],
    ),
    "a rate of one": (
        "rate = 0.25",
        "rate = 1.0",
        ["tiny.toml:51: layer 'd1', rate: found 1.0; expected at least 0 and below 1"],
    ),
    "a rate of NaN": (
        "rate = 0.25",
        "rate = nan",
        ["tiny.toml:51: layer 'd1', rate: found nan; expected at least 0 and below 1"],
    ),
    "a rate of 1e400": (
        "rate = 0.25",
        "rate = 1e400",
        ["tiny.toml:51: layer 'd1', rate: found inf; expected at least 0 and below 1"],
    ),
    "an even size": (
        "size = 3",
        "size = 4",
        ["tiny.toml:26: layer 'n1', size: found 4; expected an odd number of channels, 1 or more"],
    ),
    "groups that do not divide": (
        "groups = 2",
        "groups = 3",
        ["tiny.toml:34: layer 'c2', groups: found 3; expected a divisor of 4 input and 4 output channels"],
    ),
    "a layer twice": ('"r1"', '"c1"', ["tiny.toml:13: layer 'c1', name: found 'c1' twice; expected a name of its own"]),
    "a layer called data": (
        '"r1"',
        '"data"',
        ["tiny.toml:13: layer 'data', name: found 'data' twice; expected a name of its own"],
    ),
    "an unknown layer": (
        'inputs = ["n1", "c2"]',
        'inputs = ["n1", "c9"]',
        ["tiny.toml:41: layer 'j1', inputs: found 'c9'; expected 'data' or the name of a layer"],
    ),
    "a cycle": (
        'size = 3\ninput = "p1"',
        'size = 3\ninput = "j1"',
        ["tiny.toml:23: layer 'n1', inputs: found a cycle n1 <- j1 <- n1; expected a graph without cycles"],
    ),
    "shapes that do not fit": (
        "groups = 2",
        "padding = 1",
        ["tiny.toml:41: layer 'j1', inputs: found shapes [(2, 4, 4, 4), (2, 4, 6, 6)]; expected equal shapes"],
    ),
    "a window that does not fit": (
        "kernel = [2, 2]",
        "kernel = [9, 2]",
        [
            "tiny.toml:19: layer 'p1', kernel: found 9 (stride 2, padding 0); expected a window that fits a side of 8",
        ],
    ),
    "an output that nobody reads": (
        'inputs = ["n1", "c2"]',
        'inputs = ["c2", "p1"]',
        ["tiny.toml:23: layer 'n1', inputs: found an output that no layer reads; expected one that some layer reads"],
    ),
    "no loss": (
        '\n[[layer]]\nname = "loss"\nkind = "SOFTMAX"\n',
        "",
        ["tiny.toml:50: layer 'd1', kind: found DROPOUT; expected SOFTMAX, the loss, as the last layer"],
    ),
    "no layers": (
        NETWORK_TOML[NETWORK_TOML.index("[[layer]]") :],
        "layer = []\n",
        ["tiny.toml:5: layer: found []; expected at least 1"],
    ),
    "another schema": ("schema = 1", "schema = 9", ["tiny.toml:1: schema: found 9; expected 1"]),
    "tables within tables": (
        "schema = 1",
        f"schema = {'[' * 10_000}",
        ["tiny.toml: TOML: found too deep a nesting; expected well-formed TOML"],
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_told_with_line_and_field(file: Path, name: str) -> None:
    old, new, expected = DAMAGE[name]
    assert NETWORK_TOML.count(old) >= 1
    file.write_text(NETWORK_TOML.replace(old, new, 1), encoding="utf-8")
    assert faults_of(file) == expected


def test_what_is_not_toml_is_told_in_the_words_of_its_parser(file: Path) -> None:
    file.write_text(NETWORK_TOML.replace("[3, 8, 8]", "[3, 8, 8"), encoding="utf-8")
    (fault,) = faults_of(file)
    assert fault.startswith("tiny.toml:5: TOML: found Unclosed array")
    assert fault.endswith("; expected well-formed TOML")


def test_lines_are_right_behind_characters_that_only_some_call_line_ends(file: Path) -> None:
    text = NETWORK_TOML.replace('"tiny"', '"tiny"  # \u2028 \x85 here').replace("kernel = 3", "kernel = 0")
    file.write_text(text, encoding="utf-8")
    assert faults_of(file) == [f"tiny.toml:9: layer[0].kernel: found 0; expected {SIDES}"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert faults_of(tmp_path / "gone.toml") == ["gone.toml: file: found nothing by this name; expected a file"]


def test_two_gigabytes_are_refused_before_they_are_read(file: Path) -> None:
    with file.open("wb") as out:
        out.truncate(2**31)
    assert faults_of(file) == ["tiny.toml: size: found 2147483648 bytes; expected at most 67108864 bytes"]


random_damage = settings(max_examples=tries(100), suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(path: Path) -> Network:
    return load_network(path, 2)


@random_damage
@given(damaged(NETWORK_TOML.encode()))
def test_random_damage(file: Path, contents: bytes) -> None:
    file.write_bytes(contents)
    read_or_refuse(read, file)


@random_damage
@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_random_bytes(file: Path, contents: bytes) -> None:
    file.write_bytes(contents)
    assert not read_or_refuse(read, file)
