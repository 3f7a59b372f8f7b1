"""Indices of a study, on the terminal and in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import pandas as pd

from amm_opt.errors import InputError, reason
from amm_opt.io.files import replace_bytes, replace_file
from amm_opt.io.text import TableColumn, table
from amm_opt.simulation.results.columns import COLUMNS
from amm_opt.studies.indices.indices import Indices, drawn
from amm_opt.studies.result import StudyResult
from amm_opt.studies.sample import SALIB
from amm_opt.studies.store import INDICES, INDICES_PICTURE
from amm_opt.study.terminal import printable, width


def indices_of(result: StudyResult, outcomes: Sequence[str]) -> tuple[list[Indices], str]:
    """The indices of these columns where the study was made for them, and why some have none."""
    found: list[Indices] = []
    lacking: list[str] = []
    if result.sample is not None and result.sample.method in SALIB:
        for name in outcomes:
            try:
                found += [result.indices(name)] if name in result.table else []
            except InputError as error:
                lacking.append(str(error))
    return found, "; ".join(dict.fromkeys(lacking))


def keep_indices(found: Sequence[Indices], title: str, out: Path) -> str:
    """Write them and their picture; what went wrong, or an empty text."""
    if not found or (out / INDICES).is_file():
        return ""
    try:
        parts = [one.table.assign(outcome=one.outcome).set_index("outcome", append=True) for one in found]
        replace_file(out / INDICES, pd.concat(parts).swaplevel().to_csv())
        content = BytesIO()
        drawn(found, title).savefig(content, dpi=120)
        replace_bytes(out / INDICES_PICTURE, content.getvalue())
    except Exception as error:
        return f"the indices could not be stored: {reason(error)}"
    return ""


def indices_lines(one: Indices) -> list[str]:
    """A table: an index and half the width of its confidence interval."""
    names = [name for name in one.table if not str(name).endswith("_conf") and name != "unit"]
    columns = [TableColumn("parameter", [printable(name) for name in one.table.index], folds=True)]
    for name in names:
        spread = one.table.get(f"{name}_conf")
        cells = [f"{value:.3g}" for value in one.table[name]]
        if spread is not None:
            cells = [f"{cell} ± {half:.2g}" for cell, half in zip(cells, spread, strict=True)]
        columns.append(TableColumn(str(name), cells))
    column = COLUMNS.get(one.outcome)
    unit = f" ({column.unit})" if column is not None and column.unit else ""
    return table(f"{one.method.capitalize()} indices of {one.outcome}{unit}, {one.runs} runs", columns, width())


def indices_record(one: Indices) -> dict[str, object]:
    """For machines."""
    rows = one.table.drop(columns="unit").to_dict("index")
    return {"outcome": one.outcome, "method": one.method, "runs": one.runs, "parameters": rows}
