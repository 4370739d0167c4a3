"""Tables in documents, between `<!-- NAME -->` and `<!-- end -->`: what an experiment found is written there."""

import re
import sys
from pathlib import Path


def write_table(document: Path, name: str, table: str) -> None:
    """Put the table between the marks of this name in place of what stands there; the program ends where they are not
    once in the document."""
    text = document.read_text(encoding="utf-8")
    marks = rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)"
    replaced, places = re.subn(marks, lambda found: f"{found[1]}{table}{found[2]}", text, flags=re.DOTALL)
    if places != 1:
        sys.exit(f"{document}: found {places} places marked '<!-- {name} -->' to '<!-- end -->', expected one")
    document.write_text(replaced, encoding="utf-8", newline="\n")
