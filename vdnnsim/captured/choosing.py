"""What of a captured step may leave, and by which words policies choose among it: graph nodes, modules, layers.

What a node of the graph reads is told by its own attributes rather than by kinds of modules, so that what modules do
inside of functions (`MultiheadAttention`'s projections) counts as well.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from vdnnsim.captured.agenda import block_name
from vdnnsim.captured.checks import why_it_cannot_go, why_it_stays
from vdnnsim.captured.step import CapturedStep, SavedTensor
from vdnnsim.errors import InvalidInput

CONV, GEMM, ATTENTION = "CONV", "GEMM", "ATTENTION"
_NODE = re.compile(r"_*(\w+?)Backward\d*$")
_GEMMS = frozenset({"Addmm", "Mm", "Bmm", "Baddbmm", "Addbmm", "Linear", "Addmv", "Mv"})
_RESULTS = frozenset({"result", "output", "out", "logsumexp", "softmax_logsumexp", "log_sumexp", "attn_bias"})
_LEAST_HELD = 4
"""Layers hold a fourth of the bytes that may leave, or more."""
_FEWEST_LIKE_IT = 3
"""So many modules side by side, of one name with numbers, are layers: encoder_layer_0, encoder_layer_1, ..."""


def kind_of(saved: SavedTensor) -> str:
    """CONV, GEMM or ATTENTION where such a node saves it as something that it reads; else ""."""
    found = _NODE.match(saved.node)
    if found is None or saved.attribute in _RESULTS:
        return ""
    name = found[1]
    if "onvolution" in name or name.startswith("Conv"):
        return CONV
    if name in _GEMMS:
        return GEMM
    return ATTENTION if "ttention" in name and saved.attribute in ("query", "key", "value") else ""


def may_leave(step: CapturedStep) -> tuple[int, ...]:
    """The blocks that may leave, in the order of their first save; found once."""
    if "may leave" not in step.made:
        step.made["may leave"] = tuple(number for number in step.stages.saves if not why_it_stays(step, number))
    found: tuple[int, ...] = step.made["may leave"]
    return found


def can_go(step: CapturedStep) -> tuple[int, ...]:
    """The same, with those that leave only where they are asked for: small ones and autocast's copies of weights."""
    return tuple(number for number in step.stages.saves if not why_it_cannot_go(step, number))


def read_by(step: CapturedStep, kinds: Collection[str]) -> frozenset[int]:
    """The blocks that may leave and that nodes of these kinds read."""
    read = {saved.block for saved in step.saved if kind_of(saved) in kinds}
    return frozenset(read.intersection(may_leave(step)))


def numbers_of(step: CapturedStep, names: Iterable[str]) -> list[int]:
    """The blocks that have these names. Raises `InvalidInput` for a name that none has."""
    known = {block_name(number): number for number in range(len(step.blocks))}
    wanted = list(names)
    for name in wanted:
        if name not in known:
            raise InvalidInput(f"plan: found '{name}', expected a block of {step.header.name}: b0 to b{len(known) - 1}")
    return [known[name] for name in wanted]


def layers_of(step: CapturedStep) -> dict[str, tuple[int, ...]]:
    """The blocks that may leave by the layer that saves them first, in the order of saves: by `repeated_of`, or of a
    model that repeats nothing by module, and what has no module each by itself."""
    if found := repeated_of(step):
        return found
    first = _first_savers(step)
    modules = {first[number] for number in may_leave(step)}
    return _by_layer(step, {module: module for module in modules}, alone=len(modules) == 1)


def repeated_of(step: CapturedStep) -> dict[str, tuple[int, ...]]:
    """The blocks that may leave by the layer that saves them first; none where a model repeats no layers.

    Layers are what a model repeats: modules that go by numbers among their like (`blocks.3`, `layer1.0`,
    `encoder_layer_3`), the outermost of them, if two or more hold a quarter of all bytes that may leave: the numbers of
    a small head or embedding are not the layers of a model. What is saved outside of them is in none.
    """
    names = _layers_of_modules([*_first_savers(step).values(), *(saved.module for saved in step.saved)])
    found = _by_layer(step, names)
    held = sum(step.blocks[number].size_bytes for numbers in found.values() for number in numbers)
    whole = sum(step.blocks[number].size_bytes for number in may_leave(step))
    return found if len(found) > 1 and held * _LEAST_HELD >= whole else {}


def _first_savers(step: CapturedStep) -> dict[int, str]:
    """The module in which each block is saved first."""
    first: dict[int, str] = {}
    for saved in step.saved:
        first.setdefault(saved.block, saved.module)
    return first


def _by_layer(step: CapturedStep, names: Mapping[str, str], alone: bool = False) -> dict[str, tuple[int, ...]]:
    """The blocks that may leave by the names of the modules that save them first; where they are `alone`, also those
    without, each by itself."""
    first = _first_savers(step)
    found: dict[str, list[int]] = {}
    for number in may_leave(step):
        if name := names[first[number]] or (f"b{number}" if alone else ""):
            found.setdefault(name, []).append(number)
    return {name: tuple(numbers) for name, numbers in found.items()}


def spread(count: int, share: float) -> list[int]:
    """The places of this share of so many things, spread evenly, the first among them."""
    return [place for place in range(count) if _rounded_up((place + 1) * share) > _rounded_up(place * share)]


def _rounded_up(value: float) -> int:
    return -int(-value // 1) if value % 1 > 1e-9 else int(value + 0.5)


def _layers_of_modules(modules: Iterable[str]) -> dict[str, str]:
    """Of each module the layer that it is in; "" where it is in none."""
    paths = {module: tuple(module.split(".")) for module in modules}
    beside: dict[tuple[str, ...], set[str]] = {}
    for path in paths.values():
        for depth, part in enumerate(path):
            beside.setdefault(path[:depth], set()).add(part)
    return {module: ".".join(_layer(path, beside)) for module, path in paths.items()}


def _layer(path: tuple[str, ...], beside: dict[tuple[str, ...], set[str]]) -> tuple[str, ...]:
    for depth, part in enumerate(path):
        if part.isdigit():
            return path[: depth + 1]
        stem = part.rstrip("0123456789")
        like = [other for other in beside[path[:depth]] if other != stem and other.rstrip("0123456789") == stem]
        if part != stem and len(like) >= _FEWEST_LIKE_IT:
            within = path[depth + 1 : depth + 2]
            return path[: depth + 2] if within and within[0].isdigit() else path[: depth + 1]
    return ()
