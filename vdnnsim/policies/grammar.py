"""Policies with parameters, as they are named: `offload(which=half, ahead=8)`.

A name, and where it has some, parameters in brackets: `key=value`, with commas between them. What is left out keeps its
default. Letters in brackets without `=`, as in `vdnn-all(m)`, are part of a name.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, ClassVar, NamedTuple, Protocol

from vdnnsim.errors import InvalidInput, InvalidValue
from vdnnsim.policies.plan import Policy
from vdnnsim.units import parse_bytes

NONE = "none"
"""The value of a parameter that is without a bound."""
OF = "of"
"""The parameter of a policy that is made of another one, which may be named without it."""


class Parameter(NamedTuple):
    """A parameter: the `field` of its policy, how its value is read (raises `InvalidValue`, told what it is of), and
    how it is written."""

    field: str
    parse: Callable[[str, str], object]
    show: Callable[[Any], str] = str


class Parameterised(Policy, Protocol):
    """A policy, a dataclass with defaults, that is made of parameters."""

    PARAMETERS: ClassVar[Mapping[str, Parameter]]
    __dataclass_fields__: ClassVar[dict[str, Any]]


def split_names(text: str, what: str) -> list[str]:
    """The names in a text with commas between them; those in brackets do not part. Raises `InvalidInput`, of `what`."""
    names = [""]
    depth = 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            break
        if letter == "," and not depth:
            names.append("")
        else:
            names[-1] += letter
    if depth:
        raise InvalidInput(f"{what}: found '{text}', expected brackets in pairs, as in 'offload(which=half, ahead=8)'")
    if not all(name.strip() for name in names):
        raise InvalidInput(f"{what}: found '{text}', expected names with commas between them")
    return [name.strip() for name in names]


def parts_of(text: str, of_policy: bool = False) -> tuple[str, dict[str, str]]:
    """A policy's name, and its parameters as they stand; with `of_policy` the first may be another policy, which is the
    parameter `OF`. Raises `InvalidInput`."""
    name, bracket, rest = text.partition("(")
    what = f"policy '{text}'"
    if not bracket:
        return text, {}
    if not rest.rstrip().endswith(")"):
        raise InvalidInput(f"{what}: found no closing bracket, expected one at the end")
    inside = rest.rstrip()[:-1].strip()
    given: dict[str, str] = {}
    for part in split_names(inside, what) if inside else ():
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if of_policy and not given and (not equals or "(" in key):
            key, equals, value = OF, "=", part
        if not equals or not key or not value:
            raise InvalidInput(f"{what}: found '{part}', expected a parameter and its value, as in ahead=8")
        if key in given:
            raise InvalidInput(f"{what}: found {key} twice, expected each parameter once")
        given[key] = value
    return name.strip(), given


def make_parameterised(kind: type[Parameterised], text: str) -> Policy:
    """The policy of this kind that a text describes. Raises `InvalidInput` for an unknown parameter or value."""
    _, given = parts_of(text, OF in kind.PARAMETERS)
    values = {}
    for key, value in given.items():
        if key not in kind.PARAMETERS:
            near = difflib.get_close_matches(key, kind.PARAMETERS, n=1)
            hint = f"'{near[0]}', or " if near else ""
            known = f"one of: {', '.join(kind.PARAMETERS)}" if kind.PARAMETERS else "none, since it has no parameters"
            raise InvalidInput(f"policy '{text}': found parameter '{key}', expected {hint}{known}")
        parameter = kind.PARAMETERS[key]
        values[parameter.field] = parameter.parse(value, f"policy '{text}': {key}")
    return kind(**values)


def name_of(name: str, policy: Parameterised) -> str:
    """How the policy is named: with the parameters that are not at their defaults."""
    defaults = {field.name: field.default for field in fields(policy)}
    given = [
        f"{key}={parameter.show(getattr(policy, parameter.field))}"
        for key, parameter in policy.PARAMETERS.items()
        if getattr(policy, parameter.field) != defaults[parameter.field]
    ]
    return f"{name}({', '.join(given)})" if given else name


def parameters_of(kind: type[Parameterised]) -> str:
    """All parameters with their defaults, as they are written."""
    own = kind()
    return ", ".join(
        f"{key}={parameter.show(getattr(own, parameter.field))}" for key, parameter in kind.PARAMETERS.items()
    )


def choice(*values: str) -> Callable[[str, str], str]:
    """Reads one of these words."""

    def parse(text: str, what: str) -> str:
        if text not in values:
            raise InvalidValue(what, f"'{text}'", f"one of: {', '.join(values)}")
        return text

    return parse


YES, NO = "yes", "no"

HOST, NVME = "host", "nvme"
PLACE = Parameter("place", choice(HOST, NVME))
"""Where what leaves goes: the host's memory, or from there on to NVMe."""


def count(text: str, what: str) -> int:
    """A whole number, 0 or more. Raises `InvalidValue`."""
    if not (text.isascii() and text.isdigit()):
        raise InvalidValue(what, f"'{text}'", "a whole number, 0 or more")
    return int(text)


def size(text: str, what: str) -> int:
    """Bytes, with a unit or bare, or 0. Raises `InvalidValue`."""
    return int(text) if text.isascii() and text.isdigit() else parse_bytes(text, what)


def count_or_none(text: str, what: str) -> int | None:
    """A whole number, 0 or more, or none. Raises `InvalidValue`."""
    return None if text == NONE else count(text, what)


def shown_count(value: int | None) -> str:
    """As a parameter is written."""
    return NONE if value is None else str(value)


def share(text: str, what: str) -> float:
    """A share, from 0 to 1. Raises `InvalidValue`."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise InvalidValue(what, f"'{text}'", "a share from 0 to 1, such as 0.5")
    return value


def size_or_none(text: str, what: str) -> int | None:
    """Bytes, 0, or none. Raises `InvalidValue`."""
    return None if text == NONE else size(text, what)


def shown_size(size_bytes: int | None) -> str:
    """As a parameter is written: in the largest binary unit that it is a multiple of."""
    if size_bytes is None:
        return NONE
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return f"{size_bytes}B" if size_bytes else "0"
