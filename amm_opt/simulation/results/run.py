"""The result of one simulation."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case, Requests, load_case, save_case
from amm_opt.cases.folder.magnitudes import LARGEST
from amm_opt.errors import InputError, as_path
from amm_opt.fields import is_whole
from amm_opt.market import Allocation, Mechanism, State
from amm_opt.market.mechanism import NoState
from amm_opt.program import Audit
from amm_opt.registry import model_of
from amm_opt.simulation.explanation.explain import explained
from amm_opt.simulation.loop.waiting import Backlog
from amm_opt.simulation.results.claim import Claim
from amm_opt.simulation.results.column import Column
from amm_opt.simulation.results.columns import EVERYWHERE, in_order
from amm_opt.simulation.results.digest import opened, sealed
from amm_opt.simulation.results.store import FIELDS, PLANNED, Block, RunStore
from amm_opt.simulation.results.totals import Totals
from amm_opt.verification.replay import ReplayTotals

BLOCK = 4_000_000
"""Participants times intervals that are looked at together."""
DOCUMENT = "run.json"
STORED_CASE = "case"
_TABLES = {
    "import_kw": "served_import_kw",
    "export_kw": "accepted_export_kw",
    "import_price": "import_price",
    "export_price": "export_price",
    **{name: name for name in PLANNED},
    "battery_kw": "battery_kw",
}


@dataclass(frozen=True, eq=False)
class Run:
    """What one mechanism did on one case.

    Attributes:
        times: T interval starts; ``first`` is the number of the first within the case.
        allocation: (T, n) served import, accepted export, prices and battery powers.
        state: the mechanism's state after the last interval.
        summary: the summary columns, in the order of tables (docs/results.md).
        solver: the solvers that really solved, most used first, joined by ``+``; ``-`` where none was needed.
        failed_steps: intervals in which nobody was served because no answer passed, with the reason.
        fallback_reasons: of the intervals solved at a second try, from a cold start or by another solver than the
            first choice, what failed before; ``fallback_steps`` are their numbers.
        audit: the largest residuals and duality gap of all solves; None where nothing was solved.
        store: what holds the allocations, in memory or on disk.
        repaired_steps: intervals whose allocation was cut back to be feasible.
        inexact_steps: intervals solved with an inexact relaxation (conic network models).
        gap: (n_buses,) the largest relaxation gap at the branch that feeds each bus, ``l v - (P^2 + Q^2)`` as a
            fraction of its rating squared; None on linear network models.
        unavoidable: which limits are broken whatever is served: with nobody connected, and the elements that inflexible
            load only has beyond their limit in the most intervals; one sentence each.
        backlog: where energy can wait, the sessions that are still open after the last interval and lack energy.
        departed: where energy can wait, the sessions that departed during the run without all of their energy.
        waits: whether energy that was not served could wait.
        totals: what the summary was computed from; None for a run that was read from disk.
        ac: what a replay by AC power flow showed; likewise.
        columns: the user's own summary columns.
        claim: what may be said of the limits it keeps; None for a run that a version without claims stored.
        tiers: ``joint`` or ``two``: how intervals were matched.
        workers: the processes that were used; not stored.
        model: the class or model that was given as ``network`` where that was no name; it is not stored.
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
    fallback_reasons: dict[int, str]
    audit: Audit | None
    store: RunStore
    repaired_steps: tuple[int, ...] = ()
    inexact_steps: tuple[int, ...] = ()
    gap: FloatArray | None = None
    unavoidable: tuple[str, ...] = ()
    backlog: Backlog | None = None
    departed: Backlog | None = None
    waits: bool = False
    totals: Totals | None = None
    ac: ReplayTotals | None = None
    columns: tuple[Column, ...] = ()
    claim: Claim | None = None
    tiers: str = "joint"
    workers: int = 1
    model: Any = None

    def __repr__(self) -> str:
        span = f"{self.times[0]} to {self.times[-1]}"
        return f"Run({str(self.mechanism)!r} on {self.case.name!r}, {span}, {len(self.failed_steps)} failed)"

    @property
    def fallback_steps(self) -> tuple[int, ...]:
        """Intervals solved at a second try."""
        return tuple(self.fallback_reasons)

    @property
    def requests(self) -> Requests:
        """What was requested in the run's intervals, all at once; for long runs of large cases use ``case.requests``.

        Energy that waits is in it once, where it is asked for first.
        """
        return self.case.requests(self.first, self.first + len(self.times), waits=self.waits)

    @property
    def window(self) -> Requests:
        """The earlier name of :attr:`requests`."""
        return self.requests

    @property
    def planned(self) -> Allocation | None:
        """What was planned on forecasts, (T, n) powers; None where everything was known beforehand."""
        return self.store.planned()

    def feeder_energy(self) -> tuple[FloatArray, FloatArray]:
        """Energy requested and served at each LV feeder so far, kWh: (2, T, feeders) each, import first."""
        requested, served = np.cumsum(self.store.feeder_kw, axis=2) * self.case.dt_h
        return requested, served

    def intervals(self) -> pd.DataFrame:
        """Per-interval totals over all participants, in kW, with mean prices where there are any."""
        requested, served = self.store.feeder_kw.sum(axis=-1) + self.store.outside_kw
        columns = {
            "requested_import_kw": requested[0],
            "served_import_kw": served[0],
            "requested_export_kw": requested[1],
            "accepted_export_kw": served[1],
            "inflexible_kw": self.store.inflexible_kw,
        }
        for name in ("import_price", "export_price"):
            price = getattr(self.allocation, name)
            if price is not None:
                columns[f"mean_{name}"] = price.mean(axis=1)
        if self.allocation.battery_kw is not None:
            columns["battery_kw"] = self.allocation.battery_kw.sum(axis=1)
        return pd.DataFrame(columns, index=pd.Index(self.times, name="time"))

    def explain(self, *, network: Any = None, progress: Callable[[int, int], None] | None = None) -> pd.DataFrame:
        """Which limits stand behind what was not served, who is behind them, and what they would be worth.

        One row for each limit of a bus or branch in one direction, those with the most lost energy first, and at most
        two more (``kind`` empty): what was lost while no limit bound, and in failed intervals. Columns:

        - ``limit``, ``kind`` (``voltage``, ``thermal`` or ``active``), ``direction`` (``import`` or ``export``);
        - ``intervals`` in which it bound and somebody behind it was short; ``asked_intervals`` in which all requests
          together would exceed it; ``hours`` of day (from-to) with at least 90 % of ``intervals``;
        - ``unserved_mwh``, ``curtailed_mwh``: what those behind it lost while it bound, each weighted by how much a kW
          loads it, relative to who loads it most (who loads it by less than a tenth is not behind it). Who is behind
          several limits counts at each, so that rows may add up to more than what was lost;
        - ``worth_mwh`` per ``worth_per`` (kVA, kW or pu): how much more energy the network could host with one more,
          over the run: a multiplier, the derivative of what the throughput bound serves. NaN where batteries are
          scheduled;
        - ``feeders``: of how many LV feeders somebody is behind it, ``shared`` where these are several;
        - ``most_affected_feeders``, ``most_affected``: (name, MWh) of at most five LV feeders and participants;
        - ``intervals_by_hour``: 24 numbers.

        Memory is bounded by blocks of intervals.

        Args:
            network: as for ``verify``.
            progress: called with (intervals done, all) after every block.

        Raises:
            InputError: on a conic network model, or where energy could wait, of which a run does not keep when it was
                asked for again.
            SolveError: where the most energy that the network can host is not found in an interval.
        """
        if self.waits:
            raise InputError("a run in which energy could wait does not keep what was asked for in each interval")
        model = model_of(self.case, self.network, self.model if network is None else network)
        span = range(self.first, self.first + len(self.times))
        return explained(self.case, model, span, self.allocation, self.failed_steps, progress)

    def save(self, folder: str | Path) -> None:
        """Write the run into ``folder``, which is created; ``load_run`` reads it back.

        ``run.json`` holds the settings, the summary and which case it was, ``intervals.csv`` totals, and one Parquet
        table each (T, n) array. A case that was made in memory is stored along, in ``case``.
        """
        folder = as_path(folder, "folder")
        folder.mkdir(parents=True, exist_ok=True)
        self.intervals().to_csv(folder / "intervals.csv", float_format="%.6g")
        names = list(self.case.participant_names)
        with ExitStack() as stack:
            writers: dict[str, pq.ParquetWriter] = {}
            rows = max(1, BLOCK // self.case.n_participants)
            for start in range(0, len(self.times), rows):
                block = slice(start, start + rows)
                for name, values in self.store.arrays().items():
                    columns = map(pa.array, np.ascontiguousarray(values[block].T))
                    table = pa.table([pa.array(self.times[block]), *columns], ["time", *names])
                    if name not in writers:
                        file = stack.enter_context((folder / f"{_TABLES[name]}.parquet").open("wb"))
                        writers[name] = stack.enter_context(pq.ParquetWriter(file, table.schema))
                    writers[name].write_table(table)
        if not self.case.source:
            save_case(self.case, folder / STORED_CASE)
        self.save_document(folder)

    def save_document(self, folder: Path) -> None:
        """Write ``run.json`` only, at one stroke."""
        case, without = self.case, self.mechanism.without_memory()
        document = {
            "case": {
                "name": case.name,
                "source": case.source or STORED_CASE,
                "fingerprint": case.fingerprint,
                "scenario": asdict(case.scenario),
            },
            "mechanism": str(self.mechanism),
            "throughput_bound": self.mechanism.throughput_bound,
            "without_memory": None if without is None else str(without),
            "network": self.network,
            "tiers": self.tiers,
            "solver": self.solver,
            "first": self.first,
            "steps": len(self.times),
            "claim": None if self.claim is None else asdict(self.claim),
            "columns": [column.about for column in self.columns],
            "summary": {str(k): None if np.isnan(v) else float(v) for k, v in self.summary.items()},
            "failed_steps": {str(k): reason for k, reason in self.failed_steps.items()},
            "fallback_steps": {str(k): reason for k, reason in self.fallback_reasons.items()},
            "repaired_steps": list(self.repaired_steps),
            "inexact_steps": list(self.inexact_steps),
            "gap": None if self.gap is None else self.gap.tolist(),
            "unavoidable": list(self.unavoidable),
            "audit": None if self.audit is None else asdict(self.audit),
        }
        draft = folder / "run.json.part"
        document = sealed(document, folder, [f"{table}.parquet" for table in _TABLES.values()])
        draft.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        draft.replace(folder / DOCUMENT)


@dataclass(frozen=True)
class Recorded(Mechanism[NoState]):
    """The mechanism of a run that was read from disk: its label, its label without memory, whether it was the bound."""

    label: str = ""
    was_bound: bool = False
    memoryless: str | None = None

    @property
    def throughput_bound(self) -> bool:
        """Whether the mechanism that was run is the throughput bound."""
        return self.was_bound

    def without_memory(self) -> Recorded | None:
        """Known by its label too."""
        return None if self.memoryless is None else Recorded(self.memoryless)

    def __str__(self) -> str:
        return self.label


def load_run(folder: str | Path) -> Run:
    """Read a run that ``Run.save`` or ``Comparison.save`` wrote.

    Its mechanism is known by its label only; its last state, and the sessions that waited, are not stored.

    Raises:
        InputError: where the folder holds no run, a file of it was changed or damaged or is lost (``run.json`` holds
            their digests), or the case is not the one that was run any more.
    """
    path = as_path(folder, "folder of a run")
    if not (path / DOCUMENT).is_file():
        raise InputError(f"{path} is not the folder of a run: it has no {DOCUMENT}")
    try:
        document = opened(path / DOCUMENT)
        case = _stored_case(path, document["case"])
        first, steps, audit = document["first"], document["steps"], document["audit"]
        if not (is_whole(first) and is_whole(steps) and 0 <= first < first + steps <= case.n_steps):
            raise InputError(f"{path / DOCUMENT}: {steps!r} intervals from {first!r} are not inside the case")
        if added := [t for t in _TABLES.values() if f"{t}.parquet" not in document["tables"] and _is_there(path, t)]:
            raise InputError([f"{path / t}.parquet was added after the run was stored" for t in added])
        waits = "waiting_mwh" in document["summary"]
        store = _read_store(path, case, first, steps, waits=waits)
        return Run(
            case=case,
            mechanism=Recorded(
                document["mechanism"], document.get("throughput_bound", False), document.get("without_memory")
            ),
            network=document["network"],
            solver=document["solver"],
            times=case.times[first : first + steps],
            first=first,
            allocation=store.allocation(),
            state=NoState(),
            summary=_stored_summary(document),
            failed_steps={int(k): reason for k, reason in document["failed_steps"].items()},
            fallback_reasons={int(k): reason for k, reason in document["fallback_steps"].items()},
            audit=None if audit is None else Audit(**audit),
            store=store,
            repaired_steps=tuple(document["repaired_steps"]),
            inexact_steps=tuple(document["inexact_steps"]),
            gap=None if document["gap"] is None else np.array(document["gap"], dtype=float),
            unavoidable=tuple(document.get("unavoidable", ())),
            waits=waits,
            columns=tuple(Column(**about) for about in document.get("columns", ())),
            claim=Claim.stored(claim) if (claim := document.get("claim")) else None,
            tiers=document.get("tiers", "joint"),
        )
    except InputError:
        raise
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError, OSError) as error:
        raise InputError(f"{path / DOCUMENT} is damaged: {type(error).__name__}: {error}") from error


def _stored_summary(document: dict[str, Any]) -> pd.Series[float]:
    """The summary; columns that every run has are NaN where an earlier version did not compute them."""
    values = {**dict.fromkeys((column.name for column in EVERYWHERE), np.nan), **document["summary"]}
    ordered = {name: values[name] for name in in_order(values)}
    return pd.Series(ordered, name=document["mechanism"], dtype=float)


def _stored_case(folder: Path, stored: dict[str, Any]) -> Case:
    source = stored["source"]
    case = load_case(folder / STORED_CASE if source == STORED_CASE else source)
    scales = {name: value for name, value in stored["scenario"].items() if name != "description"}
    case = case.with_scenario(**scales)
    if case.fingerprint != stored["fingerprint"]:
        raise InputError(f"{folder}: case {stored['name']!r} from {source} is not the one that was run any more")
    return case


def _is_there(folder: Path, table: str) -> bool:
    return (folder / f"{table}.parquet").exists()


def _read_store(folder: Path, case: Case, first: int, steps: int, *, waits: bool) -> RunStore:
    store = RunStore(case, first, first + steps)
    with ExitStack() as stack:
        files: dict[str, Any] = {}
        for name, table in _TABLES.items():
            path = folder / f"{table}.parquet"
            if path.is_file():
                files[name] = stack.enter_context(pq.ParquetFile(stack.enter_context(path.open("rb"))))
                _check_table(files[name], path, case, steps)
            elif name in ("import_kw", "export_kw"):
                raise InputError(f"{path} not found")
        at = first
        for group in range(files["import_kw"].num_row_groups):
            tables = {n: f.read_row_group(group) for n, f in files.items()}
            given = {n: np.column_stack(table.columns[1:]) for n, table in tables.items()}
            for name, table in tables.items():
                _check_values(folder / f"{_TABLES[name]}.parquet", name, table, given[name], case.times[at:])
            block = Allocation(**{n: a for n, a in given.items() if n in FIELDS})
            planned = Allocation(*(given[n] for n in PLANNED)) if PLANNED[0] in given else None
            requests = case.requests(at, at + len(block.import_kw), waits=waits)
            store.write(Block.of(case, requests, block, planned))
            at += requests.n_steps
    return store


def _check_values(path: Path, name: str, table: Any, values: FloatArray, times: pd.DatetimeIndex) -> None:
    """Raise InputError where a stored table has other times, or numbers that no run has."""
    if not np.array_equal(table.columns[0].to_numpy(), times[: len(values)].to_numpy()):
        raise InputError(f"{path} has other times than the run")
    power = name in ("import_kw", "export_kw")
    bad = ~((values >= -1e-6) & (values <= LARGEST)) if power else np.abs(values) > LARGEST
    if bad.any():
        row, column = np.argwhere(bad)[0]
        allowed = f"must be within 0 and {LARGEST:g}" if power else f"must be within +-{LARGEST:g}"
        who = table.column_names[1 + int(column)]
        raise InputError(f"{path}: {values[row, column]} of {who!r} at {times[row]} {allowed}")


def _check_table(file: pq.ParquetFile, path: Path, case: Case, steps: int) -> None:
    if tuple(file.schema_arrow.names[1:]) != case.participant_names or file.metadata.num_rows != steps:
        raise InputError(f"{path} does not have the participants and intervals of the run")
