"""Summary numbers of a run, accumulated block by block."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case, Requests
from amm_opt.grid import Grid
from amm_opt.market import Allocation
from amm_opt.market.state import served_ratio
from amm_opt.verification.violations import Violations


def jain(ratios: FloatArray) -> float:
    """Jain's fairness index (sum a)^2 / (n sum a^2) in [1/n, 1]; NaN for no values, or where all are zero.

    Source: R. Jain, D. Chiu, W. Hawe, DEC-TR-301 (1984).
    """
    square = float(np.sum(ratios**2))
    return np.nan if square == 0 else float(np.sum(ratios) ** 2 / (len(ratios) * square))


def by_feeder(case: Case, per_participant: FloatArray) -> FloatArray:
    """Sum a (..., n) array over the participants of each LV feeder: (..., feeders)."""
    member = case.groups("feeder").members[:-1]
    return np.asarray((member @ per_participant.reshape(-1, per_participant.shape[-1]).T).T).reshape(
        *per_participant.shape[:-1], member.shape[0]
    )


@dataclass
class Metrics:
    """Running totals of one run; (2, n) arrays have row 0 import, row 1 export.

    ``battery_kwh`` is what charged and what discharged batteries, None where they are idle.
    """

    requested_kwh: FloatArray
    served_kwh: FloatArray
    violations: Violations = field(default_factory=Violations)
    revenue: float = 0.0
    priced: bool = False
    battery_kwh: FloatArray | None = None
    steps: int = 0

    @classmethod
    def empty(cls, n: int) -> Self:
        """Nothing yet, for n participants."""
        return cls(np.zeros((2, n)), np.zeros((2, n)))

    def merge(self, other: Metrics) -> None:
        """Add the totals of other intervals."""
        self.requested_kwh += other.requested_kwh
        self.served_kwh += other.served_kwh
        self.violations.merge(other.violations)
        self.revenue += other.revenue
        self.priced |= other.priced
        self._add_battery(other.battery_kwh)
        self.steps += other.steps

    def _add_battery(self, kwh: FloatArray | None) -> None:
        if kwh is not None:
            self.battery_kwh = kwh if self.battery_kwh is None else self.battery_kwh + kwh

    def add(self, grid: Grid, requests: Requests, allocation: Allocation) -> None:
        """Account for a block: window and allocation with (T, n) arrays."""
        self.steps += requests.n_steps
        self.requested_kwh += _energy(requests.import_request_kw, requests.export_request_kw, requests.dt_h)
        self.served_kwh += _energy(allocation.import_kw, allocation.export_kw, requests.dt_h)
        for power, price, sign in (
            (allocation.import_kw, allocation.import_price, 1.0),
            (allocation.export_kw, allocation.export_price, -1.0),
        ):
            if price is not None:
                self.revenue += sign * float(np.nansum(power * price)) * requests.dt_h
                self.priced = True
        if allocation.battery_kw is not None:
            through = (np.maximum(sign * allocation.battery_kw, 0.0) for sign in (-1.0, 1.0))
            self._add_battery(np.array([float(kw.sum()) * requests.dt_h for kw in through]))
        self._count_violations(grid, requests, allocation)

    def _count_violations(self, grid: Grid, requests: Requests, allocation: Allocation) -> None:
        d, network, grid_of = requests.inflexible_kw, grid.network, grid.node_injections
        state = network.state(*grid_of(d, allocation.drawn_kw, allocation.injected_kw))
        self.violations.add(network, state, lambda k: network.state(*grid_of(d[k], 0.0, 0.0)))

    def summary(self, case: Case, seconds: float, failed: int, fallbacks: int) -> dict[str, float]:
        """The summary columns, in their order.

        Of feeders there is something to compare where at least two asked, of participants where one did; NaN elsewhere.
        """
        requested, served = self.requested_kwh / 1000.0, self.served_kwh / 1000.0
        columns: dict[str, list[float]] = {}
        for name, least, asked, given in (
            ("feeder", 2, by_feeder(case, self.requested_kwh), by_feeder(case, self.served_kwh)),
            ("participant", 1, self.requested_kwh, self.served_kwh),
        ):
            ratios = [served_ratio(g, a)[a > 0] for g, a in zip(given, asked, strict=True)]
            enough = [r if len(r) >= least else r[:0] for r in ratios]
            columns[f"jain_{name}"] = [jain(r) for r in enough]
            columns[f"worst_{name}_served"] = [float(r.min()) if len(r) else np.nan for r in enough]
        fair = ("jain_feeder", "jain_participant", "worst_feeder_served", "worst_participant_served")
        batteries = {}
        if self.battery_kwh is not None:
            batteries = dict(zip(("charged_mwh", "discharged_mwh"), self.battery_kwh / 1000.0, strict=True))
        return {
            "requested_import_mwh": float(requested[0].sum()),
            "unserved_mwh": float((requested - served)[0].sum()),
            "requested_export_mwh": float(requested[1].sum()),
            "curtailed_mwh": float((requested - served)[1].sum()),
            "thermal_violations": self.violations.thermal,
            "voltage_violations": self.violations.voltage,
            "ac_thermal_violations": np.nan,
            "ac_voltage_violations": np.nan,
            **{name: float(np.fmin.reduce(columns[name])) for name in fair},
            "steps": self.steps,
            "seconds": seconds,
            "ms_per_step": 1000.0 * seconds / max(self.steps, 1),
            **{f"{name}_{d}": columns[name][i] for name in fair for i, d in enumerate(("import", "export"))},
            "worst_thermal_excess_pct": 100.0 * self.violations.largest_thermal,
            "worst_voltage_excess_pu": self.violations.largest_voltage_pu,
            "unavoidable_violations": self.violations.unavoidable,
            "fallback_steps": fallbacks,
            "failed_steps": failed,
            "revenue": self.revenue if self.priced else np.nan,
            **batteries,
        }


def _energy(import_kw: FloatArray, export_kw: FloatArray, dt_h: float) -> FloatArray:
    return np.stack([import_kw.sum(axis=0), export_kw.sum(axis=0)]) * dt_h
