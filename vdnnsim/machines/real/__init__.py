"""The real machine: the same programs on a GPU, and on the CPU. Here and in `calibration` alone PyTorch is imported."""
