"""How results show themselves in a session: in a line, and in a notebook as a table."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path

import pytest
from matplotlib.axes import Axes

import vdnnsim
from support.commands import in_process
from vdnnsim import Comparison, Study, compare_policies, comparison_figure, make_study, run_figure


class Cells(HTMLParser):
    """The texts of a table's cells, row by row; refuses tags that are closed out of order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        if tag == "br":
            return
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def study() -> Study:
    return make_study("vgg16", batch=256, gpu="titan-x-maxwell")


@pytest.fixture(scope="module")
def comparison(study: Study) -> Comparison:
    return compare_policies(study, ["baseline(p)", "vdnn-dyn"])


def test_a_session_shows_a_line(study: Study, comparison: Comparison) -> None:
    run = comparison.runs[1]
    assert repr(comparison) == ("<Comparison of baseline(p), vdnn-dyn on vgg16, batch 256, titan-x-maxwell (12.79 GB)>")
    assert repr(study) == "<Study of vgg16, batch 256, fp32, on titan-x-maxwell (12.79 GB), best-fit pool>"
    numbers = "vdnn-dyn: 4302.3 ms, performance 0.749, peak 10.90 GB, offloads 15.57 GB"
    assert (repr(run), repr(run.result)) == (f"<PolicyRun {numbers}>", f"<PolicyResult {numbers}>")
    assert "does not train: needs 27.58 GB" in repr(comparison["baseline(p)"])
    parts = (run.plan, run.program, run.timeline, study.network, study.trace, run.result.trials[0])
    assert [repr(part) for part in parts if len(repr(part)) > 600] == []
    assert all(re.match(r"<[A-Z]", repr(part)) for part in parts[:-1])


def test_a_script_prints_what_the_command_prints(comparison: Comparison) -> None:
    network = ["vgg16", "--batch", "256", "--gpu", "titan-x-maxwell"]
    done = in_process(["compare", *network, "--policies", "baseline(p),vdnn-dyn"])
    assert str(comparison).splitlines() == done.out.rstrip().splitlines()


def test_a_notebook_shows_the_terminals_table(comparison: Comparison) -> None:
    rows = Cells(comparison._repr_html_()).rows
    assert rows[0][:3] == ["policy", "trains", "iter.ms"]
    assert rows[1][:3] == ["baseline(p)", "NO", "3223.9"]
    assert rows[2][:3] == ["vdnn-dyn", "yes", "4302.3"]
    assert rows[2][-1] == "link"
    assert len({len(row) for row in rows}) == 1
    for words in ("<caption>vgg16, batch 256", "<p>Provenance: modelled", "text-align: right"):
        assert words in comparison._repr_html_()


def test_a_notebook_shows_a_run_by_layer(comparison: Comparison) -> None:
    run = comparison.runs[1]
    rows = Cells(run._repr_html_()).rows
    assert [row[0] for row in rows[1:-1]] == [layer.layer for layer in run.result.layers]
    assert rows[-1][0] == "total"
    assert "<p>link-bound from conv1_2 to pool3" in run._repr_html_()


def test_a_notebook_shows_what_a_study_is_of(study: Study) -> None:
    rows = dict(Cells(study._repr_html_()).rows)
    assert rows["network"] == f"vgg16, batch 256, {len(study.network.layers)} layers"
    assert rows["link"] == "13.11 GB/s out, 12.82 GB/s in"


def test_names_are_no_markup(study: Study) -> None:
    plan = study.run("vdnn-conv(m)").plan
    html = study.run_plan("<b>&mine", plan)._repr_html_()
    assert "&lt;b&gt;&amp;mine" in html
    assert "<b>" not in html


def test_figures_give_their_axes_and_write_only_where_they_are_told_to(
    comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for axes in (comparison_figure(comparison), run_figure(comparison.runs[1], comparison)):
        assert len(axes) == 2
        assert all(isinstance(one, Axes) and one.figure is axes[0].figure for one in axes)
    assert not list(tmp_path.iterdir())
    assert comparison_figure(comparison, "named.png")[0].get_xlabel()
    assert [path.name for path in tmp_path.iterdir()] == ["named.png"]


def test_the_package_knows_its_version() -> None:
    assert vdnnsim.__version__ == version("vdnnsim")
    assert "__version__" in dir(vdnnsim)
