"""Logs of `caffe time` become traces that commands take."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.commands import in_process
from vdnnsim import InvalidFile, read_trace
from vdnnsim.readers.caffe_time import read_caffe_log, trace_of

HEAD = """I1208 15:02:43.1 4711 net.cpp:42] Initializing net from parameters:
name: "Small"
layer {
  name: "first"
  type: "Convolution"
}
layer {
  name: "relu1"
  type: "ReLU"
}
I1208 15:02:43.2 4711 net.cpp:98] Top shape: 32 3 224 224 (4816896)
I1208 15:02:44.1 4711 caffe.cpp:273] Average time per layer:
"""
TIMES = """I1208 15:02:44.1 4711 caffe.cpp:276]      first\tforward: 1.25 ms.
I1208 15:02:44.1 4711 caffe.cpp:279]      first\tbackward: 3.000001 ms.
I1208 15:02:44.1 4711 caffe.cpp:276]      relu1\tforward: 0.5 ms.
I1208 15:02:44.1 4711 caffe.cpp:279]      relu1\tbackward: 0.6 ms.
"""
END = "I1208 15:02:44.1 4711 caffe.cpp:288] Average Forward-Backward: 5.4 ms.\n"


def written(text: str, tmp_path: Path) -> Path:
    path = tmp_path / "log.txt"
    path.write_text(text)
    return path


def test_times_become_rows(tmp_path: Path) -> None:
    trace = trace_of(read_caffe_log(written(HEAD + TIMES + END, tmp_path)))
    assert (trace.header.network, trace.header.batch) == ("Small", 32)
    rows = [(row.layer, row.pass_, row.algorithm, row.duration_ns, str(row.provenance)) for row in trace.rows]
    assert rows == [
        ("first", "forward", "IMPLICIT_GEMM", 1_250_000, "measured"),
        ("first", "backward_filter", "IMPLICIT_GEMM", 1_500_001, "modelled"),
        ("first", "backward_data", "IMPLICIT_GEMM", 1_500_000, "modelled"),
        ("relu1", "forward", "default", 500_000, "measured"),
        ("relu1", "backward", "default", 600_000, "measured"),
    ]


def test_import_writes_a_trace(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = in_process(["import", str(written(HEAD + TIMES + END, tmp_path)), "--out", str(out)])
    assert (done.code, done.err) == (0, "")
    assert f"--batch 32 --gpu PROFILE --trace {out}/trace.csv" in done.out
    assert len(read_trace(out / "trace.csv").rows) == 5


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEAD + END, "found no time of a layer"),
        (HEAD + TIMES, "it is cut short"),
        (HEAD + TIMES.replace("1.25", "1e99") + END, "found 1e99; expected milliseconds"),
    ],
)
def test_other_logs_are_refused(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidFile) as caught:
        read_caffe_log(written(text, tmp_path))
    assert told in str(caught.value)
