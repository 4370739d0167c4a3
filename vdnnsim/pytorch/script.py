"""Scripts of users: `my_train.py:make`, a function that makes a step, a model and an optimiser."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

import torch

from vdnnsim.errors import InvalidInput, UnknownName, first_line
from vdnnsim.pytorch.user_step import Optimizers, Step, check_training

Value = int | float | str


class Training(NamedTuple):
    """What a script makes."""

    step: Step
    model: torch.nn.Module
    optimizer: Optimizers


class Script:
    """The function that is named. Raises `InvalidInput` where there is no such file, or running it fails; `UnknownName`
    where it has no such function."""

    def __init__(self, named: str) -> None:
        file, colon, function = named.rpartition(":")
        if not colon or not file or not function:
            raise InvalidInput(
                f"{named}: found no function's name, expected FILE.py:FUNCTION, such as my_train.py:make"
            )
        self.named, self.name = named, Path(file).stem
        module = _module(Path(file))
        self._function: Callable[..., Any] = getattr(module, function, _no_function)
        if self._function is _no_function or not callable(self._function):
            functions = [name for name, one in vars(module).items() if inspect.isfunction(one)]
            raise UnknownName(f"function of {file}", function, functions)
        try:
            self._parameters = inspect.signature(self._function).parameters
        except (TypeError, ValueError):  # not written in Python
            self._parameters = MappingProxyType({})

    @property
    def defaults(self) -> dict[str, Value]:
        """The arguments that have a number or a text as default, and it."""
        return {name: one.default for name, one in self._parameters.items() if type(one.default) in (int, float, str)}

    def takes(self, argument: str) -> bool:
        """Whether the function has an argument of this name."""
        return any(one.name == argument or one.kind is one.VAR_KEYWORD for one in self._parameters.values())

    def check_takes(self, argument: str) -> None:
        """Raise `InvalidInput` for an argument that the function does not have."""
        if not self.takes(argument):
            raise UnknownName(f"argument of {self.named}", argument, self._parameters)

    def make(self, setting: Mapping[str, Value], device: str | None) -> Training:
        """Call it. `device` is passed on where it has an argument of that name. Raises `InvalidInput` where it fails or
        returns something else."""
        arguments = dict(setting)
        if device is not None and self.takes("device"):
            arguments["device"] = device
        try:
            made = self._function(**arguments)
        except (Exception, SystemExit) as error:
            said = f"{type(error).__name__}: {first_line(error)}"
            failure = InvalidInput(f"{self.named}: {_called(arguments)} raised {said}")
            raise failure from None
        return _training(made, f"{self.named}: {_called(arguments)}")


def _no_function() -> None:
    """Stands for a function that is not there."""


def _called(arguments: Mapping[str, Value]) -> str:
    return f"the call ({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"


def _training(made: object, what: str) -> Training:
    if not isinstance(made, tuple) or len(made) != len(Training._fields):
        found = f"{len(made)} things" if isinstance(made, tuple) else f"a {type(made).__name__}"
        raise InvalidInput(f"{what} returned {found}, expected three: step, model, optimizer")
    step, model, optimizer = made
    check_training(step, model, optimizer, f"{what} returned")
    return Training(step, model, optimizer)


def _module(path: Path) -> ModuleType:
    """The script, run once; it finds what lies beside it, as when Python runs it."""
    if not path.is_file():
        raise InvalidInput(f"{path}: found no such file, expected a Python script")
    file = str(path.resolve())
    name = path.stem
    for name in (path.stem, f"{path.stem} of {file}"):  # the first may be some other module's
        known = sys.modules.get(name)
        if known is None:
            break
        if getattr(known, "__file__", None) == file:
            return known
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise InvalidInput(f"{path}: found no Python script, expected a name ending in .py")
    module = importlib.util.module_from_spec(spec)
    if (folder := str(path.resolve().parent)) not in sys.path:
        sys.path.insert(0, folder)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # one that reads its arguments as it is imported ends so
        del sys.modules[name]
        said = f"{type(error).__name__}: {first_line(error)}"
        raise InvalidInput(f"{path}: running it raised {said}") from None
    return module
