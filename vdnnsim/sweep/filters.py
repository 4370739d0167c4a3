"""Filters: which points of the product of all axes are wanted, as conditions over the axes' names.

    capacity >= "8 GB" and batch * 2 <= 256
    network == "vgg16" or policy in ["vdnn-dyn", "oracle"]

A condition is parsed as a Python expression, of which only comparisons, and, or, not, in, arithmetic, names of axes and
constants are known; nothing is ever executed. It is worked out for many points at once. Beside an axis with a unit
stands text with a unit, or something made from such an axis: never a bare number.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from vdnnsim.errors import InvalidValue
from vdnnsim.sweep.axes import AXES

Columns = Mapping[str, Any]
_LONGEST = 1000
_LARGEST_EXAMPLE = 99_999
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = MappingProxyType(
    {
        ast.Eq: operator.eq,
        ast.NotEq: operator.ne,
        ast.Lt: operator.lt,
        ast.LtE: operator.le,
        ast.Gt: operator.gt,
        ast.GtE: operator.ge,
    }
)
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = MappingProxyType(
    {
        ast.Add: operator.add,
        ast.Sub: operator.sub,
        ast.Mult: operator.mul,
        ast.Div: operator.truediv,
        ast.FloorDiv: operator.floordiv,
        ast.Mod: operator.mod,
    }
)


class Filter:
    """One condition. Raises `InvalidValue` of `what` for one that cannot be understood."""

    def __init__(self, text: str, axes: frozenset[str], what: str) -> None:
        self.text = text
        self._axes = axes
        self._what = what
        if len(text) > _LONGEST:
            raise InvalidValue(what, f"{len(text)} characters", f"at most {_LONGEST}")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise self._fault(f"'{text}'", "a condition such as: batch <= 128 and capacity > '4 GB'") from None
        names = {node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name)}
        if unknown := sorted(names - axes):
            raise self._fault(f"'{unknown[0]}'", f"names of this sweep's axes: {', '.join(sorted(axes))}")
        sample = {name: np.array([1] if AXES[name].numeric else [""]) for name in axes}
        self.keeps(sample)  # faults show before anything runs

    def keeps(self, columns: Columns) -> np.ndarray:
        """Which points to keep, from one array of values for each axis; a boolean array of the same length."""
        try:
            with np.errstate(all="ignore"):
                kept = self._value(self._tree, columns, None)
        except RecursionError:
            raise self._fault(f"'{self.text}'", "a condition of less depth") from None
        except (TypeError, np.exceptions.DTypePromotionError, ZeroDivisionError, OverflowError):
            raise self._fault(f"'{self.text}'", "numbers compared with numbers, names with names") from None
        if isinstance(kept, bool | np.bool_) or (isinstance(kept, np.ndarray) and kept.dtype == bool):
            size = len(next(iter(columns.values())))
            return np.broadcast_to(np.asarray(kept), (size,))
        raise self._fault(f"'{self.text}'", "a condition that is true or false for each point")

    def _fault(self, found: str, expected: str) -> InvalidValue:
        return InvalidValue(self._what, found, expected)

    def _value(self, node: ast.expr, columns: Columns, beside: str | None) -> Any:
        match node:
            case ast.Name():
                return columns[node.id]
            case ast.Constant(value=str() as text):
                return self._text(text, beside)
            case ast.Constant(value=bool() | int() | float()):
                return node.value
            case ast.BoolOp():
                parts = [self._condition(part, columns) for part in node.values]
                combine = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
                return combine.reduce(np.broadcast_arrays(*parts))
            case ast.UnaryOp(op=ast.Not()):
                return np.logical_not(self._condition(node.operand, columns))
            case ast.UnaryOp(op=ast.USub()):
                return -self._value(node.operand, columns, beside)
            case ast.BinOp() if type(node.op) in _ARITHMETIC:
                axis = None if isinstance(node.op, ast.Mult) else _axis_with_unit(node.left, node.right)
                if axis is not None and isinstance(node.op, ast.Add | ast.Sub | ast.Mod):
                    self._need_units(axis, node.left, node.right)
                left, right = (self._value(side, columns, axis) for side in (node.left, node.right))
                if any(isinstance(side, str) or np.asarray(side).dtype.kind not in "iuf" for side in (left, right)):
                    raise TypeError
                return _ARITHMETIC[type(node.op)](left, right)
            case ast.Compare():
                return self._compare(node, columns)
        raise self._fault(f"'{ast.unparse(node)}'", "comparisons, and, or, not, in, + - * / // %, names and constants")

    def _condition(self, node: ast.expr, columns: Columns) -> Any:
        value = np.asarray(self._value(node, columns, None))
        if value.dtype != bool:
            raise self._fault(f"'{ast.unparse(node)}'", "a comparison")
        return value

    def _compare(self, node: ast.Compare, columns: Columns) -> Any:
        sides = [node.left, *node.comparators]
        names = [side.id for side in sides if isinstance(side, ast.Name)]
        axis = _axis_with_unit(*sides)
        beside = axis or (names[0] if names else None)
        if axis is not None:
            for side in sides:
                self._need_units(axis, *(side.elts if isinstance(side, ast.List | ast.Tuple | ast.Set) else (side,)))
        kept: Any = np.True_
        for left, kind, right in zip(sides, node.ops, sides[1:], strict=False):
            value = self._value(left, columns, beside)
            if isinstance(kind, ast.In | ast.NotIn):
                if not isinstance(right, ast.List | ast.Tuple | ast.Set):
                    raise self._fault(f"'{ast.unparse(right)}'", "a list such as [64, 128] after 'in'")
                among = [self._equal(value, self._value(item, columns, beside)) for item in right.elts]
                found: Any = np.logical_or.reduce(among) if among else np.False_
                step = np.logical_not(found) if isinstance(kind, ast.NotIn) else found
            elif type(kind) in _COMPARISONS:
                other = self._value(right, columns, beside)
                self._comparable(value, other)
                step = _COMPARISONS[type(kind)](value, other)
            else:
                raise self._fault(f"'{ast.unparse(node)}'", "== != < <= > >= in, not in")
            kept = np.logical_and(kept, step)
        return kept

    def _need_units(self, axis: str, *sides: ast.expr) -> None:
        """What stands beside an axis with a unit has one too: whether 16 is bytes or gigabytes cannot be known."""
        for side in sides:
            if _is_text(side) or _axis_with_unit(side) is not None:
                continue
            example = AXES[axis].example
            match side:
                case ast.Constant(value=int() | float() as number) if 0 < number <= _LARGEST_EXAMPLE:
                    example = f"{number:g} {example.split()[1]}"
            raise self._fault(ast.unparse(side), f"text with a unit, as '{example}'")

    def _equal(self, left: Any, right: Any) -> Any:
        self._comparable(left, right)
        return np.asarray(left == right)

    def _comparable(self, left: Any, right: Any) -> None:
        """Text with text, numbers with numbers; numpy would answer 'all differ' for the rest."""
        if (np.asarray(left).dtype.kind in "US") != (np.asarray(right).dtype.kind in "US"):
            raise TypeError

    def _text(self, text: str, beside: str | None) -> str | int:
        """Text beside the name of an axis with a unit is a value of that axis."""
        if beside is None or not AXES[beside].numeric:
            return text
        return int(AXES[beside].parse(text, f"{self._what}, {beside}"))


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _axis_with_unit(*nodes: ast.expr) -> str | None:
    """The first axis whose unit the value of one of the nodes has; None for plain numbers, names and truth values."""
    for node in nodes:
        match node:
            case ast.Name(id=name) if AXES[name].example:
                return name
            case ast.UnaryOp(op=ast.USub()):
                found = _axis_with_unit(node.operand)
            case ast.BinOp(op=ast.Div() | ast.FloorDiv()) if _is_text(node.right) or _axis_with_unit(node.right):
                found = None  # a ratio
            case ast.BinOp(op=ast.Mult()) if _axis_with_unit(node.left) and _axis_with_unit(node.right):
                found = None
            case ast.BinOp():
                found = _axis_with_unit(node.left, node.right)
            case _:
                found = None
        if found:
            return found
    return None
