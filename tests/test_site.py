"""The site's pages, checked without building it: each is in the index, and every link between documents leads to a
heading or a file that is there. `make docs` builds it and fails on any warning."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.documents import DOCUMENTS, ROOT

PAGES = [*DOCUMENTS, ROOT / "CHANGELOG.md", ROOT / "experiments" / "README.md"]
INDEX = ROOT / "docs" / "index.md"
_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(document: Path) -> set[str]:
    """What headings are called in links, on GitHub and in the site."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken(document: Path) -> list[str]:
    """The links of a document that lead nowhere."""
    text = _CODE.sub("", document.read_text(encoding="utf-8"))
    found = []
    for link in _LINK.findall(text):
        if link.startswith("http"):
            continue
        name, _, place = link.partition("#")
        target = document.parent / name if name else document
        if not target.exists() or (place and place not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_between_documents_leads_somewhere(document: Path) -> None:
    assert broken(document) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One: two\n[a](#one-two) [b](#one) [c](gone.md) [d](page.md) `[e](code.md)`\n", encoding="utf-8")
    assert broken(page) == ["#one", "gone.md"]


def test_every_page_and_notebook_is_in_the_index() -> None:
    blocks = re.findall(r"^```{toctree}\n(.*?)^```$", INDEX.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    named = {line for block in blocks for line in block.splitlines() if line and not line.startswith(":")}
    listed = {(INDEX.parent / name).resolve() for name in named}
    pages = {page.with_suffix("") for page in (*PAGES, *ROOT.glob("notebooks/*.ipynb"))}
    assert listed == pages - {INDEX.with_suffix("")}
