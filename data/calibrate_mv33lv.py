"""Hold the case ``mv33lv`` to the rules that its scenario was calibrated by: every figure with its bounds.

    python data/calibrate_mv33lv.py [SEED ...] [--doe]

The rules were written down before any mechanism but ``no_control`` and ``equal_doe`` was looked at. They hold for
every seed, over the whole year:

1. In 5 to 15 % of the intervals full service would break a limit by import, and in as many by export.
2. In each direction a third to two thirds of the excess is that of the limit that all LV feeders share.
3. No half-hour of the day has more than a quarter of the import excess.
4. ``equal_doe:enrolled=requesting`` leaves 2 to 10 % of import unserved and of export curtailed (``--doe``; about a
   minute a seed).
5. Inflexible load alone breaks no limit.

Excess is energy, with everything requested served: what distribution transformers would carry above their rating, and
what the bay would carry beyond its limits after that has been cut off at every transformer.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

import amm_opt as ao
from amm_opt.arrays import DIRECTIONS, FloatArray
from amm_opt.cases import Case
from amm_opt.network import LinDistFlow

BLOCK = 732
SLACK = 1e-7
DAY = 48
BAY = "MV1.101 bay"
SCARCE, SHARED, HALF_HOUR, CUT = (0.05, 0.15), (1 / 3, 2 / 3), (0.0, 0.25), (0.02, 0.10)


@dataclass
class Figures:
    """What a year with everything requested served shows, by direction.

    Attributes:
        scarce: intervals in which a limit is broken.
        own_kwh, shared_kwh: (48,) excess by half-hour of the day, of transformers and of the bay.
        alone: pairs of limit and interval that inflexible load alone breaks.
    """

    intervals: int = 0
    alone: int = 0
    scarce: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DIRECTIONS, 0))
    own_kwh: dict[str, FloatArray] = field(default_factory=lambda: {d: np.zeros(DAY) for d in DIRECTIONS})
    shared_kwh: dict[str, FloatArray] = field(default_factory=lambda: {d: np.zeros(DAY) for d in DIRECTIONS})

    def shared(self, direction: str) -> float:
        """Share of the excess that is the bay's."""
        own, shared = self.own_kwh[direction].sum(), self.shared_kwh[direction].sum()
        return float(shared / (own + shared))

    def fullest_half_hour(self, direction: str) -> float:
        """Largest share of the excess that one half-hour of the day has."""
        total = self.own_kwh[direction] + self.shared_kwh[direction]
        return float(total.max() / total.sum())


def measured(case: Case) -> Figures:
    """The figures of a year."""
    model, figures = LinDistFlow(case.feeder), Figures()
    feeder, q = case.feeder, model.quantities
    transformer = np.flatnonzero((np.array(feeder.branch_kind) == "transformer") & (np.array(feeder.tier) == "LV"))
    bay = feeder.branch_names.index(BAY)
    flow = {"voltage": -1.0, "thermal": 0.0, "active": 1.0}
    side = np.array([flow[kind] for kind in q.kind])
    for start in range(0, case.n_steps, BLOCK):
        w = case.requests(start, min(start + BLOCK, case.n_steps))
        nothing = np.zeros_like(w.inflexible_kw)
        u = model.evaluate(*case.bus_injections(w.inflexible_kw, nothing, nothing))
        figures.alone += int(((u > q.upper + SLACK) | (u < q.lower - SLACK)).sum())
        injections = case.bus_injections(w.inflexible_kw, w.import_request_kw, w.export_request_kw)
        u, state = model.evaluate(*injections), model.state(*injections)
        away = np.where(side == 0, np.sign(state.p_flow_kw[:, q.element]), side)
        above, below = u > q.upper + SLACK, u < q.lower - SLACK
        broken = {
            "import": ((away == 1) & above) | ((side == 0) & (away == 1) & below) | ((side == -1) & below),
            "export": ((side == 1) & below) | ((side == 0) & (away == -1) & (above | below)) | ((side == -1) & above),
        }
        p, reactive = state.p_flow_kw[:, transformer], state.q_flow_kvar[:, transformer]
        most = np.sqrt(np.maximum(feeder.rating_kva[transformer] ** 2 - reactive**2, 0.0))
        kept = np.clip(p, -most, most)
        at_bay = state.p_flow_kw[:, bay] + (kept - p).sum(axis=1)
        own = {"import": np.maximum(p - most, 0.0).sum(axis=1), "export": np.maximum(-p - most, 0.0).sum(axis=1)}
        shared = {"import": at_bay - feeder.import_limit_kw[bay], "export": -at_bay - feeder.export_limit_kw[bay]}
        half_hour = (w.start + np.arange(w.n_steps)) % DAY
        for d in DIRECTIONS:
            figures.scarce[d] += int(broken[d].any(axis=1).sum())
            np.add.at(figures.own_kwh[d], half_hour, own[d] * case.dt_h)
            np.add.at(figures.shared_kwh[d], half_hour, np.maximum(shared[d], 0.0) * case.dt_h)
        figures.intervals += w.n_steps
    return figures


def rules(case: Case, doe: bool) -> Iterator[tuple[str, float, tuple[float, float]]]:
    """Name, figure and bounds of every rule."""
    figures = measured(case)
    for d in DIRECTIONS:
        yield f"intervals scarce in {d}", figures.scarce[d] / figures.intervals, SCARCE
    for d in DIRECTIONS:
        yield f"shared part of the {d} excess", figures.shared(d), SHARED
    yield "import excess in the fullest half-hour", figures.fullest_half_hour("import"), HALF_HOUR
    yield "limits that inflexible load alone breaks", float(figures.alone), (0.0, 0.0)
    if doe:
        s = ao.simulate(case, "equal_doe:enrolled=requesting").summary
        yield "equal_doe, requesting: unserved", s["unserved_mwh"] / s["requested_import_mwh"], CUT
        yield "equal_doe, requesting: curtailed", s["curtailed_mwh"] / s["requested_export_mwh"], CUT


def main() -> None:
    """Command line; exit code 1 where a figure is outside its bounds."""
    parser = argparse.ArgumentParser(description="Hold the case mv33lv to the rules of its calibration.")
    parser.add_argument("seeds", nargs="*", type=int, default=[1, 2, 3, 4, 5], help="seeds of the scenario")
    parser.add_argument("--doe", action="store_true", help="also run equal_doe over the year")
    given = parser.parse_args()
    missed = 0
    for seed in given.seeds:
        print(f"mv33lv:seed={seed}")
        for name, value, (lowest, highest) in rules(ao.load_case(f"mv33lv:seed={seed}"), given.doe):
            kept = lowest <= value <= highest
            missed += not kept
            print(
                f"  {name:42s} {value:8.4f}   {lowest:.2f} .. {highest:.2f}   {'kept' if kept else 'MISSED'}",
                flush=True,
            )
    raise SystemExit(int(missed > 0))


if __name__ == "__main__":
    main()
