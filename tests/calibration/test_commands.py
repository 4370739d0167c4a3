"""`vdnnsim calibrate` on the CPU: each command on a network of a few layers."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from vdnnsim.calibration import running
from vdnnsim.calibration.cases import read_cases
from vdnnsim.calibration.records import read_records
from vdnnsim.cli.calibrate import app
from vdnnsim.errors import InvalidFile, InvalidInput, UnknownName
from vdnnsim.folder_lock import only_writer
from vdnnsim.gpu import check_profile_name, read_profile
from vdnnsim.machines.real.cpu import CpuDevice
from vdnnsim.network import load_network
from vdnnsim.trace import Provenance, read_trace, required_passes

TINY = """schema = 1
name = "tiny"
input = [3, 16, 16]
layer = [
  { name = "conv1", kind = "CONV", channels = 8, kernel = 3, padding = 1 },
  { name = "relu1", kind = "ACTV" },
  { name = "pool1", kind = "POOL", kernel = 2, stride = 2 },
  { name = "conv2", kind = "CONV", channels = 8, kernel = 3, padding = 1 },
  { name = "relu2", kind = "ACTV" },
  { name = "fc3", kind = "FC", channels = 10 },
  { name = "softmax", kind = "SOFTMAX" },
]
"""


CPU = ("--device", "cpu")


def call(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibrate")
    (folder / "tiny.toml").write_text(TINY)
    (folder / "cases.toml").write_text(
        f'schema = 1\ngpu = "here"\n[[case]]\nnetwork = "{folder}/tiny.toml"\nbatch = 4\n'
        'policies = ["baseline(p)", "vdnn-all(m)"]\nmeasures_host = true\n'
    )
    call("report", folder / "cases.toml", "--out", folder / "out", "--device", "cpu")
    return folder


def test_report_writes_profile_trace_and_cases(folder: Path) -> None:
    out = folder / "out"
    records = read_records(out / "results.json")
    assert [record.policy for record in records] == ["baseline(p)", "vdnn-all(m)", "vdnn-dyn"]
    for record in records:
        assert record.same_addresses
        assert record.same_decisions
        assert record.measured_peak_bytes == record.predicted_peak_bytes
        assert record.measured_offloaded_bytes == record.predicted_offloaded_bytes
    assert not any(record.held_out for record in records)
    assert (out / "errors.png").stat().st_size > 1000
    assert "vdnn-dyn" in (out / "table.md").read_text()


def test_a_report_goes_on_where_it_stopped(folder: Path, tmp_path: Path) -> None:
    """Cases that the folder has are not run again; a further one of a longer list is."""
    before = (folder / "out" / "results.json").read_text()
    shutil.copytree(folder / "out", tmp_path, dirs_exist_ok=True)
    longer = (folder / "cases.toml").read_text() + (
        f'[[case]]\nnetwork = "{folder}/tiny.toml"\nbatch = 2\npolicies = ["vdnn-conv(m)"]\nlimited = {{}}\n'
    )
    (tmp_path / "longer.toml").write_text(longer)
    call("report", tmp_path / "longer.toml", "--out", tmp_path, "--device", "cpu")
    records = read_records(tmp_path / "results.json")
    assert [(one.batch, one.policy) for one in records][3:] == [(2, "vdnn-conv(m)")]
    measured = [one.measured_iteration_time_ns for one in records[:3]]
    assert measured == [one.measured_iteration_time_ns for one in read_records(folder / "out" / "results.json")]
    assert (folder / "out" / "results.json").read_text() == before


def test_ctrl_c_gives_the_device_back_and_leaves_whole_files(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in the second case of a network: profile, trace and the first case stay, and the next report goes
    on."""
    shutil.copytree(folder / "out", tmp_path, dirs_exist_ok=True)
    (tmp_path / "results.json").unlink()
    closed: list[CpuDevice] = []
    began: list[object] = []
    close, real_run = CpuDevice.close, running.run_case

    def tell_close(device: CpuDevice) -> None:
        closed.append(device)
        close(device)

    def run_case(*arguments: Any) -> Any:
        began.append(arguments)
        if len(began) == 2:
            raise KeyboardInterrupt
        return real_run(*arguments)

    monkeypatch.setattr(CpuDevice, "close", tell_close)
    monkeypatch.setattr(running, "run_case", run_case)
    words = ["report", str(folder / "cases.toml"), "--out", str(tmp_path), "--device", "cpu"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 130
    assert len(closed) == 1
    assert [record.policy for record in read_records(tmp_path / "results.json")] == ["baseline(p)"]
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {
        "here.toml",
        next((tmp_path / "machines").iterdir()).name,
        "results.json",
        "tiny_b4_fp32.csv",
        "tiny_b4_fp32.toml",
        "table.md",
        "errors.png",
        ".lock",
    }
    assert "the same command goes on from there" in result.output
    monkeypatch.setattr(running, "run_case", real_run)
    call(*words)
    assert len(read_records(tmp_path / "results.json")) == 3


def test_the_profile_has_a_link_in_both_directions(folder: Path) -> None:
    profile = read_profile(folder / "out" / "here.toml")
    for curve in (profile.link.copy_out, profile.link.copy_in):
        assert curve.duration_ns(64 << 20) > curve.duration_ns(1 << 20) > 0
    assert profile.provenance["host"] == "measured"
    assert profile.host.stream_wait_ns > 0


def test_the_trace_has_every_pass_and_both_algorithms(folder: Path) -> None:
    network = load_network(folder / "tiny.toml", 4)
    trace = read_trace(folder / "out" / "traces" / "here" / "tiny_b4_fp32.csv", network)
    assert {(row.layer, row.pass_) for row in trace.rows} == set(required_passes(network))
    assert {row.algorithm for row in trace.choices("conv2", "backward_data")} == {"IMPLICIT_GEMM", "GEMM"}
    assert all(row.provenance is Provenance.MEASURED and row.duration_ns > 0 for row in trace.rows)


def test_run_shows_measured_beside_simulated(folder: Path) -> None:
    out = folder / "out"
    shown = call(
        "run",
        folder / "tiny.toml",
        *("--batch", 4, "--policy", "vdnn-conv(p)", "--gpu", out / "here.toml", "--iterations", 3, "--check"),
        *("--trace", out / "traces" / "here" / "tiny_b4_fp32.csv", "--device", "cpu"),
        *("--json", folder / "case.json", "--timeline", folder / "both.json"),
    )
    assert "addresses equal, decisions equal" in shown
    assert "largest relative error" in shown
    assert 1 <= read_records(folder / "case.json")[0].repetitions <= 3
    events = json.loads((folder / "both.json").read_text())["traceEvents"]
    names = [event["args"]["name"] for event in events if event["name"] == "process_name"]
    assert names == ["vdnn-conv(p), measured", "vdnn-conv(p), simulated"]
    for process in (1, 2):
        kernels = [event for event in events if event["pid"] == process and event.get("cat") == "kernel"]
        assert len(kernels) == len(required_passes(load_network(folder / "tiny.toml", 4)))
        for one, following in pairwise(kernels):
            assert one["ts"] + one["dur"] <= following["ts"] + 1e-3


def test_without_a_gpu_each_command_says_so_in_one_line(folder: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(InvalidInput, match="no NVIDIA GPU") as raised:
        call("link", "--out", folder / "gpu.toml")
    assert "\n" not in str(raised.value)
    assert not (folder / "gpu.toml").exists()


def test_a_gpu_that_cannot_be_opened_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later")

    monkeypatch.setattr("vdnnsim.machines.real.cuda.CudaDevice", full)
    with pytest.raises(InvalidInput) as raised:
        call("link", "--out", folder / "gpu.toml")
    assert str(raised.value) == (
        "device cuda: found 'CUDA error: out of memory' on opening it, expected a GPU with memory to spare that this "
        "process may use; nvidia-smi shows what else is on it"
    )


def test_unknown_device_and_math(folder: Path) -> None:
    with pytest.raises(UnknownName, match="device"):
        call("link", "--out", folder / "x.toml", "--device", "tpu")
    with pytest.raises(InvalidInput, match="fp32"):
        call(
            "trace", folder / "tiny.toml", "--batch", 1, "--math", "tf32", "--out", folder / "x.csv", "--device", "cpu"
        )
    assert not (folder / "x.csv").exists()


def copied(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder / "out", tmp_path / "out")
    return tmp_path / "out"


def refused(match: str, *words: object) -> None:
    with pytest.raises(InvalidInput, match=match):
        call(*words)


def test_measurements_of_another_network_of_this_name_are_not_used(folder: Path, tmp_path: Path) -> None:
    out = copied(folder, tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY.replace("channels = 8", "channels = 16"))
    (tmp_path / "cases.toml").write_text((folder / "cases.toml").read_text().replace(str(folder), str(tmp_path)))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    words = ("report", tmp_path / "cases.toml", "--out", out, "--device", "cpu")
    refused(r"results.json: found measurements of another network called tiny \(batch 4\)", *words)
    (out / "results.json").unlink()
    refused(r"tiny_b4_fp32.csv: layer 'conv1' differs first: .*another network called tiny", *words)
    assert {path: path.read_bytes() for path in before if path.name != "results.json"} == {
        path: contents for path, contents in before.items() if path.name != "results.json"
    }


def test_a_folder_of_another_gpu_is_refused_before_anything_is_measured(folder: Path, tmp_path: Path) -> None:
    out = copied(folder, tmp_path)
    (tmp_path / "cases.toml").write_text((folder / "cases.toml").read_text().replace('"here"', '"there"'))
    refused("found cases of GPU 'here', expected 'there'", "report", tmp_path / "cases.toml", "--out", out, *CPU)
    assert not (out / "there.toml").exists()


@pytest.mark.parametrize("name", ["RTX-4090", "a b/c", "", "-x", 'a"b', "h200\n"])
def test_a_name_that_no_profile_can_have_is_refused_before_anything_is_measured(name: str, tmp_path: Path) -> None:
    allowed = "--name: found .*, expected small letters, digits, '.', '_' and '-', a letter or digit first"
    refused(allowed, "link", "--name", name, "--out", tmp_path / "x.toml", *CPU)
    refused(allowed, "trace", "alexnet", "--batch", 1, "--name", name, "--out", tmp_path / "x.csv", *CPU)
    with pytest.raises(InvalidInput, match="small letters, digits"):
        check_profile_name(name, "name")


def test_a_file_that_no_reader_takes_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    refused("expected a name ending in .toml", "link", "--out", tmp_path / "x.csv", *CPU)
    refused("expected a name ending in .csv", "trace", "alexnet", "--batch", 1, "--out", tmp_path / "x.toml", *CPU)


def test_what_a_policy_of_ones_own_does_wrong_is_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = "class Five:\n    name = 'five'\n    def check(self, problem): pass\n    def plan(self, problem): return 5\n"
    (tmp_path / "five_for_test.py").write_text(own)
    monkeypatch.syspath_prepend(tmp_path)
    trace = folder / "out" / "traces" / "here" / "tiny_b4_fp32.csv"
    words = ("run", folder / "tiny.toml", "--batch", 4, "--gpu", folder / "out" / "here.toml", "--trace", trace)
    for more in ((), ("--check",)):
        refused(r"plan\(\) returned int, expected a Plan", *words, "--policy", "five_for_test:Five", *more, *CPU)


def test_numbers_on_stdout_are_alone_there(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    trace = folder / "out" / "traces" / "here" / "tiny_b4_fp32.csv"
    words = ("run", folder / "tiny.toml", "--batch", 4, "--gpu", folder / "out" / "here.toml", "--trace", trace)
    result = CliRunner().invoke(app, [*map(str, words), "--policy", "oracle", "--iterations", "3", "--json", "-", *CPU])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["cases"][0]["policy"] == "oracle"
    assert "measured" in result.stderr
    assert capfd.readouterr().out == ""


def test_two_reports_do_not_share_a_folder(folder: Path, tmp_path: Path) -> None:
    with only_writer(tmp_path / "out"):
        refused("another process", "report", folder / "cases.toml", "--out", tmp_path / "out", *CPU)


def test_faults_of_a_list_of_cases_have_their_lines(folder: Path, tmp_path: Path) -> None:
    text = (folder / "cases.toml").read_text()
    text += '[[case]]\nnetwork = "alexnt"\nbatch = 1\n[[case]]\nnetwork = "alexnet"\nbatch = 1\npolicies = ["vdnn"]\n'
    text += 'limited = { vdnn-dyn = "much" }\n' + "".join(text.splitlines(keepends=True)[2:6])
    (tmp_path / "cases.toml").write_text(text)
    with pytest.raises(InvalidFile) as raised:
        call("report", tmp_path / "cases.toml", "--out", tmp_path / "out", *CPU)
    assert [(fault.line, fault.field) for fault in raised.value.faults] == [
        (9, "case[1].network"),
        (14, "case[2].policies"),
        (15, "case[2].limited"),
        (17, "case[3].network"),
    ]
    assert "did you mean 'alexnet'" in str(raised.value) or "alexnet" in raised.value.faults[0].expected
    assert not (tmp_path / "out").exists()


def test_networks_are_found_beside_the_list(folder: Path) -> None:
    (folder / "beside.toml").write_text('schema = 1\ngpu = "here"\n[[case]]\nnetwork = "tiny.toml"\nbatch = 4\n')
    assert read_cases(folder / "beside.toml").case[0].network == str(folder / "tiny.toml")


def test_a_network_that_fails_shows_in_the_exit_code(folder: Path, tmp_path: Path) -> None:
    out = copied(folder, tmp_path)
    text = (folder / "cases.toml").read_text()
    text += f'[[case]]\nnetwork = "{folder}/tiny.toml"\nbatch = 3\nmath = ["tf32"]\n'
    (tmp_path / "cases.toml").write_text(text)
    result = CliRunner().invoke(app, ["report", str(tmp_path / "cases.toml"), "--out", str(out), *CPU])
    assert result.exit_code == 1
    assert "failed: " in result.output
    assert "all: 3 cases" in result.output


def test_outputs_are_checked_before_anything_is_measured(folder: Path, tmp_path: Path) -> None:
    nowhere, tiny = tmp_path / "none" / "x.toml", folder / "tiny.toml"
    refused("is no folder; make it first", "link", "--out", nowhere, *CPU)
    refused("is no folder; make it first", "trace", tiny, "--batch", 1, "--out", nowhere.with_suffix(".csv"), *CPU)
    refused("no header of a trace", "trace", tiny, "--batch", 1, "--out", tiny.with_suffix(".csv"), *CPU)
    twice = ("--json", tmp_path / "same", "--timeline", tmp_path / "same")
    refused("named twice", "run", tiny, "--batch", 1, "--policy", "vdnn-dyn", "--gpu", "titan-x-maxwell", *twice, *CPU)
    (tmp_path / "file").touch()
    refused("cannot write .*file", "report", folder / "cases.toml", "--out", tmp_path / "file" / "out", *CPU)
