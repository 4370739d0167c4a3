"""A small trace as the text of its two files, with every kind of row and provenance."""

from __future__ import annotations

from support.cases import conv, fc, layer, network_of
from vdnnsim.network import Kind

NETWORK = network_of(conv("a"), layer(Kind.ACTV, "relu"), fc("fc"), layer(Kind.SOFTMAX, "loss"))
TABLE = """\
layer,pass,algorithm,duration_ns,workspace_bytes,copy_out_slowdown,copy_in_slowdown,provenance,source
a,forward,IMPLICIT_GEMM,1000,0,1,1,measured,bench
a,forward,FFT,700,4096,1.17,1.1,measured,bench
a,backward_filter,IMPLICIT_GEMM,900,0,1,1,published,paper
relu,forward,default,10,0,1,1,modelled,rule
relu,backward,default,20,0,1,1,modelled,rule
fc,forward,default,30,0,1,1,modelled,rule
fc,backward,default,60,0,1,1,modelled,rule
loss,forward,default,5,0,1,1,modelled,rule
loss,backward,default,5,0,1,1,modelled,rule
"""
HEADER = """\
schema = 1
gpu = "test-gpu"
network = "small"
batch = 1
math = "fp32"

[sources]
bench = "Our bench"
paper = "A paper"
rule = "A rule"

[conditions]
date = "2026-11-22"
"""
