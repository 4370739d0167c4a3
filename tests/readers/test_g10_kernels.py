"""Kernel times of G10's artefact, and the ideal that it makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.commands import in_process
from vdnnsim import InvalidFile
from vdnnsim.readers.g10_kernels import G10Kernel, read_g10_kernels

KERNELS = """0000 0.000002 ms
0001 0.100224 ms
0002 0.197632 ms

0003 2.5 ms
"""
"""2.4 cycles are 2. The second's 120268.8 are 120268, and the third's 237158.4 are 237158."""


def written(text: str, tmp_path: Path) -> Path:
    path = tmp_path / "kernels.txt"
    path.write_text(text)
    return path


def test_each_kernel_is_rounded_down_to_a_cycle(tmp_path: Path) -> None:
    assert read_g10_kernels(written(KERNELS, tmp_path)) == [
        G10Kernel(0, 2, 2),
        G10Kernel(1, 100_224, 120_268),
        G10Kernel(2, 197_632, 237_158),
        G10Kernel(3, 2_500_000, 3_000_000),
    ]


def test_cycles_are_those_of_double_precision(tmp_path: Path) -> None:
    """35 ns are 42 cycles; the product of doubles is just below."""
    assert read_g10_kernels(written("0 0.000035 ms\n", tmp_path)) == [G10Kernel(0, 35, 41)]


def test_import_tells_the_ideal(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = in_process(["import", str(written(KERNELS, tmp_path)), "--out", str(out)])
    assert (done.code, done.err) == (0, "")
    assert "4 kernels, 2.798 ms in all" in done.out
    assert "G10's ideal: 3357428 cycles at 1.2 GHz" in done.out
    assert (out / "kernels.csv").read_text().splitlines()[:2] == ["number,duration_ns,cycles", "0,2,2"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0000 0.1 ms\n0002 0.1 ms\n", ".txt:2: kernel: found '0002 0.1 ms'; expected kernel 1"),
        ("0000 0.1 ms\n0001 0.1 us\n", "found '0001 0.1 us'"),
        ("0000 0.1 ms\n0001 -1 ms\n", "found '0001 -1 ms'"),
        ("0000 0.1 ms\n0001 nan ms\n", "found '0001 nan ms'"),
        ("0000 0.0000001 ms\n", "time: found '0.0000001'; expected milliseconds, a cycle or more"),
        ("\n", "found none; expected lines such as"),
    ],
)
def test_other_lines_are_refused(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidFile) as caught:
        read_g10_kernels(written(text, tmp_path))
    assert told in str(caught.value)
