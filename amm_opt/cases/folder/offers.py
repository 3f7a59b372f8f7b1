"""Offers in steps: a plant that asks more for what it gives last becomes one participant per step."""

from __future__ import annotations

import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray
from amm_opt.cases.profiles import QUANTITIES
from amm_opt.errors import counted, shown
from amm_opt.io.columns import check_columns

OFFER_COLUMNS = {"participant": None, "share": None, "export_offer": None}
WHOLE = 1e-6
"""Shares add up to 1 within this."""
EXPORT = QUANTITIES.index("export")


def falling(offers: FloatArray) -> int | None:
    """The first step, counted from 1, that asks less than the one before: the cost is not convex; None where none does.

    A program at least cost would take such a step first, which no plant can do.
    """
    down = np.flatnonzero(np.diff(offers) < 0)
    return int(down[0]) + 2 if len(down) else None


def step_name(name: str, k: int) -> str:
    """What the participant of step k of a plant is called, counted from 0: the first as the plant."""
    return name if k == 0 else f"{name}, step {k + 1}"


def wrong_offers(offers: pd.DataFrame, people: pd.DataFrame) -> list[str]:
    """What is wrong with a table of offers by itself, and with plants that cannot offer in steps.

    Args:
        offers: rows ``participant, share, export_offer`` in the order in which a plant gives its power; shares of what
            is available.
        people: participants with defaults.
    """
    problems = check_columns(offers, OFFER_COLUMNS, (), "offers")
    if problems:
        return problems
    table, who, numbers = _read(offers)
    place = {name: i for i, name in enumerate(people["name"])}
    problems += [f"offers: row {i + 1}: unknown participant {shown(who[i])}" for i in table.index[~who.isin(place)]]
    share = numbers["share"]
    for column, good, rule in (
        ("share", (share > 0) & (share <= 1), "above 0 and at most 1"),
        ("export_offer", np.isfinite(numbers["export_offer"]), "a finite number"),
    ):
        problems += [
            f"offers: row {i + 1}, participant {who[i]!r}: {column} = {shown(table[column][i])} must be {rule}"
            for i in table.index[~good]
        ]
    for name, rows in numbers.groupby(who, sort=False):
        if name in place and np.isfinite(rows).all(axis=None):
            said = _wrong(people.iloc[place[name]], *rows.to_numpy(float).T)
            problems += [f"participant {name!r}: {why}" for why in said]
    return problems


def in_steps(
    offers: pd.DataFrame, people: pd.DataFrame, terms: pd.DataFrame, largest_kw: FloatArray
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Participants and terms of series with a participant for every step of an offer, and what keeps these from being.

    The first step keeps the name, connection, battery and whatever else the plant has; step k is called
    ``NAME, step k``, comes last, and has only its share of the generation. Must-run power fills the steps in order.

    Args:
        offers: a sound table.
        people: checked participants.
        terms: checked series, with codes.
        largest_kw: (n,) the most that each can give.
    """
    _, who, numbers = _read(offers)
    place = {name: i for i, name in enumerate(people["name"])}
    problems: list[str] = []
    new_people: list[pd.Series[object]] = []
    new_terms: list[pd.DataFrame] = []
    people, scale = people.copy(), terms["scale_kw"].to_numpy(float).copy()
    for name, rows in numbers.groupby(who, sort=False):
        i, (share, asked) = place[name], rows.to_numpy(float).T
        own = (terms["participant"] == i).to_numpy() & (terms["quantity"] == EXPORT).to_numpy()
        if not own.any():
            problems.append(f"participant {name!r}: offers in steps, and no series gives it any export")
        before = np.append(0.0, np.cumsum(share))[:-1]
        must = np.clip(people.loc[i, "must_run_kw"] - before * largest_kw[i], 0.0, share * largest_kw[i])
        people.loc[i, ["export_offer", "must_run_kw"]] = asked[0], must[0]
        for k in range(1, len(share)):
            last = len(people) + len(new_people)
            new_people.append(_step(people.iloc[i], k, share, asked, must))
            new_terms.append(terms[own].assign(participant=last, scale_kw=scale[own] * share[k]))
        scale[own] *= share[0]
    everybody = pd.concat([people, pd.DataFrame(new_people)], ignore_index=True).astype(people.dtypes)
    twice = everybody["name"][everybody["name"].duplicated()]
    problems += [f"offers: a participant is called {name!r} already" for name in twice]
    return everybody, pd.concat([terms.assign(scale_kw=scale), *new_terms], ignore_index=True), problems


def _read(offers: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series[str], pd.DataFrame]:
    """The table with rows from 0, who offers in each, and its numbers."""
    table = offers.reset_index(drop=True)
    numbers = {c: pd.to_numeric(table[c], errors="coerce").astype(float) for c in ("share", "export_offer")}
    return table, table["participant"].astype(str), pd.DataFrame(numbers)


def _wrong(person: pd.Series[object], share: FloatArray, asked: FloatArray) -> list[str]:
    """Why a plant cannot offer in these steps."""
    said = []
    if abs(share.sum() - 1.0) > WHOLE:
        said.append(f"the shares of its {counted(len(share), 'step')} add up to {share.sum():g}, not to 1")
    if (k := falling(asked)) is not None:
        low, high = asked[k - 1], asked[k - 2]
        said.append(
            f"offers fall from {high:g} to {low:g} at step {k}: steps that are not convex cannot be dispatched at least"
            " cost; offers must not fall"
        )
    if not np.isnan(float(str(person["export_offer"]))) or float(str(person["export_offer_slope"])) > 0:
        said.append("has an export_offer or a slope beside its offers in steps: give one of them")
    if float(str(person["battery_kwh"])) > 0:
        said.append("has a battery, which has one offer; make it a participant of its own")
    return said


def _step(
    person: pd.Series[object], k: int, share: FloatArray, asked: FloatArray, must: FloatArray
) -> pd.Series[object]:
    """The participant of a further step."""
    step = person.copy()
    step["name"] = step_name(str(person["name"]), k)
    step["export_offer"], step["must_run_kw"], step["inflexible_kvar"] = asked[k], must[k], 0.0
    step["connection_export_kw"] = share[k] * float(str(person["connection_export_kw"]))
    return step
