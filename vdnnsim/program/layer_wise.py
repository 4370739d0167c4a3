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


def build_layer_wise(network: Network, plan: Plan, weight_gradients: WeightGradients) -> Program:
    """The program of a plan with layer-wise layout."""
    return _LayerWise(network, plan, weight_gradients).build()


def offloaded_maps(network: Network, plan: Plan) -> dict[str, FeatureMap]:
    """The maps that leave: X of the plan's offloading layers, less what backward never reads and what the classifier
    reads last; in network order, so that every process gives the same program."""
    leaving = {}
    for layer in network.layers:
        if layer.name not in plan.offload:
            continue
        for feature_map in network.input_maps(layer):
            last_reader = feature_map.readers[-1]
            if feature_map.backward_users and not network.in_classifier(last_reader):
                leaving[feature_map.name] = feature_map
    return leaving


class _LayerWise:
    def __init__(self, network: Network, plan: Plan, weight_gradients: WeightGradients) -> None:
        self.network = network
        self.plan = plan
        self.weight_gradients = weight_gradients
        self.buffers = Buffers(network)
        self.order = KernelOrder(network, plan)
        self.leaving = offloaded_maps(network, plan)
        self.on_host: set[str] = set()
        self.put_off: set[str] = set()
        self.resident: set[str] = set()
        self.commands: list[Command] = []
        self.last_used_by: dict[str, list[FeatureMap]] = defaultdict(list)
        self.first_written_by: dict[str, list[FeatureMap]] = defaultdict(list)
        self.last_read_by: dict[str, list[FeatureMap]] = defaultdict(list)
        for feature_map in network.maps.values():
            if feature_map.readers:
                self.last_read_by[feature_map.readers[-1]].append(feature_map)
            if feature_map.backward_users:
                self.last_used_by[feature_map.backward_users[0]].append(feature_map)
            self.first_written_by[(feature_map.writers or feature_map.readers)[0]].append(feature_map)

    def build(self) -> Program:
        setup, operands = self._setup()
        steps = []
        for layer in self.network.layers:
            steps.append(self._step(layer, backward=False))
        for layer in reversed(self.network.layers):
            steps.append(self._step(layer, backward=True))
        operands.update(
            (command.buffer.name, command.buffer.name) for command in self.commands if isinstance(command, Allocate)
        )
        offloaded = tuple(self.buffers.feature_map(feature_map) for feature_map in self.leaving.values())
        return Program(setup, tuple(self.commands), tuple(steps), operands, offloaded)

    def _setup(self) -> tuple[tuple[Buffer, ...], dict[str, str]]:
        network, buffers = self.network, self.buffers
        setup = [*buffers.all_weights()]
        if self.weight_gradients is WeightGradients.RESIDENT:
            setup += buffers.all_weight_gradients()
        stays = [feature_map for feature_map in network.maps.values() if self._static(feature_map)]
        setup += [buffers.feature_map(feature_map) for feature_map in stays]
        setup += [
            buffers.saved(layer) for layer in network.layers if layer.saved_bytes and network.in_classifier(layer.name)
        ]
        self.resident.update(buffer.name for buffer in setup)
        operands = {buffer.name: buffer.name for buffer in setup}
        classifier = [feature_map for feature_map in stays if feature_map.in_classifier]
        slots, gradients = gradient_slots(buffers, classifier, "classifier")
        self.resident.update(gradients)
        return (*setup, *slots), operands | gradients

    def _static(self, feature_map: FeatureMap) -> bool:
        """The input data lie on the device before the iteration begins; the classifier's maps never leave."""
        return feature_map.in_classifier or not feature_map.writers

    def _step(self, layer: Layer, backward: bool) -> Step:
        first = len(self.commands)
        if backward:
            self._backward(layer)
        else:
            self._forward(layer)
        return Step(layer.name, backward, self.network.in_classifier(layer.name), first, len(self.commands))

    def _forward(self, layer: Layer) -> None:
        first = len(self.commands)
        self._allocate(self.buffers.feature_map(self.network.output_map(layer)))
        if layer.saved_bytes:
            self._allocate(self.buffers.saved(layer))
        workspaces = [self._launch(layer, kernel) for kernel in self.order.forward(layer)]
        done = self.last_read_by[layer.name]
        leaving = [feature_map for feature_map in done if feature_map.name in self.leaving]
        for feature_map in leaving:
            self.commands.append(CopyOut(self.buffers.feature_map(feature_map), layer.name))
            self.on_host.add(feature_map.name)
        self._end_of_layer(first, Stream.COPY_OUT if leaving else None)
        for feature_map in done:
            if feature_map in leaving or not (feature_map.backward_users or self._static(feature_map)):
                self._free(self.buffers.feature_map(feature_map))
        self._free_workspaces(workspaces)

    def _backward(self, layer: Layer) -> None:
        first = len(self.commands)
        inputs = self.network.input_maps(layer)
        missing = self._waiting(layer)
        if missing:
            self._copy_in(missing, layer, layer)
            self.commands.append(Synchronise((Stream.COPY_IN,)))
        wanting = self._prefetch_window(layer)
        if wanting and layer.name in self.plan.deferred:
            self.put_off.update(feature_map.name for feature_map in self._waiting(wanting))
            wanting = None
        if wanting:
            self._copy_in(self._waiting(wanting), layer, wanting)
        for feature_map in inputs:
            if self.buffers.has_gradient(feature_map):
                self._allocate(self.buffers.gradient_map(feature_map))
        weight_gradient = self.buffers.weight_gradient(layer)
        if layer.weight_gradients_bytes and self.weight_gradients is WeightGradients.PER_LAYER:
            self._allocate(weight_gradient)
        workspace = None
        for kernel in self.order.backward(layer):
            if workspace:
                # A block in use is not free: the filter gradient has to be done before its workspace goes.
                self.commands.append(Synchronise((Stream.COMPUTE,)))
                self._free_workspaces([workspace])
            workspace = self._launch(layer, kernel)
        self._end_of_layer(first, Stream.COPY_IN if wanting else None)
        self._free_workspaces([workspace])
        if self.weight_gradients is WeightGradients.PER_LAYER:
            self._free(weight_gradient)
        self._release(layer)

    def _launch(self, layer: Layer, kernel: Kernel) -> Buffer | None:
        size_bytes = self.plan.workspaces.get((layer.name, kernel.pass_), 0)
        workspace = self.buffers.workspace(layer, kernel.pass_, size_bytes) if size_bytes else None
        if workspace:
            self.commands.append(Allocate(workspace))
        self.commands.append(kernel._replace(workspace=workspace) if workspace else kernel)
        return workspace

    def _free_workspaces(self, workspaces: list[Buffer | None]) -> None:
        self.commands += [Free(workspace) for workspace in workspaces if workspace]

    def _prefetch_window(self, layer: Layer) -> Layer | None:
        for index in range(self.network.position[layer.name] - 1, -1, -1):
            candidate = self.network.layers[index]
            if self._waiting(candidate):
                return candidate
            if candidate.kind == Kind.CONV:
                return None
        return None

    def _waiting(self, layer: Layer) -> list[FeatureMap]:
        """The maps of the layer's X that are on the host."""
        return [feature_map for feature_map in self.network.input_maps(layer) if feature_map.name in self.on_host]

    def _copy_in(self, maps: list[FeatureMap], layer: Layer, for_layer: Layer) -> None:
        for feature_map in maps:
            buffer = self.buffers.feature_map(feature_map)
            self._allocate(buffer)
            self.commands.append(CopyIn(buffer, layer.name, for_layer.name, feature_map.name in self.put_off))
            self.on_host.discard(feature_map.name)

    def _end_of_layer(self, first: int, copies: Stream | None) -> None:
        launched = any(isinstance(command, Kernel | CopyOut | CopyIn) for command in self.commands[first:])
        if launched:
            streams = (Stream.COMPUTE, copies) if copies else (Stream.COMPUTE,)
            self.commands.append(Synchronise(streams))

    def _release(self, layer: Layer) -> None:
        """What no backward kernel to come reads: maps that this layer was the last to use, dY, what forward saved."""
        for feature_map in self.last_used_by[layer.name]:
            if not feature_map.in_classifier:
                self._free(self.buffers.feature_map(feature_map))
        for feature_map in self.first_written_by[layer.name]:
            if not feature_map.in_classifier:
                self._free(self.buffers.gradient_map(feature_map))
        if layer.saved_bytes and not self.network.in_classifier(layer.name):
            self._free(self.buffers.saved(layer))

    def _allocate(self, buffer: Buffer) -> None:
        if buffer.name not in self.resident:
            self.resident.add(buffer.name)
            self.commands.append(Allocate(buffer))

    def _free(self, buffer: Buffer) -> None:
        if buffer.name in self.resident:
            self.resident.discard(buffer.name)
            self.commands.append(Free(buffer))
