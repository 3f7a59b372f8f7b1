"""Summary numbers of a run, accumulated block by block."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from amm_opt.cases import Case, Window
from amm_opt.market import Allocation
from amm_opt.market.state import REQUEST_TOLERANCE_KW, served_ratio
from amm_opt.solve import Step

FloatArray = NDArray[np.float64]

THERMAL_TOLERANCE = 1e-4
"""A branch is in violation beyond its rating by more than this fraction of it."""
VOLTAGE_TOLERANCE_PU = 1e-5
"""A bus is in violation beyond its band by more than this."""


def jain(ratios: FloatArray) -> float:
    """Jain's fairness index (sum a)^2 / (n sum a^2) in [1/n, 1]; 1 for no values or all zero.

    Source: R. Jain, D. Chiu, W. Hawe, DEC-TR-301 (1984).
    """
    square = float(np.sum(ratios**2))
    return 1.0 if square == 0 else float(np.sum(ratios) ** 2 / (len(ratios) * square))


def by_feeder(case: Case, per_participant: FloatArray) -> FloatArray:
    """Sum a (..., n) array over the participants of each LV feeder: (..., feeders)."""
    inside = case.lv_feeder >= 0
    count = len(case.feeder.lv_feeders)
    out = np.zeros((*per_participant.shape[:-1], count))
    np.add.at(out.swapaxes(-1, 0), case.lv_feeder[inside], per_participant[..., inside].swapaxes(-1, 0))
    return out


@dataclass
class Metrics:
    """Running totals of one run; (2, n) arrays have row 0 import, row 1 export."""

    requested_kwh: FloatArray
    served_kwh: FloatArray
    thermal_violations: int = 0
    voltage_violations: int = 0
    unavoidable_violations: int = 0
    worst_thermal_excess: float = 0.0
    worst_voltage_excess_pu: float = 0.0
    revenue: float = 0.0
    steps: int = 0

    @classmethod
    def empty(cls, n: int) -> Self:
        """Nothing yet, for n participants."""
        return cls(np.zeros((2, n)), np.zeros((2, n)))

    def merge(self, other: Metrics) -> None:
        """Add the totals of other intervals."""
        for item in fields(self):
            mine, theirs = getattr(self, item.name), getattr(other, item.name)
            setattr(self, item.name, max(mine, theirs) if item.name.startswith("worst") else mine + theirs)

    def add(self, step: Step, window: Window, allocation: Allocation) -> None:
        """Account for a block: window and allocation with (T, n) arrays."""
        self.steps += window.n_steps
        self.requested_kwh += _energy(window.import_request_kw, window.export_request_kw, window.dt_h)
        self.served_kwh += _energy(allocation.import_kw, allocation.export_kw, window.dt_h)
        for power, price, sign in (
            (allocation.import_kw, allocation.import_price, 1.0),
            (allocation.export_kw, allocation.export_price, -1.0),
        ):
            if price is not None:
                self.revenue += sign * float(np.sum(power * price)) * window.dt_h
        self._count_violations(step, window, allocation)

    def _count_violations(self, step: Step, window: Window, allocation: Allocation) -> None:
        net = step.network
        state = net.state(*step.node_injections(window.inflexible_kw, allocation.import_kw, allocation.export_kw))
        alone = net.state(*step.node_injections(window.inflexible_kw, 0.0, 0.0))
        thermal, thermal_alone = (np.maximum(s.s_flow_kva / net.rating_kva - 1.0, 0.0) for s in (state, alone))
        voltage, voltage_alone = (
            np.maximum(np.maximum(s.v_pu - net.v_max_pu, net.v_min_pu - s.v_pu), 0.0) for s in (state, alone)
        )
        for excess, before, tolerance, kind in (
            (thermal, thermal_alone, THERMAL_TOLERANCE, "thermal"),
            (voltage, voltage_alone, VOLTAGE_TOLERANCE_PU, "voltage"),
        ):
            beyond = excess > tolerance
            unavoidable = beyond & (before > 0) & (excess <= before + tolerance)
            avoidable = beyond & ~unavoidable
            self.unavoidable_violations += int(unavoidable.sum())
            worst = float(np.max(excess, where=avoidable, initial=0.0))
            if kind == "thermal":
                self.thermal_violations += int(avoidable.sum())
                self.worst_thermal_excess = max(self.worst_thermal_excess, worst)
            else:
                self.voltage_violations += int(avoidable.sum())
                self.worst_voltage_excess_pu = max(self.worst_voltage_excess_pu, worst)

    def summary(self, case: Case, seconds: float, failed: int, fallbacks: int) -> dict[str, float]:
        """The summary columns, in their order."""
        requested, served = self.requested_kwh / 1000.0, self.served_kwh / 1000.0
        columns: dict[str, tuple[float, float]] = {}
        for name, asked, given in (
            ("feeder", by_feeder(case, self.requested_kwh), by_feeder(case, self.served_kwh)),
            ("participant", self.requested_kwh, self.served_kwh),
        ):
            ratios = [served_ratio(g, a)[a > REQUEST_TOLERANCE_KW] for g, a in zip(given, asked, strict=True)]
            columns[f"jain_{name}"] = (jain(ratios[0]), jain(ratios[1]))
            columns[f"worst_{name}_served"] = tuple(float(np.min(r, initial=1.0)) for r in ratios)  # type: ignore[assignment]
        fair = ("jain_feeder", "jain_participant", "worst_feeder_served", "worst_participant_served")
        return {
            "requested_import_mwh": float(requested[0].sum()),
            "unserved_mwh": float((requested - served)[0].sum()),
            "requested_export_mwh": float(requested[1].sum()),
            "curtailed_mwh": float((requested - served)[1].sum()),
            "thermal_violations": self.thermal_violations,
            "voltage_violations": self.voltage_violations,
            "ac_thermal_violations": np.nan,
            "ac_voltage_violations": np.nan,
            **{name: min(columns[name]) for name in fair},
            "steps": self.steps,
            "seconds": seconds,
            "ms_per_step": 1000.0 * seconds / max(self.steps, 1),
            **{f"{name}_{d}": columns[name][i] for name in fair for i, d in enumerate(("import", "export"))},
            "worst_thermal_excess_pct": 100.0 * self.worst_thermal_excess,
            "worst_voltage_excess_pu": self.worst_voltage_excess_pu,
            "unavoidable_violations": self.unavoidable_violations,
            "fallback_steps": fallbacks,
            "failed_steps": failed,
            "revenue": self.revenue,
        }


def _energy(import_kw: FloatArray, export_kw: FloatArray, dt_h: float) -> FloatArray:
    return np.stack([import_kw.sum(axis=0), export_kw.sum(axis=0)]) * dt_h
