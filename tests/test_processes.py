"""Jobs over an executor: each once, no more given out than asked for, and a word when nothing comes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from vdnnsim.errors import InvalidInput
from vdnnsim.processes import Processes, Watch, finished


def test_every_job_comes_back_once_with_its_result() -> None:
    with ThreadPoolExecutor(2) as executor:
        assert sorted(finished(executor, abs, [-3, 1, -2], 2)) == [(-3, 3), (-2, 2), (1, 1)]
        assert list(finished(executor, abs, [], 2)) == []


def test_no_more_jobs_are_given_out_than_asked_for() -> None:
    given: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(9):
            given.append(number)
            yield number

    with ThreadPoolExecutor(1) as executor:
        results = finished(executor, abs, numbers(), 3)
        assert len(given) == 0
        next(results)
        assert len(given) == 3
        assert len(list(results)) == 8


def test_what_is_not_given_out_is_done_here_meanwhile() -> None:
    go = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        results = finished(executor, lambda job: go.wait(10) and -job, [1, 2, 3], 1, here=abs)
        assert [next(results), next(results)] == [(2, 2), (3, 3)]
        go.set()
        assert list(results) == [(1, -1)]


def test_what_a_job_raises_is_raised() -> None:
    with ThreadPoolExecutor(1) as executor, pytest.raises(ZeroDivisionError):
        list(finished(executor, lambda job: 1 // job, [0], 1))


def test_the_watch_is_asked_when_nothing_comes() -> None:
    go = threading.Event()

    def gone() -> None:
        go.set()
        raise InvalidInput("all are gone")

    with ThreadPoolExecutor(1) as executor, pytest.raises(InvalidInput, match="all are gone"):
        list(finished(executor, lambda _: go.wait(10), [1], 1, Watch(0.01, gone)))


def test_a_process_that_ends_is_told_and_not_waited_for() -> None:
    """Whatever else was given out, or is done here."""
    with pytest.raises(InvalidInput, match="in a script"), Processes(1) as executor:
        list(finished(executor, os._exit, [7] * 9, 4, here=abs))
