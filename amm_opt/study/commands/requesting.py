"""The command ``amm-opt fair-play``: a market for flexible requests, and two plans beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray
from amm_opt.errors import InputError, Problems
from amm_opt.fields import is_number
from amm_opt.io.files import claimed, released, replace_file, whole_folder
from amm_opt.io.progress import working
from amm_opt.io.tables import read_table
from amm_opt.request_market import (
    BookingPlan,
    FairPlay,
    HouseholdLoads,
    RequestProblem,
    RequestRun,
    generated_problem,
    read_household_loads,
    request_problem,
)
from amm_opt.request_market.loads import SLOT
from amm_opt.study.show import json_option, print_json, show
from amm_opt.study.terminal import folder_given, say

APPROACHES = ("fair_play", "volume", "revenue")
FORMS = {"requests": ".0f", "accepted": ".0f", "asked_kwh": ".1f", "served_kwh": ".1f", "essential_unserved_kwh": ".1f"}


@click.command(name="fair-play")
@click.argument("table", required=False, callback=folder_given)
@click.option("--supply", metavar="KW|FILE", help="Supply in kW, or a table of time and supply_kw at half-hours.")
@click.option("--households", callback=folder_given, metavar="FILE", help="Product, flexibility and price cap of each.")
@click.option("--approaches", default=",".join(APPROACHES), show_default=True, help="Comma-separated names.")
@click.option("--no-products", is_flag=True, help="One queue for all requests.")
@click.option("--deadband", type=float, default=0.3, show_default=True, help="Share of supply in no product's share.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draws, and of generated households.")
@click.option("--count", type=int, help="Generated households (default: 30).")
@click.option("--days", type=int, help="Generated days (default: 7).")
@click.option("--out", callback=folder_given, metavar="PATH", help="New folder for tables of requests and households.")
@json_option
def fair_play(
    table: Path | None,
    supply: str | None,
    households: Path | None,
    approaches: str,
    no_products: bool,
    deadband: float,
    seed: int,
    count: int | None,
    days: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Hold a market for requests of households, and two plans beside it.

    TABLE has the column time and a column in kW per household, at equal steps that divide half an hour. Without it,
    households and supply are generated.

    \b
    Example:  amm-opt fair-play --days 3 --count 10
    Example:  amm-opt fair-play loads.csv --supply 40 --households households.csv
    """
    said = Problems()
    names = [name.strip() for name in approaches.split(",") if name.strip()]
    said.say(*(f"unknown approach {n!r}; valid choices: {', '.join(APPROACHES)}" for n in names if n not in APPROACHES))
    market = said.of(lambda: FairPlay(products=not no_products, deadband=deadband, seed=seed))
    problem = _generated(said, count, days, seed) if table is None else _given(said, table, supply, households)
    if table is None:
        said.say("--supply needs a TABLE" if supply else "", "--households needs a TABLE" if households else "")
    else:
        given = {"--count": count, "--days": days}
        said.say(*(f"{option} is for generated households" for option, value in given.items() if value is not None))
    if out is not None:
        said.of(lambda: released(claimed(out)))
    said.report()
    assert problem is not None
    assert market is not None
    kinds: dict[str, FairPlay | BookingPlan] = {
        "fair_play": market,
        "volume": BookingPlan("volume"),
        "revenue": BookingPlan("revenue"),
    }
    with working("fair play"):
        runs = [kinds[name].run(problem) for name in dict.fromkeys(names)]
    if out is not None:
        with whole_folder(out):
            for run in runs:
                replace_file(out / f"{run.approach}_requests.csv", run.table.to_csv(index=False))
                replace_file(out / f"{run.approach}_households.csv", run.households.to_csv(index=False))
    _print(runs, as_json)
    if out is not None and not as_json:
        say(f"Written to {out}")


def _generated(said: Problems, count: int | None, days: int | None, seed: int) -> RequestProblem | None:
    size = {"count": 30 if count is None else count, "days": 7 if days is None else days}
    return said.of(lambda: generated_problem(**size, seed=seed))


def _given(said: Problems, table: Path, supply: str | None, households: Path | None) -> RequestProblem | None:
    """The problem of a user's tables; what is wrong with each of them is kept."""
    loads = said.of(lambda: read_household_loads(table))
    terms = None if households is None else said.of(lambda: read_table(households, "table of households"))
    if supply is None:
        said.say("--supply is missing: supply in kW, or a table of time and supply_kw")
        return None
    if loads is None or (households is not None and terms is None):
        return None
    kw = said.of(lambda: _supply_kw(supply, loads))
    return said.of(lambda: request_problem(loads, np.zeros(loads.n_slots) if kw is None else kw, terms))


def _supply_kw(given: str, loads: HouseholdLoads) -> FloatArray:
    """(N,) supply: a number for all half-hours, or a table's."""
    try:
        number = float(given)
    except ValueError:
        return _supply_table(given, loads)
    if not is_number(number) or number < 0:
        raise InputError(f"--supply {given}: supply must be 0 or more")
    return np.full(loads.n_slots, number)


def _supply_table(path: str, loads: HouseholdLoads) -> FloatArray:
    table = read_table(path, "table of supply")
    if missing := [c for c in ("time", "supply_kw") if c not in table]:
        raise InputError([f"table of supply: missing column {c!r}" for c in missing])
    found = HouseholdLoads.from_table(table[["time", "supply_kw"]], "table of supply")
    slots = pd.date_range(loads.times[0], periods=loads.n_slots, freq=SLOT)
    if not found.times.equals(slots):
        raise InputError(f"table of supply: its times must be the half-hours from {slots[0]} to {slots[-1]}")
    return found.load_kw[:, 0]


def _print(runs: list[RequestRun], as_json: bool) -> None:
    rows: list[dict[str, Any]] = [{"approach": run.approach, **run.summary} for run in runs]
    if as_json:
        print_json(rows)
        return

    def cell(name: str, value: Any) -> str:
        return value if isinstance(value, str) else "" if np.isnan(value) else format(value, FORMS.get(name, ".3f"))

    show([{k: cell(k, v) for k, v in row.items()} for row in rows], False, "Requests of households")
