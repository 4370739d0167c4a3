"""Sweeps over captured steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from captured.batches import of_batch
from captured.steps import three_layers
from vdnnsim import make_study, plan_sweep, read_sweep, run_sweep
from vdnnsim.captured import write_step, write_steps
from vdnnsim.errors import InvalidFile
from vdnnsim.policies import ONE_WAY_POLICIES
from vdnnsim.sweep import Engine

ROOT = Path(__file__).parents[2]
GPU = "gpu.toml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_step(three_layers(), tmp_path / "three")
    write_steps("batch", {batch: of_batch(batch) for batch in (4, 8, 16)}, tmp_path / "varied")
    text = (ROOT / "gpu_profiles" / "h200.toml").read_text(encoding="utf-8")
    (tmp_path / GPU).write_text(text.replace('name = "h200"', 'name = "test-gpu"'), encoding="utf-8")
    return tmp_path


def spec_of(folder: Path, network: str, *lines: str) -> Path:
    spec = folder / "spec.toml"
    axes = "\n".join((f'network = "{network}"', f'gpu = "{GPU}"', *lines))
    spec.write_text(f"schema = 1\n[axes]\n{axes}\n", encoding="utf-8")
    return spec


def rows_of(spec: Path, engine: Engine = Engine.AUTO) -> list[dict[str, Any]]:
    out = spec.parent / f"out-{engine}"
    run_sweep(plan_sweep(spec, engine), out, jobs=1)
    return read_sweep(out).to_dict("records")  # type: ignore[return-value]


def test_a_step_is_swept_over_links_policies_and_capacities(folder: Path) -> None:
    spec = spec_of(
        folder,
        "three",
        'policy = ["vdnn-all", "offload(which=half, ahead=8)", "vdnn++"]',
        'link_bandwidth = ["16 GB/s", "64 GB/s"]',
        'capacity = ["100 MB", "130 MB"]',
    )
    rows, reference = rows_of(spec), rows_of(spec, Engine.REFERENCE)
    assert len(rows) == 12
    assert all((row["status"], row["batch"], row["math"], row["pool"]) == ("ok", 4, "as captured", "pytorch-caching")
               for row in rows)  # fmt: skip
    for row, own in zip(rows, reference, strict=True):
        assert row["iteration_time_ns"] == own["iteration_time_ns"]
        study = make_study(
            folder / "three",
            gpu=folder / GPU,
            capacity=int(row["capacity_bytes"]),
            link_bandwidth=int(row["link_bandwidth_bytes_per_s"]),
        )
        result = study.run(str(row["policy"])).result
        numbers = ("iteration_time_ns", "peak_bytes", "offloaded_bytes", "needed_bytes", "stall_ns", "average_bytes")
        assert [row[name] for name in numbers] == [getattr(result, name) for name in numbers]
        assert row["trainable"] == result.trainable
        assert row["saved_at_peak_bytes"] == result.bytes_by_class_at_peak["saved"]


def test_batches_between_captured_ones(folder: Path) -> None:
    rows = rows_of(spec_of(folder, "varied", "batch = [4, 6, 16]", 'policy = "baseline"'))
    assert [(row["batch"], row["trace_batch"], row["provenance"]) for row in rows] == [
        (4, "4", "measured"),
        (6, "4..8", "modelled"),
        (16, "16", "measured"),
    ]
    assert [row["interpolation_error_ppm"] for row in rows] == [0, 0, 0]


def test_without_policies_the_papers_are_swept_without_variants(folder: Path) -> None:
    assert plan_sweep(spec_of(folder, "three")).spec.axes["policy"] == tuple(ONE_WAY_POLICIES)


@pytest.mark.parametrize(
    ("network", "lines", "message"),
    [
        ("three", ("batch = [4, 8]",), "spec.toml:5: axes.batch: .*three: found one captured step, of batch 4; "
         "expected captures of several batches"),
        ("varied", ("batch = 32",), "spec.toml:5: axes.batch: .*varied: found batch 32, expected one from 4 to 16"),
        ("varied", (), "spec.toml:3: axes.network: .*varied: found no batch, expected one of 4, 8, 16"),
        ("three", ('math = "tf32"',), "spec.toml:5: axes.math: found this axis; expected none of captured steps"),
        ("vgg16", (), "spec.toml:2: axes.batch: found nothing; expected this axis"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_with_its_line(folder: Path, network: str, lines: tuple[str, ...], message: str) -> None:
    with pytest.raises(InvalidFile, match=message):
        plan_sweep(spec_of(folder, network, *lines))
