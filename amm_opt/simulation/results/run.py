"""The result of one simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case, Requests
from amm_opt.errors import InputError, as_path
from amm_opt.grid import Grid
from amm_opt.io.html import as_html
from amm_opt.margins import TRAINING, Margin, Trained
from amm_opt.market import Mechanism, State
from amm_opt.plugins import Accessor
from amm_opt.program import Audit
from amm_opt.registry import mechanism
from amm_opt.simulation.explanation.explain import binding_of, explained
from amm_opt.simulation.loop.waiting import Backlog
from amm_opt.simulation.measurement import MEASUREMENT, Measurement, as_measurement
from amm_opt.simulation.results.claim import Claim
from amm_opt.simulation.results.column import Column
from amm_opt.simulation.results.labelled import dataset_of, on_network
from amm_opt.simulation.results.priced import Priced
from amm_opt.simulation.results.totals import Totals
from amm_opt.simulation.sensitivity.sensitivity import CARRIED, Past, Sensitivity, differentiated
from amm_opt.simulation.stored.digest import opened
from amm_opt.simulation.stored.folder import DOCUMENT, STORED_CASE, RunFolder, empty, write_document
from amm_opt.simulation.stored.record import Recorded
from amm_opt.simulation.stored.store import RunStore
from amm_opt.verification.replay import ReplayTotals

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, eq=False)
class Run(Priced):
    """What one mechanism did on one case.

    Attributes:
        times: T interval starts; ``first`` is the number of the first within the case.
        state: the mechanism's state after the last interval.
        summary: the summary columns, in the order of tables (docs/results.md).
        solver: the solvers that really solved, most used first, joined by ``+``; ``-`` where none was needed.
        failed_steps: intervals in which nobody was served because no answer passed, with the reason.
        fallback_reasons: of the intervals solved at a second try, from a cold start or by another solver than the
            first choice, what failed before; ``fallback_steps`` are their numbers.
        audit: the largest residuals and duality gap of all solves; None where nothing was solved.
        store: what holds the allocations, in memory or in a folder.
        manifest: what the run depended on (``inputs``), and how it was started.
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
        margin: of limits; its text where it was made of arrays and the run was read from disk.
        workers: the processes that were used; not stored.
        model: the class or model that was given as ``network`` where that was no name; it is not stored.
    """

    case: Case
    mechanism: Mechanism[Any]
    network: str
    solver: str
    times: pd.DatetimeIndex
    first: int
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
    margin: Margin | str | None = None
    workers: int = 1
    model: Any = None
    manifest: dict[str, Any] = field(default_factory=dict)

    plot = Accessor("Run")
    """``run.plot.day()`` and other pictures, see ``RunPictures``."""

    def __repr__(self) -> str:
        span = f"{self.times[0]} to {self.times[-1]}"
        return f"Run({str(self.mechanism)!r} on {self.case.name!r}, {span}, {len(self.failed_steps)} failed)"

    @property
    def fallback_steps(self) -> tuple[int, ...]:
        """Intervals solved at a second try."""
        return tuple(self.fallback_reasons)

    @property
    def measurement(self) -> Measurement | None:
        """What was wrong with what the mechanism saw; None where it saw everything as it is."""
        return as_measurement(self.manifest.get("inputs", {}).get(MEASUREMENT))

    @property
    def trained(self) -> Trained | None:
        """How the margin was found before the run (``margin="auto"``); None where it was given."""
        found = self.manifest.get("inputs", {}).get(TRAINING)
        return None if found is None else Trained.stored(found)

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

    def feeder_energy(self) -> tuple[FloatArray, FloatArray]:
        """Energy requested and served at each LV feeder so far, kWh: (2, T, feeders) each, import first."""
        requested, served = np.cumsum(self.store.feeder_kw, axis=2) * self.case.dt_h
        return requested, served

    def intervals(self) -> pd.DataFrame:
        """Per-interval totals over all participants, in kW, with mean prices where there are any."""
        return pd.DataFrame(self.store.totals(), index=pd.Index(self.times, name="time"))

    @cached_property
    def dataset(self) -> xr.Dataset:
        """Everything with labels, read as far as it is looked at: time x direction x participant, units as attributes.

        ``requested_kw``, ``inflexible_kw``, ``served_kw`` and, where there are any, ``price_per_kwh``, ``battery_kw``
        and ``planned_kw``; ``feeder_requested_kw`` and ``feeder_served_kw`` of LV feeders; ``state_...``, what the
        mechanism remembers at the end of every block, along ``after``.
        """
        network = {"case": self.case.name, "mechanism": str(self.mechanism), "network_model": self.network}
        return dataset_of(self.store, self.waits, {**network, "tiers": self.tiers, "solver": self.solver})

    def voltages(self, steps: int | str | slice | None = None, *, network: Any = None) -> xr.DataArray:
        """Voltages in pu in the network model under what was served, time x node.

        A node is a bus, or a phase of it, such as ``bus.a``.

        Args:
            steps: which of the run's intervals, as for ``simulate``; a count is from its first one on.
            network: as for ``verify``.
        """
        return self._on_network(steps, network, "voltage_pu")["voltage_pu"]

    def loading(self, steps: int | str | slice | None = None, *, network: Any = None) -> xr.DataArray:
        """Loading of branches in the network model, a fraction of their rating, time x branch; as :meth:`voltages`."""
        return self._on_network(steps, network, "loading")["loading"]

    def flows(self, steps: int | str | slice | None = None, *, network: Any = None) -> xr.Dataset:
        """Flows ``p_kw`` and ``q_kvar`` away from the source, time x branch; as :meth:`voltages`."""
        return self._on_network(steps, network, "p_kw", "q_kvar")

    def _on_network(self, steps: int | str | slice | None, network: Any, *names: str) -> xr.Dataset:
        start, stop = self.chosen(steps)
        model = self.network_model(network)
        span = (start - self.first, stop - self.first)
        return on_network(self.store, self.waits, Grid(self.case, model), *span, names)

    def _repr_html_(self) -> str:
        return as_html(repr(self), self.summary.dropna().to_frame())

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
        model = self.network_model(network)
        span = range(self.first, self.first + len(self.times))
        return explained(self.case, model, self.known_margin, span, self.allocation, self.failed_steps, progress)

    def binding(self, *, network: Any = None, progress: Callable[[int, int], None] | None = None) -> pd.DataFrame:
        """Which limits bound while somebody behind them was short: the rows of :meth:`explain` that say so, in brief.

        Columns: ``limit``, ``kind`` and ``direction``; ``hours`` that it bound, and the ``hours_of_day`` (from-to) of
        most of them; its ``multiplier`` in MWh over the run ``per`` kVA, kW or pu; of how many ``feeders`` somebody is
        behind it, ``most_affected_feeders`` and ``most_affected``, (name, MWh) of at most five LV feeders and
        participants.

        Args:
            network, progress: as for :meth:`explain`.

        Raises:
            InputError, SolveError: as :meth:`explain`.
        """
        return binding_of(self.explain(network=network, progress=progress), self.case.dt_h)

    def sensitivity(
        self,
        *parameters: str,
        steps: int | str | slice | None = None,
        memory: str = CARRIED,
        network: Any = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Sensitivity:
        """Derivatives of what everyone was served, interval by interval (docs/sensitivity.md).

        Args:
            parameters: what by: a number of the mechanism (``alpha``), a factor of the scenario (``import_scale``), a
                limit (``rating_kva:BRANCH``, ``import_limit_kw:BRANCH``, ``export_limit_kw:BRANCH``, ``v_min_pu:BUS``,
                ``v_max_pu:BUS``), or kW more of somebody's request in every interval in which there is one
                (``import_request_kw:NAME``, ``export_request_kw:NAME``), or of load (``inflexible_kw:NAME``).
            steps: which of the run's intervals, as for :meth:`voltages`.
            memory: ``carried`` for the derivative of the whole run, in which what an interval serves changes what the
                mechanism remembers in all later ones; ``held`` for that of each interval by itself, from the state in
                which the run was.
            network: as for ``verify``.
            progress: called with (intervals done, all) after every block.

        Raises:
            InputError: for an unknown number, and for runs that have no derivative: programs that are lexicographic,
                over a horizon or not compiled, rules without a program, conic network models, two tiers, waiting,
                forecasts, runs secured on AC or started from another run's state.
        """
        past = Past(
            self.case,
            mechanism(str(self.mechanism)) if isinstance(self.mechanism, Recorded) else self.mechanism,
            self.network_model(network),
            self.network if network is None and self.model is None else self.model if network is None else network,
            self.first,
            self.allocation,
            {**dict.fromkeys(self.repaired_steps, "what was served was cut back"), **self.failed_steps},
            self.manifest.get("inputs", {}),
        )
        return differentiated(past, parameters, self.chosen(steps), memory, progress)

    def save(self, folder: str | Path) -> None:
        """Write the run into a new or empty ``folder``; ``open_run`` reads it back (docs/results.md#files).

        A case that was made in memory is stored along, in ``case``.

        Raises:
            InputError: where the folder is not empty, or cannot be written.
            OutputError: where it takes nothing any more; nothing is left in it then.
        """
        path = as_path(folder, "folder")
        place = RunFolder(path, self.manifest)
        try:
            place.blocks_of(self.case, self.first, self.first + len(self.times), self.store.length)
            blocks = zip(self.store.blocks(), self.store.results(), self.store.elapsed_s, strict=True)
            for block, result, elapsed_s in blocks:
                place.write(block, result, elapsed_s)
            place.finish(self.document)
        except BaseException:
            empty(path)
            raise
        finally:
            place.close()

    def save_summary(self, folder: Path) -> None:
        """Write ``run.json`` again, with the summary as it is now, into a folder that holds this run."""
        write_document(folder, self.document, opened(folder / DOCUMENT)["files"])

    @property
    def document(self) -> dict[str, Any]:
        """What ``run.json`` holds."""
        case, without = self.case, self.mechanism.without_memory()
        return {
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
            "block": self.store.length,
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
