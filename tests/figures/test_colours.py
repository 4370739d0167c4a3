"""A policy has one colour, whichever room draws it."""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb

from tests.support.legible import assert_legible, figure_of
from vdnnsim.calibration.records import CaseRecord, read_records
from vdnnsim.captured import BlockClass
from vdnnsim.figures import CLASS_COLOURS, POLICY_LOOKS, WIDTH_IN, paled, policy_looks
from vdnnsim.figures import calibration as drawing
from vdnnsim.figures.looks import BLOCK_COLOURS
from vdnnsim.figures.page import DPI
from vdnnsim.policies import LATER_POLICIES, POLICIES
from vdnnsim_paper.drawing.colours import colour_of
from vdnnsim_paper.drawing.marks import PAPER

POLICY_COLOURS = {name: look.colour for name, look in POLICY_LOOKS.items()}
STORED = Path(__file__).parents[2] / "experiments" / "calibration" / "h200"


@pytest.fixture(scope="module")
def records() -> tuple[CaseRecord, ...]:
    return read_records(STORED / "results.json")


def test_every_policy_has_a_colour_of_its_own() -> None:
    assert set(POLICY_COLOURS) == {*POLICIES, *LATER_POLICIES}
    assert len(set(POLICY_COLOURS.values())) == len(POLICY_COLOURS)


def test_the_light_and_the_dark_of_a_pair_are_told_apart_in_grey_print() -> None:
    def lightness(name: str) -> float:
        red, green, blue = to_rgb(POLICY_COLOURS[name])
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for name in ("baseline", "vdnn-all", "vdnn-conv"):
        assert lightness(f"{name}(m)") > 1.3 * lightness(f"{name}(p)")


# Linear RGB as people without one kind of cones see it: Machado, Oliveira and Fernandes 2009, severity 1.
SIGHT = {
    "any": np.eye(3),
    "protan": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "deutan": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "tritan": ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)),
}
TO_XYZ = np.array(((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505)))
WHITE_XYZ = np.array((0.9505, 1.0, 1.089))
MANY = 15
"""A distance in CIELAB that is seen without looking twice; 2.3 is just noticed."""


def seen(colour: str, sight: str) -> np.ndarray:
    """The colour in CIELAB."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(TO_XYZ @ np.clip(np.array(SIGHT[sight]) @ linear, 1e-3, 1) / WHITE_XYZ)
    return np.array((116 * y - 16, 500 * (x - y), 200 * (y - z)))


@pytest.mark.parametrize("sight", SIGHT)
def test_colours_are_told_apart_with_any_colour_vision(sight: str) -> None:
    for colours in (POLICY_COLOURS | {"paper": PAPER}, CLASS_COLOURS, BLOCK_COLOURS):
        for one, other in combinations(colours, 2):
            assert np.linalg.norm(seen(colours[one], sight) - seen(colours[other], sight)) > MANY, (one, other)


def test_captured_steps_have_a_colour_for_each_class_and_the_papers_policies() -> None:
    assert set(BLOCK_COLOURS) == {kind.value for kind in BlockClass}
    looks = policy_looks(["vdnn-all", "vdnn-conv", "offload(which=half)"])
    assert looks["vdnn-all"] == POLICY_LOOKS["vdnn-all(p)"]
    assert looks["offload(which=half)"].colour not in POLICY_COLOURS.values()


def test_policies_of_ones_own_get_colours_that_no_other_has() -> None:
    own = {name: look.colour for name, look in policy_looks(["mine", "vdnn-dyn", "mine", "yours"]).items()}
    assert own["vdnn-dyn"] == POLICY_COLOURS["vdnn-dyn"]
    assert len({*own.values(), *POLICY_COLOURS.values()}) == len(POLICY_COLOURS) + 2


def test_sweeps_the_reproduction_and_the_calibration_draw_a_policy_alike(records: tuple[CaseRecord, ...]) -> None:
    assert policy_looks(POLICY_LOOKS) == POLICY_LOOKS
    assert {name: colour_of(name, 0) for name in POLICY_COLOURS} == POLICY_COLOURS
    [legend] = drawing.compose(records, "title").legends
    drawn = {line.get_label(): to_hex(line.get_color()).upper() for line in legend.get_lines()}
    assert drawn == {name: POLICY_COLOURS[name] for name in dict.fromkeys(record.policy for record in records)}


def test_a_maximum_is_its_policys_colour_paled() -> None:
    assert colour_of("vdnn-dyn maximum", 0) == paled(POLICY_COLOURS["vdnn-dyn"], 0.38)
    assert paled("#102030", 1) == "#102030"
    assert paled("#102030", 0) == "#ffffff"


def test_the_calibrations_figure_has_the_size_of_the_others(records: tuple[CaseRecord, ...], tmp_path: Path) -> None:
    assert drawing.compose(records, "title").get_size_inches()[0] == WIDTH_IN
    for path in (STORED / "errors.png", tmp_path / "errors.png"):
        if not path.exists():
            drawing.calibration_figure(records, path)
        assert int.from_bytes(path.read_bytes()[16:20], "big") == WIDTH_IN * DPI


@pytest.mark.parametrize("gpu", ["h200", "h100"])
def test_the_calibrations_figure_can_be_read(gpu: str) -> None:
    records = read_records(STORED.parent / gpu / "results.json")
    assert_legible(figure_of(lambda: drawing.calibration_figure(records, Path("errors.png"))))


@pytest.mark.parametrize(("gpu", "crosses"), [("h200", 0), ("h100", 18)])
def test_cases_that_cannot_be_told_are_crosses(gpu: str, crosses: int) -> None:
    figure = drawing.compose(read_records(STORED.parent / gpu / "results.json"), "title")
    markers = [line.get_marker() for line in figure.axes[0].get_lines()]
    assert markers.count("x") == crosses
    [legend] = figure.legends
    assert ("cannot be told" in [text.get_text() for text in legend.get_texts()]) == (crosses > 0)


ROOT = Path(__file__).parents[2]
COLOUR = re.compile(r"""["'](#[0-9a-fA-F]{6}|tab:\w+|C[0-9])["']""")


def test_colours_stand_in_one_table() -> None:
    """The reproduction has a few more: for parts of memory, and for what the paper states."""
    own = {"vdnnsim/figures/looks.py", "experiments/vdnnsim_paper/drawing/colours.py"}
    own.add("experiments/vdnnsim_paper/drawing/marks.py")
    files = [path for room in ("vdnnsim", "experiments", "traces", "examples") for path in (ROOT / room).rglob("*.py")]
    notebooks = list((ROOT / "notebooks").glob("*.ipynb"))
    found = {path.relative_to(ROOT).as_posix() for path in files + notebooks if COLOUR.search(path.read_text("utf-8"))}
    assert found == own
