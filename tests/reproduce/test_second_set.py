"""The evaluation on the H200: its numbers, and every number of the README's account of what changed."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest

from support.examples import thorough
from tests.reproduce.conftest import figures_of
from tests.support.legible import assert_legible
from vdnnsim.errors import InvalidInput
from vdnnsim.gpu import GpuProfile, load_profile
from vdnnsim.network import Kind
from vdnnsim.trace import Provenance
from vdnnsim_paper import Reproduction, reproduce
from vdnnsim_paper.bars import bars_csv
from vdnnsim_paper.bench import BASELINE, Bench, load_gpu
from vdnnsim_paper.choices import CHOICES
from vdnnsim_paper.claims import Claim
from vdnnsim_paper.config import Case, Rules, figure_config, parse_case, rules
from vdnnsim_paper.drawing.page import note_of
from vdnnsim_paper.same_shape import CHECKS, Check, Errors, check_same_shape, same_shape_markdown
from vdnnsim_paper.table import claims_csv, markdown
from vdnnsim_paper.then_and_now import (
    NOW,
    THEN,
    Pair,
    bench_of,
    compare_gpus,
    layer_wise_cost,
    link_rates,
    then_and_now_markdown,
)

EXPERIMENTS = Path(__file__).parent.parent.parent / "experiments"
README = (EXPERIMENTS / "README.md").read_text(encoding="utf-8")
TEXT = " ".join(README.split())
CHANGED = "changed: look at it, then run experiments/run.py h200"
VERY_DEEP = ["VGG-116 (32)", "VGG-216 (32)", "VGG-316 (32)", "VGG-416 (32)"]


@dataclass(frozen=True)
class Now:
    reproduction: Reproduction
    claims: dict[str, Claim]


def kept_bench(case: Case, gpu: GpuProfile, _math: str, _rules: Rules, sample: int, _samples: int) -> Bench:
    """As `make_bench`; what it runs serves the other tests too."""
    assert sample == 0, "a measured trace has no samples"
    return one_bench(case, gpu.name)


@pytest.fixture(scope="module")
def now() -> Now:
    """In this process: `whole` starts others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vdnnsim_paper.runs.usable_cores", lambda: 1)
        patch.setattr("vdnnsim_paper.runs.make_bench", kept_bench)
        found = reproduce(gpu=NOW)
    return Now(found, {claim.entry.name: claim for claim in found.claims})


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return compare_gpus(one_bench)


@cache
def errors_of(check: Check) -> Errors:
    return check_same_shape(check)


one_bench = cache(bench_of)  # for all tests: it keeps what was run


def bench(case: str, gpu: str) -> Bench:
    return one_bench(parse_case(case), gpu)


def workspace_gb(case: str, gpu: str) -> float:
    return bench(case, gpu).run(BASELINE).result.bytes_by_class_at_peak["workspace"] / 1e9


def loss(case: str, gpu: str, policy: str) -> float:
    return 100 * (1 - bench(case, gpu).performance(policy))


def test_numbers_are_the_expected_ones(now: Now) -> None:
    expected = {path.name: path.read_text(encoding="utf-8") for path in (EXPERIMENTS / "expected" / NOW).glob("*.csv")}
    found = {f"{figure_config(name).stem}.csv": bars_csv(name, bars) for name, bars in now.reproduction.bars.items()}
    found["claims.csv"] = claims_csv(now.reproduction.claims)
    assert set(found) == set(expected)
    for name, text in found.items():
        assert text == expected[name], f"{name} {CHANGED}"
    assert f"<!-- claims h200 -->\n{markdown(now.reproduction.claims)}<!-- end -->" in README


def test_all_ten_networks_in_all_eleven_figures(now: Now) -> None:
    assert now.reproduction.left_out == ()
    assert len(now.reproduction.claims) == 20
    for name, bars in now.reproduction.bars.items():
        assert {bar.case for bar in bars} == {case.label for case in figure_config(name).cases}
    assert len(now.reproduction.bars) == 11


def test_labels_are_those_of_the_traces(now: Now) -> None:
    for name, bars in now.reproduction.bars.items():
        for bar in bars:
            built = bar.case in VERY_DEEP[1:]
            assert bar.provenance is (Provenance.MODELLED if built else Provenance.MEASURED), (name, bar.case)
            assert bar.low == bar.high
    note = note_of(figure_config("15"), now.reproduction.bars["15"], load_gpu(NOW, rules()))
    assert "measured for VGG-116 (32); modelled for VGG-216 (32), VGG-316 (32), VGG-416 (32)." in note
    assert note_of(figure_config("1"), now.reproduction.bars["1"], load_gpu(NOW, rules())).endswith("measured.")


def test_power_has_the_label_of_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = load_profile(NOW)
    assumed = replace(profile, provenance={**profile.provenance, "power": "modelled"})
    monkeypatch.setattr("vdnnsim_paper.runs.load_gpu", lambda *_: assumed)
    monkeypatch.setattr("vdnnsim_paper.runs.usable_cores", lambda: 1)
    found = reproduce(["power"], gpu=NOW)
    assert {bar.provenance for bar in found.bars["power"]} == {Provenance.MODELLED}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: f"{check.network}-{check.batch}-{check.math}")
def test_traces_of_equal_shape_are_as_near_as_they_say(check: Check) -> None:
    errors = errors_of(check)
    assert errors.same_kernels
    assert errors.same_plans
    assert len(errors.iterations) == 8
    assert sorted(abs(error) for error in errors.kernels)[len(errors.kernels) // 2] < 0.002
    assert max(abs(error) for error in errors.kernels) < 0.1
    assert max(abs(error) for error in errors.fastest) < 0.03
    assert max(abs(error) for error in errors.iterations.values()) < 0.003


def test_readme_shows_the_errors_of_equal_shape() -> None:
    table = same_shape_markdown([errors_of(check) for check in CHECKS])
    assert f"<!-- same shape -->\n{table}<!-- end -->" in README, CHANGED


def test_readme_shows_then_and_now(pairs: list[Pair]) -> None:
    assert f"<!-- then and now -->\n{then_and_now_markdown(pairs)}<!-- end -->" in README, CHANGED
    assert len(pairs) == 10
    rates = link_rates()
    speed_ups = [pair.speed_up for pair in pairs]
    assert (
        f"kernels became {min(speed_ups):.0f} to {max(speed_ups):.0f} times as fast, the link "
        f"{rates[1] / rates[0]:.1f} times** ({rates[0]:.1f} to {rates[1]:.1f} GB/s for large copies)" in TEXT
    )
    for index, (policy, digits) in enumerate((("vdnn-conv", 0), ("vdnn-all", 0))):
        after, before = ([getattr(pair, side).losses[index] for pair in pairs] for side in ("now", "then"))
        assert (
            f"{policy} {min(after):.{digits}f} to {max(after):.0f} % where it lost {min(before):.1f} to "
            f"{max(before):.0f} %" in TEXT.replace(f"{policy} loses", policy)
        )
    assert 1.7 < min(pair.now.copies for pair in pairs) < max(pair.now.copies for pair in pairs) < 3


def test_what_vdnn_dyn_pays(pairs: list[Pair]) -> None:
    for pair in pairs:
        assert (pair.then.losses[2] == 0) == (pair.now.losses[2] == 0) == pair.now.baseline_trains
    six = [pair for pair in pairs if pair.now.losses[2]]
    assert len(six) == 6
    after, before = ([getattr(pair, side).losses[2] for pair in six] for side in ("now", "then"))
    saved = [pair.now.savings[2] for pair in six]
    assert (
        f"lose {min(after):.0f} to {max(after):.0f} % where they lost {min(before):.1f} to {max(before):.0f} %, for "
        f"{min(saved):.0f} to {max(saved):.0f} % of their average memory" in TEXT
    )


def test_workspace_decides_on_vgg16() -> None:
    run = bench("VGG-16 256", NOW).run(BASELINE)
    convs = [
        key for key in run.plan.algorithms if bench("VGG-16 256", NOW).study.network.by_name[key[0]].kind is Kind.CONV
    ]
    winograd = [key for key in convs if run.plan.algorithms[key] == "WINOGRAD_NONFUSED"]
    assert f"WINOGRAD_NONFUSED in {len(winograd)} of the {len(convs)} CONV passes" in TEXT
    forward, gradient = ("conv1_2", "forward"), ("conv1_2", "backward_filter")
    assert forward in winograd
    assert run.plan.algorithms[gradient] == "FFT"
    sizes = [run.plan.workspaces[key] / 1e9 for key in (forward, gradient)]
    assert f"asks for {sizes[0]:.2f} GB in forward of conv1_2, FFT for {sizes[1]:.2f} GB in its filter gradient" in TEXT
    peaks = [bench("VGG-16 256", gpu).run(BASELINE).result.peak_bytes / 1e9 for gpu in (THEN, NOW)]
    assert f"VGG-16 (256) grew from {peaks[0]:.2f} to {peaks[1]:.2f} GB by workspace only" in TEXT
    grown = workspace_gb("VGG-16 256", NOW) - workspace_gb("VGG-16 256", THEN)
    assert peaks[1] - peaks[0] == pytest.approx(grown)
    spare = 12 - bench("VGG-16 64", NOW).run(BASELINE).result.peak_bytes / 1e9
    assert f"fits with {spare:.2f} GB to spare" in TEXT


def test_the_greedy_trial_is_taken_here_alone() -> None:
    for gpu in (THEN, NOW):
        for case in dict.fromkeys(case for name in ("14", "15") for case in figure_config(name).cases):
            taken = bench(f"{case.title} {case.batch}", gpu).run("vdnn-dyn").result.trials[-1]
            greedy = gpu == NOW and case.label in ("VGG-16 (128)", "VGG-16 (256)")
            assert taken.fits
            assert taken.title.endswith("greedy") == greedy, (gpu, case.label)
    for policy in ("vdnn-conv(p)", "vdnn-all(p)", BASELINE):
        assert not bench("VGG-16 128", NOW).run(policy).result.trainable
        assert not bench("VGG-16 256", NOW).run(policy).result.trainable


def test_without_workspace() -> None:
    cases = [f"{case.title} {case.batch}" for case in figure_config("14").cases + figure_config("15").cases]
    losses = {gpu: [loss(case, gpu, "vdnn-all(m)") for case in cases] for gpu in (NOW, THEN)}
    after, before = losses[NOW], losses[THEN]
    assert (
        f"vdnn-all (m) loses {min(after):.0f} to {max(after):.0f} %, on the Titan X {min(before):.0f} to "
        f"{max(before):.0f} %" in TEXT
    )
    for gpu in (THEN, NOW):
        passed = [case for case in cases if loss(case, gpu, "vdnn-all(p)") > loss(case, gpu, "vdnn-conv(m)")]
        assert passed == (["GoogLeNet 128"] if gpu == NOW else [])
    values = [loss("GoogLeNet 128", gpu, policy) for gpu in (NOW, THEN) for policy in ("vdnn-all(p)", "vdnn-conv(m)")]
    assert (
        "vdnn-all (p) loses {:.1f} % and vdnn-conv (m) {:.1f} %, on the Titan X {:.1f} and {:.1f} %".format(*values)
        in TEXT
    )


def test_overfeat_needs_less_workspace(now: Now) -> None:
    peaks = [bench("OverFeat 128", gpu).run(BASELINE).result.peak_bytes / 1e9 for gpu in (THEN, NOW)]
    saved = now.claims["saved OverFeat"].ours.value
    assert f"OverFeat's fell from {peaks[0]:.2f} to {peaks[1]:.2f} GB: vdnn-all (m) saves {saved:.1f} % there" in TEXT
    assert f"the {workspace_gb('OverFeat 128', THEN):.2f} GB of modelled workspace" in TEXT


def test_calls_and_reuse(now: Now) -> None:
    costs = [
        100 * layer_wise_cost(parse_case(case), gpu) for gpu in (NOW, THEN) for case in ("AlexNet 128", "GoogLeNet 128")
    ]
    assert (
        "take {:.1f} % of AlexNet's iteration and {:.1f} % of GoogLeNet's; on the Titan X it was {:.1f} and "
        "{:.1f} %".format(*costs)
        in TEXT
    )
    vgg, alexnet = (now.claims[f"reuse {name}"].ours.value for name in ("VGG-16 (64)", "AlexNet"))
    assert f"idle for {vgg:.0f} ms on VGG-16 (64) and {alexnet:.0f} ms on AlexNet**" in TEXT


def test_power(now: Now) -> None:
    power = load_profile(NOW).power
    assert power is not None
    bars = [banded.bar for banded in now.reproduction.bars["power"]]
    average, energy = (
        [bar.value for bar in bars if bar.series == f"vdnn-all(p) {what}"] for what in ("average", "energy")
    )
    assert (
        f"Copies add {power.copy_w:.0f} W to the {power.compute_w:.0f} W of computing, so that the maximum is "
        f"{now.claims['maximum power'].ours.value:.1f} % higher. Under vdnn-all the average falls by "
        f"{-max(average):.0f} to {-min(average):.0f} %, since a GPU that waits draws {power.idle_w:.0f} W, and an "
        f"iteration takes {min(energy):.0f} to {max(energy):.0f} % more energy" in TEXT
    )


def test_reasons_give_the_numbers_there_are(now: Now, pairs: list[Pair]) -> None:
    """What claims.toml says of the H200."""
    speed = {pair.case.label: pair.speed_up for pair in pairs}
    rates = link_rates()
    conv = bench("VGG-16 256", NOW).run("vdnn-conv(p)")
    power = load_profile(NOW).power
    assert power is not None
    vgg128 = bench("VGG-16 128", NOW).run(BASELINE).result.peak_bytes / 1e9
    weights = bench("VGG-416 32", NOW).study.network
    kept = sum(layer.weights_bytes for layer in weights.layers if not weights.in_classifier(layer.name)) / 1e9
    texts = {
        "saved OverFeat": f"is {workspace_gb('OverFeat 128', NOW):.2f} GB where our Titan X has "
        f"{workspace_gb('OverFeat 128', THEN):.2f}",
        "baseline VGG-16 (256)": f"{workspace_gb('VGG-16 256', NOW):.2f} GB of it are the workspace",
        "baseline VGG-16 (128)": f"{workspace_gb('VGG-16 128', NOW):.2f} GB of it are the workspace",
        "loss VGG-16 (256)": f"would lose {loss('VGG-16 256', NOW, 'vdnn-conv(p)'):.1f} % to copies, but its "
        f"{conv.plan.workspaces['conv1_2', 'forward'] / 1e9:.2f} GB of workspace",
        "least saved": f"{workspace_gb('VGG-16 128', NOW):.2f} of the baseline's {vgg128:.2f} GB are workspace",
        "most saved": f"{kept:.1f} GB of weights",
        "least loss": f"kernels became {speed['VGG-416 (32)']:.1f} times as fast, the link {rates[1] / rates[0]:.1f}",
        "share AlexNet": f"{workspace_gb('AlexNet 128', NOW):.2f} GB where our Titan X has "
        f"{workspace_gb('AlexNet 128', THEN):.2f}",
        "reuse AlexNet": f"{speed['AlexNet (128)']:.1f} times as fast",
        "reuse VGG-16 (64)": f"{speed['VGG-16 (64)']:.1f} times as fast",
        "maximum power": f"{power.copy_w:.0f} W of copying over {power.compute_w:.0f} W",
    }
    for name, text in texts.items():
        assert text in now.claims[name].why
    with_numbers = {name for name, claim in now.claims.items() if "." in claim.why}
    assert with_numbers - set(texts) == {"offloaded"}  # bytes of tensors: the same on both GPUs
    for claim in now.reproduction.claims:
        assert claim.why != "another GPU"
        assert claim.near == (claim.why in ("same", "within 5 %") or claim.why.startswith(("within", "no pred")))


def test_choices_of_rules_without_traces_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """VGG-16 with 13 CONVs was not measured at batch 128."""
    by_title = {choice.title: choice for choice in CHOICES}
    wanted = [by_title[title] for title in ("as used", "VGG-16 with 13 CONVs", "GiB for GB")]
    monkeypatch.setattr("vdnnsim_paper.command.CHOICES", wanted)
    monkeypatch.setattr("vdnnsim_paper.runs.choose_figures", lambda _: [figure_config("12")])
    monkeypatch.setattr("vdnnsim_paper.runs.usable_cores", lambda: 1)
    found = reproduce(["rules"], gpu=NOW, out=tmp_path)
    assert found.left_out == ("VGG-16 with 13 CONVs",)
    assert (tmp_path / "rules.csv").read_text().splitlines() == [
        "claim,paper,unit,as used,GiB for GB",
        "offloaded,up to 16 GB,GB,16.9,15.74",
        "near (of 1),,,0,1",
        "mean miss,,,1.13,0.32",
    ]


def test_a_gpu_without_power_figures_has_no_power_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = load_profile(NOW)
    without = replace(profile, power=None)
    monkeypatch.setattr("vdnnsim_paper.runs.load_gpu", lambda *_: without)
    monkeypatch.setattr("vdnnsim_paper.runs.usable_cores", lambda: 1)
    with pytest.raises(InvalidInput, match=r"GPU h200: found no \[power\] in its profile"):
        reproduce(["power"], gpu=NOW)
    chosen = [figure_config("12"), figure_config("power")]
    monkeypatch.setattr("vdnnsim_paper.runs.choose_figures", lambda _: chosen)
    assert set(reproduce(gpu=NOW).bars) == {"12"}


@thorough
def test_every_text_can_be_read(now: Now) -> None:
    for _, figure in figures_of(now.reproduction):
        assert_legible(figure)
