"""The command ``amm-opt export``: limits and prices of a run for the systems that send them to sites."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from amm_opt.arrays import DIRECTIONS
from amm_opt.errors import InputError, Problems, as_path, counted
from amm_opt.exchange import FORMATS, Envelopes, check_export, envelopes, export_envelopes
from amm_opt.fields import shortened
from amm_opt.io.tables import read_table
from amm_opt.simulation import Run, open_run
from amm_opt.study.commands.reviewing import single_folder
from amm_opt.study.commands.running import span_of
from amm_opt.study.terminal import folder_given, progress, say

LIMITS = "limits"
SITE, GROUP = "site", "site_group_id"


@click.command()
@click.argument("run", callback=folder_given)
@click.option("--format", "form", type=click.Choice(FORMATS), required=True, help="What is written.")
@click.option("--out", required=True, type=click.Path(), help="File to write; of csip-aus a new folder.")
@click.option("--start", metavar="DATE", help="First interval, such as 2016-05-23 (default: the run's first).")
@click.option("--steps", type=click.IntRange(min=1), help="Number of intervals (default: all of the run that follow).")
@click.option("--timezone", metavar="NAME", help="IANA zone of the case's times, where the case names none.")
@click.option(
    "--default-import",
    "default_import_w",
    type=click.FloatRange(min=0),
    metavar="W",
    help="Import limit of every site where none was received (default: each its largest inflexible load).",
)
@click.option(
    "--default-export",
    "default_export_w",
    type=click.FloatRange(min=0),
    metavar="W",
    help="Export limit of every site where none was received (default: what must run).",
)
@click.option("--sites", metavar="FILE", help="envoy: table with the columns site and site_group_id of the server.")
@click.option("--pen", type=click.IntRange(min=0), metavar="N", help="csip-aus: your IANA private enterprise number.")
@click.option("--currency", metavar="CODE", help="openadr3: ISO 4217 code of prices, such as AUD.")
def export(
    run: Path,
    form: str,
    out: str,
    start: str | None,
    steps: int | None,
    timezone: str | None,
    default_import_w: float | None,
    default_export_w: float | None,
    sites: str | None,
    pen: int | None,
    currency: str | None,
) -> None:
    """Write limits and prices of RUN for the systems that send them to sites.

    RUN is the folder of one run: what run --out wrote, or the folder of a mechanism in what compare --out wrote.

    \b
    Example:  amm-opt export out/week/amm --format csv --steps 48 --out day.csv
    """
    said = Problems()
    path = said.of(lambda: as_path(out, "file or folder"))
    group_ids = None if sites is None else said.of(lambda: _group_ids(sites))
    item = said.of(lambda: open_run(single_folder(run)))
    if path is not None:
        said.of(lambda: check_export(path, form, group_ids=group_ids, pen=pen, currency=currency))
    said.report()
    assert item is not None
    assert path is not None
    with progress(False, [LIMITS, form]) as report:
        found = envelopes(
            item,
            _chosen(item, start, steps),
            timezone=timezone,
            default_import_w=default_import_w,
            default_export_w=default_export_w,
            progress=report and partial(report, LIMITS),
        )
        export_envelopes(
            found,
            path,
            form,
            group_ids=group_ids,
            pen=pen,
            currency=currency,
            progress=report and partial(report, form),
        )
    say(
        f"{counted(len(found.sites), 'site')}, {counted(len(found.start), 'interval')} of {found.duration_s} s"
        f" from {found.start_text[0]}"
        f" (UTC), calculation {found.calculation_id}"
    )
    say(_from_where(found))
    if found.claim:
        say(f"Claim of the run: {found.claim}")
    say(f"Written to {path}")


def _from_where(found: Envelopes) -> str:
    """In how many intervals limits come from where, once where that is the same in both directions."""
    said = {direction: _counts(row) for direction, row in zip(DIRECTIONS, found.bases, strict=True)}
    if len(set(said.values())) == 1:
        return f"Basis of limits: {said[DIRECTIONS[0]]}"
    return "Basis of limits: " + "; ".join(f"of {direction} {text}" for direction, text in said.items())


def _counts(bases: NDArray[np.str_]) -> str:
    kinds, counts = np.unique(bases, return_counts=True)
    return ", ".join(f"{kind} in {counted(n, 'interval')}" for kind, n in zip(kinds, counts.tolist(), strict=True))


def _chosen(item: Run, start: str | None, steps: int | None) -> slice:
    """The intervals of ``--start`` and ``--steps``; without them to both ends of the run."""
    first, stop = span_of(item.case, start or str(item.times[0]), steps)
    return slice(first, stop if steps is not None else item.first + len(item.times))


def _group_ids(file: str) -> dict[str, int]:
    """The server's group of every site, from a table."""
    table = read_table(file, "table of sites", texts=(SITE, GROUP))
    if missing := [name for name in (SITE, GROUP) if name not in table]:
        raise InputError(f"{file}: column {' and '.join(missing)} is missing")
    for value in table[GROUP]:
        if not str(value).isdecimal():
            raise InputError(f"{file}: {GROUP} = {shortened(value)} must be a whole number")
    if (twice := table[SITE].duplicated()).any():
        raise InputError(f"{file}: site {table[SITE][twice].iloc[0]!r} stands twice")
    return dict(zip(table[SITE], table[GROUP].astype(int), strict=True))
