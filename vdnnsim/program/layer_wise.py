"""vDNN's program: each layer's memory when its turn comes, offload in forward, prefetch in backward.

Rules, from the paper's mechanism (MICRO 2016, the memory manager and its prefetch algorithm):

* Forward of a layer: allocate Y and the workspace, launch the kernel, and with it the copies out of the maps that leave
  and whose last reader this is. End of layer: wait for the compute stream, and for the memory stream if something was
  copied; then free what left and the workspace.
* Backward: fetch an X that is not back, alone; choose at most one layer to prefetch; launch filter gradient, then data
  gradient, each with a workspace of its own: the first is done and its workspace freed before the second gets one.
  End of layer: wait for both streams; free Y, dY, the weight gradient.
* Prefetch window: walk back from the layer before; the first one with an X on the host is taken; a CONV without one
  ends the walk. So there is at most one prefetch per layer, and none from further back than the closest CONV.
* The paper does not say what happens to a prefetch that finds no room. Here the plan may name layers whose backward
  prefetches nothing (`deferred`), so that the next layer's window finds the same map again.
* A map with several readers is offloaded by the last of them in forward (reference counts). In backward it is freed
  when no kernel to come reads it: CONV does not read its Y, an in-place ACTV behind it does, so that Y goes
  at the end of the ACTV's backward. A map that no backward kernel reads is freed after its last reader in forward.
* Weights stay; the classifier's maps are allocated before the iteration and stay.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from vdnnsim.network import FeatureMap, Kind, Layer, Network
from vdnnsim.policies.plan import Plan
from vdnnsim.program.buffers import Buffers, WeightGradients, gradient_slots
from vdnnsim.program.commands import (
    Allocate,
    Buffer,
    Command,
    CopyIn,
    CopyOut,
    Free,
    Kernel,
    Program,
    Step,
    Stream,
    Synchronise,
)
from vdnnsim.program.kernels import KernelOrder


class _Owned(NamedTuple):
    """A layer and its buffers: what no plan changes.

    `own` are its Y and what its forward saves; `inputs` its X, of which `may_leave` could be offloaded. `last_read` are
    the maps that no layer after it reads in forward, each with whether backward is done with it as well. `gradients`
    are those that its backward allocates; `done` is what nobody needs after its backward.
    """

    layer: Layer
    in_classifier: bool
    own: tuple[Buffer, ...]
    inputs: tuple[Buffer, ...]
    may_leave: tuple[Buffer, ...]
    last_read: tuple[tuple[Buffer, bool], ...]
    gradients: tuple[Buffer, ...]
    done: tuple[Buffer, ...]


class LayerWise:
    """The programs of one network with layer-wise layout."""

    def __init__(self, network: Network, weight_gradients: WeightGradients) -> None:
        self.network = network
        self.weight_gradients = weight_gradients
        self.buffers = Buffers(network)
        self.setup, self.operands = self._setup()
        self.resident = {buffer.name for buffer in self.setup} | self.operands.keys()
        self.last_read: dict[str, list[tuple[Buffer, bool]]] = defaultdict(list)
        self.last_used: dict[str, list[Buffer]] = defaultdict(list)
        self.first_written: dict[str, list[Buffer]] = defaultdict(list)
        for feature_map in network.maps.values():
            self._note_users(feature_map)
        self.layers = [self._owned(layer) for layer in network.layers]

    def build(self, plan: Plan) -> Program:
        """The program of a plan."""
        return _Iteration(self, plan).build()

    def _setup(self) -> tuple[tuple[Buffer, ...], dict[str, str]]:
        network, buffers = self.network, self.buffers
        setup = [*buffers.all_weights()]
        if self.weight_gradients is WeightGradients.RESIDENT:
            setup += buffers.all_weight_gradients()
        stays = [feature_map for feature_map in network.maps.values() if _static(feature_map)]
        setup += [buffers.feature_map(feature_map) for feature_map in stays]
        setup += [
            buffers.saved(layer) for layer in network.layers if layer.saved_bytes and network.in_classifier(layer.name)
        ]
        operands = {buffer.name: buffer.name for buffer in setup}
        classifier = [feature_map for feature_map in stays if feature_map.in_classifier]
        slots, gradients = gradient_slots(buffers, classifier, "classifier")
        return (*setup, *slots), operands | gradients

    def _note_users(self, feature_map: FeatureMap) -> None:
        buffer = self.buffers.feature_map(feature_map)
        if feature_map.readers:
            done = not (feature_map.backward_users or _static(feature_map))
            self.last_read[feature_map.readers[-1]].append((buffer, done))
        if feature_map.in_classifier:
            return
        if feature_map.backward_users:
            self.last_used[feature_map.backward_users[0]].append(buffer)
        gradient = self.buffers.gradient_map(feature_map)
        self.first_written[(feature_map.writers or feature_map.readers)[0]].append(gradient)

    def _owned(self, layer: Layer) -> _Owned:
        network, buffers = self.network, self.buffers
        in_classifier = network.in_classifier(layer.name)
        inputs = network.input_maps(layer)
        may_leave = [
            feature_map
            for feature_map in inputs
            if feature_map.backward_users and not network.in_classifier(feature_map.readers[-1])
        ]
        saved = [buffers.saved(layer)] if layer.saved_bytes else []
        kept = [] if in_classifier else saved
        own_gradient = (
            [buffers.weight_gradient(layer)]
            if layer.weight_gradients_bytes and self.weight_gradients is WeightGradients.PER_LAYER
            else []
        )
        gradients = [buffers.gradient_map(feature_map) for feature_map in inputs if buffers.has_gradient(feature_map)]
        return _Owned(
            layer,
            in_classifier,
            (buffers.feature_map(network.output_map(layer)), *saved),
            tuple(map(buffers.feature_map, inputs)),
            tuple(map(buffers.feature_map, may_leave)),
            tuple(self.last_read[layer.name]),
            (*gradients, *own_gradient),
            (*own_gradient, *self.last_used[layer.name], *self.first_written[layer.name], *kept),
        )


def _static(feature_map: FeatureMap) -> bool:
    """The input data lie on the device before the iteration begins; the classifier's maps never leave."""
    return feature_map.in_classifier or not feature_map.writers


class _Iteration:
    """One plan's program as it is written."""

    def __init__(self, layer_wise: LayerWise, plan: Plan) -> None:
        self.layers = layer_wise.layers
        self.setup = layer_wise.setup
        self.operands = dict(layer_wise.operands)
        self.resident = set(layer_wise.resident)
        self.plan = plan
        self.order = KernelOrder(layer_wise.network, plan, layer_wise.buffers.workspace)
        self.leaving = {
            buffer.name: buffer
            for owned in self.layers
            if owned.layer.name in plan.offload
            for buffer in owned.may_leave
        }
        self.on_host: set[str] = set()
        self.put_off: set[str] = set()
        self.commands: list[Command] = []

    def build(self) -> Program:
        steps = [self._step(index, backward=False) for index in range(len(self.layers))]
        steps += [self._step(index, backward=True) for index in reversed(range(len(self.layers)))]
        # In network order, not in that of the plan's set, so that every process gives the same program.
        return Program(self.setup, tuple(self.commands), tuple(steps), self.operands, tuple(self.leaving.values()))

    def _step(self, index: int, backward: bool) -> Step:
        first = len(self.commands)
        owned = self.layers[index]
        if backward:
            self._backward(owned, index)
        else:
            self._forward(owned)
        return Step(owned.layer.name, backward, owned.in_classifier, first, len(self.commands))

    def _forward(self, owned: _Owned) -> None:
        layer = owned.layer
        self._allocate(owned.own)
        kernels = self.order.forward(layer)
        for kernel in kernels:
            self._launch(kernel)
        leaving = [buffer for buffer, _ in owned.last_read if buffer.name in self.leaving]
        for buffer in leaving:
            self.commands.append(CopyOut(buffer, layer.name))
            self.on_host.add(buffer.name)
        if kernels or leaving:
            self._end_of_layer(Stream.COPY_OUT if leaving else None)
        self._free([buffer for buffer, done in owned.last_read if done or buffer.name in self.leaving])
        self.commands += [Free(kernel.workspace) for kernel in kernels if kernel.workspace]

    def _backward(self, owned: _Owned, index: int) -> None:
        layer = owned.layer
        missing = self._waiting(owned)
        if missing:
            self._copy_in(missing, layer, layer)
            self.commands.append(Synchronise((Stream.COPY_IN,)))
        wanting = self._prefetch_window(index)
        if wanting and layer.name in self.plan.deferred:
            self.put_off.update(buffer.name for buffer in self._waiting(wanting))
            wanting = None
        if wanting:
            self._copy_in(self._waiting(wanting), layer, wanting.layer)
        self._allocate(owned.gradients)
        last: Kernel | None = None
        for kernel in self.order.backward(layer):
            if last is not None and last.workspace:
                # A block in use is not free: the filter gradient has to be done before its workspace goes.
                self.commands.append(Synchronise((Stream.COMPUTE,)))
                self.commands.append(Free(last.workspace))
            self._launch(kernel)
            last = kernel
        if last or missing or wanting:
            self._end_of_layer(Stream.COPY_IN if wanting else None)
        if last is not None and last.workspace:
            self.commands.append(Free(last.workspace))
        self._free(owned.done)

    def _launch(self, kernel: Kernel) -> None:
        if kernel.workspace:
            self.commands.append(Allocate(kernel.workspace))
            self.operands[kernel.workspace.name] = kernel.workspace.name
        self.commands.append(kernel)

    def _prefetch_window(self, index: int) -> _Owned | None:
        """The layer whose X is to be prefetched during the backward of the one at this place."""
        if not self.on_host:
            return None
        for place in range(index - 1, -1, -1):
            candidate = self.layers[place]
            if self._waiting(candidate):
                return candidate
            if candidate.layer.kind == Kind.CONV:
                return None
        return None

    def _waiting(self, owned: _Owned) -> list[Buffer]:
        """The maps of the layer's X that are on the host."""
        return [buffer for buffer in owned.inputs if buffer.name in self.on_host]

    def _copy_in(self, buffers: Iterable[Buffer], layer: Layer, for_layer: Layer) -> None:
        for buffer in buffers:
            self._allocate([buffer])
            self.commands.append(CopyIn(buffer, layer.name, for_layer.name, buffer.name in self.put_off))
            self.on_host.discard(buffer.name)

    def _end_of_layer(self, copies: Stream | None) -> None:
        self.commands.append(Synchronise((Stream.COMPUTE, copies) if copies else (Stream.COMPUTE,)))

    def _allocate(self, buffers: Iterable[Buffer]) -> None:
        for buffer in buffers:
            if buffer.name not in self.resident:
                self.resident.add(buffer.name)
                self.operands[buffer.name] = buffer.name
                self.commands.append(Allocate(buffer))

    def _free(self, buffers: Iterable[Buffer]) -> None:
        for buffer in buffers:
            if buffer.name in self.resident:
                self.resident.discard(buffer.name)
                self.commands.append(Free(buffer))
