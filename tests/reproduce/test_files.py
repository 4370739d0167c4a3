"""Files of a run: all there, pictures large enough to print, nothing left over."""

import struct
from html import unescape

from tests.reproduce.conftest import Whole, figures_of
from tests.support.legible import assert_legible
from vdnnsim_paper import figure_names


def test_each_figure_is_drawn_twice_and_tabled(whole: Whole) -> None:
    names = {"power" if name == "power" else f"fig{int(name):02}" for name in figure_names()}
    wanted = {f"{name}{suffix}" for name in names for suffix in (".png", ".pdf", ".csv")}
    wanted |= {"claims.csv", "claims.md", "report.html"}
    assert {path.name for path in whole.reproduction.files} == wanted
    assert {path.name for path in whole.folder.iterdir()} == wanted


def test_one_page_has_every_figure_and_every_claim(whole: Whole) -> None:
    page = (whole.folder / "report.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/png;base64,') == len(figure_names())
    told = unescape(page)
    assert all(claim.entry.text in told and claim.why in told for claim in whole.reproduction.claims)


def test_pictures_are_whole_and_as_wide_as_a_page(whole: Whole) -> None:
    for path in whole.folder.glob("*.png"):
        data = path.read_bytes()
        width, height = struct.unpack(">II", data[16:24])
        assert width == 2100, path.name  # 7 in at 300 dpi
        assert 500 < height < 2000, path.name
        assert data.endswith(b"IEND\xaeB`\x82")
    for path in whole.folder.glob("*.pdf"):
        assert path.read_bytes().startswith(b"%PDF-")


def test_every_text_can_be_read(whole: Whole) -> None:
    names = []
    for name, figure in figures_of(whole.reproduction):
        assert_legible(figure)
        names.append(name)
    assert names == list(figure_names())


def test_progress_reaches_the_end(whole: Whole) -> None:
    titles = [title for title, _, _ in whole.progress]
    assert "VGG-416 (32)" in titles
    assert "figure 11" in titles
    for title, done, total in whole.progress:
        assert title
        assert 1 <= done <= total


def test_in_time(whole: Whole) -> None:
    """What else runs there counts little in the time of the processor."""
    assert 1 < whole.cpu_seconds < 60
