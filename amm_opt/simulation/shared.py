"""What runs have in common, kept from one to the next: grids, what is asked for, and compiled programs.

A run gives the same with what others left and without, to the bit: what is kept depends on the case, the network and
the programs alone, and what solvers remember is forgotten before every block.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from amm_opt.cases import Case, Requests
from amm_opt.grid import Grid
from amm_opt.margins import Margin
from amm_opt.market import Mechanism
from amm_opt.network import ACNetwork, Feeder, Merged
from amm_opt.program import HorizonProgram, Program
from amm_opt.registry import network_of
from amm_opt.simulation.loop.matching import programs_of
from amm_opt.simulation.measurement import Measurement
from amm_opt.solve.backends.known import SolverOrder
from amm_opt.solve.compile.form import form_of
from amm_opt.solve.solver import ProgramSolver
from amm_opt.verification.replay import PowerFlow

if TYPE_CHECKING:
    from amm_opt.verification.four_wire import FourWireNetwork

MOST_GRIDS, MOST_SOLVERS = 4, 32
"""So many are kept; of more, those that were not asked for longest go."""
ROOM = 32_000_000
"""Where there are several runs, at most so many numbers of limited quantities are kept on each grid."""
WORTH = 400
"""Feeders of fewer buses are taken as they are: there is little to gain."""
NUMBERS = 4
"""Of each limited quantity in each interval: its use without and with all requests, and its limits."""


class OnGrid:
    """What runs on one grid have in common.

    Args:
        room: how many numbers of limited quantities may be kept.
    """

    def __init__(self, grid: Grid, room: int) -> None:
        self.grid, self._room = grid, room
        self._span, self._keeps = (0, 0), False
        self._asked: dict[tuple[int, int, bool], Requests] = {}
        self._declared: tuple[Mechanism[Any], dict[str, Program | HorizonProgram]] | None = None
        self._solvers: dict[Hashable, ProgramSolver] = {}
        self._merged: tuple[tuple[int, int, bool, bool], OnGrid] | None = None

    def expect(self, first: int, stop: int) -> None:
        """Say which intervals are run next: what there is no room for is not kept."""
        self._keeps = NUMBERS * len(self.grid.network.quantities.lower) * (stop - first) <= self._room
        if self._span != (first, stop):
            self._asked.clear()
            self._span = (first, stop)

    def merged(self, first: int, stop: int, *, waits: bool, secure: bool) -> OnGrid:
        """What programs run on from ``first`` to ``stop - 1``: the same without buses that follow from others.

        That is where it is worth it: where at least half of the buses go. Buses on whose way inflexible load alone
        begins to break a limit in one of the intervals stay, see ``Merged``.

        Args:
            waits: see ``Case.requests``.
            secure: see ``merged_grid``.
        """
        key = (first, stop, waits, secure)
        if self._merged is None or self._merged[0] != key:
            grid = merged_grid(self.grid, first, stop, waits=waits, secure=secure)
            self._merged = (key, self if grid is None else OnGrid(grid, self._room))
        return self._merged[1]

    def requests(self, start: int, stop: int, *, waits: bool) -> Requests:
        """Those of the case, see there; what the grid knows of them lives as long as they do."""
        key = (start, stop, waits)
        known = self._asked.get(key)
        if known is None:
            known = self.grid.case.requests(start, stop, waits=waits)
            if self._keeps:
                self._asked[key] = known
        return known

    def programs(self, mechanism: Mechanism[Any]) -> dict[str, Program | HorizonProgram]:
        """A mechanism's programs by name; those of the last one are not declared twice.

        Raises:
            InputError: see ``programs_of``.
        """
        if self._declared is None or self._declared[0] is not mechanism:
            self._declared = (mechanism, programs_of(mechanism, self.grid))
        return self._declared[1]

    def solver(self, role: str, program: Program | HorizonProgram, solvers: SolverOrder) -> ProgramSolver:
        """What solves a program: it was compiled before where one of the same form was, in the same role.

        Raises:
            InputError: see ``ProgramSolver``.
        """
        form = form_of(program, self.grid.parameters)
        if form is None:
            return ProgramSolver(program, self.grid, solvers)
        key = (role, form, solvers.time_limit_s, tuple(c if isinstance(c, str) else id(c) for c in solvers.choices))
        made = self._solvers.pop(key, None)
        if made is None:
            made = ProgramSolver(program, self.grid, solvers)
        self._solvers[key] = made
        if len(self._solvers) > MOST_SOLVERS:
            self._solvers.pop(next(iter(self._solvers)))
        return made


def needs_all_buses(*, all_wires: bool, two_tiers: bool, planned: bool) -> bool:
    """Whether a run looks at every bus: on all wires, by tiers, or where load may differ from what was planned."""
    return all_wires or two_tiers or planned


def merged_grid(grid: Grid, first: int, stop: int, *, waits: bool, secure: bool) -> Grid | None:
    """The grid of ``OnGrid.merged``; None where that is not worth it.

    Args:
        secure: whether limits have to hold on AC power flow too, where inflexible load may break others than in the
            model.
    """
    case, n = grid.case, grid.case.feeder.n_buses
    if grid.margin is not None or not grid.network.merges or n < WORTH:
        return None
    less = Merged(grid.network, case.bus)
    if 2 * less.of_nodes.n_buses > n:
        return None
    made, apart = Grid(case, less), set[int]()
    wires = ACNetwork(less.of_nodes, threads=-1) if secure else None
    for start in range(first, stop, made.block_steps):
        requests = case.requests(start, min(start + made.block_steps, stop), waits=waits)
        q = less.quantities
        apart |= set(less.crossed(q.lower, q.upper, made.quantities(requests, 0.0, 0.0)).tolist())
        if wires is not None:
            ac = wires.flow(*made.at_nodes(requests, 0.0, 0.0))
            u = less.limited(ac.v_pu, ac.p_sent_kw, ac.q_sent_kvar)
            apart |= set(less.crossed(q.lower, q.upper, u).tolist())
    return Grid(case, Merged(grid.network, case.bus, np.array(sorted(apart), dtype=np.intp))) if apart else made


class Shared:
    """What runs have in common, by case, network model and margin; a copy in another process starts with nothing.

    Args:
        room: see ``OnGrid``; a single run needs none, as it sees every interval once.
    """

    def __init__(self, room: int = 0) -> None:
        self._room = room
        self._known: dict[tuple[int, Hashable, str | None], tuple[Case, Any, OnGrid]] = {}
        self._believed: tuple[Case, Measurement, Case] | None = None
        self._wires: tuple[Case, Path | None, PowerFlow] | None = None
        self._read: tuple[Feeder, Path, FourWireNetwork] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Shared, (self._room,)

    def believed(self, case: Case, measurement: Measurement | None) -> Case:
        """The case as a measurement makes mechanisms believe it to be; the last one is not made twice.

        Raises:
            InputError: see ``Measurement.believed``.
        """
        if measurement is None:
            return case
        known = self._believed
        if known is None or known[0] is not case or known[1] != measurement:
            known = self._believed = (case, measurement, measurement.believed(case))
        return known[2]

    def wires(self, case: Case, opendss: Path | None) -> PowerFlow:
        """The AC power flow of a case, on all wires of an OpenDSS file where one is given; the last one is kept.

        Raises:
            InputError: see ``ACNetwork`` and ``FourWireNetwork``.
        """
        known = self._wires
        if known is None or known[0] is not case or known[1] != opendss:
            feeder = case.feeder
            made = ACNetwork(feeder, threads=-1) if opendss is None else self.four_wires(case, opendss)
            known = self._wires = (case, opendss, made)
        return known[2]

    def four_wires(self, case: Case, opendss: Path) -> FourWireNetwork:
        """The power flow on all wires, which has solved nothing yet; the last file is not read twice.

        Raises:
            InputError: see ``FourWireNetwork``.
        """
        from amm_opt.verification.four_wire import FourWireNetwork

        known = self._read
        if known is None or known[0] is not case.feeder or known[1] != opendss:
            known = self._read = (case.feeder, opendss, FourWireNetwork(case.feeder, opendss))
        return known[2].fresh()

    def on(self, case: Case, network: Any, margin: Margin | None = None) -> OnGrid:
        """What runs on this case have in common, with this network model (see ``network_of``) and margin.

        Raises:
            InputError: an unknown network model, or one that does not suit the case.
        """
        key = (id(case), network if isinstance(network, str) else id(network), None if margin is None else str(margin))
        if key in self._known:
            self._known[key] = self._known.pop(key)
        else:
            self._known[key] = (case, network, OnGrid(Grid(case, network_of(case, network), margin), self._room))
        if len(self._known) > MOST_GRIDS:
            self._known.pop(next(iter(self._known)))
        return self._known[key][2]
