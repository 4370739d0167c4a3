"""Batches between timed ones: straight lines, their error, and nothing beyond."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support.cases import conv, layer, network_of, row, trace_of
from vdnnsim.catalog import data_directory
from vdnnsim.errors import InvalidFile, InvalidInput
from vdnnsim.network import Kind, Network
from vdnnsim.sweep.grid import Grid
from vdnnsim.sweep.plan import plan_sweep
from vdnnsim.sweep.sources import load_sources
from vdnnsim.sweep.spec import parse_spec
from vdnnsim.trace import Provenance, Trace, interpolate_trace, leave_one_out_error_ppm


def network(batch: int) -> Network:
    return network_of(conv("a"), layer(Kind.SOFTMAX, "end"), batch=batch)


def trace(batch: int, forward_ns: int, **more: int) -> Trace:
    rows = [row("a", "forward", forward_ns, 10 * batch, "GEMM", 1 + batch / 100)]
    rows += [row("a", "forward", duration_ns, 7, name) for name, duration_ns in more.items()]
    return labelled(trace_of(network(batch), rows, default_ns=batch), Provenance.MEASURED)


def labelled(found: Trace, provenance: Provenance) -> Trace:
    return Trace(found.header, [entry._replace(provenance=provenance) for entry in found.rows])


def test_durations_workspaces_and_slowdowns_lie_on_the_line() -> None:
    found = interpolate_trace(network(25), {10: trace(10, 1000), 40: trace(40, 4100)})
    entry = found.trace.row("a", "forward", "GEMM")
    assert found.batches == (10, 40)
    assert (entry.duration_ns, entry.workspace_bytes, entry.copy_out_slowdown_ppm) == (2550, 250, 1_250_000)
    assert found.trace.row("end", "forward", "default").duration_ns == 25
    assert {entry.provenance for entry in found.trace.rows} == {Provenance.MODELLED}
    assert "between 10 and 40" in found.trace.header.sources["interpolated"]
    assert (found.trace.header.batch, found.error_ppm) == (25, None)
    assert "unknown" in found.trace.header.sources["interpolated"]


def test_the_nearest_batches_are_taken_and_only_common_algorithms_stay() -> None:
    traces = {10: trace(10, 1), 20: trace(20, 100, FFT=5), 30: trace(30, 300), 40: trace(40, 9)}
    found = interpolate_trace(network(24), traces)
    assert found.batches == (20, 30)
    assert [entry.algorithm for entry in found.trace.choices("a", "forward")] == ["GEMM"]
    assert found.trace.row("a", "forward", "GEMM").duration_ns == 180


def test_leaving_one_out_measures_the_error() -> None:
    """At 20, the line from 10 to 40 says 2000 for GEMM where 1500 was timed; the six other kernels lie on it."""
    traces = {10: trace(10, 1000), 20: trace(20, 1500), 40: trace(40, 4000)}
    others = sum(entry.duration_ns for entry in traces[20].rows) - 1500
    assert leave_one_out_error_ppm(traces) == 500 * 1_000_000 // (1500 + others)
    assert leave_one_out_error_ppm({10: traces[10], 40: traces[40]}) is None


@pytest.mark.parametrize("batch", [1, 9, 41])
def test_nothing_is_extrapolated(batch: int) -> None:
    with pytest.raises(InvalidInput, match="expected one between measured ones"):
        interpolate_trace(network(batch), {10: trace(10, 1000), 40: trace(40, 4100)})


def test_no_algorithm_in_common_is_told() -> None:
    low = trace_of(network(10), [row("a", "forward", 5, 0, "GEMM")])
    high = trace_of(network(40), [row("a", "forward", 5, 0, "FFT")])
    with pytest.raises(InvalidInput, match="no algorithm in common for forward of layer 'a'"):
        interpolate_trace(network(20), {10: low, 40: high})


@pytest.mark.parametrize(
    ("axes", "line", "words"),
    [
        (
            'network = "vgg16"\nbatch = [64, 512]\ngpu = "titan-x-maxwell"',
            4,
            "outside the timed batches [64, 128, 256]",
        ),
        ('network = "resnet50"\nbatch = 64\ngpu = "titan-x-maxwell"', 4, "no trace for resnet50 batch 64"),
        ('network = "vgg17"\nbatch = 64\ngpu = "titan-x-maxwell"', 3, "did you mean"),
        ('network = "vgg16"\nbatch = 64\ngpu = "titan-y"', 5, "did you mean 'titan-x-maxwell'"),
        ('network = "vgg16"\nbatch = 64\ngpu = "none.toml"', 5, "none.toml"),
    ],
)
def test_what_there_is_not_is_told_with_the_place_in_the_spec(axes: str, line: int, words: str, tmp_path: Path) -> None:
    spec = parse_spec(f"schema = 1\n[axes]\n{axes}\n", str(tmp_path / "my.toml"))
    with pytest.raises(InvalidFile) as error:
        load_sources(spec, Grid(spec).size().studies)
    assert f"my.toml:{line}: " in str(error.value)
    assert words in str(error.value)


@pytest.mark.parametrize(("folder", "words"), [("nix", "found no folder"), ("empty", "found no trace in")])
def test_a_folder_of_traces_that_holds_none_is_told_with_its_place(tmp_path: Path, folder: str, words: str) -> None:
    (tmp_path / "empty" / "gpu").mkdir(parents=True)
    text = f'schema = 1\ntraces = ["{folder}"]\n[axes]\nnetwork = "vgg16"\nbatch = 64\ngpu = "titan-x-maxwell"\n'
    spec = parse_spec(text, str(tmp_path / "my.toml"))
    with pytest.raises(InvalidFile) as error:
        load_sources(spec, Grid(spec).size().studies)
    assert f"my.toml:2: traces[0]: {words}" in str(error.value)
    assert "; expected a folder with traces in it" in str(error.value)


def test_a_folder_of_traces_is_used(tmp_path: Path) -> None:
    own = tmp_path / "mine" / "titan-x-maxwell"
    own.mkdir(parents=True)
    for path in (data_directory("traces") / "titan-x-maxwell").glob("vgg16_b64_fp32*"):
        shutil.copy(path, own)
    text = 'traces = ["mine"]\nschema = 1\n[axes]\nnetwork = "vgg16"\nbatch = 64\ngpu = "titan-x-maxwell"\n'
    spec = parse_spec(text, str(tmp_path / "my.toml"))
    assert len(load_sources(spec, Grid(spec).size().studies)) == 1


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ('network = "vgg17"\nbatch = 64\ngpu = "titan-x-maxwell"', "my.toml:3: axes.network: unknown network 'vgg17'"),
        ('network = "vgg16"\nbatch = 64\ngpu = "titan-y"', "my.toml:5: axes.gpu: unknown gpu 'titan-y'"),
        (
            'network = "vgg16"\nbatch = [64, 999]\ngpu = "titan-x-maxwell"',
            "my.toml:4: axes.batch: no trace for vgg16 batch 999",
        ),
    ],
)
def test_what_there_is_not_is_told_plainly(axes: str, message: str, tmp_path: Path) -> None:
    spec = parse_spec(f"schema = 1\n[axes]\n{axes}\n", str(tmp_path / "my.toml"))
    with pytest.raises(InvalidFile) as error:
        load_sources(spec, Grid(spec).size().studies)
    assert message.lower() in str(error.value).lower()
    assert "something else" not in str(error.value)


def test_an_unknown_policy_is_told_plainly(tmp_path: Path) -> None:
    text = 'schema = 1\n[axes]\nnetwork = "vgg16"\nbatch = 64\ngpu = "titan-x-maxwell"\n'
    text += 'policy = ["vdnn-dyn", "vdnn-dny"]\n'
    (tmp_path / "my.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidFile) as error:
        plan_sweep(tmp_path / "my.toml")
    assert "my.toml:6: axes.policy: unknown policy 'vdnn-dny'; did you mean 'vdnn-dyn'?" in str(error.value)


def test_nothing_in_common_gives_no_error_to_state() -> None:
    """The middle batch has none of the algorithms of its neighbours: what cannot be compared is not exact."""
    traces = {}
    for batch, name in {10: "GEMM", 20: "FFT", 40: "GEMM"}.items():
        whole = trace_of(network(batch), [row("a", "forward", batch, 0, name)])
        own = Trace(whole.header, [entry for entry in whole.rows if entry.algorithm == name])
        traces[batch] = labelled(own, Provenance.MEASURED)
    assert leave_one_out_error_ppm(traces) is None


def test_modelled_times_say_nothing_about_the_error_of_the_line() -> None:
    """A model that is linear in the batch lies on the line by itself."""
    traces = {batch: trace(batch, 100 * batch) for batch in (10, 20, 40)}
    assert leave_one_out_error_ppm(traces) == 0
    modelled = {batch: labelled(found, Provenance.MODELLED) for batch, found in traces.items()}
    assert leave_one_out_error_ppm(modelled) is None
    assert leave_one_out_error_ppm({**modelled, 20: traces[20]}) == 0


@pytest.mark.parametrize(("low", "high", "batch", "expected"), [(10, 11, 13, 11), (11, 10, 37, 11), (10, 11, 40, 11)])
def test_workspaces_round_up(low: int, high: int, batch: int, expected: int) -> None:
    """Also where the nearest is below: too little memory would let a plan fit that does not."""
    traces = {}
    for timed, workspace_bytes in ((10, low), (41, high)):
        whole = trace(timed, 1000)
        rows = [entry._replace(workspace_bytes=workspace_bytes) for entry in whole.rows]
        traces[timed] = Trace(whole.header, rows)
    entry = interpolate_trace(network(batch), traces).trace.row("a", "forward", "GEMM")
    assert entry.workspace_bytes == expected
