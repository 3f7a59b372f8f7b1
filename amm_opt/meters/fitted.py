"""A network of affine rows that were fitted to meters, and the case that stands on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from amm_opt.arrays import DIRECTIONS, FloatArray, IntArray
from amm_opt.cases import Case, from_tables
from amm_opt.errors import InputError, counted, shorten
from amm_opt.fields import is_number, shortened
from amm_opt.io.columns import unique_names
from amm_opt.meters.data import TRANSFORMER, MeterData
from amm_opt.network import Feeder, NetworkModel, NetworkState
from amm_opt.network.feeder.tables import UNKNOWN
from amm_opt.network.models.limits import Limits

SUPPLY = "supply"
AT_TRANSFORMER, FIRST_METER = 1, 2


@dataclass(frozen=True, eq=False)
class Rows:
    """Squared voltages of n meters under n injections: ``w = constant + a_p @ p_kw + a_q @ q_kvar``, all in pu.

    Attributes:
        below, above: (n,) how far readings were below and above their row: what limits move in by.
    """

    constant: FloatArray
    a_p: FloatArray
    a_q: FloatArray
    below: FloatArray
    above: FloatArray

    def w(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> FloatArray:
        """(..., n) squared voltages under (..., n) injections."""
        return self.constant + np.asarray(p_kw) @ self.a_p.T + np.asarray(q_kvar) @ self.a_q.T


@dataclass(frozen=True, eq=False)
class Fit:
    """What a fitted network was made of, and how well it reads.

    Attributes:
        data: the readings.
        transformer: where the transformer's voltage came from: ``measured``, ``highest`` or ``none``.
        missing: which inputs there were none of.
        train, held_out: numbers of intervals, the earlier and the later ones.
        ridge, loss, signs, eps: as given.
        v_transformer_pu: the two voltages that were stated for runs, the lowest and the highest; None where they
            follow from what flows.
        errors: of voltages in volts, a row each for the intervals fitted to and those held out, with the transformer's
            voltage known (``known``) and as in a run (``run``): ``mean_v``, ``p99_v``, ``worst_v``, and how many
            readings were beyond the margins, ``beyond_pct``.
        seen_kw: (2, n) the largest net import and export of each meter in the intervals fitted to;
            ``seen_together_kw``, (2,), of all meters together.
        extrapolation: as given.
    """

    data: MeterData
    transformer: str
    missing: tuple[str, ...]
    train: int
    held_out: int
    ridge: float
    loss: str
    signs: bool
    eps: float
    v_transformer_pu: tuple[float, float] | None
    errors: pd.DataFrame
    seen_kw: FloatArray
    seen_together_kw: FloatArray
    extrapolation: float | None


class FittedNetwork(NetworkModel):
    """Voltages that are affine in the powers of meters, and the sum of powers behind the transformer; made by
    :func:`fit_network`.

    Buses are the supply, the transformer's busbar and one for each meter, joined by branches of which nothing is known.
    The flow of the transformer is the sum of what is drawn behind it, without losses; its rating is the only thermal
    limit, and ``fit.extrapolation`` times the largest sum that was read the only one of active power. Limits of a
    meter's voltage stand ``rows.below`` and ``rows.above`` inside its band, the share ``eps`` of readings being further
    from their row on either side. The transformer's bus has no band of its own.

    Args:
        feeder: one made by :func:`meter_feeder`.
        rows: of its meters, in their order.
        fit: how they were found.
    """

    name = "fitted"
    takes_unknown = True

    def __init__(self, feeder: Feeder, rows: Rows, fit: Fit) -> None:
        super().__init__(feeder)
        names = tuple(meter_buses(fit.data.meters))
        if feeder.bus_names[FIRST_METER:] != names:
            raise InputError("a fitted network stands on the feeder of its own meters: see FittedNetwork.feeder")
        self.rows_of_meters, self.fit = rows, fit

    def __repr__(self) -> str:
        without = f", without {' and '.join(self.fit.missing)}" if self.fit.missing else ""
        e = self.fit.errors["mean_v"]
        return (
            f"FittedNetwork({counted(len(self.fit.data.meters), 'meter')}{without}, held out {e.iloc[-1]:.2f}"
            " V off on average)"
        )

    @cached_property
    def v_min_pu(self) -> FloatArray:
        """(n_buses,) lower ends of the voltage bands; of meters only."""
        return np.where(self.bus >= FIRST_METER, self.feeder.v_min_pu, -np.inf)

    @cached_property
    def v_max_pu(self) -> FloatArray:
        """(n_buses,) upper ends of the voltage bands; of meters only."""
        return np.where(self.bus >= FIRST_METER, self.feeder.v_max_pu, np.inf)

    @cached_property
    def limits(self) -> Limits:
        """Bands less their margins, the rating of the transformer, and its limits of active power."""
        plain = Limits.of(self.bus, self.v_min_pu, self.v_max_pu, self.branch, self.rating_kva, self.metered)
        q, n = plain.quantities, len(self.fit.data.meters)
        lower, upper = q.lower.copy(), q.upper.copy()
        lower[:n] += self.rows_of_meters.below
        upper[:n] -= self.rows_of_meters.above
        return replace(plain, quantities=replace(q, lower=lower, upper=upper))

    @cached_property
    def _below(self) -> tuple[IntArray, IntArray]:
        """First bus below each branch, and one past the last."""
        return np.arange(self.feeder.n_buses), np.asarray(self.feeder.subtree_end)

    def _flows(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
        p, q = np.asarray(p_kw, dtype=float), np.asarray(q_kvar, dtype=float)
        w = np.full(p.shape, self.feeder.v_source_pu**2)
        w[..., FIRST_METER:] = self.rows_of_meters.w(p[..., FIRST_METER:], q[..., FIRST_METER:])
        first, end = self._below
        flows = []
        for power in (p, q):
            total = np.concatenate([np.zeros((*power.shape[:-1], 1)), np.cumsum(power, axis=-1)], axis=-1)
            flows.append(total[..., first] - total[..., end])
        return w, flows[0], flows[1]

    def state(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> NetworkState:
        """Voltages and flows under (..., n_buses) net injections; supply and transformer stand at their mean."""
        w, p_flow, q_flow = self._flows(p_kw, q_kvar)
        return NetworkState(np.sqrt(np.maximum(w, 0.0)), p_flow, q_flow)

    def evaluate(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> FloatArray:
        """Every limited quantity under net injections: (..., n_buses) in, (..., m) out."""
        return self.limits.values(*self._flows(p_kw, q_kvar))

    def case(
        self, *, connection_kw: float, import_kw: float = 0.0, export_kw: float = 0.0, name: str = "meters"
    ) -> Case:
        """A case of nothing but the readings: what was drawn is inflexible, and everybody asks for the same.

        A fitted network without kvar takes everybody at unity power factor; otherwise everybody's reactive power is the
        mean of its readings.

        Args:
            connection_kw: what everybody's connection takes in each direction.
            import_kw, export_kw: what everybody asks for on top, in every interval.

        Raises:
            InputError: for wrong numbers, or where times are not regular, as where gaps were left out.
        """
        data = self.fit.data
        problems = [
            f"{what} = {shortened(kw)} must be a number of kW, not negative"
            for what, kw in (("connection_kw", connection_kw), ("import_kw", import_kw), ("export_kw", export_kw))
            if not (is_number(kw) and kw >= 0)
        ]
        if problems:
            raise InputError(problems, subject="case of meters")
        buses, names = meter_buses(data.meters), list(data.meters)
        people = pd.DataFrame({"name": names, "bus": buses})
        people["connection_import_kw"] = people["connection_export_kw"] = float(connection_kw)
        people["inflexible_kvar"] = 0.0 if data.q_kvar is None else data.q_kvar.mean(axis=0)
        columns = unique_names([f"load of {m}" for m in names], {"time", "one"})
        profiles = pd.DataFrame(data.p_kw, columns=columns).assign(one=1.0)
        profiles.insert(0, "time", data.times)
        series = [(m, "inflexible", c, 1.0) for m, c in zip(names, columns, strict=True)]
        for quantity, kw in (("import", import_kw), ("export", export_kw)):
            series += [(m, quantity, "one", float(kw)) for m in names if kw > 0]
        terms = pd.DataFrame(series, columns=["participant", "quantity", "profile", "scale_kw"])
        return from_tables(name=name, **self._tables(), participants=people, profiles=profiles, series=terms)

    def case_of(self, case: Case) -> Case:
        """The participants and requests of a case on the fitted network: what one would do without that case's network.

        Raises:
            InputError: where its participants are not those with meters.
        """
        meters = self.fit.data.meters
        at = dict(zip(meters, meter_buses(meters), strict=True))
        here = set(case.participant_names)
        problems = []
        if strangers := [name for name in case.participant_names if name not in at]:
            problems.append(f"participants {shorten(map(repr, strangers))} have no meter")
        if missing := [name for name in meters if name not in here]:
            problems.append(f"meters {shorten(map(repr, missing))} are no participants")
        if problems:
            raise InputError(problems, subject=f"case {case.name}")
        tables = case.tables()
        people = tables["participants"]
        tables["participants"] = people.assign(bus=people["name"].map(at)).drop(columns="phases")
        scenario: Any = replace(case.scenario, limits={}, capacity_scale=1.0)
        return from_tables(name=f"{case.name} by its meters", scenario=scenario, **{**tables, **self._tables()})

    def _tables(self) -> dict[str, pd.DataFrame]:
        tables = self.feeder.tables
        keep = ["name", "vn_kv", "v_min_pu", "v_max_pu", "tier", "feeder", "v_source_pu"]
        limits = ["rating_kva", "import_limit_kw", "export_limit_kw"]
        branches = tables.branches[["name", "from_bus", "to_bus", "kind", *limits]]
        return {"buses": tables.buses[keep], "branches": branches.assign(r_ohm=0.0, x_ohm=0.0)}


def meter_buses(meters: tuple[str, ...]) -> list[str]:
    """The bus of each meter: its name, unless that is taken."""
    return unique_names(meters, {SUPPLY, TRANSFORMER})


def meter_feeder(
    data: MeterData,
    v_source_pu: float,
    v_min_pu: float,
    v_max_pu: float,
    rating_kva: float | None,
    most_kw: FloatArray | None = None,
) -> Feeder:
    """A feeder of a supply, a transformer's busbar and a bus for each meter, of which only limits are known.

    Args:
        most_kw: (2,) import and export that the transformer may carry; None is no limit.
    """
    own = meter_buses(data.meters)
    n, volts = len(own), np.sqrt(3.0) * data.nominal_v / 1000.0
    buses = pd.DataFrame({"name": [SUPPLY, TRANSFORMER, *own], "vn_kv": volts, "v_min_pu": v_min_pu})
    buses["v_max_pu"], buses["tier"], buses["feeder"] = v_max_pu, ["MV"] + ["LV"] * (n + 1), [None] + ["LV"] * (n + 1)
    buses["v_source_pu"] = [v_source_pu] + [np.nan] * (n + 1)
    branches = pd.DataFrame({"name": unique_names([TRANSFORMER, *own]), "from_bus": [SUPPLY] + [TRANSFORMER] * n})
    branches["to_bus"], branches["kind"] = [TRANSFORMER, *own], UNKNOWN
    branches["r_ohm"], branches["x_ohm"] = 0.0, 0.0
    branches["rating_kva"] = [np.nan if rating_kva is None else rating_kva] + [np.nan] * n
    for direction, most in zip(DIRECTIONS, np.full(2, np.inf) if most_kw is None else most_kw, strict=True):
        branches[f"{direction}_limit_kw"] = [most] + [np.inf] * n
    return Feeder.from_tables(buses, branches)
