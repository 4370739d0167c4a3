"""Record the golden results anew: `python tests/golden/update.py`. Prints what changes.

For changes that are meant to change results, and only then; the commit says why they changed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    from support import golden_digests
    from support.golden import FILE, all_results, changes, recorded

    after = all_results()
    print("\n".join(changes(recorded() if FILE.exists() else {}, after)) or "nothing changed")
    FILE.write_text(json.dumps(after, indent=1) + "\n", encoding="utf-8")
    digests = golden_digests.all_digests()
    before = golden_digests.recorded() if golden_digests.FILE.exists() else {}
    for trace, by_policy in digests.items():
        changed = [name for name, digest in by_policy.items() if before.get(trace, {}).get(name) != digest]
        if changed:
            print(f"{trace}: {', '.join(changed)} run otherwise, somewhere")
    golden_digests.FILE.write_text(json.dumps(digests, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
