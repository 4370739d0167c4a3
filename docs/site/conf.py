"""How `make docs` builds the site: the documents where they lie, so that links are those of the repository, with what
the commands' help and the docstrings say put into two of them as they are read."""

import os
import sys
from importlib.metadata import version as version_of
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
os.environ["COLUMNS"] = "100"

from pygments.lexer import RegexLexer  # noqa: E402
from pygments.token import Generic  # noqa: E402
from reference import commands_text, reference_text  # noqa: E402 - it lies beside this file

project = "vdnnsim"
author = copyright = "The vdnnsim authors"
version = release = version_of("vdnnsim")
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/*.md",
    "experiments/README.md",
    "notebooks/*.ipynb",
]
extensions = ["myst_nb"]
myst_heading_anchors = 4
myst_enable_extensions = ["html_image"]
nb_execution_mode = "cache"  # beside the site: what did not change is not run again
nb_execution_in_temp = True
nb_execution_timeout = 300
nb_execution_excludepatterns = [] if find_spec("torch") else ["notebooks/5_*"]
html_theme = "furo"
html_title = f"vdnnsim {version}"
html_additional_pages = {"index": "redirect.html"}
html_static_path = ["static"]
html_css_files = ["wide.css"]
templates_path = ["templates"]
html_copy_source = html_show_sourcelink = False
highlight_language = "none"
nitpicky = True


class ConsoleLexer(RegexLexer):
    """Commands, each after "$ ", and what they print, which is no code."""

    name = "console"
    tokens = {"root": [(r"\$ .*\n", Generic.Strong), (r".*\n", Generic.Output)]}  # noqa: RUF012


PUT_IN = {
    "docs/commands": ("<!-- commands -->", commands_text),
    "docs/reference": ("<!-- reference -->", reference_text),
}


def put_in(_app, name, source):
    """What is made of the package itself, in place of its marker."""
    if name in PUT_IN:
        marker, text = PUT_IN[name]
        before, found, behind = source[0].partition(marker)
        assert found, f"{name}: no {marker}"
        source[0] = before + text() + behind


def setup(app):
    app.add_lexer("console", ConsoleLexer)
    app.connect("source-read", put_in)
