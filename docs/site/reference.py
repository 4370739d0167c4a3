"""The commands' help and the public names' docstrings as Markdown, which is what docstrings here are written in."""

import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

import vdnnsim


def commands_text() -> str:
    """Every command, with its groups' own."""
    import typer

    from vdnnsim.cli.app import app

    return "\n".join(_command(typer.main.get_command(app), "vdnnsim"))


def _command(command: Any, path: str) -> Iterator[str]:
    context = _context(command, path)
    inner = getattr(command, "commands", {})
    depth = len(path.split())
    if depth > 1:
        yield f"{'#' * depth} {path}\n"
        yield f"```text\n{command.get_help(context).rstrip()}\n```\n"
    for name in inner:
        yield from _command(inner[name], f"{path} {name}")


def _context(command: Any, path: str) -> Any:
    return command.context_class(command, info_name=path, terminal_width=100, max_content_width=100)


def reference_text() -> str:
    """Every public name."""
    return "\n".join(line for name in sorted(vdnnsim.__all__, key=str.lower) for line in _name(name))


def _name(name: str) -> Iterator[str]:
    thing = getattr(vdnnsim, name)
    kind = "class" if inspect.isclass(thing) else "function" if callable(thing) else "constant"
    yield f"## {name}\n"
    yield f"```python\n{_signature(name, thing, kind)}\n```\n"
    yield _doc(thing) + "\n" if kind != "constant" else f"`{thing!r}`\n"
    if kind == "class":
        yield from _members(thing)


def _members(kind: type) -> Iterator[str]:
    for name, member in vars(kind).items():
        if name.startswith("_"):
            continue
        inner = member.fget if isinstance(member, property) else getattr(member, "func", member)
        inner = inner.__func__ if isinstance(inner, classmethod | staticmethod) else inner
        if inspect.isfunction(inner) and inner.__doc__:
            own = [one for one in _parameters(inspect.signature(inner)) if one not in ("self", "cls")]
            sign = "" if isinstance(member, property) or hasattr(member, "func") else f"({', '.join(own)})"
            text = textwrap.indent(_doc(inner), "  ").lstrip()
            yield f"* **`{name}{sign}`**: {text}"
    yield ""


def _signature(name: str, thing: Any, kind: str) -> str:
    if kind == "constant":
        return name
    try:
        sign = inspect.signature(thing)
    except (TypeError, ValueError):
        return name
    parameters = _parameters(sign)
    result = "" if sign.return_annotation is sign.empty or kind == "class" else f" -> {sign.return_annotation}"
    text = f"{name}({', '.join(parameters)}){result}"
    return text if len(text) <= 100 else "\n".join([f"{name}(", *(f"    {one}," for one in parameters), f"){result}"])


def _parameters(sign: inspect.Signature) -> list[str]:
    """As they are written: annotations are texts."""
    told: list[str] = []
    for one in sign.parameters.values():
        if one.kind is one.KEYWORD_ONLY and "*" not in told:
            told.append("*")
        stars = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
        typed = "" if one.annotation is one.empty else f": {one.annotation}"
        default = "" if one.default is one.empty else f" = {one.default!r}"
        told.append(f"{stars}{one.name}{typed}{default}")
    return told


def _doc(thing: Any) -> str:
    return inspect.cleandoc(thing.__doc__ or "")
