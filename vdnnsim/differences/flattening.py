"""Nested data as values by dotted names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vdnnsim.differences.records import Value

_DEEPEST = 12


def flat_values(document: Mapping[str, Any], before: str = "", depth: int = 0) -> Iterator[tuple[str, Value]]:
    """Every value by its dotted name; items of a list by their own names, or numbered."""
    for key, value in document.items():
        name = f"{before}{key}"
        if depth > _DEEPEST:
            raise ValueError(f"{name}: too deep")
        if isinstance(value, Mapping):
            yield from flat_values(value, f"{name}.", depth + 1)
        elif isinstance(value, list | tuple) and any(isinstance(item, Mapping | list | tuple) for item in value):
            yield from flat_values(_by_name(value), f"{name}.", depth + 1)
        elif isinstance(value, list | tuple):
            yield name, joined(value)
        else:
            yield name, value if isinstance(value, bool | int | float | str | None) else str(value)


def _by_name(items: list[Any] | tuple[Any, ...]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for number, item in enumerate(items, start=1):
        own = item.get("name") if isinstance(item, Mapping) else None
        if isinstance(own, str) and own not in named:
            named[own] = {key: value for key, value in item.items() if key != "name"}
        else:
            named[str(number)] = item
    return named


def joined(items: Any) -> str:
    return ", ".join(str(item) for item in items)
