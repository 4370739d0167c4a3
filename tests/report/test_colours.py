"""A policy has one colour, whichever room draws it."""

from pathlib import Path

import pytest
from matplotlib.colors import to_hex, to_rgb

from vdnnsim.calibration import figure as calibration_figure
from vdnnsim.calibration.records import CaseRecord, read_records
from vdnnsim.policies import POLICIES
from vdnnsim.report.figure.style import DPI, POLICY_COLOURS, WIDTH_IN, paled, policy_colours
from vdnnsim.reproduce.drawing.colours import colour_of
from vdnnsim.sweep.figures.scales import looks

STORED = Path(__file__).parents[2] / "experiments" / "calibration" / "h200"


@pytest.fixture(scope="module")
def records() -> tuple[CaseRecord, ...]:
    return read_records(STORED / "results.json")


def test_every_policy_has_a_colour_of_its_own() -> None:
    assert set(POLICY_COLOURS) == set(POLICIES)
    assert len(set(POLICY_COLOURS.values())) == len(POLICY_COLOURS)


def test_the_light_and_the_dark_of_a_pair_are_told_apart_in_grey_print() -> None:
    def lightness(name: str) -> float:
        red, green, blue = to_rgb(POLICY_COLOURS[name])
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for name in ("baseline", "vdnn-all", "vdnn-conv"):
        assert lightness(f"{name}(m)") > 1.3 * lightness(f"{name}(p)")


def test_policies_of_ones_own_get_colours_that_no_other_has() -> None:
    own = policy_colours(["mine", "vdnn-dyn", "yours"])
    assert own["vdnn-dyn"] == POLICY_COLOURS["vdnn-dyn"]
    assert len({*own.values(), *POLICY_COLOURS.values()}) == len(POLICY_COLOURS) + 2


def test_sweeps_the_reproduction_and_the_calibration_draw_a_policy_alike(records: tuple[CaseRecord, ...]) -> None:
    assert {name: look.colour for name, look in looks(POLICY_COLOURS).items()} == dict(POLICY_COLOURS)
    assert {name: colour_of(name, 0) for name in POLICY_COLOURS} == dict(POLICY_COLOURS)
    [legend] = calibration_figure.compose(records, "title").legends
    drawn = {line.get_label(): to_hex(line.get_color()).upper() for line in legend.get_lines()}
    assert drawn == {name: POLICY_COLOURS[name] for name in dict.fromkeys(record.policy for record in records)}


def test_a_maximum_is_its_policys_colour_paled() -> None:
    assert colour_of("vdnn-dyn maximum", 0) == paled(POLICY_COLOURS["vdnn-dyn"], 0.38)
    assert paled("#102030", 1) == "#102030"
    assert paled("#102030", 0) == "#ffffff"


def test_the_calibrations_figure_has_the_size_of_the_others(records: tuple[CaseRecord, ...], tmp_path: Path) -> None:
    assert calibration_figure.compose(records, "title").get_size_inches()[0] == WIDTH_IN
    for path in (STORED / "errors.png", tmp_path / "errors.png"):
        if not path.exists():
            calibration_figure.draw_errors(records, path)
        assert int.from_bytes(path.read_bytes()[16:20], "big") == WIDTH_IN * DPI
