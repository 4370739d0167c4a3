"""Captured training steps: what one is, its folder on disk, and how it becomes operators, tensors and programs."""
