"""Traces carried over by a roofline: by hand, where it refuses, what it says of itself, and batches between."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from support.cases import conv, layer, network_of, row, trace_of
from vdnnsim.carrying import LAUNCH_NS, carry_over, model_trace
from vdnnsim.cli import main
from vdnnsim.errors import InvalidInput
from vdnnsim.gpu import Roofline
from vdnnsim.network import Kind
from vdnnsim.trace import CARRIED, Provenance, Trace

OLD = Roofline("old", {"fp32": 8 * 10**12, "tf32": 10**13}, 10**9)
"""A byte a nanosecond."""
NETWORK = network_of(conv("a"), layer(Kind.ACTV, "r"), layer(Kind.SOFTMAX, "end"))


def carried(new: Roofline, math: str = "fp32", **rows: int) -> Trace:
    times = [row("a", "forward", 10_000_000, 1000, "GEMM"), row("a", "forward", rows.get("fft", 9), 0, "FFT")]
    trace = trace_of(NETWORK, times, default_ns=rows.get("default_ns", LAUNCH_NS))
    return carry_over(Trace(replace(trace.header, math=math), trace.rows), NETWORK, OLD, new).trace


def moved_bytes() -> int:
    """X, W and Y of the CONV, and its workspace."""
    conv_a = NETWORK.layers[0]
    return NETWORK.maps["data"].size_bytes + conv_a.weights_bytes + conv_a.output_bytes + 1000


def test_memory_goes_with_memory_and_the_rest_with_arithmetic() -> None:
    new = Roofline("new", {"fp32": 4 * 10**12, "tf32": 10**14}, 4 * 10**9)
    entry = carried(new).row("a", "forward", "GEMM")
    moved = moved_bytes()
    assert entry.duration_ns == LAUNCH_NS + (10_000_000 - LAUNCH_NS - moved) * 2 + round(moved / 4)
    assert (entry.provenance, entry.source, entry.workspace_bytes) == (Provenance.MODELLED, CARRIED, 1000)
    tensor_cores = carried(new, "tf32").row("a", "forward", "GEMM")
    assert tensor_cores.duration_ns == pytest.approx(
        LAUNCH_NS + (10_000_000 - LAUNCH_NS - moved) / 10 + moved / 4, abs=1
    )


def test_what_only_launches_stays_and_no_kernel_moves_more_than_it_had_time_for() -> None:
    new = Roofline("new", {"fp32": 10**12}, 2 * 10**9)
    assert carried(new).row("a", "forward", "FFT").duration_ns == 9
    assert carried(new).row("r", "forward", "default").duration_ns == LAUNCH_NS
    assert carried(new, default_ns=LAUNCH_NS + 10).row("r", "forward", "default").duration_ns == LAUNCH_NS + 5


def test_what_the_other_gpu_lacks_is_left_out_or_refused() -> None:
    new = replace(OLD, gpu="new", lacks=frozenset({"FFT", "DIRECT"}))
    assert [entry.algorithm for entry in carried(new).choices("a", "forward")] == ["GEMM"]
    assert "without FFT, which the GPU lacks" in carried(new).header.sources[CARRIED]
    with pytest.raises(InvalidInput, match="new: found no algorithm that it has for forward of layer 'a'"):
        carried(replace(new, lacks=frozenset({"FFT", "GEMM"})))
    with pytest.raises(InvalidInput, match=r"math: found tf32, expected one that new has \(\[roofline\]\): fp32"):
        carried(Roofline("new", {"fp32": 1}, 1), "tf32")


@pytest.mark.parametrize(
    ("source", "target", "beyond"),
    [
        ("h200", "h100", ""),
        ("h100", "h200", ""),
        ("h200", "a100-40", "memory x0.324 (checked x0.69 to x1.44), arithmetic x0.291 (checked x1 to x1)"),
    ],
)
def test_it_says_how_far_it_is_from_what_was_checked(source: str, target: str, beyond: str) -> None:
    found = model_trace("alexnet", batch=128, source=source, target=target)
    assert (found.trace.header.gpu, found.beyond, found.left_out) == (target, beyond, ())
    told = found.trace.header.sources[CARRIED]
    assert f"carried over from {source} by the roofline" in told
    assert ("beyond what was checked" in told) == bool(beyond)


def test_one_that_lies_between_two_batches_says_so() -> None:
    found = model_trace("vgg16", batch=100, source="h200", target="h100").trace
    assert found.header.batch == 100
    assert "There: modelled: linear in the batch between 64 and 256" in found.header.sources[CARRIED]


def test_the_command_writes_what_compare_reads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def cli(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["vdnnsim", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        return (int(stop.value.code or 0), *capsys.readouterr())

    table = str(tmp_path / "alexnet.csv")
    asked = ("model-trace", "alexnet", "--batch", "128", "--from", "h200", "--to", "l4", "--out")
    code, out, _ = cli(*asked, table)
    assert (code, "102 rows, alexnet batch 128 on l4, fp32" in " ".join(out.split())) == (0, True)
    one = ("--batch", "128", "--gpu", "l4", "--policies", "vdnn-all(p)")
    code, out, _ = cli("compare", "alexnet", *one, "--trace", table)
    assert (code, "modelled: carried over from h200 by the roofline" in " ".join(out.split())) == (0, True)
    code, _, err = cli(*asked, table.replace(".csv", ".txt"))
    assert (code, "--out: found" in err) == (2, True)
