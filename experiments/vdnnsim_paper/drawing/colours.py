"""Colours of the series, the same in every figure; those of memory classes and of policies are the package's own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from vdnnsim.figures import CLASS_COLOURS, PASS_COLOURS, POLICY_LOOKS, paled

LIGHT = 0.38
"""How much of its colour the maximum keeps where the average stands before it."""
_POLICIES = {name: look.colour for name, look in POLICY_LOOKS.items()}
_COLOURS: Mapping[str, str] = MappingProxyType(
    {
        **CLASS_COLOURS,
        **PASS_COLOURS,
        **_POLICIES,
        **{f"{name} average": colour for name, colour in _POLICIES.items()},
        **{f"{name} maximum": paled(colour, LIGHT) for name, colour in _POLICIES.items()},
        "allocated": "#6699CC",
        "on the GPU": "#004488",
        "on the host": "#EECC66",
    }
)
_SPARE = ("#6699CC", "#994455", "#EECC66", "#004488", "#997700", "#EE99AA")


def colour_of(name: str, index: int) -> str:
    """The colour of a series or part; `index` is its place among its kind, for names that have none of their own."""
    return _COLOURS.get(name) or _SPARE[index % len(_SPARE)]
