"""Compare mechanisms on one case."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.cases import Case, as_case
from amm_opt.errors import InputError
from amm_opt.market import Mechanism
from amm_opt.registry import as_mechanism
from amm_opt.simulate import Run, load_run, simulate
from amm_opt.simulate.driver import alone
from amm_opt.simulate.forecast import Forecast
from amm_opt.solve.solvers import Choice

SUMMARY = "summary.csv"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs of several mechanisms on the same case and intervals."""

    case: Case
    runs: dict[str, Run]

    def __repr__(self) -> str:
        return repr(self.table)

    @property
    def table(self) -> pd.DataFrame:
        """One row per mechanism with the summary columns.

        If one of the mechanisms is the throughput bound, such as ``alpha_fair:alpha=0``, the last column is
        ``price_of_fairness``: 1 - energy served / energy that the bound serves, import and export together.
        """
        table = pd.DataFrame({label: run.summary for label, run in self.runs.items()}).T
        table.index.name = "mechanism"
        bounds = [label for label, run in self.runs.items() if run.mechanism.throughput_bound]
        if bounds:
            asked = table["requested_import_mwh"] + table["requested_export_mwh"]
            served = (asked - table["unserved_mwh"] - table["curtailed_mwh"]).astype(float)
            table["price_of_fairness"] = 1.0 - served / served[bounds[0]] if served[bounds[0]] > 0 else np.nan
        counts = [c for c in table.columns if c.endswith(("_violations", "_steps")) or c == "steps"]
        return table.astype({c: "Int64" for c in counts if table[c].notna().all()})

    def save(self, folder: str | Path) -> Path:
        """Write ``summary.csv`` and each run's per-interval results into a new or empty folder.

        Raises:
            InputError: where the folder exists and is not empty.
        """
        path = Path(folder)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(f"{path} exists and is not an empty folder")
        path.mkdir(parents=True, exist_ok=True)
        for label, run in self.runs.items():
            run.save(path / _folder_name(label))
        self._save_table(path)
        return path

    def save_summaries(self, folder: str | Path) -> None:
        """Write ``summary.csv`` and each run's summary again, into the folder that :meth:`save` made."""
        for label, run in self.runs.items():
            run.save_document(Path(folder) / _folder_name(label))
        self._save_table(Path(folder))

    def _save_table(self, folder: Path) -> None:
        self.table.to_csv(folder / SUMMARY, float_format="%.6g")


def _folder_name(label: str) -> str:
    return label.replace(":", "_").replace("/", "_")


def load_comparison(folder: str | Path) -> Comparison:
    """Read what ``Comparison.save`` wrote.

    Raises:
        InputError: where the folder holds no comparison, or one of its runs cannot be read (see ``load_run``).
    """
    path = Path(folder)
    if not (path / SUMMARY).is_file():
        raise InputError(f"{path} holds neither a run nor a comparison: it has no run.json and no {SUMMARY}")
    try:
        labels = [str(label) for label in pd.read_csv(path / SUMMARY, usecols=["mechanism"])["mechanism"]]
    except (ValueError, OSError) as error:
        raise InputError(f"{path / SUMMARY}: {error}") from error
    runs = {label: load_run(path / _folder_name(label)) for label in labels}
    if not runs:
        raise InputError(f"{path / SUMMARY} has no rows")
    return Comparison(next(iter(runs.values())).case, runs)


def compare(
    case: Case | str | Path,
    mechanisms: Sequence[Mechanism[Any] | str] | Mechanism[Any] | str,
    *,
    network: str | None = None,
    solver: Choice = None,
    steps: int | str | slice | None = None,
    workers: int = 1,
    ac: str | None = None,
    forecast: Forecast | str | None = None,
    defer: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Comparison:
    """Run several mechanisms on the same intervals; arguments as for ``simulate``.

    Args:
        mechanisms: instances or specs, or one of them; a repeated name gets a number.
        workers: processes for each mechanism without memory that can be sent to them; results are the same to the bit.
        progress: called with (label, intervals done, all) after every block.

    Raises:
        InputError: no mechanism, or anything that ``simulate`` rejects.
    """
    case = as_case(case)
    chosen = labelled([mechanisms] if isinstance(mechanisms, str | Mechanism) else mechanisms)
    runs = {}
    for label, item in chosen.items():
        report = (lambda done, total, label=label: progress(label, done, total)) if progress else None
        apart = 1 if defer or alone(item, solver, forecast) else workers
        runs[label] = simulate(
            case,
            item,
            network=network,
            solver=solver,
            steps=steps,
            workers=apart,
            ac=ac,
            forecast=forecast,
            defer=defer,
            progress=report,
        )
    return Comparison(case, runs)


def labelled(mechanisms: Sequence[Mechanism[Any] | str]) -> dict[str, Mechanism[Any]]:
    """Mechanisms by a unique label: name and the parameters that differ from their defaults.

    Raises:
        InputError: where the list is empty or a spec is wrong.
    """
    if not mechanisms:
        raise InputError("no mechanism given")
    chosen: dict[str, Mechanism[Any]] = {}
    for item in mechanisms:
        made = as_mechanism(item)
        base = label = str(made)
        count = 2
        while label in chosen:
            label = f"{base}-{count}"
            count += 1
        chosen[label] = made
    return chosen
