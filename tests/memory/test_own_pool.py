"""A pool of one's own by `module:Class`: the example, and what is told of one that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.sweeps import write_spec
from vdnnsim import compare
from vdnnsim.errors import InvalidFile, InvalidInput
from vdnnsim.memory import PoolExhausted, check_pool, make_pool
from vdnnsim.sweep import plan_sweep

OWN = "large_pages:LargePages"
PAGE_BYTES = 2 << 20
SPEC = f"""schema = 1
[axes]
network = "alexnet"
batch = 128
gpu = "titan-x-maxwell"
pool = ["best-fit", "{OWN}"]
policy = "oracle"
"""


@pytest.fixture(autouse=True)
def _example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")


def test_the_example_keeps_what_a_pool_promises() -> None:
    pool = make_pool(OWN, 2 * PAGE_BYTES + 512)
    assert (pool.name, pool.largest_hole_bytes) == ("large-pages", 2 * PAGE_BYTES)
    assert [pool.allocate(size_bytes) for size_bytes in (1, 0, PAGE_BYTES)] == [0, -1, PAGE_BYTES]
    assert pool.largest_hole_bytes == 0
    with pytest.raises(PoolExhausted):
        pool.allocate(1)
    pool.free(0)
    assert pool.largest_hole_bytes == PAGE_BYTES


def test_it_serves_as_the_built_in_ones_do(tmp_path: Path) -> None:
    own, usual = (
        compare("alexnet", batch=128, gpu="titan-x-maxwell", policies="oracle", pool=pool) for pool in (OWN, "best-fit")
    )
    assert own.pool == OWN
    assert own["oracle"].peak_bytes == usual["oracle"].peak_bytes
    assert own["oracle"].pool_high_water_bytes % PAGE_BYTES == 0
    spec = write_spec(tmp_path, SPEC)
    sweep = plan_sweep(spec)
    assert list(sweep.assignment.pools) == [OWN]
    assert f"pool {OWN}" in sweep.manifest.inputs


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("best-fitt", "unknown pool 'best-fitt'; did you mean 'best-fit'?"),
        ("large_pages:LargePage", "has no class 'LargePage'; did you mean 'LargePages'? it has: LargePages"),
        ("no_such_module:Pool", "put the module on PYTHONPATH or into the current folder"),
        ("large_maps:LargeMaps", "found LargeMaps, which is none, expected a vdnnsim.Pool"),
        ("vdnnsim:Pool", "found one without allocate, free, holes"),
        ("vdnnsim.memory.fixed_range:FixedRangePool", "cannot be made with a capacity alone: TypeError"),
    ],
)
def test_what_is_no_pool_is_told_in_a_line(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as error:
        check_pool(name)
    assert said in str(error.value)
    if ":" in name:
        with pytest.raises(InvalidFile, match=r"spec\.toml:6: axes\.pool: pool"):
            plan_sweep(write_spec(tmp_path, SPEC.replace(OWN, name)))
