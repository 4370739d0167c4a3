"""Events on a GPU: the host and streams wait for one piece of work, and programs made of such waits compute the right
thing with freed bytes overwritten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("needs an NVIDIA GPU", allow_module_level=True)

from support.waits import by_events, by_pieces, ending_in_a_wait  # noqa: E402
from vdnnsim.calibration.kernels import plan_of_first_choices  # noqa: E402
from vdnnsim.calibration.reference import reference_gradients, worst_error  # noqa: E402
from vdnnsim.calibration.training import make_training  # noqa: E402
from vdnnsim.machines.real.checked import LAGS  # noqa: E402
from vdnnsim.machines.real.cuda import CudaDevice  # noqa: E402
from vdnnsim.machines.real.machine import RealMachine  # noqa: E402
from vdnnsim.machines.real.operators_cudnn import CudnnOperators  # noqa: E402
from vdnnsim.memory import make_pool  # noqa: E402
from vdnnsim.network import load_network  # noqa: E402
from vdnnsim.policies.plan import Layout  # noqa: E402
from vdnnsim.program import GPU_STREAMS, Program, build_program  # noqa: E402

COMPUTE, OUT, IN = GPU_STREAMS
MS = 1_000_000


@pytest.fixture(scope="module")
def device() -> Iterator[CudaDevice]:
    device = CudaDevice()
    device.enter()
    yield device
    device.close()


def test_a_copy_waits_for_a_kernel_and_the_host_for_that_copy(device: CudaDevice) -> None:
    slab = device.make_slab(1 << 20)
    host = device.make_pinned([1 << 20])[0]
    device.poison(slab)
    kernel, copied = device.event(COMPUTE), device.event(OUT)
    device.head_start(20 * MS)
    slab.fill_(7)
    kernel.record()
    kernel.stream_wait(OUT)()
    device.copy(OUT, host, slab)()
    copied.record()
    copied.host_wait()()
    assert bool((host == 7).all())


def test_the_host_does_not_wait_for_what_follows(device: CudaDevice) -> None:
    event = device.event(COMPUTE)
    wait = event.host_wait(device.rehearsal(OUT))  # a first rehearsal drains the device
    device.drain()
    begin_ns = device.now_ns()
    event.record()
    device.head_start(200 * MS)
    wait()
    waited_ns = device.now_ns() - begin_ns
    device.drain()
    assert waited_ns < 100 * MS < device.now_ns() - begin_ns


@pytest.mark.parametrize("change", [by_events, by_pieces])
def test_programs_of_such_waits_compute_the_right_thing(
    device: CudaDevice, change: Callable[[Program], Program]
) -> None:
    network = load_network("squeezenet", 4)
    operators = CudnnOperators(device.cudnn, "fp32", device.record)
    offload = frozenset(layer.name for layer in network.layers)
    plan = plan_of_first_choices(network, operators, Layout.LAYER_WISE, offload)
    program = ending_in_a_wait(change(build_program(network, plan)))
    machine = RealMachine(device, operators, network, make_training(network, device.torch_device))
    loaded = machine.load(program, partial(make_pool, "best-fit", 1 << 40))
    checked = [loaded.check(), *(loaded.poisoned(lagging) for lagging in LAGS)]
    reference = reference_gradients(network, machine.training, checked[0].choices)
    for found in checked:
        error, where = worst_error(found.results, reference.results)
        assert error < 1e-4, where
    assert loaded.run() > 0
    assert len(loaded.observe().kernels) > 0
