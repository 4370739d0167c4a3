"""Traces of PyTorch's profiler: what a step is made of, what is inferred, and what is refused."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captured.steps import three_layers
from support.cases import gpu_of
from support.commands import in_process
from support.damage import damaged, read_or_refuse
from support.kineto import ENGINE, MAIN, GpuTrace
from vdnnsim import InvalidFile, load_profile
from vdnnsim.captured import BlockClass, CapturedStep, Doing, Phase, check_step, is_step, read_step
from vdnnsim.comparing import compare_policies
from vdnnsim.making import make_study, study_of_step
from vdnnsim.readers import reader_of
from vdnnsim.readers.kineto import read_kineto
from vdnnsim.report.chrome_trace import timeline_json

REAL = Path(__file__).parents[2] / "examples" / "profiler_trace.json.gz"
LAYER_BYTES = 256 * 64 * 4
A, R, LOSS, DR, DW, BEFORE = (0x10000 * n for n in range(1, 7))
MIB = 1 << 20


def step(trace: GpuTrace, number: int = 0) -> None:
    """A layer makes A, which ReLU lets die; ReLU makes R, which it and the layer behind it save."""
    first = 10 * number
    with trace.range("aten::linear", sequence=first + 1):
        trace.memory(A, MIB)
        trace.launch("gemm", 50 + number)
    with trace.range("aten::relu", sequence=first + 2):
        trace.memory(R, 2 * MIB)
        trace.launch("relu", 20)
    trace.memory(A, -MIB)
    with trace.range("aten::square", sequence=first + 3):
        trace.memory(LOSS, 512)
        trace.launch("square", 10)
    trace.thread = ENGINE
    for name, sequence, address in (("Pow", first + 3, DR), ("Relu", first + 2, 0), ("Mm", first + 1, DW)):
        with trace.range(f"autograd::engine::evaluate_function: {name}Backward0", sequence=sequence):
            with trace.range(f"{name}Backward0", sequence=sequence):
                if address:
                    trace.memory(address, 4096)
                trace.launch(f"{name}_backward", 30)
            if name == "Relu":
                trace.memory(R, -2 * MIB)
    trace.thread = MAIN
    with trace.range("Optimizer.step#SGD.step", "user_annotation"), trace.range("aten::add_"):
        trace.launch("sgd", 5)
    for address, size in ((LOSS, 512), (DR, 4096), (DW, 4096)):
        trace.memory(address, -size)


def gpu_trace(steps: int = 3) -> dict[str, object]:
    trace = GpuTrace()
    trace.memory(BEFORE, 8 * MIB)
    for number in range(steps):
        with trace.range(f"ProfilerStep#{number}", "user_annotation"):
            step(trace, number)
            trace.synchronize()
    return {"schemaVersion": 1, "deviceProperties": [{"id": 0, "name": "NVIDIA H200"}], **trace.json}


def read(document: object, tmp_path: Path) -> CapturedStep:
    path = tmp_path / "my.pt.trace.json"
    path.write_text(json.dumps(document))
    found = read_kineto(path).what
    assert isinstance(found, CapturedStep)
    return found


def test_a_step_on_a_gpu_is_read(tmp_path: Path) -> None:
    found = read(gpu_trace(), tmp_path)
    check_step(found)
    assert (found.header.name, found.header.gpu, found.header.device) == ("my", "NVIDIA H200", "cuda")
    names = ["gemm", "relu", "square", "Pow_backward", "Relu_backward", "Mm_backward", "sgd"]
    assert [kernel.name for kernel in found.kernels] == names
    assert (found.kernels[0].duration_ns, found.kernels[0].kind, found.kernels[6].kind) == (51_000, "gemm", "optimiser")
    phases = [found.operators[kernel.operator].phase for kernel in found.kernels]
    assert phases == [Phase.FORWARD] * 3 + [Phase.BACKWARD] * 3 + [Phase.OPTIMISER]
    assert [block.size_bytes for block in found.blocks] == [8 * MIB, MIB, 2 * MIB, 512, 4096, 4096]
    assert found.seen.peak_allocated_bytes == 11 * MIB
    assert (found.seen.step_ns, found.seen.spread_ppm > 0) == (193_500, True)


def test_where_no_steps_are_marked_each_ends_with_the_optimiser_and_that_is_said(tmp_path: Path) -> None:
    document = gpu_trace()
    events = document["traceEvents"]
    assert isinstance(events, list)
    document["traceEvents"] = [event for event in events if not event["name"].startswith("ProfilerStep")]
    found = read(document, tmp_path)
    assert [kernel.name for kernel in found.kernels] == [kernel.name for kernel in read(gpu_trace(), tmp_path).kernels]
    assert [found.blocks[one.block].size_bytes for one in found.saved] == [2 * MIB, 2 * MIB]
    (tmp_path / "my.pt.trace.json").write_text(json.dumps(document))
    imported = read_kineto(tmp_path / "my.pt.trace.json")
    assert "the last of 3 steps, times by 3 of them" in imported.says[0]
    assert any(lack.startswith("where steps begin: cut behind each of 3 Optimizer.step") for lack in imported.lacks)
    assert not any(lack.startswith("where steps begin") for lack in read_kineto(REAL).lacks)


def test_what_lives_from_forward_to_backward_is_saved(tmp_path: Path) -> None:
    """By ReLU, whose node lets it go, and by the operator behind it, whose node runs before."""
    found = read(gpu_trace(), tmp_path)
    assert [(one.block, one.node, one.module) for one in found.saved] == [
        (2, "ReluBackward0", "relu.1"), (2, "PowBackward0", "square.1"),
    ]  # fmt: skip
    calls = [(deed.doing, deed.number) for deed in found.deeds if deed.doing in (Doing.SAVE, Doing.NEED)]
    assert calls == [(Doing.SAVE, 0), (Doing.SAVE, 1), (Doing.NEED, 1), (Doing.NEED, 0)]
    assert found.blocks[2].holds is BlockClass.SAVED
    comparison = compare_policies(study_of_step(found, load_profile("h200")), ["baseline", "vdnn-all"])
    kept, left = comparison
    assert (kept.offloaded_bytes, left.offloaded_bytes) == (0, 2 * MIB)


def test_modules_come_from_the_file_where_it_has_them(tmp_path: Path) -> None:
    document = gpu_trace(1)
    events = document["traceEvents"]
    assert isinstance(events, list)
    relu = next(event for event in events if event["name"] == "aten::relu")
    around = {**relu, "cat": "python_function", "name": "nn.Module: ReLU_0", "dur": relu["dur"] + 0.2}
    document["traceEvents"] = [{**around, "ts": relu["ts"] - 0.1}, *events]
    assert [one.module for one in read(document, tmp_path).saved] == ["ReLU_0", ""]


def test_the_users_own_ranges_stand_for_modules(tmp_path: Path) -> None:
    """And outside of them operators, numbered."""
    document = gpu_trace(1)
    events = document["traceEvents"]
    assert isinstance(events, list)
    relu = next(event for event in events if event["name"] == "aten::relu")
    around = {**relu, "cat": "user_annotation", "name": "my part", "ts": relu["ts"] - 0.1, "dur": relu["dur"] + 0.2}
    document["traceEvents"] = [around, *events]
    assert [one.module for one in read(document, tmp_path).saved] == ["my part", "square.1"]


def test_a_real_trace_of_a_cpu_has_what_a_capture_of_it_has() -> None:
    """Each ReLU's result is saved by it and by what comes behind; the step is one that all commands take."""
    found, says, lacks, _ = read_kineto(REAL)
    assert isinstance(found, CapturedStep)
    check_step(found)
    assert [(one.node, one.module) for one in found.saved] == [
        ("ReluBackward0", "relu.1"), ("AddmmBackward0", "linear.2"),
        ("ReluBackward0", "relu.2"), ("AddmmBackward0", "linear.3"),
        ("ReluBackward0", "relu.3"), ("PowBackward0", "square.1"),
    ]  # fmt: skip
    assert {found.blocks[one.block].size_bytes for one in found.saved} == {LAYER_BYTES}
    assert "3 of them, 196.6 KB, are held from forward to backward" in says[2]
    assert any("hooks" in line for line in lacks)


def test_import_finds_the_kind_and_writes_a_step(tmp_path: Path) -> None:
    out = tmp_path / "step"
    done = in_process(["import", str(REAL), "--out", str(out)])
    assert done.code == 0
    assert f"Next: vdnnsim compare {out} --gpu PROFILE" in done.out
    assert read_step(out).header.name == "profiler_trace"


def test_without_blocks_of_memory_it_makes_tables_and_says_so(tmp_path: Path) -> None:
    document = gpu_trace(2)
    events = document["traceEvents"]
    assert isinstance(events, list)
    document["traceEvents"] = [event for event in events if event["name"] != "[memory]"]
    path, out = tmp_path / "trace.json", tmp_path / "out"
    path.write_text(json.dumps(document))
    done = in_process(["import", str(path), "--out", str(out)])
    assert (done.code, done.err) == (0, "")
    assert "no blocks of memory, and so no step: 7 kernels, 0.176 ms in all" in done.out
    assert "not told: blocks of memory and what backward needs of them: torch.profiler" in done.out
    first = (out / "kernels.csv").read_text().splitlines()[1]
    assert first.startswith("gemm,aten::linear,linear.1,forward,7,")


def test_the_gpu_can_be_named(tmp_path: Path) -> None:
    out = tmp_path / "step"
    assert in_process(["import", str(REAL), "--out", str(out), "--gpu", "h200"]).code == 0
    assert read_step(out).header.gpu == "h200"


def cut(text: str) -> str:
    return text[: len(text) // 2]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (cut, "found the end of the file within an event; expected all of it: it is cut short or no JSON"),
        (lambda text: text[:-1], "found the end of the file; expected its closing bracket: it is cut short"),
        (lambda text: text[:200] + "\0" * 1000, "the end of the file within an event"),
        (lambda text: text.replace('"Bytes"', '"Bites"'), "one without 'Bytes'"),
        (lambda text: text.replace("evaluate_function", "function"), "found a step without backward"),
        (lambda _: '{"traceEvents": [1]}', "found '1'; expected an event: a JSON object"),
        (lambda _: '{"traceEvents": []}', "found 0 events, none of operators or kernels"),
        (lambda _: '{"traceEvents": [{"ph": "X", "cat": "cpu_op"}]}', "one without 'name'"),
        (lambda _: '{"traceEvents" 1}', "found '1}'; expected ':'"),
    ],
)
def test_what_is_no_training_step_is_refused_in_a_line(changed, told: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "trace.json"
    path.write_text(changed(gzip.decompress(REAL.read_bytes()).decode()))
    done = in_process(["import", str(path), "--out", str(tmp_path / "out")])
    assert (done.code, told in done.err, done.err.count("\n")) == (2, True, 1), done.err
    assert [one.name for one in tmp_path.iterdir()] == ["trace.json"]


@pytest.mark.parametrize("policy", ["baseline", "vdnn-all"])
def test_a_timeline_of_ours_is_no_trace_of_a_profiler(policy: str, tmp_path: Path) -> None:
    run = make_study(three_layers(), gpu=gpu_of()).run(policy)
    path = tmp_path / "timeline.json.gz"
    path.write_bytes(gzip.compress(timeline_json([run]).encode()))
    said = (
        f"{path}: file: found a timeline that vdnnsim wrote, for a viewer such as ui.perfetto.dev; expected a trace of"
    )
    with pytest.raises(InvalidFile, match=re.escape(said)):
        reader_of(path).read(path)


def test_a_gigabyte_of_nothing_and_a_damaged_end_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "nothing.json"
    with path.open("wb") as target:
        target.truncate(1 << 30)
    with pytest.raises(InvalidFile, match="none that is known"):
        reader_of(path)
    path.write_bytes(b'{"traceEvents": [')
    with path.open("r+b") as target:
        target.truncate(1 << 30)
    with pytest.raises(InvalidFile, match=r"begin: found .* expected JSON"):
        read_kineto(path)
    path.write_bytes(REAL.read_bytes()[:-100])
    with pytest.raises(InvalidFile, match="a damaged end of gzip"):
        read_kineto(path)


@settings(max_examples=25)
@given(st.data())
def test_a_damaged_trace_is_refused_or_makes_a_step_that_can_be_read(data: st.DataObject) -> None:
    text = json.dumps(gpu_trace(1)).encode()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        path.write_bytes(data.draw(damaged(text)))

        def read_and_store(path: Path) -> None:
            read_kineto(path).what.save(Path(folder) / "step")
            if is_step(Path(folder) / "step"):
                read_step(Path(folder) / "step")

        read_or_refuse(read_and_store, path)
