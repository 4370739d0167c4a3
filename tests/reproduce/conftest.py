"""The whole evaluation, run once for all tests that look at what comes out: without its bands, which take four times as
long as all else. One network's are run to the last digit (`test_expected`), and `experiments/run.py` writes all."""

import resource
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from support.examples import THOROUGH
from tests.support.legible import figure_of
from vdnnsim.figures import saving
from vdnnsim_paper import Reproduction, reproduce
from vdnnsim_paper.bench import load_gpu
from vdnnsim_paper.claims import stated_values
from vdnnsim_paper.config import figure_config, rules
from vdnnsim_paper.drawing import draw_figure


@dataclass(frozen=True)
class Whole:
    reproduction: Reproduction
    folder: Path
    cpu_seconds: float
    progress: list[tuple[str, int, int]]


def cpu_seconds() -> float:
    """What this process and its children that have ended have used of the processor."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("paper")
    told: list[tuple[str, int, int]] = []
    begin_s = cpu_seconds()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vdnnsim_paper.runs.usable_cores", lambda: 1)  # the other core runs other tests
        if not THOROUGH:  # to embed fonts as publishers want them takes half of the time: report/test_figure has that
            patch.setattr(saving, "_SETTINGS", {**saving._SETTINGS, "pdf.fonttype": 3})
        reproduction = reproduce(out=folder, bands=False, progress=lambda *step: told.append(step))
    return Whole(reproduction, folder, cpu_seconds() - begin_s, told)


def figures_of(reproduction: Reproduction) -> Iterator[tuple[str, Figure]]:
    """Every figure as it was drawn, by its name, without its files."""
    gpu = load_gpu(reproduction.gpu, rules())
    stated = stated_values(reproduction.claims)
    for name, bars in reproduction.bars.items():
        own = [value for value in stated if value.figure == name]
        yield name, figure_of(partial(draw_figure, figure_config(name), bars, gpu, [Path("figure.png")], own))
