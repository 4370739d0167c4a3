"""What a page is made of: words, tables, bars, pictures, and views of runs that a reader can zoom into.

All text is plain: names from outside may hold whatever they like, and are escaped where the page is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from vdnnsim.errors import InvalidInput

MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}
"""What browsers show, by the suffix of the file."""


class Part(Protocol):
    """What stands in a section; `kind` is the macro of the template that writes it."""

    @property
    def kind(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Words:
    """A paragraph; `faint` for what is only to be looked up."""

    text: str
    faint: bool = False
    kind: str = field(default="words", init=False)


@dataclass(frozen=True, slots=True)
class Items:
    """Headings, each with what is said of it."""

    items: Sequence[tuple[str, str]]
    kind: str = field(default="items", init=False)


class Column(NamedTuple):
    """The heading of a table's column, and whether numbers stand in it."""

    heading: str
    number: bool = False


class Row(NamedTuple):
    """One row's cells; `faint` where the numbers are of what does not work."""

    cells: Sequence[str]
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """A table. A reader can have it sorted by any column; where it is `folded`, under its caption until asked for."""

    columns: Sequence[Column]
    rows: Sequence[Row]
    caption: str = ""
    folded: bool = False
    kind: str = field(default="grid", init=False)


class Bar(NamedTuple):
    """A bar of several parts, one behind the other, with a number at its end; `faint` as a row's."""

    name: str
    parts: Mapping[str, float]
    end: str
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Bars:
    """Horizontal bars, with a colour for each part; of what is less than nothing the number alone is shown. A `limit`
    is a dashed line, with its name."""

    bars: Sequence[Bar]
    colours: Mapping[str, str]
    caption: str
    limit: tuple[str, float] | None = None
    kind: str = field(default="bars", init=False)

    @property
    def longest(self) -> float:
        """What the width of the drawing stands for."""
        limit = self.limit[1] if self.limit else 0.0
        return max([limit, *(sum(self.shown(bar).values()) for bar in self.bars)], default=0.0) or 1.0

    def shown(self, bar: Bar) -> dict[str, float]:
        """The parts of a bar that are drawn."""
        return {name: size for name, size in bar.parts.items() if size > 0}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that stands in the page itself; `alt` says what it shows to those who do not see it."""

    contents: bytes
    media_type: str
    alt: str
    caption: str = ""
    kind: str = field(default="picture", init=False)

    def __post_init__(self) -> None:
        if self.media_type not in MEDIA_TYPES.values():
            raise InvalidInput(f"picture: found '{self.media_type}', expected {' or '.join(MEDIA_TYPES.values())}")


@dataclass(frozen=True, slots=True)
class Views:
    """Runs to zoom into: bytes by class, the map of memory and the engines over one time, and layer by layer. `data` is
    what `views.py` writes and the page's own program reads; `begin` is the run that is shown first. Classes of memory
    and engines have their colours; `limit` is what the dashed line is called."""

    data: str
    policies: Sequence[str]
    classes: Mapping[str, str]
    engines: Mapping[str, str]
    limit: str
    begin: int = 0
    kind: str = field(default="views", init=False)


@dataclass(frozen=True, slots=True)
class Section:
    """Parts under a heading."""

    title: str
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True)
class Page:
    """A page: what it is about, the answer in words, sections, and the command that made it."""

    title: str
    answer: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    command: str = ""
    about: str = ""


def filled(sections: Iterable[Section]) -> tuple[Section, ...]:
    """Those that hold anything."""
    return tuple(section for section in sections if section.parts)
