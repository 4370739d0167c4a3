"""How fast logged programs are replayed, beside simrd, DTR's own simulator, where it is found:

PYTHONPATH=dtr-prototype/simrd make bench      # of uwsampl/dtr-prototype; it needs attrs

The log is made here: a chain of 120 layers with skips, forward and back, in DTR's format.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vdnnsim.readers.dtr_log import read_dtr_log
from vdnnsim.replay import LIMIT, compare_replays

LAYERS = 120
HEURISTICS = {"dtr": "DTR", "local": "DTRLocal", "lru": "LRU"}
SHARES = (0.8, 0.6, 0.4)


def log_text() -> str:
    """Every layer reads the one before and, every third, the one three before; backward reads what forward made."""
    lines: list[dict[str, object]] = [{"INSTRUCTION": "ANNOTATE", "ANNOTATION": "START"}]

    def call(result: str, args: list[str], size_bytes: int, time_ns: int) -> None:
        lines.append({"INSTRUCTION": "CALL", "NAME": "f", "ARGS": args, "RESULT": [result], "TIME": str(time_ns)})
        lines.append({"INSTRUCTION": "MEMORY", "NAME": result, "MEMORY": str(size_bytes)})
        lines.append({"INSTRUCTION": "ALIAS", "NAME": result, "ALIAS": "-1"})

    for number in range(LAYERS + 1):
        name = "x0" if number == 0 else f"w{number}"
        lines.append({"INSTRUCTION": "CONSTANT", "NAME": name})
        lines.append({"INSTRUCTION": "MEMORY", "NAME": name, "MEMORY": "1000000"})
    for n in range(1, LAYERS + 1):
        skip = [f"x{n - 3}"] if n % 3 == 0 else []
        call(f"x{n}", [f"x{n - 1}", f"w{n}", *skip], 4_000_000 + 1000 * (n % 7), 100_000 + 7000 * (n % 5))
    call(f"g{LAYERS}", [f"x{LAYERS}"], 4_000_000, 50_000)
    for n in range(LAYERS, 0, -1):
        call(f"g{n - 1}", [f"g{n}", f"x{n - 1}", f"x{n}", f"w{n}"], 4_000_000, 200_000)
        lines.append({"INSTRUCTION": "RELEASE", "NAME": f"g{n}"})
        lines.append({"INSTRUCTION": "RELEASE", "NAME": f"x{n}"})
    return "\n".join(json.dumps(line) for line in lines)


def cpu_s(run: Callable[[], object]) -> float:
    """The CPU time of the quickest of three."""
    times = []
    for _ in range(3):
        begin_s = time.process_time()
        run()
        times.append(time.process_time() - begin_s)
    return min(times)


@pytest.mark.parametrize("heuristic", HEURISTICS)
@pytest.mark.parametrize("memory", ["bytes", "best-fit"])
def test_a_log_is_replayed_in_the_time_of_simrd(heuristic: str, memory: str, tmp_path: Path) -> None:
    path = tmp_path / "chain.log"
    path.write_text(log_text())
    log = read_dtr_log(path)
    our_s = cpu_s(lambda: compare_replays(log, [heuristic], [memory], SHARES))
    if importlib.util.find_spec("simrd") is None:
        print(f"\n{heuristic}, {memory}: {our_s:.3f} s of CPU; simrd is not there")
        assert our_s < 1.5
        return
    runtime, rules, parse = (importlib.import_module(f"simrd.{name}") for name in ("runtime", "heuristic", "parse"))
    graph = parse.parse_file(io.StringIO(log_text()))
    run, most_ns = graph.get_closure(), graph.meta["compute"] * (LIMIT - 1)

    def theirs() -> None:
        for share in SHARES:
            rule = getattr(rules, HEURISTICS[heuristic])()
            try:
                run(runtime.RuntimeV2EagerOptimized(int(log.peak_bytes * share), rule, remat_limit=most_ns))
            except (MemoryError, RuntimeError):
                continue

    their_s = cpu_s(theirs)
    print(f"\n{heuristic}, {memory}: {our_s:.3f} s of CPU; simrd, in bytes: {their_s:.3f} s")
    assert our_s < their_s
