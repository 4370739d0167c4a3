"""Policies named with parameters: one grammar, one clear line for what is not in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdnnsim.errors import InvalidInput
from vdnnsim.policies import make_policy
from vdnnsim.policies.grammar import parameters_of, parts_of, split_names
from vdnnsim.policies.offload import Offload


@pytest.mark.parametrize(
    ("text", "policy", "name"),
    [
        ("offload", Offload(), "offload"),
        ("offload()", Offload(), "offload"),
        ("offload(which=all, ahead=4)", Offload(), "offload"),
        ("offload(which=half,ahead=8)", Offload("half", 8), "offload(which=half, ahead=8)"),
        ("offload( keep_last = 2 )", Offload(keep_last=2), "offload(keep_last=2)"),
        ("offload(which=0.3)", Offload("0.3"), "offload(which=0.3)"),
        ("offload(in_flight=256MiB)", Offload(in_flight_bytes=256 << 20), "offload(in_flight=256MiB)"),
        ("offload(in_flight=none)", Offload(in_flight_bytes=None), "offload(in_flight=none)"),
        ("offload(min_bytes=0, in_flight=0)", Offload("all", 4, 0, 0), "offload(in_flight=0, min_bytes=0)"),
        ("offload(min_bytes=1000B)", Offload(min_bytes=1000), "offload(min_bytes=1000B)"),
        ("offload(min_bytes=1000)", Offload(min_bytes=1000), "offload(min_bytes=1000B)"),
    ],
)
def test_parameters(text: str, policy: Offload, name: str) -> None:
    assert make_policy(text) == policy
    assert policy.name == name
    assert make_policy(name) == policy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("superneurons(cache=no)", "policy 'superneurons(cache=no)': found parameter 'cache', expected none, since "
         "it has no parameters"),
        ("offload(whic=half)", "policy 'offload(whic=half)': found parameter 'whic', expected 'which', or one of: "
         "which, ahead, in_flight, min_bytes, keep_last"),
        ("offload(which=third)", "policy 'offload(which=third)': which: found 'third', expected all, everything, gemm, "
         "half, quarter or a share of the layers such as 0.3"),
        ("offload(which=1.5)", "policy 'offload(which=1.5)': which: found '1.5', expected all, everything, gemm, "
         "half, quarter or a share of the layers such as 0.3"),
        ("offload(ahead=-1)", "policy 'offload(ahead=-1)': ahead: found '-1', expected a whole number, 0 or more"),
        ("offload(ahead)", "policy 'offload(ahead)': found 'ahead', expected a parameter and its value, as in ahead=8"),
        ("offload(ahead=2, ahead=3)", "policy 'offload(ahead=2, ahead=3)': found ahead twice, expected each parameter "
         "once"),
        ("offload(ahead=2", "policy 'offload(ahead=2': found no closing bracket, expected one at the end"),
        ("offload(min_bytes=5x)", "policy 'offload(min_bytes=5x)': min_bytes: found '5x', expected a size with its "
         "unit, such as 12GB or 12GiB"),
    ],
)  # fmt: skip
def test_what_there_is_not_is_told_in_one_line(text: str, message: str) -> None:
    with pytest.raises(InvalidInput) as error:
        make_policy(text)
    assert str(error.value) == message


def test_the_list_says_what_there_is_to_set() -> None:
    assert parameters_of(Offload) == "which=all, ahead=4, in_flight=1GiB, min_bytes=1MiB, keep_last=0"
    assert make_policy(f"offload({parameters_of(Offload)})") == Offload()


def test_a_variant_is_part_of_a_name() -> None:
    assert make_policy("vdnn-all(m)").name == "vdnn-all(m)"
    assert make_policy("vdnn-all").name == "vdnn-all"


def test_commas_in_brackets_do_not_part_names() -> None:
    text = "vdnn-all(m), offload(which=half, ahead=8),oracle"
    assert split_names(text, "--policies") == ["vdnn-all(m)", "offload(which=half, ahead=8)", "oracle"]


@pytest.mark.parametrize("text", ["a,,b", "", "a,", "offload(ahead=2", "a)b(", "offload(ahead=2))"])
def test_lists_that_are_none(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^--policies: found '.*', expected "):
        split_names(text, "--policies")


_WORD = st.text("abcxyz-_+", min_size=1, max_size=8)


@given(_WORD, st.dictionaries(_WORD, _WORD, max_size=4))
def test_a_call_is_read_as_it_was_written(name: str, parameters: dict[str, str]) -> None:
    inside = ", ".join(f"{key}={value}" for key, value in parameters.items())
    assert parts_of(f"{name}({inside})") == (name, parameters)
    assert split_names(f"{name}({inside}),{name}", "") == [f"{name}({inside})", name]
