"""A profile that is another one with some values changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vdnnsim.errors import Fault, InvalidFile
from vdnnsim.files import line_of, toml_lines

_OWN = ("schema", "base", "name", "title")
"""What a file says of itself."""
_MAY_COME = (("nvme",), ("host", "optimiser"))
"""What is the host's, and may be said of it where the base does not."""
_FORMS = ("points", "bandwidth", "latency")
"""What a link's curve is made of: one form takes the place of the other."""
_Table = Mapping[str, Any]


def overridden(base: _Table, own: _Table, name: str, file: str, text: str) -> dict[str, Any]:
    """The tables of a base, called `name`, under those of a file. Raises `InvalidFile` for what the base does not
    have, and for numbers that changed while their source did not."""
    faults: list[Fault] = []

    def merged(under: _Table, over: _Table, place: tuple[str, ...]) -> dict[str, Any]:
        def fault(key: str, found: str, expected: str) -> None:
            line = line_of(toml_lines(text), (*place, key))
            faults.append(Fault(file, line, ".".join((*place, key)), found, expected))

        curve = bool(set(_FORMS) & set(under))
        kept = {key: value for key, value in under.items() if not (curve and key in _FORMS and set(_FORMS) & set(over))}
        for key, value in over.items():
            if key not in under and not (curve and key in _FORMS) and (*place, key) not in _MAY_COME:
                fault(key, "an override of what is not there", f"one of what {name} has: {', '.join(under)}")
            elif isinstance(value, Mapping) and isinstance(under.get(key), Mapping):
                kept[key] = merged(under[key], value, (*place, key))
            else:
                kept[key] = value
        changed = any(not isinstance(value, Mapping) for value in over.values())
        if changed and "source" in under and not {"source", "provenance"} <= set(over):
            fault("source", "other numbers than those of the base", "provenance and source of their own")
        return kept

    head = {key: value for key, value in {**base, **own}.items() if key in _OWN}
    tables = merged(_without_head(base), _without_head(own), ())
    if faults:
        raise InvalidFile(faults)
    return {**head, **tables}


def _without_head(document: _Table) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in _OWN}
