"""Pages of folders that hold results: a sweep's, a calibration's."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.pages.test_page import EVIL, Reader
from tests.support.commands import in_process
from vdnnsim.calibration.step_records import Prediction, StepRecord, records_text
from vdnnsim.errors import InvalidFile, InvalidInput
from vdnnsim.pages import page_html
from vdnnsim.pages.calibrating import calibration_page
from vdnnsim.pages.parts import Grid
from vdnnsim.pages.sweeping import sweep_page
from vdnnsim.sweep import run_sweep

LATER = Path(__file__).parents[2] / "experiments" / "calibration" / "later"
SPEC = f"""
schema = 1
title = {json.dumps(EVIL)}
[axes]
network = "alexnet"
batch = 128
gpu = "titan-x-maxwell"
policy = ["vdnn-all(p)", "vdnn-conv(p)", "oracle"]
capacity = ["600MB", "2GB"]
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("swept")
    (folder / "spec.toml").write_text(SPEC, encoding="utf-8")
    run_sweep(folder / "spec.toml", folder / "out", jobs=1)
    return folder / "out"


def test_a_sweep_is_answered_in_words_with_every_point(swept: Path) -> None:
    page = sweep_page(swept, command=EVIL)
    words = dict(page.answer)
    assert words["Points"] == "6 of 6 done"
    first, second = words["Policies"].splitlines()
    assert first == "vdnn-all(p): trains at 1 of 2 points, within 5 % of the oracle at 0; performance 79.2 %"
    assert second.startswith("vdnn-conv(p): trains at 1 of 2 points, within 5 % of the oracle at 1; ")
    assert words["Fastest"] == "of 2 settings, with those that are as fast: vdnn-conv(p) at 1"
    [points] = [part for section in page.sections for part in section.parts if isinstance(part, Grid)]
    assert [column.heading for column in points.columns][:3] == ["policy", "capacity GB", "iteration time ms"]
    assert [row.cells[:2] for row in points.rows][:2] == [["vdnn-all(p)", "0.600"], ["vdnn-all(p)", "2.000"]]
    text = page_html(page)
    assert len(Reader(text).scripts) == 1
    assert text.count("data:image/svg+xml;base64,") == 2


def test_a_calibration_is_answered_in_words_with_every_case(tmp_path: Path) -> None:
    page = calibration_page(LATER, tmp_path / "page.html")
    cases = json.loads((LATER / "results.json").read_text(encoding="utf-8"))["cases"]
    assert f"all: {len(cases)} cases" in dict(page.answer)["How near"]
    [table] = [part for section in page.sections for part in section.parts if isinstance(part, Grid)]
    assert [row.cells[2] for row in table.rows] == [case["policy"] for case in cases]
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page_html(page)


@pytest.mark.parametrize("contents", ["", "{", "[]", '{"cases": [1]}', '{"cases": [{"network": "a"}]}'])
def test_results_that_are_none_are_refused(contents: str, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(contents, encoding="utf-8")
    with pytest.raises(InvalidFile, match=r"results\.json: cases: .*expected a file that"):
        calibration_page(tmp_path)


def test_a_report_of_plans_needs_no_pytorch_to_be_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predicted = Prediction("gpt", "cpu", "vdnn-all", "", 10**9, 10**6, None, None, False, True, 9, 9, 9, 4)
    record = StepRecord(predicted, 10**6, 0, 3, 9, None, None, EVIL, 1.0)
    (tmp_path / "results.json").write_text(records_text([record], {"threads": EVIL}), encoding="utf-8")
    monkeypatch.setitem(sys.modules, "vdnnsim.pytorch", None)
    page = calibration_page(tmp_path)
    assert page_html(page).count('class="scroll wide"') == 1  # printed on its side, or columns would be cut off
    text = "\n".join(Reader(page_html(page)).texts)
    assert "peaks equal to the byte in 1 of 1" in text
    assert "of the steps that nothing slowed" in text
    assert "held out" not in text
    assert text.count(EVIL) == 2


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        ('"step_ns": 1000000, "spread', '"step_ns": NaN, "spread', "cases: found NaN, which is no number; expected"),
        ('"spread_ppm": 0', '"spread_ppm": -1e999', "cases: found '-inf' for spread_ppm; expected a file that"),
        ('"gradients"', '"gradient"', "cases: found nothing for gradients; expected a file that 'calibrate pytorch'"),
        ('"cases": [', '"cases": [], "more": [', "found no cases, expected one or more"),
        (
            '"cases": [',
            '"streams": [], "cases": [',
            "cases: found a report of several GPUs at once; expected one of GPUs",
        ),
    ],
)
def test_cases_of_plans_that_are_none_are_told_in_a_line(was: str, now: str, told: str, tmp_path: Path) -> None:
    predicted = Prediction("gpt", "cpu", "vdnn-all", "", 10**9, 10**6, None, None, False, True, 9, 9, 9, 4)
    text = records_text([StepRecord(predicted, 10**6, 0, 3, 9, None, None, "equal", 1.0)], {})
    assert was in text
    (tmp_path / "results.json").write_text(text.replace(was, now), encoding="utf-8")
    with pytest.raises(InvalidInput) as raised:
        calibration_page(tmp_path)
    assert str(raised.value).startswith(f"{tmp_path / 'results.json'}: {told}")
    assert "\n" not in str(raised.value)


def test_folders_without_results_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"found no results\.json, expected the folder of a calibration's report"):
        calibration_page(tmp_path)
    with pytest.raises(InvalidInput, match=r"found no sweep\.json"):
        sweep_page(tmp_path)


@pytest.mark.parametrize("kind", ["sweeping.sweep_page", "calibrating.calibration_page"])
def test_the_command_finds_out_what_a_folder_holds(
    kind: str, swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, asked = swept if kind.startswith("sweeping") else LATER, []
    monkeypatch.setattr(f"vdnnsim.pages.{kind}", lambda *given, **named: asked.append((given, named)))
    out = tmp_path / "page.html"
    ended = in_process(["page", str(folder), "--out", str(out)])
    assert ended == (0, f"page: {out}\n", "")
    assert asked == [((folder, out), {"command": f"vdnnsim page {folder} --out {out}"})]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["alexnet", "--out", "a.pdf", "--gpu", "h200"], "--out: found 'a.pdf', expected a name ending in .html, .htm"),
        (["alexnet", "--out", "none/a.html", "--gpu", "h200"], "cannot write "),
        (["alexnet", "--out", "a.html"], "--gpu: found none, expected the GPU that alexnet is trained on"),
        ([".", "--out", "a.html"], ".: found a folder of something else, expected that of a sweep, of a calibration's"),
        (["SWEEP", "--out", "a.html", "--batch", "3"], "--batch: found it beside the folder of a sweep"),
        (["SWEEP", "--out", "a.html", "--advise"], "--advise: found it beside the folder of a sweep"),
    ],
)
def test_what_cannot_be_is_told_in_a_line_and_nothing_is_written(
    arguments: list[str], told: str, swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = in_process(["page", *(str(swept) if argument == "SWEEP" else argument for argument in arguments)])
    assert ended.code == 2
    assert ended.err.startswith(f"vdnnsim: {told}")
    assert list(tmp_path.iterdir()) == []


def test_the_page_of_a_network_with_its_advice(tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    options = ("--batch", "128", "--gpu", "titan-x-maxwell", "--policies", "vdnn-dyn", "--advise")
    assert in_process(["page", "alexnet", *options, "--out", str(out)]).code == 0
    page = Reader(out.read_text(encoding="utf-8"))
    assert {"Flips", "GPU: link.copy_out", "Where the answer flips"} <= set(page.texts)
    assert f"vdnnsim page alexnet {' '.join(options)} --out {out}" in page.texts
