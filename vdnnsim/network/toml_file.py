"""A user's own network from a small TOML file; docs/networks.md shows the format with an example."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from vdnnsim.errors import Fault, InvalidFile
from vdnnsim.files import line_of, parse_toml, read_text, toml_lines
from vdnnsim.network.graph import Network, build_network
from vdnnsim.network.layers import DATA, Kind, LayerFault, LayerSpec, Pair

_LARGEST = 1 << 24


def _pair_from(smallest: int) -> Callable[[object], Pair]:
    def check(value: object) -> Pair:
        sides: list[Any] = value if isinstance(value, list) and len(value) == 2 else [value, value]
        if any(type(side) is not int or not smallest <= side <= _LARGEST for side in sides):
            raise ValueError(f"a whole number from {smallest} to {_LARGEST}, or two in a list: height and width")
        return (sides[0], sides[1])

    return check


_Count = Annotated[int, Field(ge=1, le=_LARGEST, strict=True)]
_Sides = Annotated[Pair, BeforeValidator(_pair_from(1))]
_Padding = Annotated[Pair, BeforeValidator(_pair_from(0))]
_Flag = Annotated[bool, Field(strict=True)]
_Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\s,\"']+$")]
_FileName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A network's name is part of the names of its traces' files."""


class _Entry(BaseModel):
    """What every layer has: a name, and what it reads (the layer before it when nothing is said)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Name
    input: str | None = None

    def sources(self, previous: str) -> tuple[str, ...]:
        return (self.input or previous,)


class _Conv(_Entry):
    kind: Literal[Kind.CONV]
    channels: _Count
    kernel: _Sides
    stride: _Sides = (1, 1)
    padding: _Padding = (0, 0)
    groups: _Count = 1
    bias: _Flag = True

    def spec(self, previous: str) -> LayerSpec:
        return LayerSpec(
            self.name,
            Kind.CONV,
            self.sources(previous),
            self.channels,
            self.kernel,
            self.stride,
            self.padding,
            self.groups,
            self.bias,
        )


class _Pool(_Entry):
    kind: Literal[Kind.POOL]
    kernel: _Sides | None = None
    stride: _Sides = (1, 1)
    padding: _Padding = (0, 0)
    mode: Literal["max", "average"] = "max"
    ceil: _Flag = False

    def spec(self, previous: str) -> LayerSpec:
        return LayerSpec(
            self.name,
            Kind.POOL,
            self.sources(previous),
            kernel=self.kernel,
            stride=self.stride,
            padding=self.padding,
            average=self.mode == "average",
            ceil=self.ceil,
        )


class _FullyConnected(_Entry):
    kind: Literal[Kind.FC]
    channels: _Count
    bias: _Flag = True

    def spec(self, previous: str) -> LayerSpec:
        return LayerSpec(self.name, Kind.FC, self.sources(previous), self.channels, bias=self.bias)


class _Plain(_Entry):
    kind: Literal[Kind.ACTV, Kind.BN, Kind.SOFTMAX]

    def spec(self, previous: str) -> LayerSpec:
        return LayerSpec(self.name, Kind(self.kind), self.sources(previous))


class _Lrn(_Entry):
    kind: Literal[Kind.LRN]
    size: _Count = 5

    def spec(self, previous: str) -> LayerSpec:
        return LayerSpec(self.name, Kind.LRN, self.sources(previous), size=self.size)


class _Dropout(_Entry):
    kind: Literal[Kind.DROPOUT]
    rate: Annotated[float, Field(strict=True)] = 0.5

    def spec(self, previous: str) -> LayerSpec:
        return LayerSpec(self.name, Kind.DROPOUT, self.sources(previous), rate=self.rate)


class _Join(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Name
    kind: Literal[Kind.CONCAT, Kind.ADD]
    inputs: list[str]

    def spec(self, previous: str) -> LayerSpec:  # noqa: ARG002 - a join names all it reads
        return LayerSpec(self.name, Kind(self.kind), tuple(self.inputs))


_AnyLayer = Annotated[_Conv | _Pool | _FullyConnected | _Plain | _Lrn | _Dropout | _Join, Field(discriminator="kind")]


class NetworkFile(BaseModel):
    """The whole file: `input` is [channels, height, width] of one image."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = Field(alias="schema")
    name: _FileName
    input: tuple[_Count, _Count, _Count]
    layer: Annotated[list[_AnyLayer], Field(min_length=1, max_length=100_000)]

    def specs(self) -> list[LayerSpec]:
        specs: list[LayerSpec] = []
        for entry in self.layer:
            specs.append(entry.spec(specs[-1].name if specs else DATA))
        return specs


def read_network(path: Path, batch: int) -> Network:
    """The network of a TOML file for `batch` images. Raises `InvalidFile` with file, line and field."""
    text = read_text(path)
    contents = parse_toml(text, str(path), NetworkFile)
    try:
        return build_network(contents.name, (batch, *contents.input), contents.specs())
    except LayerFault as fault:
        layer, field, found, expected = fault.args
        index = max((i for i, entry in enumerate(contents.layer) if entry.name == layer), default=0)
        line = line_of(toml_lines(text), ("layer", index, field))
        where = f"layer '{layer}', {field}"
        raise InvalidFile([Fault(str(path), line, where, str(found), str(expected))]) from None
