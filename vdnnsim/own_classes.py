"""Classes of a user's own, named as `module:Class` from the current folder or PYTHONPATH."""

from __future__ import annotations

import importlib

from vdnnsim.errors import InvalidInput, did_you_mean


def class_of(what: str, reference: str) -> type:
    """The class that "module:Class" names; `what` is what is asked for by it. Raises `InvalidInput` for a module or a
    class that there is not, or that cannot be imported."""
    module_name, _, class_name = reference.partition(":")
    what = f"{what} '{reference}'"
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise InvalidInput(f"{what}: {error}; put the module on PYTHONPATH or into the current folder") from None
    except Exception as error:  # whatever a user's module may do, or a name that no module can have
        raise InvalidInput(f"{what}: cannot be imported: {type(error).__name__}: {error}") from error
    kind = getattr(module, class_name, None)
    if not isinstance(kind, type):
        own = {name: value for name, value in vars(module).items() if isinstance(value, type) and name[0] != "_"}
        classes = [name for name, value in own.items() if value.__module__ == module.__name__]
        near = did_you_mean(class_name, classes)
        has = ", ".join(classes) or "none"
        raise InvalidInput(f"{what}: {module_name} has no class '{class_name}'{near} it has: {has}")
    return kind
