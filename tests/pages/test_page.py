"""Pages: what they say, that they are whole, and that no name from outside becomes a part of them."""

from __future__ import annotations

import json
import zlib
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from captured.steps import HEADER, three_layers
from vdnnsim.comparing import compare
from vdnnsim.errors import InvalidInput
from vdnnsim.pages import Bar, Bars, Column, Grid, Items, Page, Picture, Row, Section, Words, page_html, write_page
from vdnnsim.pages.comparing import comparison_page
from vdnnsim.report.blocks import blocks_of
from vdnnsim.results import Comparison

EVIL = "</script><script>alert('\"&1')</script><b>"
_VOID = {"meta", "img", "path", "br", "input"}


class Reader(HTMLParser):
    """What stands in a page; fails where an element is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self.links: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif data.strip():
            self.texts.append(data.strip())


def data_of(page: Reader) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(zlib.decompress(b64decode(page.scripts[0])))
    return data


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    policies = ("baseline(p)", "vdnn-all(m)", "vdnn-dyn", "oracle")
    return compare("alexnet", batch=128, gpu="titan-x-maxwell", policies=policies, capacity="600MB")


@pytest.fixture(scope="module")
def html(comparison: Comparison) -> str:
    return page_html(comparison_page(comparison, command="vdnnsim page alexnet"))


def test_a_page_is_whole_and_asks_nothing_of_the_network(html: str) -> None:
    page = Reader(html)
    assert len(page.scripts) == 2
    assert [link for link in page.links if not link.startswith("#")] == []
    assert "://" not in html
    assert "default-src 'none'" in html  # nor may it
    assert "vdnnsim page alexnet" in page.texts


def test_the_same_comparison_gives_the_same_bytes(comparison: Comparison, html: str) -> None:
    assert page_html(comparison_page(comparison, command="vdnnsim page alexnet")) == html


def test_the_page_answers_in_words(comparison: Comparison) -> None:
    words = dict(comparison_page(comparison).answer)
    needed = comparison["baseline(p)"].needed_bytes
    assert words["Fits without offload?"] == f"no: baseline(p) needs {needed / 1e9:.2f} GB, there are 600.0 MB"
    assert words["Best here"].startswith("vdnn-dyn, ")
    assert comparison["vdnn-dyn"].verdict in words["Costs"]
    assert "pinned host memory" in words["Needs"]


def test_the_page_says_where_nothing_trains_and_where_nothing_need_leave() -> None:
    small = compare("alexnet", batch=128, gpu="titan-x-maxwell", policies="vdnn-dyn", capacity="300MB")
    assert dict(comparison_page(small).answer)["Trains?"].startswith("no: it needs 5")
    assert comparison_page(small).title.startswith("vdnn-dyn: alexnet, batch 128, ")
    two = compare("alexnet", batch=128, gpu="titan-x-maxwell", policies=["vdnn-all(p)", "vdnn-dyn"], capacity="300MB")
    assert dict(comparison_page(two).answer)["Best here"].startswith("none trains; vdnn-dyn needs least")
    ample = compare("alexnet", batch=128, gpu="titan-x-maxwell", policies="baseline(p)")
    words = dict(comparison_page(ample).answer)
    oracle = compare("alexnet", batch=128, gpu="titan-x-maxwell", policies="oracle")
    assert dict(comparison_page(oracle).answer)["Trains?"].startswith("yes: ")
    assert words["Fits without offload?"].startswith("yes: baseline(p) takes ")
    assert words["Costs"] == "nothing against a GPU whose memory is endless"


def test_the_views_have_every_block_and_every_interval(comparison: Comparison, html: str) -> None:
    data = data_of(Reader(html))
    strings = data["strings"]
    for run, drawn in zip(comparison.runs, data["runs"], strict=True):
        kernels = drawn["kernels"]
        begins = accumulate(kernels["begin"])
        found = [
            (strings[layer], begin, begin + length)
            for layer, begin, length in zip(kernels["layer"], begins, kernels["length"], strict=True)
        ]
        assert found == [(kernel.layer, kernel.begin_ns, kernel.end_ns) for kernel in run.timeline.kernels]
        assert [
            (strings[engine], strings[name])
            for engine, name in zip(drawn["copies"]["engine"], drawn["copies"]["buffer"], strict=True)
        ] == [(copy.direction, copy.buffer) for copy in run.timeline.copies]
        assert len(drawn["stalls"]["begin"]) == len(run.timeline.stalls)
        assert lives(drawn, strings) == [
            (block.buffer, block.address, block.size_bytes, block.begin_ns, None if block.kept else block.end_ns)
            for block in blocks_of(run)
        ]


def test_classes_of_memory_that_no_block_is_of_have_their_numbers() -> None:
    """The page's program knows classes by them, and counts bytes in so many columns."""
    step = replace(three_layers(), header=replace(HEADER, gpu="h200"))
    html = page_html(comparison_page(compare(step, gpu="h200", policies="baseline")))
    data = data_of(Reader(html))
    assert set(data["classes"]) > {data["strings"][number] for number in data["runs"][0]["blocks"]["class"]}
    assert set(data["classes"]) <= set(data["strings"])


def lives(drawn: dict[str, Any], strings: list[str]) -> list[tuple[str, int, int, int, int | None]]:
    """The blocks as the page's program reads them."""
    taken: list[int] = []
    given: dict[int, int] = {}
    for what, moment in zip(drawn["happened"], accumulate(drawn["moments"]), strict=True):
        if what:
            given[len(taken) - what] = moment
        else:
            taken.append(moment)
    blocks = drawn["blocks"]
    [[_, address, _]] = drawn["stretches"]
    return [
        (strings[buffer], address + place, asked, taken[number], given.get(number))
        for number, (buffer, place, asked) in enumerate(
            zip(blocks["buffer"], blocks["place"], blocks["asked"], strict=True)
        )
    ]


def test_the_block_that_found_no_room_is_told(comparison: Comparison, html: str) -> None:
    baseline, *_, oracle = data_of(Reader(html))["runs"]
    failure = comparison["baseline(p)"].failure
    assert failure is not None
    assert blocks_of(comparison.runs[0])[baseline["lost"]].buffer == failure.buffer
    assert oracle["lost"] is None


def test_names_that_would_be_html_are_text(comparison: Comparison) -> None:
    named = replace(comparison, network=EVIL, gpu=EVIL, sources={EVIL: EVIL})
    page = Reader(page_html(comparison_page(named, command=EVIL)))
    assert len(page.scripts) == 2
    assert page.texts.count(EVIL) == 2  # the command, and the source


def test_every_part_escapes_what_it_is_given() -> None:
    parts = [
        Words(EVIL),
        Items([(EVIL, EVIL)]),
        Grid([Column(EVIL)], [Row([EVIL])], EVIL),
        Grid([Column(EVIL)], [Row([EVIL])], EVIL, folded=True),
        Bars([Bar(EVIL, {EVIL: 1.0}, EVIL)], {EVIL: EVIL}, EVIL, (EVIL, 2.0)),
        Picture(b"<svg/>", "image/svg+xml", EVIL, EVIL),
    ]
    page = Reader(page_html(Page(EVIL, [(EVIL, EVIL)], [Section(EVIL, parts)], EVIL, EVIL)))
    assert len(page.scripts) == 1
    assert page.texts.count(EVIL) == 24  # every text there is, each as it was given


def test_parts_of_a_loss_below_nothing_are_not_drawn() -> None:
    bars = Bars([Bar("a", {"x": 3.0, "y": -1.0}, "2")], {"x": "red", "y": "blue"}, "")
    assert bars.shown(bars.bars[0]) == {"x": 3.0}
    assert bars.longest == 3.0


def test_pictures_are_of_kinds_that_browsers_show() -> None:
    with pytest.raises(InvalidInput, match=r"found 'text/html', expected image/svg\+xml or image/png"):
        Picture(b"", "text/html", "")


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    page = Page("a", [], [])
    with pytest.raises(InvalidInput, match="cannot write"):
        write_page(page, tmp_path / "none" / "a.html")
    assert list(tmp_path.iterdir()) == []
