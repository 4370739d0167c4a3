"""From a page's parts to its file; the one place that imports jinja2, which escapes every text."""

from __future__ import annotations

import re
from base64 import b64encode
from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vdnnsim.figures import looks
from vdnnsim.files import write_text
from vdnnsim.pages.parts import Page, Picture

_PROGRAMS = ("reading.js", "scales.js", "painting.js", "drawing.js", "views.js", "layers.js", "tables.js")
"""The page's own program, in the order in which its parts need each other."""
_COLOURS = ("INK", "FAINT", "GRID", "LIMIT", "SHADE", "HATCH")


def write_page(page: Page, path: Path | str) -> None:
    """Write a page, whole or not at all. Raises `CannotWrite` where it cannot be written."""
    write_text(Path(path), page_html(page))


def page_html(page: Page) -> str:
    """The page as the text of an HTML file that needs no other; the same page gives the same bytes."""
    template = _environment().get_template("page.html")
    style = ":root { " + " ".join(f"--{name.lower()}: {getattr(looks, name)};" for name in _COLOURS) + " }\n"
    style += _text("page.css")
    program = "\n".join(_text(name) for name in _PROGRAMS)
    return template.render(page=page, style=Markup(style), program=Markup(program)) + "\n"  # both are the package's own


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("vdnnsim.pages", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_url"] = _data_url
    environment.filters["anchor"] = _anchor
    return environment


def _text(name: str) -> str:
    return files("vdnnsim.pages").joinpath("template", name).read_text(encoding="utf-8")


def _data_url(picture: Picture) -> str:
    return f"data:{picture.media_type};base64,{b64encode(picture.contents).decode()}"


def _anchor(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower()).strip("-")
