"""What PyTorch's profiler saw of a training step, read from its Chrome traces and put into the host's order. Knows no
PyTorch: for captures and for traces that others made."""
