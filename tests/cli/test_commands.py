"""The commands as a user meets them: what they print, what they write, how they end."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vdnnsim.cli import main
from vdnnsim.policies import POLICIES

ALEXNET = ("alexnet", "--batch", "128", "--gpu", "titan-x-maxwell")
REQUIRED = {
    "policy",
    "trainable",
    "reason",
    "iteration_time_ns",
    "performance",
    "stall_ns",
    "peak_bytes",
    "average_bytes",
    "average_bytes_per_step",
    "pool_high_water_bytes",
    "largest_hole_bytes",
    "bytes_by_class_at_peak",
    "offloaded_bytes",
    "prefetched_bytes",
    "pinned_host_bytes",
    "feature_extraction",
    "verdict",
}

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Run the command line in an empty folder; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "path", list(sys.path))

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


def test_compare_shows_every_policy(cli: Cli) -> None:
    code, out, err = cli("compare", *ALEXNET)
    assert (code, err) == (0, "")
    assert [policy for policy in POLICIES if policy not in out] == []


def test_json_to_stdout_is_json_alone_and_has_the_promised_fields(cli: Cli) -> None:
    code, out, err = cli("compare", *ALEXNET, "--json", "-")
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert document["schema"] == 1
    assert (document["network"], document["batch"], document["gpu"], document["math"]) == (
        "alexnet",
        128,
        "titan-x-maxwell",
        "fp32",
    )
    assert document["capacity_bytes"] == 12_794_200_064
    assert document["provenance"] == "modelled"
    assert [result["policy"] for result in document["results"]] == list(POLICIES)
    for result in document["results"]:
        assert set(result) >= REQUIRED
        assert set(result["feature_extraction"]) >= {
            "iteration_time_ns",
            "performance",
            "peak_bytes",
            "average_bytes",
            "average_bytes_per_step",
        }


def test_csv_has_one_row_per_policy(cli: Cli) -> None:
    code, out, _ = cli("compare", *ALEXNET, "--policies", "vdnn-all(m),oracle", "--csv", "-")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    assert [row["policy"] for row in rows] == ["vdnn-all(m)", "oracle"]
    assert int(rows[0]["offloaded_bytes"]) == 365_887_488


def test_csv_of_a_run_has_one_row_per_layer(cli: Cli) -> None:
    code, out, _ = cli("run", *ALEXNET, "--policy", "vdnn-all(m)", "--csv", "-")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert (code, len(rows), rows[0]["layer"]) == (0, 21, "conv1")
    assert sum(int(row["offloaded_bytes"]) for row in rows) == 365_887_488


def test_a_folder_of_traces_is_looked_in_first(cli: Cli, tmp_path: Path) -> None:
    from vdnnsim_builder.__main__ import main as build

    network = str(Path(__file__).parents[2] / "examples" / "tiny.toml")
    assert build([network, "--batch", "2", "--out", str(tmp_path / "mine")]) in (None, 0)
    line = ("compare", network, "--batch", "2", "--gpu", "titan-x-maxwell", "--policies", "oracle", "--csv", "-")
    assert cli(*line)[0] == 2
    table = tmp_path / "mine" / "titan-x-maxwell" / "tiny_b2_fp32.csv"
    code, out, _ = cli(*line, "--traces", str(tmp_path / "mine"))
    assert (code, out) == (0, cli(*line, "--trace", str(table))[1])
    assert cli("compare", *ALEXNET, "--policies", "oracle", "--csv", "-", "--traces", str(tmp_path / "mine"))[0] == 0
    code, _, err = cli(*line, "--traces", str(tmp_path / "none"))
    assert (code, err.count("traces: found no folder")) == (2, 1)
    code, _, err = cli(*line, "--traces", str(tmp_path / "mine"), "--trace", str(table))
    assert (code, err) == (2, "vdnnsim: trace and traces: found both, expected one table or folders to look in\n")


def test_files_are_written_and_named(cli: Cli, tmp_path: Path) -> None:
    names = {"--json": "a.json", "--csv": "a.csv", "--figure": "a.png", "--timeline": "t.json"}
    code, out, _ = cli("compare", *ALEXNET, *[word for pair in names.items() for word in pair])
    assert code == 0
    for name in names.values():
        assert (tmp_path / name).stat().st_size > 0
        assert name in out
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names.values())


def test_run_shows_layers_and_writes_memory_over_time(cli: Cli, tmp_path: Path) -> None:
    code, out, _ = cli("run", *ALEXNET, "--policy", "vdnn-conv(p)", "--figure", "memory.pdf")
    assert code == 0
    assert [name for name in ("conv1", "pool5", "fc8") if name not in out] == []
    assert (tmp_path / "memory.pdf").read_bytes().startswith(b"%PDF")


def test_explain_shows_each_trial_of_vdnn_dyn(cli: Cli) -> None:
    arguments = (
        "compare",
        "vgg16",
        "--batch",
        "256",
        "--gpu",
        "titan-x-maxwell",
        "--policies",
        "vdnn-dyn",
        "--explain",
    )
    code, out, _ = cli(*arguments)
    assert code == 0
    assert [title for title in ("memory-optimal", "no offload", "vdnn-conv", "vdnn-all") if title not in out] == []
    assert "out of memory" in " ".join(out.split())


def test_an_untrainable_policy_is_an_answer_and_not_an_error(cli: Cli) -> None:
    code, out, _ = cli("compare", *ALEXNET, "--capacity", "500MB", "--json", "-")
    first = json.loads(out)["results"][0]
    assert code == 0
    assert first["trainable"] is False
    assert first["iteration_time_ns"] > 0
    assert first["performance"] > 0
    for word in ("no room for", "in use", "weights", "largest hole", "fits in"):
        assert word in first["reason"]


@pytest.mark.parametrize("what", ["networks", "gpus", "traces", "policies"])
def test_list_names_things_that_can_be_used(cli: Cli, what: str) -> None:
    code, out, _ = cli("list", what)
    expected = {"networks": "vgg416", "gpus": "titan-x-maxwell", "traces": "googlenet", "policies": "vdnn-conv(p)"}
    assert code == 0
    assert expected[what] in out


def test_a_policy_of_ones_own_is_found_in_the_current_folder(cli: Cli, tmp_path: Path) -> None:
    source = Path(__file__).parents[2] / "examples" / "large_maps.py"
    (tmp_path / "own_policy.py").write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    code, out, _ = cli("compare", *ALEXNET, "--policies", "own_policy:LargeMaps,oracle", "--json", "-")
    assert code == 0
    assert [result["policy"] for result in json.loads(out)["results"]] == ["large-maps", "oracle"]


BAD_INPUT = {
    "unknown network": (("compare", "vgg15", "--batch", "1", "--gpu", "titan-x-maxwell"), "did you mean"),
    "unknown GPU": (("compare", "vgg16", "--batch", "64", "--gpu", "titan"), "titan-x-maxwell"),
    "unknown policy": (("compare", *ALEXNET, "--policies", "vdnn-al(m)"), "vdnn-all(m)"),
    "unknown pool": (("compare", *ALEXNET, "--pool", "worst-fit"), "best-fit"),
    "unknown math": (("compare", *ALEXNET, "--math", "fp16"), "fp32"),
    "no trace": (("compare", "alexnet", "--batch", "129", "--gpu", "titan-x-maxwell"), "vdnnsim.builder alexnet"),
    "capacity without unit": (("compare", *ALEXNET, "--capacity", "12"), "12GB"),
    "capacity of nothing": (("compare", *ALEXNET, "--capacity", "0GB"), "capacity"),
    "link without unit": (("compare", *ALEXNET, "--link-bandwidth", "16GB"), "16GB/s"),
    "link faster than memory": (("compare", *ALEXNET, "--link-bandwidth", "400GB/s"), "336.00 GB/s"),
    "network file that is not there": (
        ("compare", "none.toml", "--batch", "1", "--gpu", "titan-x-maxwell"),
        "none.toml",
    ),
    "figure of unknown kind": (("compare", *ALEXNET, "--figure", "a.bmp"), ".png"),
    "folder that is not there": (("compare", *ALEXNET, "--json", "no/where.json"), "no/where.json"),
    "policy module that is not there": (("compare", *ALEXNET, "--policies", "nowhere:Policy"), "nowhere"),
    "policy class that is not there": (("compare", *ALEXNET, "--policies", "json:Policy"), "no class"),
    "policy twice": (("compare", *ALEXNET, "--policies", "oracle,oracle"), "once"),
    "batch of nothing": (("compare", "alexnet", "--batch", "0", "--gpu", "titan-x-maxwell"), "batch"),
    "unknown option": (("compare", *ALEXNET, "--colour"), "--colour"),
    "unknown list": (("list", "planets"), "networks"),
    "check of nothing": (("check", "none.csv"), "none.csv: file: found nothing by this name"),
    "check of nothing without a suffix": (("check", "nix"), "nix: file: found nothing by this name"),
}


@pytest.mark.parametrize("arguments, told", BAD_INPUT.values(), ids=BAD_INPUT.keys())  # noqa: PT006
def test_bad_input_ends_with_one_clear_message(cli: Cli, tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    code, _, err = cli(*arguments)
    assert code == 2
    assert told in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_check_finds_nothing_in_what_is_shipped(cli: Cli) -> None:
    root = Path(__file__).parents[2]
    calibrated = ("experiments/calibration/*/cases.toml", "experiments/calibration/*/machines/*.toml")
    folders = ("traces/*/*.csv", "gpu_profiles/*.toml", "examples/*.toml", "experiments/*.toml", *calibrated)
    files = [path for pattern in folders for path in root.glob(pattern)]
    code, out, err = cli("check", *map(str, files))
    assert code == 0
    assert err == ""
    assert out.count("no faults") == len(files)


def test_check_tells_faults_of_a_list_of_cases_without_torch(cli: Cli, tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "experiments" / "calibration" / "h200" / "cases.toml"
    (tmp_path / "cases.toml").write_text(shipped.read_text(encoding="utf-8").replace('"alexnet"', '"alexnut"', 1))
    code, out, err = cli("check", str(shipped), "cases.toml")
    assert code == 2
    assert out.startswith(f"{shipped}: calibration of h200, ")
    assert "cases.toml:" in err
    assert "case[0].network: found 'alexnut'" in err
    script = "import sys, vdnnsim.calibration.cases; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_check_tells_every_fault_with_its_line(cli: Cli, tmp_path: Path) -> None:
    root = Path(__file__).parents[2] / "traces" / "titan-x-maxwell"
    lines = (root / "alexnet_b128_fp32.csv").read_text(encoding="utf-8").splitlines()
    lines[3] = lines[3].replace(lines[3].split(",")[3], "-5")
    lines[7] = lines[7].replace(lines[7].split(",")[0], "conv99")
    lines.append(lines[1])
    table = tmp_path / "broken.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    table.with_suffix(".toml").write_text((root / "alexnet_b128_fp32.toml").read_text(encoding="utf-8"))
    code, _, err = cli("check", str(table))
    assert code == 2
    assert "broken.csv:4: duration_ns: found '-5'" in err
    assert f"broken.csv:{len(lines)}: row: found" in err
    assert "again, as in line 2" in err


def test_check_compares_a_trace_with_a_network_of_ones_own(cli: Cli, tmp_path: Path) -> None:
    from vdnnsim_builder.__main__ import main as build

    network = Path(__file__).parents[2] / "examples" / "tiny.toml"
    assert build([str(network), "--batch", "2", "--out", str(tmp_path)]) in (None, 0)
    table = tmp_path / "titan-x-maxwell" / "tiny_b2_fp32.csv"
    code, out, err = cli("check", str(table))
    assert (code, err) == (0, f"{table}: warning: not compared with tiny: name its file too\n")
    assert out.endswith(" 39 rows, as promised: no faults, 1 warning\n")
    assert cli("check", str(network), str(table))[2] == ""
    table.write_text(table.read_text(encoding="utf-8").replace("fc,", "fd,"), encoding="utf-8")
    code, _, err = cli("check", str(network), str(table))
    assert code == 2
    assert "layer: found 'fd'; expected a layer of tiny" in err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            'schema = 1\n[axes]\nnetwork = "vgg16"\nbatch = 128\ngpu = "h200"\npolicy = "oracle"\n',
            ": sweep: no faults\n",
        ),
        (
            'schema = 1\ngpu = "h200"\n[[case]]\nnetwork = "vgg16"\nbatch = 1\n',
            ": calibration of h200, 1 group of cases: no faults\n",
        ),
    ],
)
def test_check_counts_in_words(cli: Cli, tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "file.toml"
    path.write_text(text, encoding="utf-8")
    assert cli("check", str(path)) == (0, f"{path}{told}", "")


def test_help_names_every_command(cli: Cli) -> None:
    code, out, _ = cli("--help")
    assert code == 0
    assert [name for name in ("compare", "run", "list", "check") if name not in out] == []
