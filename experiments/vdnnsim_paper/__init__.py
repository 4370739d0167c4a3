"""The paper's evaluation, figure by figure, and its stated numbers beside ours: a use of vdnnsim's public interface.

The names are imported when first used, so that the command line begins quickly.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vdnnsim_paper.command import Reproduction, reproduce
    from vdnnsim_paper.config import figure_names

__all__ = ["Reproduction", "figure_names", "reproduce"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'vdnnsim_paper' has no attribute '{name}'")
    from vdnnsim_paper import command

    return getattr(command, name)
