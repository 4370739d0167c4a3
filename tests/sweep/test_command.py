"""`vdnnsim sweep` as a user meets it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd
import pytest

from support.sweeps import SMALL, run, write_spec
from vdnnsim.catalog import data_directory
from vdnnsim.cli import main
from vdnnsim.sweep.columns import COLUMNS
from vdnnsim.sweep.reading import read_sweep


def command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object
) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["vdnnsim", *(str(word) for word in words)])
    with pytest.raises(SystemExit) as end:
        main()
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


def test_from_spec_to_figure(tmp_path: Path) -> None:
    spec, out = write_spec(tmp_path, 'title = "A small one"\n' + SMALL), tmp_path / "out"
    code, text, err = run("sweep", spec, "--dry-run")
    assert (code, text) == (0, "")
    assert "90 points: network 1, batch 1, gpu 1, policy 3, link_bandwidth 10, compute_scale 3" in err
    assert not out.exists()
    code, _, err = run("sweep", "--out", out, spec)
    assert code == 0, err
    assert "90 points done; 0 were done before" in err
    code, text, _ = run("sweep", "status", out)
    assert code == 0
    assert text.startswith("A small one\npoints    90 of 90 done (100.0 %), 0 of them failed\nstate     complete\n")
    code, text, _ = run("sweep", "export", out)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert code == 0
    assert [row["point"] for row in rows] == [str(number) for number in range(90)]
    assert list(rows[0]) == [column.name for column in COLUMNS]
    code, _, err = run("sweep", "export", out, "--out", tmp_path / "all.csv")
    assert (code, (tmp_path / "all.csv").read_text(encoding="utf-8")) == (0, text)
    code, _, err = run("sweep", "plot", out, "--out", tmp_path / "figure.png")
    assert code == 0, err
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_the_folder_reads_as_one_table(tmp_path: Path) -> None:
    spec, out = write_spec(tmp_path, SMALL), tmp_path / "out"
    assert run("sweep", spec, "--out", out)[0] == 0
    whole = pd.read_parquet(out / "points")
    assert len(whole) == 90
    own = read_sweep(out)
    assert list(whole.columns) == list(own.columns)
    assert set(whole["point_hash"]) == set(own["point_hash"])
    assert list(own["point"]) == list(range(90))


def test_interpolated_batches_are_announced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'schema = 1\n[axes]\nnetwork = "vgg16"\nbatch = [64, 96]\ngpu = "titan-x-maxwell"\n'
    _, _, err = command(capsys, monkeypatch, "sweep", write_spec(tmp_path, text), "--dry-run")
    said = " ".join(err.split())
    assert "vgg16 batch 96: modelled: linear in the batch between 64 and 128; leave-one-out error" in said
    assert "batch 64:" not in said


def test_why_no_point_of_a_gpu_runs_on_the_vectorised_engine_is_announced(tmp_path: Path) -> None:
    profile = data_directory("gpu_profiles") / "titan-x-maxwell.toml"
    table = "".join(f"{name}_ns = [0, 10, 20]\n" for name in ("waits", "kernel", "copy", "allocate", "synchronise"))
    cold = f'{profile.read_text(encoding="utf-8")}\n[host.after_wait]\n{table}provenance = "modelled"\nsource = "x"\n'
    (tmp_path / "cold.toml").write_text(cold, encoding="utf-8")
    spec = write_spec(tmp_path, SMALL.replace("titan-x-maxwell", "cold.toml"))
    said = "titan-x-maxwell: reference engine, since the host's calls cost more after a wait ([host.after_wait] of its"
    code, _, err = run("sweep", spec, "--out", tmp_path / "out")
    assert code == 0
    assert said in err
    assert set(read_sweep(tmp_path / "out")["engine"]) == {"reference"}
    assert said not in run("sweep", spec, "--dry-run", "--engine", "reference")[2]
    assert said not in run("sweep", write_spec(tmp_path, SMALL), "--dry-run")[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["SPEC"], "--out: found none, expected the folder for the results"),
        (["SPEC", "--out", "OUT", "--jobs", "0"], "jobs: found 0"),
        (["SPEC", "--out", "OUT", "--jobs", "2", "--cluster", "tcp://x:1"], "found both, expected one"),
        (["SPEC", "--out", "OUT", "--engine", "abacus"], "expected auto or reference"),
        (["none.toml", "--out", "OUT"], "none.toml: file: found nothing by this name"),
        (["SPEC", "--out", "SPEC"], "cannot write"),
        (["status", "OUT"], "found no sweep.json"),
        (["export", "OUT"], "found no sweep.json"),
        (["plot", "OUT", "--out", "a.png"], "found no sweep.json"),
        (["SPEC", "--out", "OUT", "--fast"], "no such option"),
    ],
)
def test_wrong_use_ends_with_2_and_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    places = {"SPEC": str(write_spec(tmp_path, SMALL)), "OUT": str(tmp_path / "out")}
    code, _, err = command(capsys, monkeypatch, "sweep", *(places.get(word, word) for word in words))
    assert code == 2
    assert said in err
    assert not (tmp_path / "out").exists()


def test_a_spec_with_a_fault_is_told_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = write_spec(tmp_path, SMALL + "bandwidth = 3\n")
    code, _, err = command(capsys, monkeypatch, "sweep", spec, "--dry-run")
    assert code == 2
    assert f"{spec}:10: axes.bandwidth: found an unknown axis; expected 'link_bandwidth', or one of" in err


def test_filters_that_leave_nothing_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = write_spec(tmp_path, 'filters = ["compute_scale > 5"]\n' + SMALL)
    code, _, err = command(capsys, monkeypatch, "sweep", spec, "--dry-run")
    assert code == 2
    assert "no point of 90 that passes" in err
