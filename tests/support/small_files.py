"""A small network and a small GPU profile as the texts of their files."""

NETWORK_TOML = """\
schema = 1
name = "tiny"
input = [3, 8, 8]

[[layer]]
name = "c1"
kind = "CONV"
channels = 4
kernel = 3
padding = [1, 1]

[[layer]]
name = "r1"
kind = "ACTV"

[[layer]]
name = "p1"
kind = "POOL"
kernel = [2, 2]
stride = 2
mode = "average"

[[layer]]
name = "n1"
kind = "LRN"
size = 3
input = "p1"

[[layer]]
name = "c2"
kind = "CONV"
channels = 4
kernel = 1
groups = 2
bias = false
input = "p1"

[[layer]]
name = "j1"
kind = "ADD"
inputs = ["n1", "c2"]

[[layer]]
name = "f1"
kind = "FC"
channels = 10

[[layer]]
name = "d1"
kind = "DROPOUT"
rate = 0.25

[[layer]]
name = "loss"
kind = "SOFTMAX"
"""

PROFILE_TOML = """\
schema = 1
name = "tiny-gpu"
title = "A tiny GPU"

[memory]
capacity = "2 GiB"
bandwidth = "100 GB/s"
provenance = "measured"
source = "made up"

[link.copy_out]
points = [
  { size = "1 KB", duration = "10 us" },
  { size = "10 MB", duration = "1.01 ms" },
]
provenance = "published"
source = "made up"

[link.copy_in]
points = [ { size = "1 KB", duration = "10 us" }, { size = "10 MB", duration = "2.01 ms" } ]
provenance = "published"
source = "made up"

[link.both_ways]
copy_out_slowdown = 1.25
copy_in_slowdown = 1
provenance = "modelled"
source = "made up"

[host]
kernel_ns = 5000
copy_ns = 4000
synchronise_ns = 3000
allocate_ns = 200
free_ns = 100
provenance = "modelled"
source = "made up"

[power]
idle_w = 15.0
compute_w = 250
copy_w = 10.5
provenance = "modelled"
source = "made up"

[conditions]
date = "2026-11-22"
"""
