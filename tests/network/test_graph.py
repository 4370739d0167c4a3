"""The graph: order, which layers share a map, who reads and needs it; and what cannot be a network."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.cases import conv, fc, join, layer, network_of, pool
from support.examples import tries
from support.strategies import networks
from vdnnsim.errors import InvalidInput
from vdnnsim.network import DATA, Kind, LayerFault, LayerSpec, Network, View, build_network

LOSS = layer(Kind.SOFTMAX, "loss")


def test_a_map_is_shared_by_the_layers_that_work_in_place() -> None:
    network = network_of(conv("a"), layer(Kind.ACTV, "relu"), layer(Kind.DROPOUT, "drop"), conv("b"), LOSS)
    assert network.in_place == {"relu", "drop"}
    own = network.maps["a"]
    assert own.writers == ("a", "relu", "drop")
    assert own.readers == ("b",)
    assert own.backward_users == ("relu", "b")  # relu reads Y, b reads X; a reads neither
    assert own.size_bytes == 100
    assert list(network.maps) == [DATA, "a", "b", "loss"]


def test_a_layer_works_in_place_only_where_nobody_else_reads() -> None:
    """relu would write over what b reads; the input data are nobody's to write over."""
    network = network_of(
        layer(Kind.ACTV, "first"),
        conv("a"),
        layer(Kind.ACTV, "relu"),
        conv("b", "a"),
        join(Kind.ADD, "sum", "relu", "b"),
        LOSS,
    )
    assert network.in_place == frozenset()
    assert network.maps["a"].readers == ("relu", "b")
    assert network.maps[DATA].readers == ("first",)


@pytest.mark.parametrize(
    ("before", "in_place"),
    [
        (conv("x"), True),
        (layer(Kind.BN, "x"), True),
        (layer(Kind.LRN, "x"), False),  # its backward reads Y, which DROPOUT scales
        (LayerSpec("x", Kind.POOL, ("",), kernel=(1, 1)), False),
        (LayerSpec("x", Kind.POOL, ("",), kernel=(1, 1), average=True), True),
    ],
)
def test_dropout_leaves_alone_what_the_layer_before_reads_in_backward(before: LayerSpec, in_place: bool) -> None:
    network = network_of(conv("a"), before, layer(Kind.DROPOUT, "drop"), LOSS)
    assert ("drop" in network.in_place) == in_place
    over_relu = network_of(conv("a"), before, layer(Kind.ACTV, "relu"), layer(Kind.DROPOUT, "drop"), LOSS)
    assert "relu" in over_relu.in_place
    assert ("drop" in over_relu.in_place) == in_place


def test_concat_inputs_are_slices_of_its_map() -> None:
    network = network_of(
        conv("a"),
        conv("b", "a", channels=2),
        layer(Kind.ACTV, "relu"),
        conv("c", "a", channels=3),
        join(Kind.CONCAT, "cat", "relu", "c"),
        conv("d", "cat"),
        LOSS,
    )
    assert {name: network.views[name] for name in ("b", "relu", "c", "cat")} == {
        "b": View("cat", 0, 2),
        "relu": View("cat", 0, 2),
        "c": View("cat", 2, 3),
        "cat": View("cat", 0, 5),
    }
    assert network.maps["cat"].writers == ("b", "relu", "c", "cat")
    assert network.maps["cat"].readers == ("d",)
    assert network.input_maps(network.by_name["cat"]) == ()
    assert network.input_maps(network.by_name["d"]) == (network.maps["cat"],)


def test_concats_within_each_other_share_one_map() -> None:
    network = network_of(
        conv("a"),
        conv("b", "a"),
        conv("c", "a", channels=2),
        join(Kind.CONCAT, "inner", "b", "c"),
        conv("d", "a", channels=4),
        join(Kind.CONCAT, "outer", "d", "inner"),
        LOSS,
    )
    assert {name: network.views[name] for name in ("d", "b", "c", "inner", "outer")} == {
        "d": View("outer", 0, 4),
        "b": View("outer", 4, 1),
        "c": View("outer", 5, 2),
        "inner": View("outer", 4, 3),
        "outer": View("outer", 0, 7),
    }
    assert list(network.maps) == [DATA, "a", "outer", "loss"]


def test_a_concat_whose_input_somebody_else_reads_owns_a_map() -> None:
    network = network_of(conv("a"), conv("b", "a"), join(Kind.CONCAT, "cat", "a", "b"), LOSS)
    assert network.views["a"] == View("a", 0, 1)
    assert [entry.name for entry in network.input_maps(network.by_name["cat"])] == ["a", "b"]


def test_the_classifier_begins_with_the_first_fc_or_the_loss() -> None:
    network = network_of(conv("a"), fc("f"), layer(Kind.ACTV, "relu"), LOSS)
    assert [network.in_classifier(name) for name in ("a", "f", "relu", "loss")] == [False, True, True, True]
    assert not network.maps["a"].in_classifier
    assert network.maps["f"].in_classifier
    assert network_of(conv("a"), LOSS).classifier_start == 1


def test_layers_may_come_in_any_order() -> None:
    specs = [
        LayerSpec("loss", Kind.SOFTMAX, ("sum",)),
        LayerSpec("sum", Kind.ADD, ("b", "c")),
        LayerSpec("c", Kind.CONV, ("a",), 1, (1, 1)),
        LayerSpec("b", Kind.CONV, ("a",), 1, (1, 1)),
        LayerSpec("a", Kind.CONV, (DATA,), 1, (1, 1)),
    ]
    network = build_network("n", (1, 1, 5, 5), specs)
    assert [entry.name for entry in network.layers] == ["a", "c", "b", "sum", "loss"]


def test_a_long_network_in_reverse_is_ordered_quickly() -> None:
    """Thirty thousand layers, each listed before what it reads: one pass over the list for each would take hours."""
    count = 30_000
    specs = [LayerSpec(f"l{index}", Kind.ACTV, (f"l{index - 1}" if index else DATA,)) for index in range(count)]
    specs.append(LayerSpec("loss", Kind.SOFTMAX, (f"l{count - 1}",)))
    network = build_network("long", (1, 1, 1, 1), reversed(specs))
    assert network.layers[0].name == "l0"
    assert len(network.layers) == count + 1


FAULTS: list[tuple[list[LayerSpec], tuple[int, int], str]] = [
    ([], (1, 5), "network: found no layers, expected one or more"),
    ([conv("a"), conv("a"), LOSS], (1, 5), "layer 'a': name: found 'a' twice; expected a name of its own"),
    ([conv(DATA), LOSS], (1, 5), "layer 'data': name: found 'data' twice"),
    ([conv("a", "b"), LOSS], (1, 5), "layer 'a': inputs: found 'b'; expected 'data' or the name of a layer"),
    ([conv("a", "a"), LOSS], (1, 5), "found a cycle a <- a; expected a graph without cycles"),
    ([conv("a", "c"), conv("b", "a"), conv("c", "b"), LOSS], (1, 5), "found a cycle a <- c <- b <- a"),
    ([conv("x", "a"), conv("a", "b"), conv("b", "a"), LOSS], (1, 5), "found a cycle a <- b <- a"),
    ([conv("a")], (1, 5), "layer 'a': kind: found CONV; expected SOFTMAX, the loss, as the last layer"),
    ([conv("a"), LOSS, conv("b", "a")], (1, 5), "layer 'b': kind: found CONV; expected SOFTMAX"),
    ([conv("a"), layer(Kind.SOFTMAX, "s"), LOSS], (1, 5), "layer 's': kind: found SOFTMAX; expected SOFTMAX only as"),
    (
        [conv("a"), conv("b", "a"), conv("c", "a"), LOSS],
        (1, 5),
        "layer 'b': inputs: found an output that no layer reads",
    ),
    (
        [conv("a", kernel=6), LOSS],
        (1, 5),
        "layer 'a': kernel: found 6 (stride 1, padding 0); expected a window that fits",
    ),
    ([pool("a", kernel=6), LOSS], (1, 5), "expected a window that fits a side of 5"),
    ([conv("a", channels=0), LOSS], (1, 5), "layer 'a': channels: found 0; expected 1 or more output channels"),
    ([fc("a", channels=-1), LOSS], (1, 5), "layer 'a': channels: found -1; expected 1 or more outputs"),
    ([LayerSpec("a", Kind.CONV, ("",), 4, (1, 1), groups=2), LOSS], (3, 5), "groups: found 2; expected a divisor of 3"),
    ([LayerSpec("a", Kind.CONV, ("",), 4, (1, 1), groups=0), LOSS], (3, 5), "groups: found 0; expected a divisor of 3"),
    ([LayerSpec("a", Kind.CONV, ("",), 4, (1, 1), (0, 1)), LOSS], (3, 5), "kernel: found 1 (stride 0"),
    (
        [LayerSpec("a", Kind.POOL, ("",), 0, (2, 2), padding=(2, 2)), LOSS],
        (1, 5),
        "padding: found (2, 2); expected less",
    ),
    ([LayerSpec("a", Kind.LRN, ("",), size=4), LOSS], (1, 5), "size: found 4; expected an odd number"),
    ([LayerSpec("a", Kind.DROPOUT, ("",), rate=1.0), LOSS], (1, 5), "rate: found 1.0; expected at least 0 and below 1"),
    ([LayerSpec("a", Kind.DROPOUT, ("",), rate=float("nan")), LOSS], (1, 5), "rate: found nan"),
    (
        [conv("a"), conv("b", "a", channels=2), join(Kind.ADD, "s", "a", "b"), LOSS],
        (1, 5),
        "layer 's': inputs: found shapes [(1, 1, 5, 5), (1, 2, 5, 5)]; expected equal shapes",
    ),
    (
        [conv("a"), conv("b", "a", kernel=3), join(Kind.CONCAT, "s", "a", "b"), LOSS],
        (1, 5),
        "layer 's': inputs: found shapes [(1, 1, 5, 5), (1, 1, 3, 3)]; expected equal height and width",
    ),
    ([conv("a"), join(Kind.ADD, "s", "a"), LOSS], (1, 5), "layer 's': inputs: found 1 inputs; expected two or more"),
    ([LayerSpec("a", Kind.CONV, ("data", "data"), 1), LOSS], (1, 5), "found 2 inputs; expected one input for CONV"),
    ([LayerSpec("a", Kind.CONV, (), 1), LOSS], (1, 5), "found 0 inputs; expected one input for CONV"),
]


@pytest.mark.parametrize(("specs", "input_size", "message"), FAULTS, ids=range(len(FAULTS)))
def test_what_cannot_be_a_network(specs: list[LayerSpec], input_size: tuple[int, int], message: str) -> None:
    channels, side = input_size
    with pytest.raises(InvalidInput) as caught:
        network_of(*specs, channels=channels, side=side)
    assert message in str(caught.value)
    if isinstance(caught.value, LayerFault):
        assert str(LayerFault(*caught.value.args)) == str(caught.value)


def test_a_long_cycle_is_told_in_a_short_line() -> None:
    specs = [LayerSpec(f"l{index}", Kind.ACTV, (f"l{(index + 1) % 50_000}",)) for index in range(50_000)]
    with pytest.raises(LayerFault) as caught:
        build_network("round", (1, 1, 1, 1), specs)
    assert str(caught.value).startswith("layer 'l0': inputs: found a cycle l0 <- l1 <- l2")
    assert len(str(caught.value)) < 200


@settings(max_examples=tries(80))
@given(networks())
def test_maps_and_views_fit_together(network: Network) -> None:
    for entry in network.layers:
        view = network.views[entry.name]
        owner = network.maps[view.map_name]
        batch, channels, height, width = owner.shape
        assert entry.output_shape == (batch, view.channels, height, width)
        assert 0 <= view.channel_offset <= channels - view.channels
        assert entry.name in owner.writers
        for source in network.input_maps(entry):
            assert entry.name in source.readers
    for entry in network.maps.values():
        if entry.name == DATA:
            assert entry.writers == ()
        positions = [network.position[name] for name in (*entry.writers, *entry.readers)]
        assert positions == sorted(positions)
        assert max((network.position[name] for name in entry.writers), default=-1) < min(
            (network.position[name] for name in entry.readers), default=len(network.layers)
        )
        # Those that bring something new, not in place and not a mere view, tile the map's channels.
        first = [name for name in entry.writers if network.input_maps(network.by_name[name])]
        end = 0
        for offset, channels in sorted(network.views[name][1:] for name in first):
            assert offset == end
            end += channels
        assert end == (entry.shape[1] if first else 0)


@settings(max_examples=tries(40))
@given(networks(), st.randoms(use_true_random=False))
def test_the_order_in_a_file_does_not_matter_to_the_maps(network: Network, random: object) -> None:
    """The same layers shuffled make the same maps with the same writers, readers and users as sets."""
    specs = [_spec_of(entry) for entry in network.layers]
    random.shuffle(specs)  # type: ignore[attr-defined]
    again = build_network(network.name, network.input_shape, specs)
    assert {entry.name for entry in again.layers} == {entry.name for entry in network.layers}
    for entry in again.layers:
        assert all(name == DATA or again.position[name] < again.position[entry.name] for name in entry.inputs)
        assert entry == network.by_name[entry.name]
    assert again.views == network.views
    assert {name: _unordered(entry) for name, entry in again.maps.items()} == {
        name: _unordered(entry) for name, entry in network.maps.items()
    }


def _spec_of(entry: object) -> LayerSpec:
    names = LayerSpec.__dataclass_fields__.keys() - {"channels"}
    fields = {name: getattr(entry, name) for name in names}
    return LayerSpec(**fields, channels=entry.output_shape[1])  # type: ignore[attr-defined]


def _unordered(entry: object) -> tuple[object, ...]:
    return (entry.shape, *(frozenset(getattr(entry, name)) for name in ("writers", "readers", "backward_users")))  # type: ignore[attr-defined]


def test_networks_travel_between_processes() -> None:
    network = network_of(conv("a"), layer(Kind.ACTV, "relu"), fc("f"), LOSS)
    assert network.position["f"] == 2  # something cached besides
    again = pickle.loads(pickle.dumps(network))
    assert again == network
    assert again.by_name == network.by_name
