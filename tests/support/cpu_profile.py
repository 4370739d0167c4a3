"""A GPU's profile that stands for the CPU, as its text."""

PROFILE = """
schema = 1
name = "cpu"
title = "cpu"
[memory]
capacity = "1 GB"
bandwidth = "100 GB/s"
provenance = "modelled"
source = "a test"
[link.copy_out]
points = [{ size = "4 KiB", duration = "1 us" }, { size = "1 MiB", duration = "100 us" }]
provenance = "modelled"
source = "a test"
[link.copy_in]
points = [{ size = "4 KiB", duration = "1 us" }, { size = "1 MiB", duration = "100 us" }]
provenance = "modelled"
source = "a test"
[link.both_ways]
copy_out_slowdown = 1.0
copy_in_slowdown = 1.0
provenance = "modelled"
source = "a test"
[host]
kernel_ns = 1000
copy_ns = 1000
synchronise_ns = 1000
allocate_ns = 0
free_ns = 0
provenance = "modelled"
source = "a test"
"""
