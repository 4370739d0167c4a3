"""`vdnnsim reproduce`: what it writes, what it prints, what it refuses."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from support.examples import thorough
from vdnnsim.catalog import data_directory
from vdnnsim.errors import InvalidInput, UnknownName
from vdnnsim_paper import figure_names, reproduce
from vdnnsim_paper.cli import reproduce_command
from vdnnsim_paper.command import claims_stem

RUNNER = CliRunner()


def app() -> typer.Typer:
    found = typer.Typer()
    found.command()(reproduce_command)
    return found


def refused(*arguments: str) -> InvalidInput:
    error = RUNNER.invoke(app(), arguments).exception
    assert isinstance(error, InvalidInput)
    assert error.exit_code == 2
    assert "\n" not in str(error)
    return error


def test_one_figure_and_the_claims_that_rest_on_it(tmp_path: Path) -> None:
    done = RUNNER.invoke(app(), ["fig12", "--no-bands", "--out", str(tmp_path / "new" / "folder")])
    assert done.exit_code == 0
    assert "offloaded by vdnn-all" in done.output
    assert "16.90 GB" in done.output
    assert "AlexNet" not in done.output
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == {
        "fig12.png", "fig12.pdf", "fig12.csv", "claims_fig12.csv", "claims_fig12.md",
        "report_fig12.html",
    }  # fmt: skip


def test_some_figures_leave_the_table_of_all_alone(tmp_path: Path) -> None:
    (tmp_path / "claims.csv").write_text("twenty claims")
    (tmp_path / "claims.md").write_text("twenty claims")
    found = reproduce(["12", "1"], bands=False, out=tmp_path)
    assert {path.read_text() for path in tmp_path.glob("claims.*")} == {"twenty claims"}
    assert {path.name for path in found.files if path.name.startswith("claims")} == {
        "claims_fig01_fig12.csv", "claims_fig01_fig12.md",
    }  # fmt: skip
    rows = (tmp_path / "claims_fig01_fig12.csv").read_text().splitlines()[1:]
    assert len(rows) == len(found.claims) == 4


def test_table_of_claims_is_named_after_the_figures_it_is_of() -> None:
    assert claims_stem(()) == "claims"
    assert claims_stem(figure_names()) == "claims"
    assert claims_stem(["power", "14", "5"]) == "claims_fig05_fig14_power"


def test_unknown_figure(tmp_path: Path) -> None:
    error = refused("16", "--out", str(tmp_path))
    assert isinstance(error, UnknownName)
    assert str(error).startswith("unknown figure '16'")
    assert "Known: 1, 4, 5, 6, 9, 11, 12, 13, 14, 15, power" in str(error)
    assert not list(tmp_path.iterdir())


def test_unknown_gpu(tmp_path: Path) -> None:
    error = refused("--gpu", "titan", "--out", str(tmp_path / "out"))
    assert "did you mean 'titan-x-maxwell'?" in str(error)
    assert not (tmp_path / "out").exists()


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    assert str(tmp_path / "out") in str(refused("12", "--out", str(tmp_path / "out")))
    assert (tmp_path / "out").read_text() == "mine"


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert "choose a writable folder" in str(refused("12", "--out", str(tmp_path / "file" / "out")))


def test_figure_without_traces_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figure 5 is of VGG-16 (256) alone."""
    monkeypatch.setattr("vdnnsim.trace.library.data_directory", lambda name: tmp_path / name)
    error = refused("5", "--gpu", "h200", "--out", str(tmp_path / "out"))
    assert str(error).startswith("h200: no fp32 traces for vgg19 batch 256; choose another --gpu")
    assert not (tmp_path / "out").exists()


def test_gpu_without_any_trace_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vdnnsim.trace.library.data_directory", lambda name: tmp_path / name)
    with pytest.raises(InvalidInput, match=r"h200: no fp32 traces for alexnet batch 128, .*vgg416 batch 32; choose"):
        reproduce(gpu="h200", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_cases_without_a_trace_are_left_out_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout without one of the traces, in one process so that its workers see it too."""
    traces = tmp_path / "traces"
    shutil.copytree(data_directory("traces") / "h200", traces / "h200", ignore=shutil.ignore_patterns("vgg19_b128*"))
    monkeypatch.setattr("vdnnsim.trace.library.data_directory", lambda _: traces)
    monkeypatch.setattr("vdnnsim_paper.runs.usable_cores", lambda: 1)
    done = RUNNER.invoke(app(), ["12", "--gpu", "h200", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0
    assert "left out, no trace on h200: VGG-16 (128)" in done.output
    rows = (tmp_path / "out" / "fig12.csv").read_text().splitlines()[1:]
    assert [row.split(",")[1] for row in rows[::2]] == [
        "AlexNet (128)",
        "OverFeat (128)",
        "GoogLeNet (128)",
        "VGG-16 (64)",
        "VGG-16 (256)",
    ]


def test_folder_is_needed() -> None:
    assert RUNNER.invoke(app(), ["12"]).exit_code == 2


def test_existing_claims_stay_where_nothing_new_comes(tmp_path: Path) -> None:
    (tmp_path / "claims.csv").write_text("old")
    refused("7", "--out", str(tmp_path))
    assert (tmp_path / "claims.csv").read_text() == "old"


def test_without_a_folder_nothing_is_written_and_numbers_come_back() -> None:
    found = reproduce(["12"], bands=False)
    assert not found.files
    values = {(bar.case, bar.bar.series): bar.bar.value for bar in found.bars["12"]}
    assert values["AlexNet (128)", "vdnn-all(m)"] == pytest.approx(0.366, abs=0.001)  # derived from shapes by hand


def test_import_is_light() -> None:
    code = "import sys, vdnnsim_paper.cli; print(sorted({'matplotlib', 'simpy', 'pydantic', 'rich.progress'} & set(sys.modules)))"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@thorough
def test_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("from vdnnsim_paper import reproduce\nreproduce(['12'])\n")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode
    assert "WorkerEnded: workers cannot start; in a script, call this under: if __name__ == '__main__':" in done.stderr


@pytest.mark.parametrize("name", ["2", "fig03", "Figure 7", "8", "10"])
def test_a_figure_without_results_is_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        InvalidInput, match=r"^figure \d+: it explains and holds no results; those with results: 1, 4, 5"
    ):
        reproduce([name], out=tmp_path)
    assert not list(tmp_path.iterdir())
