"""What specs may say, in which order points come, and what is said of specs that say something else."""

from __future__ import annotations

import numpy as np
import pytest

from vdnnsim.errors import InvalidFile, InvalidInput
from vdnnsim.policies import POLICIES
from vdnnsim.sweep.axes import AXES, OWN, expand
from vdnnsim.sweep.grid import Grid
from vdnnsim.sweep.spec import parse_spec
from vdnnsim.units import PPM

HEAD = 'schema = 1\n[axes]\nnetwork = "alexnet"\nbatch = 128\ngpu = "titan-x-maxwell"\n'


@pytest.mark.parametrize(
    ("axis", "entry", "values"),
    [
        ("batch", 64, (64,)),
        ("batch", [64, 32], (64, 32)),
        ("batch", {"from": 32, "to": 128, "step": 32}, (32, 64, 96, 128)),
        ("batch", {"from": 10, "to": 25, "step": 10}, (10, 20)),
        ("batch", {"from": 1, "to": 4, "count": 4}, (1, 2, 3, 4)),
        ("capacity", "4GB", (4 * 10**9,)),
        ("capacity", {"from": "1 GB", "to": "3 GB", "count": 3}, (10**9, 2 * 10**9, 3 * 10**9)),
        ("capacity", {"from": "1GiB", "to": "4GiB", "count": 3, "spacing": "log"}, (2**30, 2**31, 2**32)),
        ("link_bandwidth", {"from": "1 GB/s", "to": "100GB/s", "count": 3, "spacing": "log"}, (10**9, 10**10, 10**11)),
        ("link_latency", ["5us", "1.5 ms"], (5_000, 1_500_000)),
        ("compute_scale", [0.5, 2], (PPM // 2, 2 * PPM)),
        ("compute_scale", {"from": 1, "to": 2, "count": 3}, (PPM, PPM * 3 // 2, 2 * PPM)),
        ("policy", ["vdnn-dyn", "my.module:Policy"], ("vdnn-dyn", "my.module:Policy")),
    ],
)
def test_lists_and_ranges_become_values(axis: str, entry: object, values: tuple[int, ...]) -> None:
    assert expand(AXES[axis], entry, axis) == values


@pytest.mark.parametrize(
    ("axis", "entry", "words"),
    [
        ("batch", [], "an empty list"),
        ("batch", 0, "found 0, expected a whole number"),
        ("batch", "64", "expected a whole number"),
        ("batch", True, "expected a whole number"),
        ("batch", {"from": 8, "to": 4, "count": 2}, "found from 8 to 4, expected a range that rises"),
        ("batch", {"from": 1, "to": 4, "count": 9}, "at most one for each of the 4 whole numbers"),
        ("batch", {"from": 1, "to": 4}, "either count or step"),
        ("batch", {"from": 1, "to": 4, "count": 2, "step": 1}, "either count or step"),
        ("batch", {"from": 1, "to": 4, "count": 2, "steps": 1}, "found 'steps'"),
        ("batch", {"from": 1, "to": 10**9, "step": 1}, "expected at most 10000000"),
        ("batch", {"from": 1, "to": 4, "count": 2, "spacing": "cubic"}, "expected linear or log"),
        ("capacity", 12, "text with its unit"),
        ("capacity", "12", "found '12'"),
        ("capacity", "12 GB/s", "found '12 GB/s'"),
        ("link_bandwidth", "12 GB", "such as 16GB/s"),
        ("compute_scale", 0, "expected a factor from 0.001 to 1000"),
        ("compute_scale", float("nan"), "expected a factor"),
        ("network", {"from": "a", "to": "b", "count": 2}, "found a range"),
        ("network", 3, "expected a name"),
        ("math", "fp16", "expected one of: fp32, tf32"),
        ("pool", "buddy", "expected one of: best-fit"),
    ],
)
def test_values_that_cannot_be_are_named(axis: str, entry: object, words: str) -> None:
    with pytest.raises(InvalidInput) as error:
        expand(AXES[axis], entry, f"axes.{axis}")
    assert words in str(error.value)
    assert str(error.value).startswith(f"axes.{axis}")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (HEAD + "power = 3\n", 6, "axes.power: found an unknown axis; expected one of: network"),
        (HEAD + "link_bandwith = 3\n", 6, "expected 'link_bandwidth', or one of"),
        (HEAD + 'capacity = "12"\n', 6, "axes.capacity: found '12'"),
        (HEAD + 'capacity = ["1GB", "1GB"]\n', 6, "found 1000000000 twice"),
        ('schema = 1\n[axes]\nnetwork = "alexnet"\nbatch = 1\n', 2, "axes.gpu: found nothing"),
        (
            'zip = [["batch", "capacity"]]\n' + HEAD + 'capacity = ["1GB", "2GB"]\n',
            1,
            "batch with 1 values, capacity with 2",
        ),
        ('zip = [["batch"]]\n' + HEAD, 1, "expected two axes or more"),
        ('zip = [["batch", "bacth"]]\n' + HEAD, 1, "'bacth'"),
        ('zip = [["batch", "gpu"], ["gpu", "network"]]\n' + HEAD, 1, "'gpu' again"),
        ('filter = ["batch > 1"]\n' + HEAD, 1, "filter"),
        (
            HEAD + 'capacity = { from = "4 GB", to = "2 GB", count = 2 }\n',
            6,
            "axes.capacity: found from 4 GB to 2 GB; expected a range that rises: swap the two",
        ),
        ("[axes\n", 1, "TOML"),
        ('schema = 2\n[axes]\nnetwork = "a"\n', 1, "schema"),
        ('schema = "1"\n[axes]\nnetwork = "a"\n', 1, "schema"),
    ],
)
def test_faults_have_their_line(text: str, line: int, words: str) -> None:
    with pytest.raises(InvalidFile) as error:
        parse_spec(text, "my.toml")
    assert f"my.toml:{line}: " in str(error.value)
    assert words in str(error.value)


def test_a_spec_without_a_schema_is_told() -> None:
    """As every other file: else a later format could not be told from this one."""
    with pytest.raises(InvalidFile, match=r"my\.toml: schema: found nothing; expected this field"):
        parse_spec(HEAD.replace("schema = 1\n", ""), "my.toml")


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(InvalidFile) as error:
        parse_spec('schema = 1\n[axes]\nnetwork = 3\nbatch = "x"\ncapacity = 1\n', "my.toml")
    assert [fault.line for fault in error.value.faults] == [3, 4, 5, 2]


def test_the_last_axis_changes_fastest_whatever_the_order_in_the_file() -> None:
    body = {"capacity": '["1GB", "2GB"]', "batch": "[8, 4]", "compute_scale": "[1, 2, 3]"}
    orders = []
    for names in (list(body), list(reversed(body))):
        text = 'schema = 1\n[axes]\nnetwork = "alexnet"\ngpu = "g"\npolicy = "oracle"\n'
        spec = parse_spec(text + "".join(f"{name} = {body[name]}\n" for name in names))
        codes = Grid(spec).codes(0, 100)
        orders.append([tuple(spec.axes[name][codes[name][i]] for name in body) for i in range(12)])
    first, second = orders
    assert first == second
    assert first[:4] == [(10**9, 8, PPM), (10**9, 8, 2 * PPM), (10**9, 8, 3 * PPM), (2 * 10**9, 8, PPM)]
    assert first[6] == (10**9, 4, PPM)


def test_zipped_axes_vary_together() -> None:
    spec = parse_spec(
        'schema = 1\nzip = [["network", "batch"]]\n[axes]\n'
        'network = ["alexnet", "vgg16", "vgg16"]\nbatch = [128, 64, 256]\n'
        'gpu = "g"\npolicy = ["oracle", "vdnn-dyn"]\n'
    )
    grid = Grid(spec)
    size = grid.size()
    assert (size.points, size.studies) == (6, ((0, 0, 0, 0), (1, 1, 0, 0), (2, 2, 0, 0)))
    assert list(grid.codes(0, 6)["batch"]) == [0, 0, 1, 1, 2, 2]


def test_an_axis_left_out_is_the_gpus_own() -> None:
    spec = parse_spec(HEAD)
    assert [spec.axes[name] for name in ("capacity", "link_bandwidth", "link_latency", "compute_scale")] == [
        (OWN,),
        (OWN,),
        (OWN,),
        (PPM,),
    ]
    assert len(spec.axes["policy"]) == len(POLICIES)


def test_chunks_of_any_size_are_the_whole() -> None:
    spec = parse_spec(
        'filters = ["batch != 8 or compute_scale < 2.5"]\nschema = 1\n[axes]\nnetwork = "a"\ngpu = "g"\n'
        'policy = ["oracle", "vdnn-dyn"]\n'
        "batch = [8, 4, 2]\ncompute_scale = { from = 1, to = 4, count = 7 }\n"
    )
    grid = Grid(spec)
    whole = grid.codes(0, grid.raw_points)
    assert grid.size().points == len(whole["point"]) == 2 * (7 + 7 + 3)
    for length in (1, 5, 41, 100):
        parts = [grid.codes(*chunk) for chunk in grid.chunks(length)]
        for name in whole:
            assert list(np.concatenate([part[name] for part in parts])) == list(whole[name])


def test_a_billion_points_are_too_many() -> None:
    big = "{ from = 1, to = 2, count = 100000 }"
    text = HEAD + f'compute_scale = {big}\nlink_latency = {{ from = "1 us", to = "1 ms", count = 90000 }}\n'
    with pytest.raises(InvalidInput, match=f"{100_000 * 90_000 * len(POLICIES)} points in the product"):
        Grid(parse_spec(text))
