"""Processes that each hold something, such as a GPU, from call to call, and answer one call at a time, or all at once.

Where any of them ends, or does not come to an end, the others are stopped, and one line says which it was.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from enum import IntEnum
from multiprocessing.connection import Connection
from typing import Any, Protocol

from vdnnsim.errors import InvalidInput, VdnnsimError, first_line
from vdnnsim.processes import WorkerEnded, begin_worker, interrupts_put_off

_LONGEST_END_S = 10.0
"""How long a process may take to give back what it holds before it is ended."""


class MemberFailed(InvalidInput):
    """What a member of a crew could not do; ``args`` is (member, message)."""

    def __str__(self) -> str:
        return "{}: {}".format(*self.args)


class _Outcome(IntEnum):
    """What became of a call: an object that is not asked again ended with it."""

    DONE = 0
    FAILED = 1
    ENDED = 2


class Closing(Protocol):
    """An object that gives back what it holds."""

    def close(self) -> None:
        """Give everything back."""


Start = Callable[[Callable[[], Closing], str], tuple[Connection, Callable[[], int | None]]]
"""Starts what serves an object that the first argument makes, under a name; returns the end of the pipe to it, and what
ends it at last, at once if need be, with its exit code, None where it has none."""


class Crew:
    """Some processes, each with an object of its own that lives there from call to call, one call at a time. They end
    with the `with` block and with this process, however that ends; objects are closed where their process is whole."""

    def __init__(self, makes: Mapping[str, Callable[[], Closing]], start: Start | None = None) -> None:
        """The objects by name are made by these calls, each in its process."""
        self.names = tuple(makes)
        started = [(start or _start_process)(make, name) for name, make in makes.items()]
        self._pipes = [pipe for pipe, _ in started]
        self._ends = [end for _, end in started]

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, number: int, call: str, *arguments: object) -> Any:
        """What a method of one object returns. Raises `MemberFailed`, `WorkerEnded`."""
        return self.ask_each({number: arguments}, call)[number]

    def ask_all(self, call: str, *arguments: object) -> list[Any]:
        """What the same method of each object returns, all at work at once."""
        return list(self.ask_each(dict.fromkeys(range(len(self.names)), arguments), call).values())

    def ask_each(
        self, arguments: Mapping[int, tuple[object, ...]], call: str, patience_s: float | None = None
    ) -> dict[int, Any]:
        """What a method of some objects returns, by their numbers, all at work at once, each with arguments of its own.
        Once one has answered, the others have `patience_s` to do so.

        Raises `MemberFailed` when all are through, where one could not do it; `WorkerEnded` where a process has ended
        or is not waited for any longer: all of them are ended then."""
        for number, given in arguments.items():
            with suppress(BrokenPipeError):  # it is told below that it has ended
                self._pipes[number].send((call, given))
        answers: dict[int, tuple[_Outcome, Any]] = {}
        while len(answers) < len(arguments):
            waiting = {self._pipes[number]: number for number in arguments if number not in answers}
            ready = multiprocessing.connection.wait(list(waiting), patience_s if answers else None)
            if not ready:
                late, done = next(iter(waiting.values())), next(iter(answers))
                raise self._ended(f"{self.names[late]} is not through {patience_s:g} s after {self.names[done]}")
            for pipe in ready:
                number = waiting[pipe]  # type: ignore[index]
                try:
                    answers[number] = self._pipes[number].recv()
                except (EOFError, OSError):
                    code = self._ends[number]()
                    how = f"ended with code {code} (out of memory, or killed)" if code and code < 0 else "ended"
                    raise self._ended(f"{self.names[number]} {how} in '{call}'") from None
        for number, (outcome, answer) in sorted(answers.items(), key=lambda item: (-item[1][0], item[0])):
            if outcome is _Outcome.ENDED:
                raise self._ended(f"{self.names[number]}: {answer}")
            if outcome is _Outcome.FAILED:
                raise MemberFailed(self.names[number], answer)
        return {number: answers[number][1] for number in arguments}

    def close(self) -> None:
        """Let every object be closed, and end its process."""
        for pipe in self._pipes:
            with suppress(OSError, ValueError):
                pipe.send(None)
        for end in self._ends:
            end()
        for pipe in self._pipes:
            pipe.close()

    def _ended(self, why: str) -> WorkerEnded:
        others = len(self.names) - 1
        self.close()
        return WorkerEnded(f"{why}; the other{'s were' if others > 1 else ' was'} stopped" if others else why)


def serve(pipe: Connection, make: Callable[[], Closing]) -> None:
    """Make an object and do what is asked of it, until None is asked or nobody is there; then close it. What it raises
    on purpose is told; after anything else it is not asked again. What it cannot close ends with the process: a driver
    that has failed lets nothing be given back, and why it failed has been told."""
    with closing(pipe), suppress(EOFError, OSError):
        made = _answer(make, ())
        if made[0] is not _Outcome.DONE:  # whatever the first question is, why there is nobody to ask answers it
            if pipe.recv() is not None:
                pipe.send(made)
            return
        try:
            while (asked := pipe.recv()) is not None:
                call, arguments = asked
                answer = _answer(getattr(made[1], call), arguments)
                pipe.send(answer)
                if answer[0] is _Outcome.ENDED:
                    return
        finally:
            with suppress(Exception):
                made[1].close()


def _answer(call: Callable[..., Any], arguments: tuple[object, ...]) -> tuple[_Outcome, Any]:
    try:
        return _Outcome.DONE, call(*arguments)
    except VdnnsimError as error:
        return _Outcome.FAILED, str(error)
    except Exception as error:  # the device's, or ours: whatever it is, one line tells it
        return _Outcome.ENDED, f"{type(error).__name__}: {first_line(error)}"


def _start_process(make: Callable[[], Closing], name: str) -> tuple[Connection, Callable[[], int | None]]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_served, args=(theirs, make), name=name, daemon=True)
    with interrupts_put_off():
        process.start()
    theirs.close()

    def end() -> int | None:
        process.join(_LONGEST_END_S)
        for stop in (process.terminate, process.kill):
            if process.exitcode is None:
                stop()
                process.join(_LONGEST_END_S)
        return process.exitcode

    return ours, end


def _served(pipe: Connection, make: Callable[[], Closing]) -> None:
    begin_worker()
    serve(pipe, make)
