"""Topologies on disk: TOML, with where each number is from; and those that came with the package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from vdnnsim.catalog import data_directory
from vdnnsim.errors import Fault, InvalidFile, InvalidValue, UnknownName
from vdnnsim.files import line_of, read_text, read_toml, toml_lines
from vdnnsim.topology.topology import SharedLink, Topology
from vdnnsim.units import PPM, parse_bandwidth

_Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
_MEMORY = "memory"
_MOST_GPUS = 1024


class _BothWays(BaseModel):
    """What a link carries each way while both are used."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    out: str | None = None
    in_: Annotated[str | None, Field(alias="in")] = None


class _BesideOut(BaseModel):
    """What so much out, of all GPUs together, leaves of copies in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    out: str
    share: Annotated[float, Field(gt=0, le=1)]


class _LinkFile(BaseModel):
    """One shared link."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Name
    kind: Literal["switch", "root", "socket", "memory"]
    to: _Name | None = None
    out: str | None = None
    in_: Annotated[str | None, Field(alias="in")] = None
    both_ways: _BothWays = _BothWays()
    total: str | None = None
    in_beside_out: list[_BesideOut] = []
    provenance: Literal["measured", "published", "modelled"]
    source: Annotated[str, Field(min_length=1)]


class _TopologyFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = Field(alias="schema")
    name: _Name
    title: Annotated[str, Field(min_length=1)]
    gpus: Annotated[list[_Name], Field(min_length=1, max_length=_MOST_GPUS)]
    link: Annotated[list[_LinkFile], Field(min_length=1)]


def read_topology(path: Path) -> Topology:
    """The topology in a TOML file. Raises `InvalidFile` with every fault and its line: fields, bandwidths that are
    none, names twice, a way that does not end in a memory or turns in a circle, a GPU on a link that is not there."""
    file = read_toml(path, _TopologyFile)
    lines = toml_lines(read_text(path))
    faults: list[Fault] = []

    def fault(place: tuple[str | int, ...], found: str, expected: str) -> None:
        text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")
        faults.append(Fault(str(path), line_of(lines, place), text, found, expected))

    links: dict[str, SharedLink] = {}
    for index, entry in enumerate(file.link):
        if entry.name in links:
            fault(("link", index, "name"), f"'{entry.name}' again", "each link once")
        try:
            links[entry.name] = _link(entry)
        except InvalidValue as error:
            fault(("link", index, error.what.partition(".")[0]), error.found, error.expected)
            links[entry.name] = SharedLink(entry.name, entry.kind, entry.to)
    for index, entry in enumerate(file.link):
        wrong = _way_fault(links, entry.name)
        if wrong:
            fault(("link", index, "to"), *wrong)
    for index, name in enumerate(file.gpus):
        if name not in links:
            fault(("gpus", index), f"'{name}'", f"a link of this file: {', '.join(links)}")
    if faults:
        raise InvalidFile(faults)
    return Topology(file.name, file.title, links, tuple(file.gpus))


def list_topologies() -> Iterator[Path]:
    """The topologies that came with the package, by name."""
    yield from sorted(data_directory("topologies").glob("*.toml"), key=lambda path: path.stem)


def load_topology(name: str | Path) -> Topology:
    """A topology by name, or from a TOML file. Raises `UnknownName`, `InvalidFile`."""
    known = {path.stem: path for path in list_topologies()}
    text = str(name)
    if isinstance(name, Path) or "/" in text or (text.endswith(".toml") and Path(text).exists()):
        return read_topology(Path(name))
    if text.removesuffix(".toml") not in known:
        if text.endswith(".toml"):
            return read_topology(Path(name))  # says that there is nothing
        raise UnknownName("topology", text, known)
    return read_topology(known[text.removesuffix(".toml")])


def _way_fault(links: Mapping[str, SharedLink], name: str) -> tuple[str, str] | None:
    """What is wrong with the next step of a link's way, and what was expected; None where nothing is."""
    link = links[name]
    if link.kind == _MEMORY:
        return None if link.to is None else (f"'{link.to}'", "nothing: a memory is the end of the way")
    if link.to is None:
        return "nothing", f"the next link on the way to a memory: '{name}' has no end"
    if link.to not in links:
        return f"'{link.to}'", f"a link of this file: '{name}' has no end; there are {', '.join(links)}"
    seen = [name]
    following: str | None = link.to
    while following in links:
        if following == name:
            return f"'{link.to}'", f"a way that ends in a memory: {' to '.join([*seen, name])} is a cycle"
        if following in seen:
            return None  # told at the links of the cycle itself
        seen.append(str(following))
        following = links[str(following)].to
    return None


def _link(entry: _LinkFile) -> SharedLink:
    def parsed(text: str | None, what: str) -> int | None:
        return None if text is None else parse_bandwidth(text, what)

    both = entry.both_ways
    return SharedLink(
        entry.name,
        entry.kind,
        entry.to,
        parsed(entry.out, "out"),
        parsed(entry.in_, "in"),
        parsed(both.out, "both_ways.out"),
        parsed(both.in_, "both_ways.in"),
        parsed(entry.total, "total"),
        entry.provenance,
        entry.source,
        _curve(entry.in_beside_out),
    )


def _curve(points: Sequence[_BesideOut]) -> tuple[tuple[int, int], ...]:
    """As `SharedLink.in_beside_out`. Raises `InvalidValue` where bandwidths do not rise, or shares do."""
    found: list[tuple[int, int]] = []
    for point in points:
        out, share_ppm = parse_bandwidth(point.out, "in_beside_out"), max(1, round(point.share * PPM))
        before, before_ppm = found[-1] if found else (0, PPM)
        if out <= before or share_ppm > before_ppm:
            wrong = f"{{ out = '{point.out}', share = {point.share:g} }}"
            raise InvalidValue("in_beside_out", wrong, "more out than at the point before, and no larger share")
        found.append((out, share_ppm))
    return tuple(found)
