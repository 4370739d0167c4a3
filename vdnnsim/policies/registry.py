"""Policies by name: the built-in ones, and a user's own by `module:Class`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import entry_points
from types import MappingProxyType

from vdnnsim.errors import InvalidInput, UnknownName
from vdnnsim.own_classes import class_of
from vdnnsim.policies.baseline import Baseline
from vdnnsim.policies.capuchin import Capuchin
from vdnnsim.policies.cdma import Cdma
from vdnnsim.policies.checkpoint import Checkpoint
from vdnnsim.policies.deciding import checked_policy
from vdnnsim.policies.dtr import Dtr
from vdnnsim.policies.flashneuron import FlashNeuron
from vdnnsim.policies.g10 import G10
from vdnnsim.policies.grammar import Parameterised, make_parameterised
from vdnnsim.policies.megatron import Megatron
from vdnnsim.policies.offload import Offload
from vdnnsim.policies.optimal import Optimal
from vdnnsim.policies.oracle import Oracle
from vdnnsim.policies.plan import Policy, Problem
from vdnnsim.policies.save_on_cpu import SaveOnCpu
from vdnnsim.policies.ssdtrain import SsdTrain
from vdnnsim.policies.superneurons import SuperNeurons
from vdnnsim.policies.te import TransformerEngine
from vdnnsim.policies.te_v1 import TransformerEngineV1
from vdnnsim.policies.torchtitan import Torchtitan
from vdnnsim.policies.torchtune import Torchtune
from vdnnsim.policies.uvm import Uvm
from vdnnsim.policies.variants import Variant, without_variant
from vdnnsim.policies.vdnn_all import VdnnAll
from vdnnsim.policies.vdnn_conv import VdnnConv
from vdnnsim.policies.vdnn_conv_recompute import VdnnConvRecompute
from vdnnsim.policies.vdnn_dyn import VdnnDyn
from vdnnsim.policies.vdnn_plus_plus import VdnnPlusPlus
from vdnnsim.policies.zero_offload import ZeroOffload

POLICIES: Mapping[str, Callable[[], Policy]] = MappingProxyType(
    {
        "baseline(m)": lambda: Baseline(Variant.M),
        "baseline(p)": lambda: Baseline(Variant.P),
        "vdnn-all(m)": lambda: VdnnAll(Variant.M),
        "vdnn-all(p)": lambda: VdnnAll(Variant.P),
        "vdnn-conv(m)": lambda: VdnnConv(Variant.M),
        "vdnn-conv(p)": lambda: VdnnConv(Variant.P),
        "vdnn-dyn": VdnnDyn,
        "oracle": Oracle,
    }
)
"""The paper's policies, in the order in which tables show them."""
LATER_POLICIES: Mapping[str, Callable[[], Policy]] = MappingProxyType(
    {"vdnn++": VdnnPlusPlus, "vdnn-conv+recompute": VdnnConvRecompute}
)
"""What came after the paper; run where they are named."""
ONE_WAY_POLICIES: Mapping[str, Callable[[], Policy]] = MappingProxyType(
    {
        "baseline": lambda: Baseline(Variant.ONLY),
        "vdnn-all": lambda: VdnnAll(Variant.ONLY),
        "vdnn-conv": lambda: VdnnConv(Variant.ONLY),
        "vdnn-dyn": VdnnDyn,
        "oracle": Oracle,
    }
)
"""The paper's policies for what has one algorithm a kernel, captured steps, as tables show them."""
RUNTIMES: Mapping[str, type[Parameterised]] = MappingProxyType(
    {
        "torchtune": Torchtune,
        "save-on-cpu": SaveOnCpu,
        "te": TransformerEngine,
        "te-v1": TransformerEngineV1,
        "megatron": Megatron,
        "torchtitan": Torchtitan,
        "checkpoint": Checkpoint,
    }
)
"""What runtimes in use do."""
PAPERS: Mapping[str, type[Parameterised]] = MappingProxyType(
    {
        "superneurons": SuperNeurons,
        "flashneuron": FlashNeuron,
        "g10": G10,
        "ssdtrain": SsdTrain,
        "dtr": Dtr,
        "capuchin": Capuchin,
    }
)
"""What papers have proposed since, beside `LATER_POLICIES`."""
RECALLED: Mapping[str, str] = MappingProxyType(
    {"capuchin": "capuchin", "superneurons": "superneurons (its cache)", "zero-offload": "zero-offload"}
)
"""The policies whose rules nobody has checked in code or paper, with what of them."""
PARAMETERISED: Mapping[str, type[Parameterised]] = MappingProxyType(
    {
        "offload": Offload,
        "optimal": Optimal,
        "cdma": Cdma,
        "uvm": Uvm,
        "zero-offload": ZeroOffload,
        **RUNTIMES,
        **PAPERS,
    }
)
"""Policies that are named with parameters."""
_RUNTIMES = (*RUNTIMES, "checkpoint(every=sqrt)")
_PAPERS = ("vdnn++", *PAPERS)
GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "runtimes": _RUNTIMES,
        "papers": _PAPERS,
        "all": tuple(dict.fromkeys((*POLICIES, *LATER_POLICIES, *_RUNTIMES, *_PAPERS))),
    }
)
"""Names that stand for several policies; `all` is all that takes no search."""
PLAN_SUFFIX = ".json"
"""How the name of a policy ends that is a plan in a file."""
ENTRY_POINT_GROUP = "vdnnsim.policies"


def installed_policies() -> dict[str, str]:
    """The "module:Class" of each policy that another package brought, by its name."""
    entries = entry_points(group=ENTRY_POINT_GROUP)
    return {entry.name: entry.value for entry in entries if entry.name not in built_in_policies()}


def built_in_policies() -> tuple[str, ...]:
    """The name of every policy of the package, without parameters."""
    return tuple(dict.fromkeys((*POLICIES, *LATER_POLICIES, *ONE_WAY_POLICIES, *PARAMETERISED)))


def make_policy(name: str | Policy) -> Policy:
    """A built-in policy by name, with its parameters where it has some, an installed one by its entry point, one given
    as "module:Class", or the plan in a file, PLAN.json; a policy itself is itself.

    Raises `UnknownName`, `InvalidFile` for what is no plan, or `InvalidInput` for a module or class that cannot be
    used, or a parameter that there is not.
    """
    if not isinstance(name, str):
        return checked_policy(name)
    if built_in := POLICIES.get(name) or LATER_POLICIES.get(name) or ONE_WAY_POLICIES.get(name):
        return built_in()
    if (bare := name.partition("(")[0].strip()) in PARAMETERISED:
        return make_parameterised(PARAMETERISED[bare], name)
    if name.endswith(PLAN_SUFFIX):
        from vdnnsim.policies.stored import policy_in  # pydantic, which nobody else needs here

        return policy_in(name)
    if ":" in name:
        return _from_module(name)
    installed = installed_policies()
    if name in installed:
        return _from_module(installed[name])
    raise UnknownName("policy", name, (*built_in_policies(), *GROUPS, *installed))


def chosen_policies(names: Iterable[str | Policy], problem: Problem) -> tuple[list[Policy], list[str]]:
    """The policies of these names, those of groups among them, once each; and which of a group were left out because
    they cannot work on this problem, with why. (m) and (p) are one where every kernel has one algorithm. Raises as
    `make_policy`, `InvalidInput` for a policy that is named twice."""
    chosen: dict[str, Policy] = {}
    left_out: list[str] = []
    one_way = problem.workload.one_way
    for name in names:
        of_group = GROUPS.get(name) if isinstance(name, str) else None
        for member in of_group or (name,):
            policy = without_variant(make_policy(member)) if one_way else make_policy(member)
            if policy.name in chosen:
                if of_group is None and not one_way:
                    found = ", ".join((*chosen, policy.name))
                    raise InvalidInput(f"policies: found {found}, expected each one once")
                continue
            if of_group is not None:
                try:
                    policy.check(problem)
                except InvalidInput as error:
                    left_out.append(f"{policy.name}: {error}")
                    continue
            chosen[policy.name] = policy
    return list(chosen.values()), left_out


def _from_module(reference: str) -> Policy:
    what, kind = f"policy '{reference}'", class_of("policy", reference)
    try:
        policy = kind()
    except Exception as error:  # as above
        found = f"{type(error).__name__}: {error}"
        raise InvalidInput(f"{what}: cannot be made without arguments: {found}") from error
    return checked_policy(policy)
