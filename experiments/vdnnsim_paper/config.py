"""What is reproduced: the rules, one small file for each figure, and the paper's claims, all in `evaluation`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from vdnnsim import InvalidInput, UnknownName

_FOLDER = Path(__file__).parent / "evaluation"
WITHOUT_RESULTS = ("2", "3", "7", "8", "10")
"""Figures of the paper that are sketches or pseudo-code."""
_Text = Annotated[str, Field(min_length=1)]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GpuRules(_File):
    """How one GPU is used: the math mode of its traces, and a pool of another size than its memory."""

    math: Literal["fp32", "tf32"]
    capacity: str | None = None


class Rules(_File):
    """The choices that the paper leaves open; see `evaluation/rules.toml`."""

    schema_version: Literal[1] = Field(alias="schema")
    weight_gradients: Literal["none", "per-layer", "resident"]
    average: Literal["steps", "time"]
    scope: Literal["feature-extraction", "network"]
    no_offload: Literal["network-wide", "layer-wise"]
    fastest_within: Annotated[float, Field(ge=0, lt=1)]
    seed: int
    samples: Annotated[int, Field(ge=0, le=1000)]
    samples_very_deep: Annotated[int, Field(ge=0, le=1000)]
    networks: Mapping[str, str]
    gpus: Mapping[str, GpuRules]


class Case(NamedTuple):
    """A network of the paper's evaluation: its name there, the built-in one that stands for it, and the batch."""

    title: str
    network: str
    batch: int

    def under(self, rules: Rules) -> Case:
        """The case with the network that these rules give it."""
        return self._replace(network=rules.networks[self.title])

    @property
    def label(self) -> str:
        """As the paper writes it: "VGG-16 (256)"."""
        return f"{self.title} ({self.batch})"

    @property
    def very_deep(self) -> bool:
        return self.title.startswith("VGG-") and self.title != "VGG-16"


class FigureFile(_File):
    """One figure's small file: what it shows and how it is labelled. `panels` are groups for each panel with a scale of
    its own, from the left; by default there is one."""

    schema_version: Literal[1] = Field(alias="schema")
    title: _Text
    caption: _Text
    measure: _Text
    cases: Annotated[tuple[str, ...], Field(min_length=1)]
    policies: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    left: _Text
    right: str = ""
    parts: Literal["stack", "overlay"] = "stack"
    panels: tuple[int, ...] = ()


class ClaimEntry(_File):
    """One number of the paper. `low` and `high` are equal unless the paper gives a range; `mark` says how sure it is;
    `tolerance` is in percentage points where the unit is %, else in percent of the value."""

    name: _Text
    text: _Text
    paper: _Text
    low: float | None = None
    high: float | None = None
    unit: str
    mark: Literal["abstract", "second-hand", "unverified"]
    basis: Literal["sizes", "times"]
    why: Mapping[str, str] = Field(default_factory=dict)


class ClaimFile(_File):
    schema_version: Literal[1] = Field(alias="schema")
    claim: tuple[ClaimEntry, ...]


@dataclass(frozen=True)
class FigureConfig:
    """A figure's name ("11") with its file and its cases."""

    name: str
    file: FigureFile
    cases: tuple[Case, ...]

    @property
    def stem(self) -> str:
        """What its files are called."""
        return f"fig{int(self.name):02}" if self.name.isdigit() else self.name

    @property
    def heading(self) -> str:
        return f"Figure {self.name}. {self.file.title}" if self.name.isdigit() else self.file.title


_Contents = TypeVar("_Contents", bound=_File)


def _read(stem: str, kind: type[_Contents]) -> _Contents:
    return kind.model_validate(tomllib.loads((_FOLDER / f"{stem}.toml").read_text(encoding="utf-8")))


@cache
def rules() -> Rules:
    """The rules in use."""
    return _read("rules", Rules)


@cache
def claims() -> tuple[ClaimEntry, ...]:
    return _read("claims", ClaimFile).claim


def figure_names() -> tuple[str, ...]:
    """Every figure there is, in the paper's order; those without a number last."""
    names = [path.stem.removeprefix("fig").lstrip("0") for path in _FOLDER.glob("fig[0-9][0-9].toml")]
    return (*sorted(names, key=int), "power")


def choose_figures(names: Sequence[str]) -> list[FigureConfig]:
    """The figures of these names ("11", "fig11", "power"), each once, or all. Raises `UnknownName`, and
    `InvalidInput` for one that holds no results."""
    known = figure_names()
    chosen = []
    for name in names:
        plain = name.lower().removeprefix("figure").removeprefix("fig").strip(" .-_").lstrip("0")
        if plain in WITHOUT_RESULTS:
            raise InvalidInput(
                f"figure {plain}: it explains and holds no results; those with results: {', '.join(known)}"
            )
        if plain not in known:
            raise UnknownName("figure", name, known)
        chosen.append(plain)
    return [figure_config(name) for name in (dict.fromkeys(chosen) if chosen else known)]


@cache
def figure_config(name: str) -> FigureConfig:
    stem = f"fig{int(name):02}" if name.isdigit() else name
    file = _read(stem, FigureFile)
    return FigureConfig(name, file, tuple(parse_case(text) for text in file.cases))


def parse_case(text: str) -> Case:
    """A case from "VGG-16 256". Raises `InvalidInput` for a network that the rules do not name."""
    title, _, batch = text.rpartition(" ")
    if title not in rules().networks or not batch.isdigit():
        known = ", ".join(rules().networks)
        raise InvalidInput(f"case: found '{text}', expected one of {known} and a batch, such as 'VGG-16 256'")
    return Case(title, rules().networks[title], int(batch))


def gpu_rules(gpu: str) -> GpuRules:
    """Raises `UnknownName` for a GPU that nothing was reproduced on."""
    if gpu not in rules().gpus:
        raise UnknownName("GPU to reproduce the paper on", gpu, rules().gpus)
    return rules().gpus[gpu]
