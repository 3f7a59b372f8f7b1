"""AC power flow of a feeder by power-grid-model (the ``ac`` extra): what network models are held against."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amm_opt.errors import InputError
from amm_opt.network.feeder import Feeder

FloatArray = NDArray[np.float64]

SOURCE_SHORT_CIRCUIT_VA = 1e14
LEAST_OHM = 1e-6
ERROR_TOLERANCE_PU = 1e-9
MAX_ITERATIONS = 50
_FLOWS = ("p_from", "q_from", "p_to", "q_to")


@dataclass(frozen=True, eq=False)
class ACState:
    """Voltages and flows with losses, shape (..., n_buses); branches are indexed by the bus they feed (entry 0 is 0).

    ``sent`` is measured at the upstream end and ``received`` at the downstream end, both positive away from the
    source. Intervals without a power-flow solution are NaN.
    """

    v_pu: FloatArray
    p_sent_kw: FloatArray
    q_sent_kvar: FloatArray
    p_received_kw: FloatArray
    q_received_kvar: FloatArray

    @property
    def solved(self) -> NDArray[np.bool_]:
        """(...) which intervals have a solution."""
        return ~np.isnan(self.v_pu[..., 0])

    @property
    def loss_kw(self) -> FloatArray:
        """(...) active losses of all branches."""
        return np.asarray((self.p_sent_kw - self.p_received_kw).sum(axis=-1))

    @property
    def s_flow_kva(self) -> FloatArray:
        """Apparent power at the end of each branch that carries more."""
        sent = np.hypot(self.p_sent_kw, self.q_sent_kvar)
        return np.maximum(sent, np.hypot(self.p_received_kw, self.q_received_kvar))

    def interval(self, k: int) -> ACState:
        """Interval k alone."""
        return ACState(*(getattr(self, f.name)[k] for f in fields(self)))


class ACNetwork:
    """The balanced feeder as a power-grid-model model, kept for many power flows.

    Branches are series impedances with their tap, as in :class:`Feeder`: there are no shunts, so line charging and the
    iron losses of transformers are left out here as in the linear models. Every bus has one constant-power load, the
    source is stiff. Branches below 1e-6 ohm (closed switches) are given 1e-6 ohm. A feeder on one phase throughout is
    solved as its balanced equivalent, as in LinDistFlow.

    The iterative-current method solves; where it does not converge Newton-Raphson tries, both to 1e-9 pu.

    Args:
        feeder: a balanced feeder, or one on a single phase throughout.
        threads: of the batch calculation; 0 for one per processor.

    Raises:
        InputError: where power-grid-model is not installed or the feeder has branches on several phases.
    """

    def __init__(self, feeder: Feeder, threads: int = 0) -> None:
        if any(len(phases) != 1 for phases in feeder.branch_phases[1:]):
            raise InputError(
                "the AC power flow models balanced feeders (phase pos), or one on a single phase throughout"
            )
        try:
            import power_grid_model as pgm
            from power_grid_model.errors import PowerGridError
        except ImportError as error:
            raise InputError("an AC power flow needs power-grid-model: pip install 'amm-opt[ac]'") from error
        self._pgm, self._error = pgm, PowerGridError
        self.feeder = feeder
        self._threads = threads
        self._load_id = 2 * feeder.n_buses + np.arange(feeder.n_buses)
        self._model = _model(pgm, feeder)
        self._one = self._update((feeder.n_buses,))

    def flow(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> ACState:
        """Power flow of one or many intervals.

        Args:
            p_kw, q_kvar: (n_buses,) or (T, n_buses) net injections, positive into the network.
        """
        p, q = np.asarray(p_kw, dtype=float), np.asarray(q_kvar, dtype=float)
        if p.ndim == 1:
            return self._single(p, q)
        state = self._batch(p, q, self._pgm.CalculationMethod.iterative_current)
        again = np.flatnonzero(~state.solved)
        if len(again):
            retried = self._batch(p[again], q[again], self._pgm.CalculationMethod.newton_raphson)
            for item in fields(state):
                getattr(state, item.name)[again] = getattr(retried, item.name)
        return state

    def _update(self, shape: tuple[int, ...]) -> Any:
        update = self._pgm.initialize_array(self._pgm.DatasetType.update, self._pgm.ComponentType.sym_load, shape)
        update["id"] = self._load_id
        return update

    def _single(self, p: FloatArray, q: FloatArray) -> ACState:
        """One interval, updating the model in place: it then keeps its factorisation, which a batch makes anew."""
        self._one["p_specified"], self._one["q_specified"] = -1000.0 * p, -1000.0 * q
        self._model.update(update_data={self._pgm.ComponentType.sym_load: self._one})
        methods = self._pgm.CalculationMethod
        for method in (methods.iterative_current, methods.newton_raphson):
            try:
                return self._state(self._calculate(method), ())
            except self._error:
                continue
        return _unsolved(p.shape)

    def _batch(self, p: FloatArray, q: FloatArray, method: Any) -> ACState:
        update = self._update(p.shape)
        update["p_specified"], update["q_specified"] = -1000.0 * p, -1000.0 * q
        result = self._calculate(
            method,
            update_data={self._pgm.ComponentType.sym_load: update},
            threading=self._threads,
            continue_on_batch_error=True,
        )
        state = self._state(result, (len(p),))
        error = self._model.batch_error
        failed = [] if error is None else error.failed_scenarios
        for item in fields(state):
            getattr(state, item.name)[failed] = np.nan
        return state

    def _calculate(self, method: Any, **batch: Any) -> Any:
        kinds = self._pgm.ComponentType
        return self._model.calculate_power_flow(
            symmetric=True,
            error_tolerance=ERROR_TOLERANCE_PU,
            max_iterations=MAX_ITERATIONS,
            calculation_method=method,
            output_component_types={kinds.node: ["u_pu"], kinds.generic_branch: list(_FLOWS)},
            **batch,
        )

    def _state(self, result: Any, steps: tuple[int, ...]) -> ACState:
        branch = result[self._pgm.ComponentType.generic_branch]
        flows = []
        for column, sign in zip(_FLOWS, (1e-3, 1e-3, -1e-3, -1e-3), strict=True):
            flow = np.zeros((*steps, self.feeder.n_buses))
            np.multiply(branch[column], sign, out=flow[..., 1:])
            flows.append(flow)
        return ACState(np.array(result[self._pgm.ComponentType.node]["u_pu"], dtype=float), *flows)


def _unsolved(shape: tuple[int, ...]) -> ACState:
    return ACState(*np.full((5, *shape), np.nan))


def _model(pgm: Any, feeder: Feeder) -> Any:
    """Ids: node i, branch n + i, load 2 n + i for bus i, source 3 n."""
    kinds, made = pgm.ComponentType, pgm.DatasetType.input
    n = feeder.n_buses
    ids = np.arange(n)
    node = pgm.initialize_array(made, kinds.node, n)
    node["id"], node["u_rated"] = ids, feeder.vn_kv * 1000.0
    branch = pgm.initialize_array(made, kinds.generic_branch, n - 1)
    z = np.array([m[0, 0] for m in feeder.z_ohm])[1:] * (1.0 if feeder.balanced else 3.0)
    branch["id"] = n + ids[1:]
    branch["from_node"], branch["to_node"] = feeder.parent[1:], ids[1:]
    branch["from_status"] = branch["to_status"] = 1
    branch["r1"], branch["x1"] = np.where(np.abs(z) < LEAST_OHM, LEAST_OHM, z.real), z.imag
    branch["g1"] = branch["b1"] = branch["theta"] = 0.0
    branch["k"] = feeder.tap[1:]
    load = pgm.initialize_array(made, kinds.sym_load, n)
    load["id"], load["node"], load["status"] = 2 * n + ids, ids, 1
    load["type"] = pgm.LoadGenType.const_power
    load["p_specified"] = load["q_specified"] = 0.0
    source = pgm.initialize_array(made, kinds.source, 1)
    source["id"], source["node"], source["status"] = 3 * n, 0, 1
    source["u_ref"], source["sk"] = feeder.v_source_pu, SOURCE_SHORT_CIRCUIT_VA
    return pgm.PowerGridModel(
        {kinds.node: node, kinds.generic_branch: branch, kinds.sym_load: load, kinds.source: source}
    )
