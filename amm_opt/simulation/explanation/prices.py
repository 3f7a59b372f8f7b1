"""Marginal prices of one interval of a mechanism's program, taken apart by what they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import DIRECTIONS, FloatArray, IntArray
from amm_opt.cases import Case
from amm_opt.cases.folder.folder import as_case
from amm_opt.errors import InputError, unknown
from amm_opt.fields import is_whole, shortened
from amm_opt.grid import Grid
from amm_opt.market import MarginalPrices, Mechanism, State
from amm_opt.program import HorizonProgram, Leximin, Solution
from amm_opt.registry import as_mechanism, network_of
from amm_opt.simulation.explanation.places import LOWER, PER, UPPER, Places
from amm_opt.simulation.loop.matching import JointMatching, programs_of
from amm_opt.simulation.loop.result import Notes
from amm_opt.solve.solver import ProgramSolver


@dataclass(frozen=True, eq=False)
class PriceParts:
    """What the prices of one interval are the sum of.

    Attributes:
        time: start of the interval.
        prices: as arrays.
        participants: one row per participant and direction: ``participant``, ``bus``, ``direction``, ``price`` and its
            parts ``energy``, ``losses``, ``congestion``, ``voltage_upper``, ``voltage_lower``.
        limits: one row per limit that binds, the edges of a rating together: ``limit`` (bus or branch), ``kind``,
            ``direction`` that loads it (of a band ``import`` is the lower end), ``multiplier`` of one ``per`` (kVA, kW
            or pu) more of it, and ``rent``, what flexible use pays for it per hour.
        by_limit: (rows of ``limits``, 2, n) part of each in every price, import first.
        solution: of the program.
    """

    time: pd.Timestamp
    prices: MarginalPrices
    participants: pd.DataFrame
    limits: pd.DataFrame
    by_limit: FloatArray
    solution: Solution

    def of(self, participant: str, direction: str = "import") -> pd.Series[float]:
        """One price by source: energy, losses, and every limit that takes part in it; their sum is the price.

        Raises:
            InputError: for a participant or direction that is none.
        """
        names = self.participants["participant"].drop_duplicates().tolist()
        if participant not in names:
            raise unknown("participant", participant, names)
        if direction not in DIRECTIONS:
            raise InputError(f"direction = {shortened(direction)}; valid choices: {', '.join(DIRECTIONS)}")
        at = (DIRECTIONS.index(direction), names.index(participant))
        parts = {"energy": float(self.prices.energy[at]), "losses": float(self.prices.losses[at])}
        for limit, kind, way, part in zip(
            *self.limits[["limit", "kind", "direction"]].to_numpy().T, self.by_limit, strict=True
        ):
            parts[f"{limit} ({kind}, {way})"] = float(part[at])
        return pd.Series({source: part for source, part in parts.items() if part}, dtype=float)


def price_parts(
    case: Case | str,
    mechanism: Mechanism[Any] | str,
    step: int,
    *,
    network: Any = None,
    state: State | None = None,
) -> PriceParts:
    """Marginal prices of one interval and what they come from, of any mechanism that solves one program for it.

    The price of a participant is how fast the least cost of the program rises with consumption at its place. It is
    money where the objective is (``lmp``), and weighted service elsewhere: what a kW would give to others.

    Args:
        case, mechanism, network: as for ``simulate``.
        step: number of the interval in the case.
        state: what the mechanism remembers; as before its first interval where None.

    Raises:
        InputError: where an argument is wrong; on a conic network model; for mechanisms that look ahead, solve several
            programs or none, or raise the worst-off first, which has no single objective.
        SolveError: where the interval has no solution.
    """
    case, mechanism = as_case(case), as_mechanism(mechanism)
    if not is_whole(step) or not 0 <= step < case.n_steps:
        raise InputError(f"step = {shortened(step)} must be a whole number from 0 to {case.n_steps - 1}")
    grid = Grid(case, network_of(case, network))
    matching = _matching(grid, mechanism)
    requests = case.requests(step, step + 1).interval(0)
    before = mechanism.initial_state(case) if state is None else state
    solution = matching.clear(requests, grid.limits(requests), before, Notes())
    if isinstance(solution, Mapping):
        raise InputError(f"{mechanism}: its outcome are several programs, and prices are those of one")
    prices = MarginalPrices.of(grid, solution)
    people = {"participant": case.participant_names, "bus": case.participants["bus"].to_numpy()}
    tables = [pd.DataFrame({**people, "direction": d, **prices.columns(d)}) for d in DIRECTIONS]
    limits, of = _limits(grid, prices, prices.rent(grid, requests))
    by_limit = np.zeros((len(limits), 2, grid.n))
    np.add.at(by_limit, of, prices.by_limit)
    joined = pd.concat(tables, ignore_index=True)
    return PriceParts(requests.times[0], prices, joined, limits, by_limit, solution)


def _matching(grid: Grid, mechanism: Mechanism[Any]) -> JointMatching:
    if grid.conic:
        raise InputError(f"prices are read from linear limits, and the network model {grid.network.name!r} has none")
    programs = programs_of(mechanism, grid)
    if not programs:
        raise InputError(f"{mechanism} solves no program: there is nothing to read prices from")
    if any(isinstance(p, HorizonProgram) for p in programs.values()):
        raise InputError(f"{mechanism} looks ahead, and prices are those of one interval")
    if any(isinstance(p.objective, Leximin) for p in programs.values()):
        raise InputError(f"{mechanism} raises the worst-off first: that is no single objective with multipliers")
    solvers = {name: ProgramSolver(program, grid, [None]) for name, program in programs.items()}
    return JointMatching(grid, mechanism, solvers)


def _limits(grid: Grid, prices: MarginalPrices, rent: FloatArray) -> tuple[pd.DataFrame, IntArray]:
    """The limits that bind as a table, and (K,) to which of its rows each limited quantity belongs."""
    places, rows, upper = Places(grid), prices.rows, prices.signed_mu > 0
    of, worth = np.zeros(len(rows), dtype=np.intp), np.zeros(len(rows))
    for side, mine in ((UPPER, upper), (LOWER, ~upper)):
        of[mine] = places.of(rows[mine], side)
        worth[mine] = np.abs(prices.signed_mu[mine]) * places.per_unit(rows[mine], side)
    count = len(places)
    keys = places.keys
    table = pd.DataFrame(
        {
            "limit": [places.name(k) for k in range(count)],
            "kind": [kind for kind, _, _ in keys],
            "direction": [DIRECTIONS[direction] for _, _, direction in keys],
            "multiplier": np.bincount(of, worth, count),
            "per": [PER[kind] for kind, _, _ in keys],
            "rent": np.bincount(of, rent, count),
        }
    )
    return table, of
