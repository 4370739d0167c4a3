"""The options of a machine in place of a GPU's own, declared once for every command that simulates one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from functools import wraps
from typing import Any

from vdnnsim.cli import options
from vdnnsim.garbage import collect_seldom

Machine = dict[str, Any]
"""What the options say, by the names under which functions take it: `changes.MachineOptions`, and `capacity`,
`link_bandwidth` and `pool`."""


def _declared(
    *,
    capacity: options.Capacity = None,
    link_bandwidth: options.LinkBandwidth = None,
    link_bandwidth_out: options.LinkBandwidthOut = None,
    link_bandwidth_in: options.LinkBandwidthIn = None,
    link_latency: options.LinkLatency = None,
    numa: options.Numa = "local",
    compute_scale: options.ComputeScale = 1,
    host_scale: options.HostScale = 1,
    pinned_budget: options.PinnedBudget = None,
    pool: options.Pool = None,
) -> None: ...


OPTIONS = inspect.signature(_declared, eval_str=True).parameters


def on_machine(command: Callable[..., None], without: Collection[str] = ()) -> Callable[..., None]:
    """The command with these options, but for some, in the place of its parameter `machine`, a `Machine`."""
    taken = {name: option for name, option in OPTIONS.items() if name not in without}
    signature = inspect.signature(command, eval_str=True)
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.name == "machine":
            parameters += taken.values()
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @wraps(command)
    def called(**asked: Any) -> None:
        collect_seldom()
        machine = {name: asked.pop(name) for name in taken}
        command(machine=machine, **asked)

    called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return called
