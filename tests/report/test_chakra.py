"""Chakra execution traces: what waits for what, and bytes as Protocol Buffers have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.commands import in_process
from vdnnsim import CannotWrite, Comparison
from vdnnsim.report.chakra import COMP, MEM_LOAD, MEM_STORE, ChakraNode, chakra_nodes, write_chakra
from vdnnsim.report.chakra import _node as encoded

KINDS = {"copy out": MEM_STORE, "copy in": MEM_LOAD}


def test_a_node_is_written_as_chakras_own_classes_write_it() -> None:
    """The bytes of protoc's `Node(id=3, ...)`; 1500 ns are 2 us."""
    node = ChakraNode(3, "copy out map:x", MEM_STORE, (1, 300), 7001, 1500, 1, 4096)
    assert encoded(node).hex() == (
        "0803120e636f7079206f7574206d61703a7818032a0301ac0230073802"
        "520e0a0969735f6370755f6f70d80100"
        "520a0a0673747265616d4801"
        "52100a0b6475726174696f6e5f6e7348dc0b"
        "520d0a0873746172745f6e7348d936"
        "52100a0b74656e736f725f73697a65688020"
    )


def test_every_piece_of_work_is_a_node_behind_what_it_waits_for(every: Comparison) -> None:
    for run in every.runs:
        nodes = list(chakra_nodes(run))
        assert [node.number for node in nodes] == list(range(len(nodes)))
        for node in nodes:
            assert all(other < node.number for other in node.behind)
            ends_ns = [nodes[other].begin_ns + nodes[other].duration_ns for other in node.behind]
            assert node.begin_ns >= max(ends_ns, default=0)
        kernels = [node for node in nodes if node.kind == COMP]
        assert [node.begin_ns for node in kernels] == [kernel.begin_ns for kernel in run.timeline.kernels]
        copies = {(KINDS[copy.direction], copy.size_bytes, copy.begin_ns) for copy in run.timeline.copies}
        assert {(node.kind, node.size_bytes, node.begin_ns) for node in nodes if node.kind != COMP} == copies


def test_a_copy_in_waits_for_its_copy_out(roomy: Comparison) -> None:
    """Through others, where the host waited in between."""
    nodes = list(chakra_nodes(next(run for run in roomy.runs if run.timeline.copies)))
    before: dict[int, set[int]] = {}
    for node in nodes:
        before[node.number] = {*node.behind, *(far for other in node.behind for far in before[other])}
    outs = {node.name.removeprefix("copy out "): node.number for node in nodes if node.kind == MEM_STORE}
    loads = [node for node in nodes if node.kind == MEM_LOAD]
    assert loads
    assert all(outs[node.name.removeprefix("copy in ")] in before[node.number] for node in loads)


def test_the_file_is_written_whole_or_not_at_all(roomy: Comparison, tmp_path: Path) -> None:
    write_chakra(roomy.runs[0], roomy, tmp_path / "run.0.et")
    assert (tmp_path / "run.0.et").read_bytes()[2:9] == b"\x0a\x050.0.4"
    with pytest.raises(CannotWrite):
        write_chakra(roomy.runs[0], roomy, tmp_path / "none" / "run.et")
    done = in_process(
        ["run", "alexnet", "--batch", "128", "--gpu", "titan-x-maxwell", "--policy", "oracle", "--chakra", "x"]
    )
    assert (done.code, done.err) == (2, "vdnnsim: --chakra: found 'x', expected a name ending in .et\n")
