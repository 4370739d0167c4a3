"""`vdnnsim advise`: does it pay here, and what should be set?"""

from __future__ import annotations

from vdnnsim.cli import options
from vdnnsim.cli.machine import Machine, on_machine
from vdnnsim.cli.outputs import check_targets


@on_machine
def advise_command(
    network: options.Workload,
    gpu: options.Gpu,
    *,
    batch: options.OwnBatch = None,
    tokens: options.Tokens = None,
    machine: Machine,
    math: options.OwnMath = None,
    weight_gradients: options.WeightGradients = "per-layer",
    trace: options.TraceFiles = None,
    traces: options.TraceFolders = None,
    figure: options.Figure = None,
) -> None:
    """Does it fit, does offloading pay, and what to set: the answer in five lines.

    Without --batch it is for the largest batch that any policy trains, of those that were timed or captured; of
    captures that vary the length of a sequence for the longest.
    """
    check_targets({}, {"--figure": figure})

    from rich.text import Text

    from vdnnsim.advice import advise
    from vdnnsim.report.advice import advice_lines, advice_note, advice_subject
    from vdnnsim.report.terminal import output_console, print_items, print_text
    from vdnnsim.trace import check_folders

    check_folders(traces or (), "--traces")
    advice = advise(
        network,
        gpu=gpu,
        batch=batch,
        tokens=tokens,
        math=math,
        weight_gradients=weight_gradients,
        trace=trace or (),
        traces=traces or (),
        **machine,
    )
    console = output_console()
    print_text(console, advice_subject(advice))
    print_items(console, [(heading, Text(words)) for heading, words in advice_lines(advice)])
    print_text(console, advice_note(advice))
    if figure:
        from vdnnsim.figures.advice import advice_figure

        advice_figure(advice, figure)
        console.print(f"figure: {figure.resolve()}", soft_wrap=True)
