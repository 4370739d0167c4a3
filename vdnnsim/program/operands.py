"""What each kernel of a program reads and writes, in its operand names: the operators' words for CNNs' kernels."""

from __future__ import annotations

from typing import NamedTuple

from vdnnsim.network import Network, operator_of
from vdnnsim.program.commands import Kernel


class Operands(NamedTuple):
    """Operand names that a kernel reads, and that it writes; one that it adds to is in both."""

    reads: frozenset[str]
    writes: frozenset[str]


def operands_of(network: Network, kernel: Kernel) -> Operands:
    """The operands of one kernel of the network's program."""
    operator = operator_of(network, kernel.layer, kernel.pass_, kernel.accumulates, kernel.again)
    return Operands(frozenset(operator.reads), frozenset(operator.writes))
