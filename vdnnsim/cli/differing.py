"""`vdnnsim diff`: what changed between two results, calibrations, profiles or configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vdnnsim.cli import options
from vdnnsim.cli.outputs import STDOUT, check_targets, put_text, tell

_OVER = 1


def diff_command(
    before: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="JSON of compare or run, a calibration's report (its folder or results.json), a GPU's profile, or "
            "another TOML file.",
        ),
    ],
    after: Annotated[str, typer.Argument(metavar="B", help="Another of the same kind.")],
    fail_over: Annotated[
        str | None,
        typer.Option("--fail-over", help="End with exit code 1 where a number differs by more than this, such as 2%."),
    ] = None,
    policy: Annotated[
        str | None, typer.Option("--policy", help="Whose timelines --figure draws; where left out, what differs most.")
    ] = None,
    json: Annotated[
        str | None, typer.Option("--json", help="Write every change as JSON; - writes only them to stdout.")
    ] = None,
    figure: options.Figure = None,
) -> None:
    """What changed from A to B: what went in, every number that came out, the layers that gained and lost.

    In a CI, --fail-over 2% ends with exit code 1 where a number that came out is more than 2 % larger or smaller, of
    itself or of the iteration time or peak that it is part of; wrong input ends with 2.
    """
    check_targets({"--json": json}, {"--figure": figure})
    from vdnnsim.differences import diff
    from vdnnsim.errors import InvalidInput
    from vdnnsim.report.difference import over_words, print_difference
    from vdnnsim.report.terminal import output_console
    from vdnnsim.units import parse_share

    limit = None if fail_over is None else parse_share(fail_over, "--fail-over")
    if policy and not figure:
        raise InvalidInput("--policy: found without --figure, whose timelines it chooses")
    difference = diff(before, after)
    if figure:
        from vdnnsim.figures.difference import difference_figure

        difference_figure(difference, figure, policy)
    if json:
        from vdnnsim.report.json_text import difference_json

        put_text(json, difference_json(difference))
    if json != STDOUT:
        console = output_console()
        print_difference(difference, console)
        for what, target in (("numbers", json), ("figure", figure)):
            if target:
                tell(console, what, Path(target))
    if limit is not None and (over := difference.over(limit)):
        typer.echo(over_words(over, limit), err=True)
        raise typer.Exit(_OVER)
