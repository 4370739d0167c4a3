"""Objects in processes of their own: what they hold stays, what one cannot do is told with its name, and where one ends
the others are stopped."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import pytest

from support.crews import Counter, thread_crew
from vdnnsim.crew import Crew, MemberFailed
from vdnnsim.errors import InvalidInput
from vdnnsim.processes import WorkerEnded


@pytest.fixture
def crew() -> Iterator[Crew]:
    with thread_crew({"one": Counter, "two": Counter}) as crew:
        yield crew


def test_each_keeps_what_it_holds(crew: Crew) -> None:
    assert crew.ask(0, "count", 2) == 2
    assert crew.ask_all("count", 1) == [3, 1]
    assert crew.ask_each({1: (5,)}, "count") == {1: 6}


def test_what_one_cannot_do_is_told_and_all_go_on(crew: Crew) -> None:
    with pytest.raises(MemberFailed) as failed:
        crew.ask(1, "refuse", "no room")
    assert str(failed.value) == "two: no room"
    assert crew.ask_all("count", 1) == [1, 1]


def test_an_unexpected_error_is_one_line_and_ends_all(crew: Crew) -> None:
    with pytest.raises(WorkerEnded) as ended:
        crew.ask(0, "stumble")
    assert str(ended.value) == "one: ZeroDivisionError: by zero; the other was stopped"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (InvalidInput("nothing there"), "two: nothing there"),
        (RuntimeError("no driver\nmore"), "two: RuntimeError: no driver; the other was stopped"),
    ],
)
def test_what_cannot_be_made_is_told_when_it_is_asked_first(error: Exception, told: str) -> None:
    def nothing() -> Counter:
        raise error

    with thread_crew({"one": Counter, "two": nothing}) as crew, pytest.raises(InvalidInput) as failed:
        crew.ask_all("count", 1)
    assert str(failed.value) == told


def test_what_cannot_be_closed_ends_without_a_word() -> None:
    """As a GPU whose driver has failed. An error in a thread that nobody caught would fail this test."""

    class Stuck(Counter):
        def close(self) -> None:
            raise RuntimeError("unspecified launch failure")

    with thread_crew({"one": Stuck, "two": Counter}) as crew, pytest.raises(WorkerEnded, match="one: ZeroDivision"):
        crew.ask(0, "stumble")


def test_one_that_does_not_come_to_an_end_is_not_waited_for(crew: Crew) -> None:
    with pytest.raises(WorkerEnded) as ended:
        crew.ask_each({0: (0.0,), 1: (0.3,)}, "sleep", patience_s=0.05)
    assert str(ended.value) == "two is not through 0.05 s after one; the other was stopped"


def test_one_that_was_killed_is_told_so() -> None:
    def killed(*_: object) -> tuple[Connection, Callable[[], int]]:
        ours, theirs = multiprocessing.Pipe()
        theirs.close()
        return ours, lambda: -9

    with Crew({"one": Counter, "two": Counter, "three": Counter}, killed) as crew, pytest.raises(WorkerEnded) as ended:
        crew.ask(1, "count", 1)
    assert str(ended.value) == "two ended with code -9 (out of memory, or killed) in 'count'; the others were stopped"


def test_a_process_that_ends_stops_the_other() -> None:
    before = set(multiprocessing.active_children())
    with Crew({"one": Counter, "two": Counter}) as crew:
        assert crew.ask_all("count", 1) == [1, 1]
        with pytest.raises(WorkerEnded) as ended:
            crew.ask(1, "end")
        assert str(ended.value) == "two ended in 'end'; the other was stopped"
        assert set(multiprocessing.active_children()) == before
