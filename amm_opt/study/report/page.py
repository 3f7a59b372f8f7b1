"""The page: everything put into one file."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any

from amm_opt.errors import InputError, OutputError, as_path, reason
from amm_opt.io.files import check_file, replace_file
from amm_opt.io.text import plain
from amm_opt.pictures.readings import network_use
from amm_opt.simulation import Run
from amm_opt.study.comparison import Comparison
from amm_opt.study.report import content
from amm_opt.study.report.drawings import drawings
from amm_opt.study.report.sample import sampled

TEMPLATE, STYLE, SCRIPT = "page.html.j2", "page.css", "page.js"


def report(result: Comparison | Run) -> str:
    """A page on a comparison or a run, as HTML that needs no other file and asks nobody for anything.

    Raises:
        InputError: where jinja2 or matplotlib (the ``report`` extra) is not installed.
    """
    try:
        from jinja2 import Environment
    except ImportError as error:
        raise InputError("reports need jinja2: pip install 'amm-opt[report]'") from error
    comparison = content.single(result) if isinstance(result, Run) else result
    folder = files("amm_opt.study.report")
    parts = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in (TEMPLATE, STYLE, SCRIPT)}
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(parts[TEMPLATE])
    return template.render(**_values(comparison), style=parts[STYLE], script=parts[SCRIPT])


def _values(result: Comparison) -> dict[str, Any]:
    spans, days = sampled(next(iter(result.runs.values())))
    with ThreadPoolExecutor(1) as beside:
        reading = beside.submit(lambda: result.plot.energies)
        limits, untold = content.limits(result, spans)
        use = {label: network_use(run, spans) for label, run in result.runs.items()}
        energies = reading.result()
    worst, starved = content.worst_off(result, energies)
    origin, inputs = content.origin(result)
    return {
        "title": plain(f"{result.case.name}: {len(result)} mechanisms" if len(result) > 1 else
                       f"{next(iter(result))} on {result.case.name}"),
        "asked": content.asked(result),
        "results": content.main_table(result),
        "columns": content.whole_table(result),
        "claims": content.claims(result),
        "remarks": content.remarks(result),
        "drawings": list(drawings(result, energies, use, days)),
        "limits": limits,
        "untold": untold,
        "days": days,
        "worst": worst,
        "starved": starved,
        "assumptions": content.assumptions(result),
        "origin": origin,
        "inputs": inputs,
    }  # fmt: skip


def save_report(result: Comparison | Run, path: str | Path) -> Path:
    """Write the page, at one stroke.

    Raises:
        InputError: as :func:`report`, or where the path is a folder or its folder is not there.
        OutputError: where the file cannot be written.
    """
    place = as_path(path, "file")
    check_file(place)
    page = report(result)
    try:
        replace_file(place, page)
    except OSError as error:
        raise OutputError(f"{place} could not be written: {reason(error)}") from error
    return place
