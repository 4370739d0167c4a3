"""`vdnnsim compare --gpus`: the same on several GPUs of one host at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vdnnsim.cli.outputs import STDOUT, Outputs, put_text, tell
from vdnnsim.errors import InvalidInput

if TYPE_CHECKING:
    from vdnnsim.together import TogetherComparison


class Host(NamedTuple):
    """What the options `--gpus`, `--topology`, `--start` and `--all-reduce` say."""

    gpus: int | None
    topology: str | None
    start: str
    all_reduce: str | None


def compare_on_host(
    network: str,
    batch: int | None,
    policies: list[str] | None,
    arguments: dict[str, Any],
    host: Host,
    outputs: Outputs,
    power: bool = False,
) -> None:
    """Run and print, and write what was asked for. Raises `InvalidInput` where one of the options lacks another."""
    if host.gpus is None or host.topology is None:
        lacking = "--gpus" if host.gpus is None else "--topology"
        expected = {"--gpus": "how many GPUs of it", "--topology": "the host: 'vdnnsim list topologies' shows some"}
        raise InvalidInput(f"{lacking}: found nothing, expected {expected[lacking]}")
    if outputs.figure is not None:
        raise InvalidInput(
            "--figure: found --gpus beside it, expected one GPU; --json, --csv and --timeline have all GPUs"
        )
    from vdnnsim.making import make_study
    from vdnnsim.together import compare_together
    from vdnnsim.topology import load_topology

    topology = load_topology(host.topology).first(host.gpus)
    study = make_study(network, batch=batch, **arguments)
    together = compare_together(study, host.gpus, topology, policies, start=host.start, all_reduce=host.all_reduce)
    from vdnnsim.report.power import power_of, print_power

    drawn = power_of(study.gpu.name, (run.result for run in together.named_runs())) if power else []
    console = outputs.console()
    if console:
        from vdnnsim.report.together import print_together

        print_together(together, console)
        if drawn:
            print_power(drawn, console)
    for what, target, text in _texts(together, outputs):
        put_text(target, text)
        if target != STDOUT:
            tell(console, what, Path(target))


def _texts(together: TogetherComparison, outputs: Outputs) -> list[tuple[str, str, str]]:
    """What goes where: (what it is, target, text)."""
    from vdnnsim.report.chrome_trace import timeline_json
    from vdnnsim.report.csv_text import rows_csv
    from vdnnsim.report.together import together_json

    found = []
    if outputs.json is not None:
        found.append(("numbers", outputs.json, together_json(together)))
    if outputs.csv is not None:
        found.append(("numbers", outputs.csv, rows_csv(together.rows())))
    if outputs.timeline is not None:
        found.append(("timeline", outputs.timeline, timeline_json(together.named_runs())))
    return found
