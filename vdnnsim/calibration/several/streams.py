"""The two directions of copies by name."""

OUT, IN = "out", "in"
