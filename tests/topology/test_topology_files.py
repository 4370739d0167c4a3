"""Topologies from files: those that came with the package, and every fault with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from vdnnsim.errors import InvalidFile, InvalidInput, UnknownName
from vdnnsim.topology import list_topologies, load_topology, read_topology

TEXT = """schema = 1
name = "small"
title = "A small host"
gpus = ["switch", "memory"]
[[link]]
name = "switch"
kind = "switch"
to = "memory"
out = "10 GB/s"
both_ways = { out = "8 GB/s", in = "5 GB/s" }
in_beside_out = [{ out = "4 GB/s", share = 0.9 }, { out = "8 GB/s", share = 0.5 }]
provenance = "modelled"
source = "a test"
[[link]]
name = "memory"
kind = "memory"
total = "100 GB/s"
provenance = "measured"
source = "a test"
"""


def test_a_file_says_what_each_gpu_meets(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(TEXT)
    found = load_topology(tmp_path / "small.toml")
    assert [[link.name for link in found.path(gpu)] for gpu in range(2)] == [["switch", "memory"], ["memory"]]
    switch = found.links["switch"]
    assert (switch.out_bytes_per_s, switch.in_bytes_per_s) == (10**10, None)
    assert (switch.both_out_bytes_per_s, switch.both_in_bytes_per_s) == (8 * 10**9, 5 * 10**9)
    assert found.links["memory"].total_bytes_per_s == 10**11
    left = {out: switch.in_beside_out_ppm(out * 10**9) for out in (0, 2, 4, 6, 8, 9)}
    assert left == {0: 1_000_000, 2: 950_000, 4: 900_000, 6: 700_000, 8: 500_000, 9: 500_000}
    assert found.links["memory"].in_beside_out_ppm(10**9) == 1_000_000
    (tmp_path / "other.toml").write_text(TEXT.replace("0.5", "0.6"))
    assert load_topology(tmp_path / "other.toml").sha256 != found.sha256
    assert found.provenance == ("measured", "modelled")
    assert found.first(1).gpus == ("switch",)
    with pytest.raises(InvalidInput, match="gpus: found 3, expected from 1 to the 2 of topology small"):
        found.first(3)


@pytest.mark.parametrize(
    ("line", "wrong", "message"),
    [
        (
            'to = "memory"',
            'to = "switch"',
            "expected a way that ends in a memory: switch to switch is a cycle",
        ),
        ('to = "memory"', 'to = "root"', "'switch' has no end; there are switch, memory"),
        ('to = "memory"\n', "", "found nothing; expected the next link on the way to a memory: 'switch' has no end"),
        ('kind = "memory"', 'kind = "memory"\nto = "switch"', "expected nothing: a memory is the end of the way"),
        ('gpus = ["switch", "memory"]', 'gpus = ["swich"]', "gpus[0]: found 'swich'; expected a link of this file"),
        ('out = "10 GB/s"', 'out = "10 GB"', "link[0].out: found '10 GB'; expected a bandwidth with its unit"),
        (
            'out = "8 GB/s", share',
            'out = "4 GB/s", share',
            "link[0].in_beside_out: found { out = '4 GB/s', share = 0.5 }; expected more out than at the point before, "
            "and no larger share",
        ),
        ("share = 0.5", "share = 0.95", "link[0].in_beside_out: found { out = '8 GB/s', share = 0.95 }; expected"),
        ("share = 0.5", "share = 1.5", "link[0].in_beside_out[1].share: found 1.5; expected"),
        ('name = "memory"', 'name = "switch"', "link[1].name: found 'switch' again; expected each link once"),
        ('source = "a test"', 'sauce = "a test"', "link[0].source: found nothing; expected this field"),
    ],
)
def test_a_fault_is_told_with_its_line(line: str, wrong: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(TEXT.replace(line, wrong, 1))
    with pytest.raises(InvalidFile) as found:
        read_topology(tmp_path / "small.toml")
    assert message in str(found.value)
    assert all(fault.line for fault in found.value.faults)


def test_a_longer_cycle_is_told_at_each_of_its_links(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(TEXT.replace('kind = "memory"', 'kind = "root"\nto = "switch"'))
    with pytest.raises(InvalidFile) as found:
        read_topology(tmp_path / "small.toml")
    assert [fault.expected.partition(": ")[2] for fault in found.value.faults] == [
        "switch to memory to switch is a cycle",
        "memory to switch to memory is a cycle",
    ]


def test_those_that_came_with_the_package_have_their_names() -> None:
    found = [read_topology(path) for path in list_topologies()]
    assert {one.name for one in found} == {path.stem for path in list_topologies()}
    assert {"dgx-h100", "two-h200", "gh200", "a100-dual-socket"} <= {one.name for one in found}
    assert all(link.source for one in found for link in one.links.values())
    assert load_topology("dgx-h100") == load_topology("dgx-h100.toml")
    with pytest.raises(UnknownName, match="did you mean 'dgx-h100'"):
        load_topology("dgx-h200")
    with pytest.raises(InvalidFile, match="nothing by this name"):
        load_topology("none.toml")
