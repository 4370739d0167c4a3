"""The commands on the folder of a captured step."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from captured.batches import of_batch
from captured.steps import three_layers
from vdnnsim.captured import PlanFile, write_step, write_steps
from vdnnsim.cli import main

ROOT = Path(__file__).parents[2]
Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Run the command line beside the folder `three` and the profile `gpu.toml`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    write_step(three_layers(), tmp_path / "three")
    text = (ROOT / "gpu_profiles" / "h200.toml").read_text(encoding="utf-8")
    (tmp_path / "gpu.toml").write_text(text.replace('name = "h200"', 'name = "test-gpu"'), encoding="utf-8")

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["vdnnsim", *arguments])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_compare(cli: Cli) -> None:
    code, out, err = cli("compare", "three", "--gpu", "gpu.toml")
    assert (code, err) == (0, "")
    assert out.startswith("three (batch 4), captured on test-gpu (150.11 GB) with PyTorch 2.11.0, pytorch-caching pool")
    assert "Measured without offload: 1.000 ms (spread 0.5 %), peak 102.8 MB requested" in out
    head = out.splitlines()[1:3]
    assert [word for word in ("reserv.", "pinned", "batch", "/s") if not any(word in line for line in head)] == []
    first = [line.split()[0] for line in out.splitlines()[4:9]]
    assert first == ["baseline", "vdnn-all", "vdnn-conv", "vdnn-dyn", "oracle"]


def test_policies_with_parameters_have_commas(cli: Cli) -> None:
    names = ["offload(which=half, ahead=8)", "offload(keep_last=1, in_flight=none)", "oracle"]
    code, out, err = cli("compare", "three", "--gpu", "gpu.toml", "--policies", ", ".join(names), "--json", "-")
    assert (code, err) == (0, "")
    found = [result["policy"] for result in json.loads(out)["results"]]
    assert found == ["offload(which=half, ahead=8)", "offload(in_flight=none, keep_last=1)", "oracle"]


def test_run_has_rows_of_modules(cli: Cli) -> None:
    code, out, err = cli("run", "three", "--gpu", "gpu.toml", "--policy", "vdnn-all", "--figure", "figure.png")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[4:7]] == ["layers.0", "layers.1", "layers.2"]
    assert Path("figure.png").stat().st_size > 10_000


def test_a_plan_is_written(cli: Cli) -> None:
    code, out, err = cli("plan", "three", "--gpu", "gpu.toml", "--policy", "vdnn-dyn", "--out", "plan.json")
    assert (code, err) == (0, "")
    assert out.startswith("plan.json: vdnn-dyn (took no offload) for three: nothing leaves, training is as without it;")
    assert PlanFile.load("plan.json").leaving == ()
    cli("plan", "three", "--gpu", "gpu.toml", "--policy", "offload(min_bytes=10MiB)", "--out", "plan.json")
    found = PlanFile.load("plan.json")
    assert [block.block for block in found.leaving] == [8, 9]
    assert found.policy == "offload(min_bytes=10MiB)"


def test_memory_without_end_gives_no_plan(cli: Cli) -> None:
    code, out, err = cli("plan", "three", "--gpu", "gpu.toml", "--policy", "oracle", "--out", "plan.json")
    assert (code, out) == (2, "")
    assert err.startswith("vdnnsim: plan of oracle for three: found memory without end, which no GPU has; expected ")
    assert not Path("plan.json").exists()


def test_a_plan_is_of_one_capture(cli: Cli) -> None:
    write_steps("batch", {batch: of_batch(batch) for batch in (4, 8)}, Path("varied"))
    arguments = ("--gpu", "gpu.toml", "--policy", "vdnn-all", "--out", "plan.json")
    code, out, err = cli("plan", "varied", *arguments)
    assert (code, out) == (2, "")
    expected = "expected one: name the folder of one of them"
    assert err == f"vdnnsim: varied: found captures of several batches, {expected}\n"
    assert cli("plan", "varied/batch_8", *arguments)[0] == 0


def test_check(cli: Cli) -> None:
    write_steps("batch", {batch: of_batch(batch) for batch in (4, 8)}, Path("varied"))
    cli("plan", "three", "--gpu", "gpu.toml", "--policy", "vdnn-all", "--out", "plan.json")
    code, out, err = cli("check", "three", "varied/index.toml", "plan.json")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "three: captured step of three on test-gpu, 9 kernels, 7 saved tensors: no faults",
        "varied/index.toml: captured steps of batch 4, 8: no faults",
        "plan.json: plan of vdnn-all for three, 3 blocks of it leave: no faults",
    ]
    kernels = Path("three", "kernels.csv")
    kernels.write_text(kernels.read_text().replace("100000", "-1", 1))
    Path("plan.json").write_text("{}")
    code, out, err = cli("check", "three", "plan.json")
    assert (code, out) == (2, "")
    assert "three/kernels.csv:2: duration_ns: found '-1'" in err
    assert "plan.json" in err
    assert err.endswith("vdnnsim: 2 of 2 files have faults\n")


def test_solve(cli: Cli) -> None:
    code, out, err = cli("solve", "smallest-capacity", "three", "--gpu", "gpu.toml", "--policy", "vdnn-dyn")
    assert (code, err) == (0, "")
    assert "smallest memory" in out
    write_steps("batch", {batch: of_batch(batch) for batch in (4, 8)}, Path("varied"))
    code, out, err = cli(
        "solve", "largest-batch", "varied", "--gpu", "gpu.toml", "--policy", "baseline", "--capacity", "180MB"
    )
    assert (code, err) == (0, "")
    assert "leave-one-out error of kernel times unknown" in out
    assert "largest batch" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("plan", "three", "--gpu", "gpu.toml", "--policy", "vdnn-all", "--capacity", "50MB", "--out", "p.json"),
         "vdnnsim: plan of vdnn-all for three: does not train: out of memory in"),
        (("plan", "nowhere", "--gpu", "gpu.toml", "--policy", "vdnn-all", "--out", "p.json"),
         "vdnnsim: unknown network, captured step or folder 'nowhere'"),
        (("plan", "three", "--gpu", "gpu.toml", "--policy", "vdnn-all", "--out", "p.txt"),
         "vdnnsim: --out: found 'p.txt', expected a name that ends in .json"),
        (("plan", "three", "--gpu", "gpu.toml", "--policy", "vdnn-all", "--out", "no/p.json"),
         "vdnnsim: cannot write "),
        (("compare", "three", "--gpu", "h200"),
         "vdnnsim: three: captured on 'test-gpu', found the profile of 'h200', expected that of the same GPU"),
        (("compare", "three", "--gpu", "gpu.toml", "--batch", "8"),
         "vdnnsim: three: found one captured step, of batch 4; expected captures of several batches for batch 8: "
         "vdnnsim capture SCRIPT --vary batch=8,16,32 --out DIR"),
        (("compare", "three", "--gpu", "nothing.toml"), "vdnnsim: nothing.toml"),
        (("compare", "red\x1b[31m", "--gpu", "h200"), "vdnnsim: unknown network, captured step or folder 'red?[31m'"),
        (("advise", "three", "--gpu", "gpu.toml", "--trace", "a.csv"),
         "vdnnsim: trace: found a.csv, expected none: three is a captured step"),
        (("compare", "nowhere", "--gpu", "h200"), "vdnnsim: unknown network, captured step or folder 'nowhere'"),
        (("compare", "gpt_124M", "--gpu", "h100"), "vdnnsim: unknown network, captured step or folder 'gpt_124M'; did"),
        (("compare", "alexnet", "--gpu", "h200"),
         "vdnnsim: batch: found none, expected the number of images of an iteration of alexnet: --batch"),
        (("run", "three", "--gpu", "gpu.toml", "--policy", "offload(ahed=1)"),
         "vdnnsim: policy 'offload(ahed=1)': found parameter 'ahed', expected 'ahead', or one of: "),
        (("solve", "smallest-capacity", "alexnet", "--gpu", "h200", "--policy", "vdnn-dyn"),
         "vdnnsim: batch: found none, expected the number of images of an iteration of alexnet: --batch"),
        (("solve", "largest-batch", "three", "--gpu", "gpu.toml", "--policy", "vdnn-dyn"),
         "vdnnsim: three: found one captured step, of batch 4; expected captures of several batches for the largest "),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(message)
    assert len(err.splitlines()) == 1
    assert not Path("p.json").exists()


def test_an_example_of_a_policy_of_ones_own(cli: Cli, tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples" / "large_saved.py", tmp_path)
    arguments = ("compare", "three", "--gpu", "gpu.toml", "--policies", "large_saved:LargeSaved", "--json", "-")
    code, out, err = cli(*arguments)
    assert (code, err) == (0, "")
    (result,) = json.loads(out)["results"]
    assert (result["policy"], result["plan"]["offload"]) == ("large-saved", ["b9"])


def test_a_map_and_a_snapshot_of_its_memory(cli: Cli, tmp_path: Path) -> None:
    code, out, err = cli("memory-map", "three", "--gpu", "gpu.toml", "--policy", "vdnn-all", "--out", "map.png")
    assert (code, out, err) == (0, f"memory map: {tmp_path / 'map.png'}\n", "")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    code, out, err = cli("run", "three", "--gpu", "gpu.toml", "--policy", "vdnn-all", "--snapshot", "s.pickle")
    assert (code, err) == (0, "")
    assert out.endswith(f"memory snapshot: {tmp_path / 's.pickle'}\n")
    assert (tmp_path / "s.pickle").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "--snapshot", "-"], "--snapshot: found '-', expected a name ending in .pickle"),
        (["run", "--snapshot", "no/s.pickle"], "is no folder; make it first"),
        (["memory-map", "--out", "map.gif"], "--out: found 'map.gif', expected a name ending in .png, .pdf, .svg"),
    ],
)
def test_what_cannot_be_written_is_told_before_anything_runs(cli: Cli, arguments: list[str], told: str) -> None:
    command, *rest = arguments
    code, out, err = cli(command, "three", "--gpu", "gpu.toml", "--policy", "vdnn-all", *rest)
    assert (code, out, told in err, err.count("\n")) == (2, "", True, 1), err
