"""Small logged programs."""

from __future__ import annotations

from hypothesis import strategies as st

from vdnnsim.replay.log import CONSTANT, Does, LoggedDeed, LoggedOperator, LoggedProgram


def program(*lines: str) -> LoggedProgram:
    """From lines such as "t1 = f(x) 10ns 100B", "v = f(t1) 1ns view", "x = 100B" for what is there
    before, "drop t1", "pin t1"."""
    numbers: dict[str, int] = {}
    operators: list[LoggedOperator] = []
    deeds: list[LoggedDeed] = []
    for line in lines:
        if "=" not in line:
            does, name = line.split()
            deeds.append(LoggedDeed(Does(does), numbers[name]))
            continue
        name, made = line.split(" = ")
        deeds.append(LoggedDeed(Does.RUN, len(operators)))
        if "(" in made:
            call, time, size = made.rsplit(" ", 2)
            function, _, reads = call.rstrip(")").partition("(")
            given = tuple(numbers[read] for read in reads.split(", ") if read)
            size_bytes, alias = (0, 0) if size == "view" else (int(size[:-1]), -1)
            operators.append(LoggedOperator(function, int(time[:-2]), given, (size_bytes,), (alias,)))
        else:
            operators.append(LoggedOperator(CONSTANT, 0, (), (int(made[:-1]),), (-1,)))
            deeds.append(LoggedDeed(Does.PIN, len(numbers)))
        numbers[name] = len(numbers)
    return LoggedProgram("small", "small.log", tuple(operators), tuple(deeds))


FORWARD_AND_BACK = program(
    "x = 100B",
    "t1 = f1(x) 10ns 100B",
    "t2 = f2(t1) 10ns 100B",
    "t3 = f3(t2) 20ns 100B",
    "drop t2",
    "g = b(t3, t1) 5ns 50B",
    "pin g",
)
"""250 bytes beside `x` at most; backward needs t1, which was used longest ago."""


@st.composite
def programs(draw: st.DrawFn) -> LoggedProgram:
    """Some operators that read what was made before, and drops of what is held."""
    lines = ["t0 = 8B"]
    held = ["t0"]
    for number in range(1, draw(st.integers(3, 14))):
        reads = draw(st.lists(st.sampled_from(held), min_size=1, max_size=3, unique=True))
        time_ns, size_bytes = draw(st.integers(1, 50)), draw(st.integers(1, 9))
        lines.append(f"t{number} = f({', '.join(reads)}) {time_ns}ns {size_bytes}B")
        held.append(f"t{number}")
        if len(held) > 4 and draw(st.booleans()):
            lines.append(f"drop {held.pop(draw(st.integers(1, len(held) - 1)))}")
    return program(*lines, *(f"pin {name}" for name in held[-2:]))
