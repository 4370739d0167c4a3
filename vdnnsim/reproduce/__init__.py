"""The paper's evaluation, figure by figure, and its stated numbers beside ours. It only calls the package."""

from vdnnsim.reproduce.command import Reproduction, reproduce
from vdnnsim.reproduce.config import figure_names

__all__ = ["Reproduction", "figure_names", "reproduce"]
