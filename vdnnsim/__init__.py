"""vdnnsim: trace-driven simulation of GPU memory virtualisation (vDNN)."""
