"""A sweep's spec: a TOML file with a table of axes, which of them vary together, and filters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from vdnnsim.captured import folder_of
from vdnnsim.errors import Fault, InvalidFile, InvalidValue
from vdnnsim.files import line_of, parse_toml, read_text, toml_lines
from vdnnsim.policies import ONE_WAY_POLICIES
from vdnnsim.sweep.axes import AXES, Value, expand


class _SpecFile(BaseModel):
    """The file as it stands. `[axes]` is checked by `expand`, whose words are clearer than a schema's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = Field(alias="schema")
    title: str = ""
    zip_: list[list[str]] = Field(alias="zip", default_factory=list)
    filters: list[str] = Field(default_factory=list)
    traces: list[str] = Field(default_factory=list)
    axes: dict[str, Any]


class Spec(NamedTuple):
    """What a spec file says. `axes` has the values of every axis, also of those the file leaves out; `named` are those
    it names. `zipped` are groups of axes that vary together; all others are crossed. `traces` are folders to look for
    traces in before those of the package."""

    file: str
    text: str
    title: str
    axes: Mapping[str, tuple[Value, ...]]
    named: frozenset[str]
    zipped: tuple[tuple[str, ...], ...]
    filters: tuple[str, ...]
    traces: tuple[Path, ...]

    def fault(self, place: tuple[str | int, ...], found: str, expected: str) -> InvalidFile:
        """An error about a place in the file, with its line; as `Fault`, whose `found` may be empty."""
        field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")
        return InvalidFile([Fault(self.file, line_of(toml_lines(self.text), place), field, found, expected)])


def read_spec(path: Path) -> Spec:
    """The spec in a file. Raises `InvalidFile` with every fault: file, line, field, found, expected."""
    return parse_spec(read_text(path), str(path))


def parse_spec(text: str, file: str = "spec") -> Spec:
    """As `read_spec`, from text; folders of traces are relative to the folder of `file`."""
    contents = parse_toml(text, file, _SpecFile)
    lines = toml_lines(text)
    faults: list[Fault] = []

    axes: dict[str, tuple[Value, ...]] = {}
    for name, entry in contents.axes.items():
        if name not in AXES:
            faults.append(Fault(file, line_of(lines, ("axes", name)), f"axes.{name}", "an unknown axis", _known(name)))
            continue
        try:
            axes[name] = expand(AXES[name], entry, f"axes.{name}")
        except InvalidValue as error:
            faults.append(Fault(file, line_of(lines, ("axes", name)), error.what, error.found, error.expected))
    for axis in AXES.values():
        if axis.name in contents.axes:
            continue
        if axis.default is None:
            faults.append(Fault(file, line_of(lines, ("axes",)), f"axes.{axis.name}", "nothing", "this axis"))
        else:
            axes[axis.name] = axis.default
    if not faults:
        faults += _defaults_by_kind(contents.axes, axes, file, line_of(lines, ("axes",)))
    if not faults:
        faults += _zip_faults(contents.zip_, axes, file, line_of(lines, ("zip",)))
    if not faults:
        faults += _repeated(contents.zip_, axes, file, lines)
    if faults:
        raise InvalidFile(faults)
    folders = tuple(Path(file).parent / folder for folder in contents.traces)
    return Spec(
        file,
        text,
        contents.title,
        {name: axes[name] for name in AXES},
        frozenset(contents.axes),
        tuple(tuple(group) for group in contents.zip_),
        tuple(contents.filters),
        folders,
    )


def beside(file: str, name: str) -> str:
    """Files and folders that a spec names are looked for from its own folder."""
    path = Path(name)
    from_there = Path(file).parent / path
    return str(from_there) if not path.is_absolute() and (name.endswith(".toml") or from_there.is_dir()) else name


def _defaults_by_kind(
    named: Mapping[str, Any], axes: dict[str, tuple[Value, ...]], file: str, line: int | None
) -> list[Fault]:
    """Captured steps, which are folders, have a batch of their own and one algorithm a kernel."""
    captured = [folder_of(beside(file, str(name))) is not None for name in axes["network"]]
    if all(captured) and "policy" not in named:
        axes["policy"] = tuple(ONE_WAY_POLICIES)
    if all(captured) or "batch" in named:
        return []
    return [Fault(file, line, "axes.batch", "nothing", "this axis")]


def _known(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, AXES, n=1)
    hint = f"'{near[0]}', or " if near else ""
    return f"{hint}one of: {', '.join(AXES)}"


def _repeated(
    groups: list[list[str]],
    axes: Mapping[str, tuple[Value, ...]],
    file: str,
    lines: Mapping[tuple[str | int, ...], int],
) -> list[Fault]:
    """An axis that is crossed has each value once; axes that vary together have each combination once."""
    zipped = {name for group in groups for name in group}
    faults = []
    for group in [*groups, *([name] for name in axes if name not in zipped)]:
        seen: set[tuple[Value, ...]] = set()
        for values in zip(*(axes[name] for name in group), strict=True):
            if values in seen:
                found = f"{', '.join(str(value) for value in values)} twice"
                line = line_of(lines, ("axes", group[0]))
                faults.append(Fault(file, line, f"axes.{', axes.'.join(group)}", found, "each point once"))
                break
            seen.add(values)
    return faults


def _zip_faults(
    groups: list[list[str]], axes: Mapping[str, tuple[Value, ...]], file: str, line: int | None
) -> list[Fault]:
    faults = []
    seen: set[str] = set()
    for index, group in enumerate(groups):
        place = f"zip[{index}]"
        for name in group:
            if name not in axes:
                faults.append(Fault(file, line, place, f"'{name}'", _known(name)))
            elif name in seen:
                faults.append(Fault(file, line, place, f"'{name}' again", "each axis in one group at most"))
            seen.add(name)
        lengths = {name: len(axes[name]) for name in group if name in axes}
        if len(group) < 2 or len(set(lengths.values())) > 1:
            found = ", ".join(f"{name} with {length} values" for name, length in lengths.items()) or "no axes"
            faults.append(Fault(file, line, place, found, "two axes or more with equally many values"))
    return faults
