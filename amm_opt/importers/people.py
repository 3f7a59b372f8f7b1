"""Loads and plants of an imported network as participants whose reactive power is right at all times."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import pandas as pd

from amm_opt.errors import shorten
from amm_opt.importers.report import ImportReport

LEAST_POWER_FACTOR = 0.1
SAME_RATIO = 1e-6
"""Kvar per kW that differ by less are one power factor."""
CONSTANT = "constant"
FACTORS = {"inflexible": "power_factor", "import": "power_factor_import", "export": "power_factor_export"}


def unique_names(names: Iterable[str], taken: Collection[str] = ()) -> list[str]:
    """The names, later ones of a name with a number that no other name has."""
    given = list(names)
    used = {*taken, *given}
    seen, out = set(taken), []
    for name in given:
        made, number = name, 2
        while made in (seen if made == name else used):
            made, number = f"{name} ({number})", number + 1
        seen.add(made)
        used.add(made)
        out.append(made)
    return out


def participants(
    elements: pd.DataFrame, profiles: pd.DataFrame, report: ImportReport
) -> tuple[pd.DataFrame, pd.Series[str]]:
    """One participant per bus, and further ones for what is at a bus with another profile and another power factor.

    Elements of one quantity on one profile share the power factor of their sum. Reactive power without active power, or
    with too little for a power factor, is constant.

    Args:
        elements: ``bus, quantity, p_kw, q_kvar, profile, name``, see ``Draft``.
        profiles: the columns that elements follow, beside ``time``.

    Returns:
        The table of participants, and the participant of each element.
    """
    parts = elements.reset_index(drop=True)
    parts["profile"] = parts["profile"].replace("", CONSTANT)
    loose = _constant_kvar(parts, profiles, report)
    q = parts["q_kvar"].where(~loose, 0.0)
    low, high = (getattr(profiles.drop(columns="time"), f)() for f in ("min", "max"))
    extremes = [parts["p_kw"] * parts["profile"].map(e).astype(float) for e in (low, high)]
    group, ratio = _groups(parts.assign(q_kvar=q), extremes)
    names = _named(parts, group)
    table = pd.DataFrame({"name": names.drop_duplicates()})
    table["bus"] = table["name"].map(dict(zip(names, parts["bus"], strict=True)))
    for quantity, column in FACTORS.items():
        own = parts["quantity"] == quantity
        slope = table["name"].map(dict(zip(names[own], ratio[own], strict=True))).fillna(0.0)
        table[column] = np.where(slope < 0, -1.0, 1.0) / np.sqrt(1.0 + slope**2)
    sign = np.where(parts["quantity"] == "export", -1.0, 1.0)
    drawn = (parts["q_kvar"].where(loose, 0.0) * sign).groupby(names).sum()
    table["inflexible_kvar"] = table["name"].map(drawn)
    power = np.stack([np.where(parts["quantity"] == "export", -e, e) for e in extremes])
    for column, most in (("import", power.max(axis=0)), ("export", (-power).max(axis=0))):
        total = pd.Series(np.maximum(most, 0.0)).groupby(names).sum()
        table[f"connection_{column}_kw"] = table["name"].map(total)
    report.assumed.append("connections cover the highest draw and output of the elements behind them")
    report.assumed.append("one participant per bus; power factors are constant, elements on one profile share theirs")
    if further := sorted(set(names) - set(parts["bus"])):
        report.assumed.append(
            f"{len(further)} further participants, for elements with a power factor and a profile of their own:"
            f" {shorten(further)}"
        )
    return table.sort_values("name", ignore_index=True), names.set_axis(elements.index)


def _constant_kvar(parts: pd.DataFrame, profiles: pd.DataFrame, report: ImportReport) -> pd.Series[bool]:
    """Which elements draw or inject their reactive power at all times."""
    sums = parts.groupby(["bus", "quantity", "profile"])[["p_kw", "q_kvar"]].transform("sum")
    alone = parts["p_kw"].abs() < LEAST_POWER_FACTOR * np.hypot(parts["p_kw"], parts["q_kvar"])
    together = sums["p_kw"].abs() < LEAST_POWER_FACTOR * np.hypot(sums["p_kw"], sums["q_kvar"])
    steady = parts["profile"].eq(CONSTANT)
    loose: pd.Series[bool] = (alone | (together & steady)) & parts["q_kvar"].ne(0)
    if loose.any():
        report.assumed.append(
            f"{parts['q_kvar'][loose].abs().sum():.1f} kvar of elements with little or no active power are constant"
            f" reactive power: {shorten(sorted(set(parts['name'][loose])))}"
        )
    moving = loose & ((~steady & profiles.shape[0]) | (parts["quantity"].ne("inflexible") & parts["p_kw"].ne(0)))
    if moving.any():
        report.assumed.append(
            f"of these, {shorten(sorted(set(parts['name'][moving])))} may vary: their reactive power stays what it is"
        )
    return loose


def _groups(parts: pd.DataFrame, extremes: list[pd.Series[float]]) -> tuple[pd.Series[int], pd.Series[float]]:
    """Number of the group within its bus of every element, 0 for the bus's main participant, and its kvar per kW."""
    weight = np.maximum(extremes[0].abs(), extremes[1].abs())
    group = pd.Series(0, index=parts.index)
    ratio = pd.Series(0.0, index=parts.index)
    own = parts.assign(weight=weight)
    for _, rows in own.groupby(["bus", "quantity"], sort=False):
        slopes: list[float] = []
        sums = _sums(rows)
        for index, slope in sorted(sums, key=lambda s: -float(own.loc[s[0], "weight"].sum())):
            near = [k for k, known in enumerate(slopes) if abs(known - slope) <= SAME_RATIO]
            if not near:
                slopes.append(slope)
            group[index], ratio[index] = (near or [len(slopes) - 1])[0], slope
    return group, ratio


def _sums(rows: pd.DataFrame) -> list[tuple[pd.Index[int], float]]:
    """Elements of one bus and quantity on one profile, and the kvar per kW of their sum.

    Those that draw and those that generate stay apart where the sum is too small for a power factor.
    """
    out = []
    for _, same in rows.groupby("profile", sort=False):
        p, q = same["p_kw"].sum(), same["q_kvar"].sum()
        if abs(p) >= LEAST_POWER_FACTOR * np.hypot(p, q) and p != 0:
            out.append((same.index, float(q / p)))
            continue
        for _, side in same.groupby(same["p_kw"] < 0):
            p, q = side["p_kw"].sum(), side["q_kvar"].sum()
            out.append((side.index, float(q / p) if p != 0 else 0.0))
    return out


def _named(parts: pd.DataFrame, group: pd.Series[int]) -> pd.Series[str]:
    """Participant of every element: its bus, or the bus and the name of the first element of a further group."""
    names = parts["bus"].astype(object).copy()
    further = group > 0
    if not further.any():
        return names
    keys = list(zip(parts["bus"][further], group[further], strict=True))
    first = dict(zip(reversed(keys), reversed(list(parts["name"][further])), strict=True))
    made = unique_names([f"{bus}: {first[bus, k]}" for bus, k in first], set(parts["bus"]))
    label = dict(zip(first, made, strict=True))
    names[further] = [label[key] for key in keys]
    return names
