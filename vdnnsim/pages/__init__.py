"""One file that opens offline in any browser: the answer in words, tables, pictures, and runs to zoom into.

The names in `__all__` are public: with them, pages of other packages look like these.
"""

from vdnnsim.pages.parts import Bar, Bars, Column, Grid, Items, Page, Picture, Row, Section, Words
from vdnnsim.pages.writing import page_html, write_page

__all__ = [
    "Bar",
    "Bars",
    "Column",
    "Grid",
    "Items",
    "Page",
    "Picture",
    "Row",
    "Section",
    "Words",
    "page_html",
    "write_page",
]
