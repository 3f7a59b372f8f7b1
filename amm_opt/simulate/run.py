"""The result of one simulation."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amm_opt.cases import Case, Window, load_case, save_case
from amm_opt.errors import InputError
from amm_opt.market import Allocation, Mechanism, State
from amm_opt.market.mechanism import NoState
from amm_opt.market.state import served_ratio
from amm_opt.simulate.metrics import by_feeder
from amm_opt.solve import Audit

FloatArray = NDArray[np.float64]

FORMAT = 1
DOCUMENT = "run.json"
STORED_CASE = "case"
_TABLES = {
    "import_kw": "served_import_kw",
    "export_kw": "accepted_export_kw",
    "import_price": "import_price",
    "export_price": "export_price",
}


@dataclass(frozen=True, eq=False)
class Run:
    """What one mechanism did on one case.

    Attributes:
        times: T interval starts; ``first`` is the number of the first within the case.
        allocation: (T, n) served import, accepted export and prices.
        state: the mechanism's state after the last interval.
        summary: the summary columns.
        solver: the solvers that really solved, most used first, joined by ``+``; ``-`` where none was needed.
        failed_steps: intervals in which nobody was served because no answer passed, with the reason.
        fallback_steps: intervals solved by another solver than the first choice.
        audit: the worst residuals and duality gap of all solves; None where nothing was solved.
        repaired_steps: intervals whose allocation was scaled back to be hosted.
        inexact_steps: intervals solved with an inexact relaxation (conic network models).
        gap: (n_buses,) the worst relaxation gap at the branch that feeds each bus, ``l v - (P^2 + Q^2)`` as a fraction
            of its rating squared; None on linear network models.
    """

    case: Case
    mechanism: Mechanism[Any]
    network: str
    solver: str
    times: pd.DatetimeIndex
    first: int
    allocation: Allocation
    state: State
    summary: pd.Series[float]
    failed_steps: dict[int, str]
    fallback_steps: tuple[int, ...]
    audit: Audit | None
    repaired_steps: tuple[int, ...] = ()
    inexact_steps: tuple[int, ...] = ()
    gap: FloatArray | None = None

    def __repr__(self) -> str:
        span = f"{self.times[0]} to {self.times[-1]}"
        return f"Run({str(self.mechanism)!r} on {self.case.name!r}, {span}, {len(self.failed_steps)} failed)"

    @property
    def window(self) -> Window:
        """What was requested in the run's intervals."""
        return self.case.window(self.first, self.first + len(self.times))

    def feeder_ratios(self) -> tuple[FloatArray, FloatArray]:
        """Served ratio of each LV feeder over the run so far, for import and export: two (T, feeders) arrays."""
        w, a = self.window, self.allocation
        pairs = ((a.import_kw, w.import_request_kw), (a.export_kw, w.export_request_kw))
        ratios = [
            served_ratio(np.cumsum(by_feeder(self.case, s), axis=0), np.cumsum(by_feeder(self.case, r), axis=0))
            for s, r in pairs
        ]
        return ratios[0], ratios[1]

    def intervals(self) -> pd.DataFrame:
        """Per-interval totals over all participants, in kW, with mean prices where there are any."""
        w, a = self.window, self.allocation
        table = pd.DataFrame(
            {
                "requested_import_kw": w.import_request_kw.sum(axis=1),
                "served_import_kw": a.import_kw.sum(axis=1),
                "requested_export_kw": w.export_request_kw.sum(axis=1),
                "accepted_export_kw": a.export_kw.sum(axis=1),
                "inflexible_kw": w.inflexible_kw.sum(axis=1),
            },
            index=pd.Index(self.times, name="time"),
        )
        for name in ("import_price", "export_price"):
            price = getattr(a, name)
            if price is not None:
                table[f"mean_{name}"] = price.mean(axis=1)
        return table

    def save(self, folder: Path) -> None:
        """Write the run into ``folder``, which is created; ``load_run`` reads it back.

        ``run.json`` holds the settings, the summary and which case it was, ``intervals.csv`` totals, and one Parquet
        table each (T, n) array. A case that was made in memory is stored along, in ``case``.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.intervals().to_csv(folder / "intervals.csv", float_format="%.6g")
        for attribute, name in _TABLES.items():
            values = getattr(self.allocation, attribute)
            if values is not None:
                table = pd.DataFrame(values, columns=list(self.case.participant_names))
                table.insert(0, "time", self.times)
                table.to_parquet(folder / f"{name}.parquet", index=False)
        if not self.case.source:
            save_case(self.case, folder / STORED_CASE)
        self.save_document(folder)

    def save_document(self, folder: Path) -> None:
        """Write ``run.json`` alone, at one stroke."""
        case = self.case
        document = {
            "format": FORMAT,
            "case": {
                "name": case.name,
                "source": case.source or STORED_CASE,
                "fingerprint": case.fingerprint,
                "scenario": asdict(case.scenario),
            },
            "mechanism": str(self.mechanism),
            "network": self.network,
            "solver": self.solver,
            "first": self.first,
            "steps": len(self.times),
            "summary": {str(k): None if np.isnan(v) else float(v) for k, v in self.summary.items()},
            "failed_steps": {str(k): reason for k, reason in self.failed_steps.items()},
            "fallback_steps": list(self.fallback_steps),
            "repaired_steps": list(self.repaired_steps),
            "inexact_steps": list(self.inexact_steps),
            "gap": None if self.gap is None else self.gap.tolist(),
            "audit": None if self.audit is None else asdict(self.audit),
        }
        draft = folder / "run.json.part"
        draft.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        draft.replace(folder / DOCUMENT)


@dataclass(frozen=True)
class Recorded(Mechanism[NoState]):
    """The mechanism of a run that was read from disk: only what it was called is known."""

    label: str = ""

    def __str__(self) -> str:
        return self.label


def load_run(folder: str | Path) -> Run:
    """Read a run that ``Run.save`` or ``Comparison.save`` wrote.

    Its mechanism is known by its label only, and its last state is not stored.

    Raises:
        InputError: where the folder holds no run, or the case is not the one that was run any more.
    """
    path = Path(folder)
    if not (path / DOCUMENT).is_file():
        raise InputError(f"{path} is not the folder of a run: it has no {DOCUMENT}")
    try:
        document = json.loads((path / DOCUMENT).read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise InputError(f"{path / DOCUMENT}: format {document['format']} is not known, only {FORMAT}")
        case = _stored_case(path, document["case"])
        first, steps, audit = document["first"], document["steps"], document["audit"]
        powers = [_array(path / f"{_TABLES[name]}.parquet", case, steps) for name in ("import_kw", "export_kw")]
        prices = [
            _array(path / f"{name}.parquet", case, steps) if (path / f"{name}.parquet").is_file() else None
            for name in ("import_price", "export_price")
        ]
        return Run(
            case=case,
            mechanism=Recorded(document["mechanism"]),
            network=document["network"],
            solver=document["solver"],
            times=case.times[first : first + steps],
            first=first,
            allocation=Allocation(powers[0], powers[1], *prices),
            state=NoState(),
            summary=pd.Series(document["summary"], name=document["mechanism"], dtype=float),
            failed_steps={int(k): reason for k, reason in document["failed_steps"].items()},
            fallback_steps=tuple(document["fallback_steps"]),
            audit=None if audit is None else Audit(**audit),
            repaired_steps=tuple(document["repaired_steps"]),
            inexact_steps=tuple(document["inexact_steps"]),
            gap=None if document["gap"] is None else np.array(document["gap"], dtype=float),
        )
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path / DOCUMENT} is damaged: {type(error).__name__}: {error}") from error


def _stored_case(folder: Path, stored: dict[str, Any]) -> Case:
    source = stored["source"]
    case = load_case(folder / STORED_CASE if source == STORED_CASE else source)
    scales = {name: value for name, value in stored["scenario"].items() if name != "description"}
    case = case.with_scenario(**scales)
    if case.fingerprint != stored["fingerprint"]:
        raise InputError(f"{folder}: case {stored['name']!r} from {source} is not the one that was run any more")
    return case


def _array(path: Path, case: Case, steps: int) -> FloatArray:
    if not path.is_file():
        raise InputError(f"{path} not found")
    table = pd.read_parquet(path)
    if tuple(table.columns[1:]) != case.participant_names or len(table) != steps:
        raise InputError(f"{path} does not have the participants and intervals of the run")
    return np.asarray(table.iloc[:, 1:], dtype=float)
