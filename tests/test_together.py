"""The same training on several GPUs of a host: results per GPU, of the slowest, and the all-reduce behind it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.cases import gpu_of
from support.commands import in_process
from support.two_convs import NETWORK, TRACE
from vdnnsim import InvalidInput, Study, compare_policies, compare_together
from vdnnsim.report.together import together_json
from vdnnsim.together import ring_ns
from vdnnsim.topology import SharedLink, Topology

STUDY = Study(NETWORK, TRACE, gpu_of(out_ns_per_100_bytes=100, in_ns_per_100_bytes=100))
LINKS = {
    "pair": SharedLink("pair", "switch", "memory", 10**9, 10**9, provenance="measured", source="a test"),
    "memory": SharedLink("memory", "memory"),
}
HOST = Topology("host", "A host", LINKS, ("pair", "pair", "memory"))


def test_each_gpu_has_its_own_results() -> None:
    """Copies of 100 ns alone take 200 in the pair; the third GPU shares nothing. b's backward waits for the second half
    of the copy, once, and a's for the input data."""
    found = compare_together(STUDY, 3, HOST, ["vdnn-all(p)", "baseline(p)"])
    alone = compare_policies(STUDY, ["vdnn-all(p)", "baseline(p)"])
    run = found["vdnn-all(p)"]
    assert run.alone == alone["vdnn-all(p)"]
    times_ns = [one.result.iteration_time_ns for one in run.gpus]
    assert times_ns[0] == times_ns[1] > times_ns[2] == run.alone.iteration_time_ns
    assert (run.slowest.gpu, run.fastest.gpu, run.step_ns) == (0, 2, times_ns[0])
    assert run.gpus[2].result == run.alone
    assert run.gpus[0].result.peak_bytes == run.alone.peak_bytes
    assert run.gpus[0].result.performance == alone["baseline(p)"].iteration_time_ns / times_ns[0]
    assert run.longer == times_ns[0] / times_ns[2] - 1
    assert [one.result for one in found["baseline(p)"].gpus] == [alone["baseline(p)"]] * 3
    with pytest.raises(KeyError, match="there are: vdnn-all"):
        found["oracle"]


def test_the_second_begins_half_an_iteration_later() -> None:
    found = compare_together(STUDY, 2, HOST, ["vdnn-all(p)"], start="staggered", all_reduce="5us")
    [run] = found.runs
    assert [one.start_ns for one in run.gpus] == [0, run.alone.iteration_time_ns // 2]
    assert run.step_ns == max(one.start_ns + one.result.iteration_time_ns for one in run.gpus) + 5000


def test_a_ring_sends_nearly_everything_twice() -> None:
    """1000 bytes on each of 4 GPUs: 1500 go out of each; a byte a nanosecond."""
    assert ring_ns(1000, 4, 10**9) == 1500
    assert ring_ns(1000, 1, 10**9) == 0
    found = compare_together(STUDY, 2, HOST, ["baseline(p)"], all_reduce="1GB/s")
    assert found["baseline(p)"].all_reduce_ns == NETWORK.weights_bytes


def test_rows_and_files_hold_every_gpu() -> None:
    found = compare_together(STUDY, 3, HOST, ["vdnn-all(p)"])
    frame = found.to_frame()
    assert list(frame["number"]) == [0, 1, 2]
    assert list(frame["slowest"]) == [True, False, False]
    document = json.loads(together_json(found))
    assert document["links"]["pair"]["out_bytes_per_s"] == 10**9
    assert document["results"][0]["iteration_time_ns"] == found["vdnn-all(p)"].slowest.result.iteration_time_ns
    text = str(found)
    assert "3 GPUs of host, started together" in " ".join(text.split())
    assert "A host (measured)" in text
    assert "GPU 0 GPU 1 GPU 2 policy pair pair memory vdnn-all(p)" in " ".join(text.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--gpus 9 --topology dgx-h100.toml", "gpus: found 9, expected from 1 to the 8 of topology dgx-h100"),
        ("--gpus 2", "--topology: found nothing, expected the host: 'vdnnsim list topologies' shows some"),
        ("--topology dgx-h100", "--gpus: found nothing, expected how many GPUs of it"),
        ("--gpus 2 --topology dgx", "unknown topology 'dgx'"),
        ("--gpus 2 --topology dgx-h100 --start late", "unknown start 'late'"),
        ("--gpus 2 --topology dgx-h100 --all-reduce 5", "all-reduce: found '5', expected a duration with its unit"),
        ("--gpus 2 --topology dgx-h100 --figure a.png", "--figure: found --gpus beside it, expected one GPU"),
        ("--all-reduce 5ms", "--all-reduce: found no --gpus"),
    ],
)
def test_what_cannot_be_is_one_line(words: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = in_process(["compare", "alexnet", "--batch", "128", "--gpu", "h100", *words.split()])
    assert done.code == 2
    assert message in done.err
    assert len(done.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_captured_step_has_no_bytes_for_a_ring() -> None:
    class OneWay:
        one_way = True

    study = Study(NETWORK, TRACE, STUDY.gpu)
    object.__setattr__(study, "workload", OneWay())
    with pytest.raises(InvalidInput, match="expected a time, such as 5ms"):
        compare_together(study, 2, HOST, all_reduce="1GB/s")
