"""Settlement: what everybody pays at a run's prices, what is left to the operator, and what must be between.

    bill_i = sum_t dt (p_it (x_it + c_it) - q_it (y_it + b_it) - s h_it) + charge_i,        residual = sum_i bill_i,

x and y served import and export, c and b what charges and discharges batteries, p and q the prices of their
participant, h power in reserve and s its price, over the intervals that are settled; charge_i is 0, or a share of what
is missing to a sum that the operator is to have (cost recovery). Every kWh is bought and sold: what a participant's own
sun charges it is paid for, and pays for. A mechanism may price charging otherwise (``Payments``). With prices within
[p_min, p_max] and [q_min, q_max], X and Y the energies, the residual before charges is within

    p_min X - q_max Y - R  <=  residual  <=  p_max X - q_min Y - R,           R what reserve is paid.
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
from amm_opt.market.payments import AS_TRADED, Payments

BY = ("participant", "energy")
"""What charges are in proportion to: nothing, so that everybody pays the same; or flexible energy, both directions."""
ENERGIES = (*DIRECTIONS, "charged", "discharged")
MONEY = ("paid", "earned", "charging", "discharging", "reserve")
"""For import, by export, for charging, by discharging, by reserve."""
SIGNS = np.array([1.0, -1.0, 1.0, -1.0, -1.0])
"""Which of these the operator gets."""
Bounds = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Settlement:
    """What a run comes to in money, in the currency of its prices.

    Attributes:
        participants: one row each: ``participant``, ``feeder``, ``import_kwh`` and ``export_kwh`` served, the mean
            ``import_price`` and ``export_price`` of these (NaN without energy), ``charged_kwh`` and
            ``discharged_kwh`` of its battery, ``paid`` for import, ``earned`` by export, ``charging`` paid for what
            charges the battery, ``discharging`` and ``reserve`` earned by what it discharges and by power in reserve,
            ``charge`` for cost recovery and ``bill``, paid - earned + charging - discharging - reserve + charge; and
            ``uplift``, what its export and discharge cost at its own offers beyond earned + discharging - charging:
            told, and in no bill.
        operator: the sums ``import_mwh``, ``export_mwh``, ``charged_mwh``, ``discharged_mwh``, ``paid``, ``earned``,
            ``charging``, ``discharging``, ``reserve``, ``charges``, ``uplift``; ``residual``, the sum of all bills;
            ``residual_min`` and ``residual_max``, between which it must be before charges at prices within their
            bounds (NaN where the mechanism has none); and where the source has a price, ``source_cost``, what the
            net flexible import and batteries cost there, and ``surplus``, the residual without it.
        intervals: one row each: ``paid`` to ``reserve`` as above, and ``residual``, all before charges.
    """

    participants: pd.DataFrame
    operator: pd.Series[float]
    intervals: pd.DataFrame

    def _repr_html_(self) -> str:
        return as_html("Settlement", self.operator.to_frame("currency"))

    @classmethod
    def of(
        cls,
        case: Case,
        intervals: Iterable[Allocation],
        bounds: Bounds | None = None,
        *,
        payments: Payments = AS_TRADED,
        first: int = 0,
        recover: float | None = None,
        by: str = BY[0],
        source_price: float | None = None,
    ) -> Settlement:
        """Settle (T, n) allocations with prices; without a price nothing is paid, as where an interval failed.

        Args:
            bounds: lowest and highest price of import, and of export.
            payments: how batteries and reserve are paid.
            first: number of the first interval within the case; reserve depends on what is available there.
            recover: what the operator is to have left; what is missing is charged, what is too much is given back.
            by: ``participant`` for equal charges, ``energy`` in proportion to served import and export.
            source_price: of a kWh at the source.

        Raises:
            InputError: for wrong arguments, and where energy is to be charged of which there is none.
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
        kwh, money = np.zeros((len(ENERGIES), case.n_participants)), np.zeros((len(MONEY), case.n_participants))
        offered = np.zeros(case.n_participants)
        tables, start = [], first
        for part in intervals:
            power, rate = rates(case, start, part, payments)
            kwh += power.sum(axis=1) * case.dt_h
            money += rate.sum(axis=1) * case.dt_h
            offered += payments.offered(case, power[1], power[3]).sum(axis=0) * case.dt_h
            stop = start + power.shape[1]
            row = pd.DataFrame(rate.sum(axis=2).T * case.dt_h, columns=list(MONEY), index=case.times[start:stop])
            tables.append(row.assign(residual=row.to_numpy() @ SIGNS))
            start = stop
        before = float(SIGNS @ money.sum(axis=1))
        charge = np.zeros(case.n_participants) if recover is None else _charges(recover - before, by, kwh)
        table = pd.concat(tables).rename_axis("time")
        bills = _bills(case, kwh, money, charge)
        income = bills["earned"] + bills["discharging"] - bills["charging"]
        bills["uplift"] = np.maximum(offered - income, 0.0) if payments.offers != "none" else 0.0
        told = _operator(kwh, money, charge, bounds, payments, source_price)
        told["uplift"] = bills["uplift"].sum()
        return cls(bills, told, table)


def rates(case: Case, start: int, part: Allocation, payments: Payments) -> tuple[FloatArray, FloatArray]:
    """Powers (4, T, n) of ``ENERGIES`` in kW, and (5, T, n) currency per hour of ``MONEY``, before any sign.

    Args:
        start: number of the first interval within the case.
        part: (T, n) powers and prices.
    """
    none = np.zeros(part.import_kw.shape)
    battery = none if part.battery_kw is None else np.asarray(part.battery_kw)
    power = np.stack([part.import_kw, part.export_kw, np.maximum(-battery, 0.0), np.maximum(battery, 0.0)])
    charging = payments.charging_price(part.import_price, part.export_price)
    prices = (part.import_price, part.export_price, charging, part.export_price)
    rate = [none if price is None else np.nan_to_num(kw * price) for kw, price in zip(power, prices, strict=True)]
    if payments.reserve and payments.reserve_price:
        available = case.requests(start, start + len(none), waits=True).export_request_kw
        held = payments.reserve_kw(case, available, power[0], power[1], battery)
        return power, np.stack([*rate, payments.reserve_price * held])
    return power, np.stack([*rate, none])


def _charges(missing: float, by: str, kwh: FloatArray) -> FloatArray:
    weight = kwh[:2].sum(axis=0) if by == "energy" else np.ones(kwh.shape[1])
    if not weight.any():
        raise InputError("costs cannot be recovered by energy: none was served", subject="settlement")
    return np.asarray(missing * weight / weight.sum())


def _bills(case: Case, kwh: FloatArray, money: FloatArray, charge: FloatArray) -> pd.DataFrame:
    mean = np.divide(money[:2], kwh[:2], out=np.full(kwh[:2].shape, np.nan), where=kwh[:2] > 0)
    feeders = np.array([*case.feeder.lv_feeders, ""], dtype=object)
    return pd.DataFrame(
        {
            "participant": case.participant_names,
            "feeder": feeders[case.lv_feeder],
            **{f"{d}_kwh": kwh[k] for k, d in enumerate(DIRECTIONS)},
            **{f"{d}_price": mean[k] for k, d in enumerate(DIRECTIONS)},
            **{f"{d}_kwh": kwh[k] for k, d in enumerate(ENERGIES) if d not in DIRECTIONS},
            **dict(zip(MONEY, money, strict=True)),
            "charge": charge,
            "bill": SIGNS @ money + charge,
        }
    )


def _operator(
    kwh: FloatArray,
    money: FloatArray,
    charge: FloatArray,
    bounds: Bounds | None,
    payments: Payments,
    source_price: float | None,
) -> pd.Series[float]:
    energy, paid = kwh.sum(axis=1), money.sum(axis=1)
    told = {
        **{f"{name}_mwh": kwh / 1000.0 for name, kwh in zip(ENERGIES, energy, strict=True)},
        **dict(zip(MONEY, paid, strict=True)),
        "charges": charge.sum(),
        "residual": SIGNS @ paid + charge.sum(),
        "residual_min": np.nan,
        "residual_max": np.nan,
    }
    imported, exported, charged, discharged = energy
    if bounds is not None:
        (low, high), (low_export, high_export) = bounds
        least, most = {"import": (low, high), "export": (low_export, high_export), "free": (0.0, 0.0)}[
            payments.charging
        ]
        sold = exported + discharged
        told["residual_min"] = low * imported + least * charged - high_export * sold - told["reserve"]
        told["residual_max"] = high * imported + most * charged - low_export * sold - told["reserve"]
    if source_price is not None:
        told["source_cost"] = source_price * (imported + charged - exported - discharged)
        told["surplus"] = told["residual"] - told["source_cost"]
    return pd.Series(told, dtype=float)
