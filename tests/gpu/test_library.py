"""The profiles that came with the package: each drawn as it is, every number with a source, nothing made up."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from vdnnsim.errors import InvalidFile
from vdnnsim.gpu import list_profiles, load_profile, load_roofline, read_profile_file
from vdnnsim.gpu.picture import picture

PROFILES = list(list_profiles())


@pytest.mark.parametrize("path", PROFILES, ids=[path.stem for path in PROFILES])
def test_every_profile_is_drawn_on_top_and_says_where_each_number_is_from(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith(picture(read_profile_file(path)))
    tables = list(_tables(tomllib.loads(text)))
    assert tables
    assert [table for table in tables if len(table.get("source", "")) < 9 or "provenance" not in table] == []
    assert load_roofline(path.stem).operations_per_s["fp32"] > 10**12


def _tables(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Those that hold numbers."""
    for name, value in document.items():
        if isinstance(value, Mapping) and name != "conditions":
            yield from _tables(value)
            if set(value) - {"copy_out", "copy_in", "both_ways", "remote", "kernels", "after_wait"}:
                yield value


def test_published_figures_are_those_of_their_sources() -> None:
    p100 = load_profile("p100-pcie-16")
    assert p100.remote is not None
    assert [
        round(curve.bandwidth_bytes_per_s / 1e9, 3)
        for link in (p100.link, p100.remote)
        for curve in (link.copy_out, link.copy_in)
    ] == [13.52, 12.74, 2.663, 3.967]
    a100 = load_profile("a100-80-dual-socket").link
    assert a100.copy_in.bandwidth_bytes_per_s / a100.both_ways_in_slowdown_ppm == pytest.approx(11e3, rel=0.01)
    gh200 = load_profile("gh200")
    assert (gh200.link.both_ways_out_slowdown_ppm, gh200.provenance["link.both_ways"]) == (1_000_000, "modelled")
    assert gh200.host_memory.bandwidth_bytes_per_s == 546 * 10**9
    assert load_profile("gh200-4").host_memory == gh200.host_memory


def test_a_gpu_that_shares_its_memory_with_the_host_has_no_link_to_simulate() -> None:
    with pytest.raises(InvalidFile, match="link: found none: processor and GPU share one memory"):
        load_profile("mi300a")
