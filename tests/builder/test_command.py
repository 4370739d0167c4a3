"""``python -m vdnnsim.builder``."""

from pathlib import Path

import pytest

from vdnnsim_builder.__main__ import main


def test_builds_one_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["squeezenet", "--batch", "4", "--out", str(tmp_path)]) == 0
    table = tmp_path / "titan-x-maxwell" / "squeezenet_b4_fp32.csv"
    assert capsys.readouterr().out == f"{table}\n"
    assert table.is_file()
    assert table.with_suffix(".toml").is_file()


def test_unknown_network_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vgg17", "--batch", "4", "--out", str(tmp_path)]) == 2
    assert "did you mean 'vgg1" in capsys.readouterr().err


def test_folder_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    assert main(["alexnet", "--batch", "4", "--out", str(tmp_path / "file")]) == 2
    assert "choose a writable folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["vgg16"],
        ["vgg16", "--out", "x"],
        ["--all"],
        ["vgg16", "--all", "--out", "x"],
        ["--all", "--same-shape", "t.csv", "--out", "x"],
    ],
)
def test_needs_a_network_or_all(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize(("option", "line"), [("--check", "397 of 397"), ("--fits", "spectral rate")])
def test_shows_checks_and_fits(option: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([option]) == 0
    assert line in capsys.readouterr().out
