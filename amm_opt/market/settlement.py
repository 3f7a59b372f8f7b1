"""Settlement: what everybody pays at a run's prices, what is left to the operator, and what must be between.

    bill_i = sum_t dt (p_it x_it - q_it y_it) + charge_i,        residual = sum_i bill_i,

x and y served import and export, p and q their prices, over the intervals that are settled; charge_i is 0, or a share
of what is missing to a sum that the operator is to have (cost recovery). With prices within [p_min, p_max] and
[q_min, q_max], X and Y the energies, the residual before charges is within

    p_min X - q_max Y  <=  residual  <=  p_max X - q_min Y.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from amm_opt.arrays import DIRECTIONS, FloatArray
from amm_opt.cases import Case
from amm_opt.errors import InputError
from amm_opt.fields import is_number, shortened
from amm_opt.io.html import as_html
from amm_opt.market.mechanism import Allocation

BY = ("participant", "energy")
"""What charges are in proportion to: nothing, so that everybody pays the same; or flexible energy, both directions."""
Bounds = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Settlement:
    """What a run comes to in money, in the currency of its prices.

    Attributes:
        participants: one row each: ``participant``, ``feeder``, ``import_kwh`` and ``export_kwh`` served, the mean
            ``import_price`` and ``export_price`` of these (NaN without energy), ``paid`` for import, ``earned`` by
            export, ``charge`` for cost recovery and ``bill``, paid - earned + charge.
        operator: ``import_mwh``, ``export_mwh``, ``paid``, ``earned``, ``charges``, ``residual``, the sum of all bills;
            ``residual_min`` and ``residual_max``, between which paid - earned must be at prices within their
            bounds (NaN where the mechanism has none); and where the source has a price, ``source_cost``, what the
            net flexible import costs there, and ``surplus``, the residual without it.
    """

    participants: pd.DataFrame
    operator: pd.Series[float]

    def _repr_html_(self) -> str:
        return as_html("Settlement", self.operator.to_frame("currency"))

    @classmethod
    def of(
        cls,
        case: Case,
        intervals: Iterable[Allocation],
        bounds: Bounds | None = None,
        *,
        recover: float | None = None,
        by: str = BY[0],
        source_price: float | None = None,
    ) -> Settlement:
        """Settle (T, n) allocations with prices; without a price nothing is paid, as where an interval failed.

        Args:
            bounds: lowest and highest price of import, and of export.
            recover: what the operator is to have left; what is missing is charged, what is too much is given back.
            by: ``participant`` for equal charges, ``energy`` in proportion to served import and export.
            source_price: of a kWh at the source.

        Raises:
            InputError: for wrong arguments, where energy is to be charged of which there is none, and where batteries
                took part.
        """
        problems = [
            f"{name} = {shortened(value)} must be a number"
            for name, value in (("recover", recover), ("source_price", source_price))
            if not (value is None or is_number(value))
        ]
        if by not in BY:
            problems.append(f"by = {shortened(by)}; valid choices: {', '.join(BY)}")
        if problems:
            raise InputError(problems, subject="settlement")
        kwh, money = np.zeros((2, case.n_participants)), np.zeros((2, case.n_participants))
        for part in intervals:
            if part.battery_kw is not None and part.battery_kw.any():
                raise InputError("what batteries charge and discharge is not settled yet", subject="settlement")
            for d, (power, price) in enumerate(
                ((part.import_kw, part.import_price), (part.export_kw, part.export_price))
            ):
                kwh[d] += power.sum(axis=0) * case.dt_h
                if price is not None:
                    money[d] += np.nansum(power * price, axis=0) * case.dt_h
        before = float(money[0].sum() - money[1].sum())
        charge = np.zeros(case.n_participants) if recover is None else _charges(recover - before, by, kwh)
        return cls(_bills(case, kwh, money, charge), _operator(kwh, money, charge, bounds, source_price))


def _charges(missing: float, by: str, kwh: FloatArray) -> FloatArray:
    weight = kwh.sum(axis=0) if by == "energy" else np.ones(kwh.shape[1])
    if not weight.any():
        raise InputError("costs cannot be recovered by energy: none was served", subject="settlement")
    return np.asarray(missing * weight / weight.sum())


def _bills(case: Case, kwh: FloatArray, money: FloatArray, charge: FloatArray) -> pd.DataFrame:
    mean = np.divide(money, kwh, out=np.full(kwh.shape, np.nan), where=kwh > 0)
    feeders = np.array([*case.feeder.lv_feeders, ""], dtype=object)
    return pd.DataFrame(
        {
            "participant": case.participant_names,
            "feeder": feeders[case.lv_feeder],
            **{f"{d}_kwh": kwh[k] for k, d in enumerate(DIRECTIONS)},
            **{f"{d}_price": mean[k] for k, d in enumerate(DIRECTIONS)},
            "paid": money[0],
            "earned": money[1],
            "charge": charge,
            "bill": money[0] - money[1] + charge,
        }
    )


def _operator(
    kwh: FloatArray, money: FloatArray, charge: FloatArray, bounds: Bounds | None, source_price: float | None
) -> pd.Series[float]:
    (imported, exported), (paid, earned) = kwh.sum(axis=1), money.sum(axis=1)
    told = {
        "import_mwh": imported / 1000.0,
        "export_mwh": exported / 1000.0,
        "paid": paid,
        "earned": earned,
        "charges": charge.sum(),
        "residual": paid - earned + charge.sum(),
        "residual_min": np.nan,
        "residual_max": np.nan,
    }
    if bounds is not None:
        (low, high), (low_export, high_export) = bounds
        told["residual_min"] = low * imported - high_export * exported
        told["residual_max"] = high * imported - low_export * exported
    if source_price is not None:
        told["source_cost"] = source_price * (imported - exported)
        told["surplus"] = told["residual"] - told["source_cost"]
    return pd.Series(told, dtype=float)
