r"""Dynamic network prices (DNP): a bounded price is posted per interval, participants answer, limits are not enforced.

Source: dynamic network pricing as a reference point for operating envelopes (Zhang et al., arXiv 2602.12573); the
response, the choice of the price and the draw of elasticities are our reading.

Response at import price p, reference price p0 (the lowest) and elasticity e; for exports p0 is the highest price and
p0 - p stands for p - p0:

    x = r clip(1 - e (p - p0) / p0, 0, 1).

The operator expects one elasticity of everybody, so each price asks for a share s of the requests, and the lowest price
that is hosted belongs to the largest share that is: p = p0 (1 + (1 - s) / e), cut to its bounds. With a price per LV
feeder the shares are lexicographically max-min. Realised elasticities differ by participant and day.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from amm_opt.cases import Window
from amm_opt.errors import InputError
from amm_opt.market import Allocation, Mechanism, NoState
from amm_opt.market.mechanism import FloatArray, Solve
from amm_opt.solve import Solution, Step
from amm_opt.solve.leximin import fill
from amm_opt.solve.program import ROUNDING

PER = ("system", "feeder")
SETTLED = 1e-9
MAX_ROUNDS = 100


@dataclass(frozen=True)
class DNP(Mechanism[NoState]):
    """Posts the lowest bounded prices whose expected response is hosted; the response differs from day to day.

    Args:
        per: ``system`` (one price per direction) or ``feeder`` (one per LV feeder and direction).
        elasticity: what the operator expects of everybody, > 0.
        spread: realised elasticities are uniform within this fraction of the expected one, in [0, 1].
        seed: of the realised elasticities.
        import_price_min, import_price_max, export_price_min, export_price_max: bounds in currency per kWh; the lowest
            import price and the highest export price are the reference at which everything is asked for.
    """

    name: ClassVar[str] = "dnp"
    enforces_limits: ClassVar[bool] = False
    full_service_optimal: ClassVar[bool] = True

    per: str = "system"
    elasticity: float = 0.5
    spread: float = 0.3
    seed: int = 0
    import_price_min: float = 0.10
    import_price_max: float = 0.40
    export_price_min: float = -0.08
    export_price_max: float = 0.08

    def __post_init__(self) -> None:
        problems = []
        if self.per not in PER:
            problems.append(f"per = {self.per!r}; valid choices: {', '.join(PER)}")
        if not 0 < self.elasticity < np.inf:
            problems.append(f"elasticity = {self.elasticity} must be positive: a higher price means less use")
        if not 0 <= self.spread <= 1:
            problems.append(f"spread = {self.spread} must be in [0, 1]")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            problems.append(f"seed = {self.seed!r} must be a whole number that is not negative")
        for d in ("import", "export"):
            lowest, highest = (getattr(self, f"{d}_price_{end}") for end in ("min", "max"))
            if not (np.isfinite([lowest, highest]).all() and lowest <= highest):
                problems.append(f"{d} price from {lowest} to {highest}: the lowest must not exceed the highest")
        problems += [
            f"{name} = {getattr(self, name)}, the reference price, must be positive"
            for name in ("import_price_min", "export_price_max")
            if not getattr(self, name) > 0
        ]
        if problems:
            raise InputError(problems, subject=self.name)

    def program(self, step: Step) -> None:
        """Nothing to solve: prices follow from sweeps."""
        return None

    def clear(self, step: Step, solve: Solve, state: NoState, window: Window) -> Solution:
        share, group = self._hosted_shares(step, window)
        most = np.array(
            [self.import_price_max / self.import_price_min - 1, 1 - self.export_price_min / self.export_price_max]
        )
        change = np.minimum((1.0 - share) / self.elasticity, most[:, None])[:, group]
        prices = (self.import_price_min * (1.0 + change[0]), self.export_price_max * (1.0 - change[1]))
        answer = self._answer(step, prices, window)
        values = {"import": answer[0], "export": answer[1], "import_price": prices[0], "export_price": prices[1]}
        return Solution(values, {}, float(np.sum(answer)), "-")

    def settle(self, step: Step, solution: Solution | None, window: Window) -> Allocation:  # type: ignore[override]
        if solution is None:
            reference = np.full((2, step.n), [[self.import_price_min], [self.export_price_max]])
            return Allocation(window.import_request_kw, window.export_request_kw, *reference)
        return Allocation(*(solution[v] for v in ("import", "export", "import_price", "export_price")))

    def carry_out(self, step: Step, plan: Allocation, window: Window) -> Allocation:
        """Participants answer to the posted prices with what they really want."""
        assert plan.import_price is not None
        assert plan.export_price is not None
        prices = (plan.import_price, plan.export_price)
        return Allocation(*self._answer(step, prices, window), *prices)

    def _answer(
        self, step: Step, prices: tuple[FloatArray, FloatArray], window: Window
    ) -> tuple[FloatArray, FloatArray]:
        elasticity = self._realised(step, window)
        less = prices[0] / self.import_price_min - 1.0, 1.0 - prices[1] / self.export_price_max
        shares = [np.clip(1.0 - elasticity * change, 0.0, 1.0) for change in less]
        return shares[0] * window.import_request_kw, shares[1] * window.export_request_kw

    def _hosted_shares(self, step: Step, window: Window) -> tuple[FloatArray, np.ndarray]:
        """(2, groups) largest expected shares of import and export that are hosted together, and everyone's group.

        A limit counts for the direction that presses on it, with the expected answer of the other direction. Shares
        only fall from round to round, because each may take away what relieved the other.
        """
        count = len(step.case.feeder.lv_feeders) + 1 if self.per == "feeder" else 1
        group = step.case.lv_feeder % count if self.per == "feeder" else np.zeros(step.n, dtype=np.intp)
        member = np.arange(count)[:, None] == group
        (lower, upper), (alone, _) = step.limits(window), step.usage(window)
        use = np.stack(
            [
                step.quantities(window, member * window.import_request_kw, 0.0) - alone,
                step.quantities(window, 0.0, member * window.export_request_kw) - alone,
            ]
        )
        share = np.ones((2, count))
        for _ in range(MAX_ROUNDS):
            before = share.copy()
            for d in (0, 1):
                base = alone + share[1 - d] @ use[1 - d]
                pressing = np.concatenate([use[d], -use[d]], axis=1)
                room = np.concatenate([upper - base, base - lower])
                tight = pressing.sum(axis=0) > np.maximum(room, 0.0) + ROUNDING
                rows = np.where(pressing[:, tight] > ROUNDING, pressing[:, tight], 0.0).T
                limit = np.maximum(room[tight], 0.0)
                share[d] = np.clip(fill(rows, limit, np.ones(count)), 0.0, share[d])
            if np.max(before - share) <= SETTLED:
                break
        return share, group

    def _realised(self, step: Step, window: Window) -> FloatArray:
        """(n,) today's elasticities, the same whatever the order of participants."""
        draw = np.random.default_rng([self.seed, window.times[0].toordinal()]).uniform(-1.0, 1.0, step.n)
        return np.asarray(self.elasticity * (1.0 + self.spread * draw[_rank(step.case.participant_names)]))


@lru_cache(maxsize=4)
def _rank(names: tuple[str, ...]) -> np.ndarray:
    """Place of everyone in alphabetical order."""
    return np.argsort(np.argsort(np.array(names)))
