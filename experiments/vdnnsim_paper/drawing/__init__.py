"""The drawings of the paper's figures from their bars; matplotlib is imported here and in `vdnnsim.figures`."""

from vdnnsim_paper.drawing.page import draw_figure

__all__ = ["draw_figure"]
