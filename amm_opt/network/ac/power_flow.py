"""AC power flow of a feeder by power-grid-model (the ``ac`` extra): what network models are held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from amm_opt.arrays import BoolArray, FloatArray
from amm_opt.errors import InputError
from amm_opt.fields import checked_kind, is_whole, shortened
from amm_opt.io.output import native
from amm_opt.network.ac.grid_model import balanced_input, three_phase_input
from amm_opt.network.ac.ratings import RatedEnds, upstream_nodes
from amm_opt.network.feeder.feeder import Feeder
from amm_opt.network.feeder.phases import PHASES, phase_nodes

ERROR_TOLERANCE_PU = 1e-9
MAX_ITERATIONS = 50
_FLOWS = ("p_from", "q_from", "p_to", "q_to")


@dataclass(frozen=True, eq=False)
class ACState:
    """Voltages and flows with losses, shape (..., n_nodes); a branch's are at the bus that it feeds (0 at the source).

    ``sent`` is measured at the upstream end and ``received`` at the downstream end, both positive away from the
    source, half of the branch's charging included at each. ``v_sent_pu`` is the voltage at the upstream end, of the
    same phase. ``ratings`` says what is compared with them. Intervals without a power-flow solution are NaN.
    """

    ratings: RatedEnds
    v_pu: FloatArray
    p_sent_kw: FloatArray
    q_sent_kvar: FloatArray
    p_received_kw: FloatArray
    q_received_kvar: FloatArray
    v_sent_pu: FloatArray

    @property
    def arrays(self) -> tuple[FloatArray, ...]:
        """Voltages and flows, in the order of the attributes."""
        flows = (self.p_sent_kw, self.q_sent_kvar, self.p_received_kw, self.q_received_kvar)
        return (self.v_pu, *flows, self.v_sent_pu)

    @property
    def solved(self) -> BoolArray:
        """(...) which intervals have a solution."""
        return ~np.isnan(self.v_pu[..., 0])

    @property
    def loss_kw(self) -> FloatArray:
        """(...) active losses of all branches."""
        return np.asarray((self.p_sent_kw - self.p_received_kw).sum(axis=-1))

    @property
    def p_flow_kw(self) -> FloatArray:
        """Active power that limits by direction are compared with: at the upstream end."""
        return self.p_sent_kw

    @property
    def q_flow_kvar(self) -> FloatArray:
        """Reactive power at the upstream end."""
        return self.q_sent_kvar

    @property
    def s_flow_kva(self) -> FloatArray:
        """Apparent power at the end of each branch that carries more."""
        sent = np.hypot(self.p_sent_kw, self.q_sent_kvar)
        return np.maximum(sent, np.hypot(self.p_received_kw, self.q_received_kvar))

    @property
    def loading_kva(self) -> FloatArray:
        """What a rating limits, at the end that carries more: see ``RatedEnds``."""
        return np.maximum(*(np.hypot(*end) for end in self.rated_flows))

    @property
    def rated_flows(self) -> tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]:
        """Active and reactive flow at the upstream and the downstream end in the terms of ratings."""
        sent = self.ratings.scaled(self.v_sent_pu, self.p_sent_kw, self.q_sent_kvar)
        received = self.ratings.scaled(self.v_pu, self.p_received_kw, self.q_received_kvar)
        return self.ratings.chosen(sent, received)

    def interval(self, k: int) -> ACState:
        """Interval k alone."""
        return ACState(self.ratings, *(a[k] for a in self.arrays))


class ACNetwork:
    """A feeder as a power-grid-model model, kept for many power flows.

    Branches are series impedances with their tap, as in :class:`Feeder`; shunts and half the charging of a branch at
    each of its ends are admittances, which grow with the square of the voltage. Every node has one constant-power load,
    the source is stiff. Branches below 1e-6 ohm (closed switches) are given 1e-6 ohm.

    A balanced feeder (phase ``pos``), or one on a single phase throughout, is solved as its balanced equivalent; its
    nodes are the buses. A feeder on named phases is solved with three phases: nodes are the (bus, phase) pairs that
    exist, all of phase a first, each in the order of the buses; voltages are between phase and neutral, the impedances
    those after the neutral has been taken out. Ratings, powers and flows are those of one phase then.

    The iterative-current method solves; where it does not converge Newton-Raphson tries, both to 1e-9 pu.

    Args:
        feeder: the feeder.
        threads: of the batch calculation; 0 for one per processor.

    Attributes:
        n_nodes: number of nodes; ``bus`` (n_nodes,) the bus of each, ``phase`` its number, 0 where balanced.

    Raises:
        InputError: where power-grid-model is not installed, the network is meshed, balanced and named phases are mixed,
            or a transformer has phases of different impedance or tap.
    """

    @native
    def __init__(self, feeder: Feeder, threads: int = 0) -> None:
        try:
            import power_grid_model as pgm
            from power_grid_model.errors import PowerGridError
        except ImportError as error:
            raise InputError("an AC power flow needs power-grid-model: pip install 'amm-opt[ac]'") from error
        checked_kind(feeder, Feeder, "feeder")
        if feeder.meshed:
            raise InputError(f"the AC power flow takes radial networks, and {feeder.cycles}")
        if feeder.unknown:
            raise InputError(f"AC power flow: {feeder.unknown}, and nothing can be verified but on the true network")
        if not is_whole(threads) or not -1 <= threads <= 1024:
            raise InputError(f"threads = {shortened(threads)} must be a whole number; 0 is one per processor")
        self._pgm, self._error = pgm, PowerGridError
        self.feeder = feeder
        self._threads = threads
        kinds, n = pgm.ComponentType, feeder.n_buses
        self._branches: tuple[Any, ...]
        self._symmetric = len(set(feeder.branch_phases[1:])) <= 1 and len(feeder.branch_phases[-1]) == 1
        if not self._symmetric and ("pos",) in feeder.branch_phases[1:]:
            raise InputError("the AC power flow takes balanced feeders (phase pos) or named phases, not both")
        if self._symmetric:
            self.phase, self.bus = np.zeros(n, dtype=np.intp), np.arange(n)
            self._upstream, self._charging = np.maximum(feeder.parent, 0), feeder.charging_kvar.sum(axis=1)
            self._load, self._branches = kinds.sym_load, (kinds.generic_branch,)
            data = balanced_input(pgm, feeder)
        else:
            self.phase, self.bus = phase_nodes(feeder.branch_phases)
            self._upstream = upstream_nodes(feeder, self.bus, self.phase)
            self._charging = feeder.charging_kvar[self.bus, self.phase]
            data = three_phase_input(pgm, feeder)
            self._load = kinds.asym_load
            self._branches = tuple(k for k in (kinds.asym_line, kinds.transformer) if k in data)
        self.n_nodes = len(self.bus)
        self._ratings = RatedEnds.of(feeder, self.bus)
        self._fed = {kind: data[kind]["to_node"] for kind in self._branches}
        self._load_id = data[self._load]["id"][:n]
        self._model = pgm.PowerGridModel(data)

    def flow(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> ACState:
        """Power flow of one or many intervals.

        Args:
            p_kw, q_kvar: (n_nodes,) or (T, n_nodes) net injections, positive into the network.
        """
        p, q = np.asarray(p_kw, dtype=float), np.asarray(q_kvar, dtype=float)
        if p.ndim == 1:
            return self._single(p, q)
        state = self._batch(p, q, self._pgm.CalculationMethod.iterative_current)
        again = np.flatnonzero(~state.solved)
        if len(again):
            retried = self._batch(p[again], q[again], self._pgm.CalculationMethod.newton_raphson)
            for array, better in zip(state.arrays, retried.arrays, strict=True):
                array[again] = better
        return state

    def _update(self, p: FloatArray, q: FloatArray) -> dict[Any, Any]:
        """Loads for the injections of every node."""
        shape = (*p.shape[:-1], self.feeder.n_buses)
        update = self._pgm.initialize_array(self._pgm.DatasetType.update, self._load, shape)
        update["id"] = self._load_id
        for name, power in (("p_specified", p), ("q_specified", q)):
            if self._symmetric:
                update[name] = -1000.0 * power
            else:
                full = np.zeros((*shape, len(PHASES)))
                full[..., self.bus, self.phase] = -1000.0 * power
                update[name] = full
        return {self._load: update}

    def _single(self, p: FloatArray, q: FloatArray) -> ACState:
        """One interval, updating the model in place: it then keeps its factorisation, which a batch makes anew."""
        self._model.update(update_data=self._update(p, q))
        methods = self._pgm.CalculationMethod
        for method in (methods.iterative_current, methods.newton_raphson):
            try:
                return self._state(self._calculate(method), ())
            except self._error:
                continue
        return ACState(self._ratings, *np.full((6, *p.shape), np.nan))

    def _batch(self, p: FloatArray, q: FloatArray, method: Any) -> ACState:
        result = self._calculate(
            method, update_data=self._update(p, q), threading=self._threads, continue_on_batch_error=True
        )
        state = self._state(result, (len(p),))
        error = self._model.batch_error
        failed = [] if error is None else error.failed_scenarios
        for array in state.arrays:
            array[failed] = np.nan
        return state

    @native
    def _calculate(self, method: Any, **batch: Any) -> Any:
        node = self._pgm.ComponentType.node
        return self._model.calculate_power_flow(
            symmetric=self._symmetric,
            error_tolerance=ERROR_TOLERANCE_PU,
            max_iterations=MAX_ITERATIONS,
            calculation_method=method,
            output_component_types={node: ["u_pu"], **{kind: list(_FLOWS) for kind in self._branches}},
            **batch,
        )

    def _state(self, result: Any, steps: tuple[int, ...]) -> ACState:
        voltage = result[self._pgm.ComponentType.node]["u_pu"]
        flows = []
        for column, sign in zip(_FLOWS, (1e-3, 1e-3, -1e-3, -1e-3), strict=True):
            flow = np.zeros(voltage.shape)
            by_bus = np.moveaxis(flow, len(steps), 0)
            for kind, fed in self._fed.items():
                if len(fed) == 0:  # power-grid-model leaves out what a network has not
                    continue
                by_bus[fed] = np.moveaxis(sign * result[kind][column], len(steps), 0)
            flows.append(self._at_nodes(flow))
        v = self._at_nodes(np.array(voltage, dtype=float))
        v_sent = v[..., self._upstream]
        flows[1] -= 0.5 * self._charging * v_sent**2
        flows[3] += 0.5 * self._charging * v**2
        return ACState(self._ratings, *(v, *flows, v_sent))

    def _at_nodes(self, values: FloatArray) -> FloatArray:
        return values if self._symmetric else np.asarray(values[..., self.bus, self.phase])
