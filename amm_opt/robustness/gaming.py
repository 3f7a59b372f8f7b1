"""Participants that do not tell the truth: what they gain and others lose, and what a price tells of neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.cases import Case, as_case
from amm_opt.cases.profiles import REQUESTS
from amm_opt.errors import InputError, Problems, unknown
from amm_opt.fields import Checked, is_number, shortened
from amm_opt.market import Mechanism
from amm_opt.robustness.useful import useful_kwh
from amm_opt.simulation import Run, simulate
from amm_opt.specs import read_options

Kind = Literal["inflate", "longer", "early", "split", "understate"]
PARAMETER = {"inflate": "factor", "longer": "factor", "early": "hours", "split": "parts", "understate": "factor"}
AVAILABILITY = DECLARED, PHYSICAL = "declared", "physical"


@dataclass(frozen=True)
class Strategy(Checked):
    """What somebody declares in place of the truth.

    Args:
        kind: ``inflate``: so many times the power, for as long; ``longer``: the power for so many times the energy;
            ``early``: sessions so many hours before they arrive, on top; ``split``: several participants in place of
            one, each with its part and a connection like the first; ``understate``: so many times its export.
        amount: the factor, hours or parts.
        availability: ``declared``: the operator believes it; ``physical``: it believes the smaller of what is declared
            and what the device can do, the power of a session or the largest of a profile.

    Raises:
        InputError: an unknown kind or availability, or an amount that makes no sense.
    """

    kind: Kind
    amount: float
    availability: str = DECLARED

    def __post_init__(self) -> None:
        said = []
        allowed = {"understate": (0.0, 1.0), "early": (0.0, np.inf)}.get(self.kind, (1.0, np.inf))
        if not (allowed[0] <= self.amount <= allowed[1] and np.isfinite(self.amount)):
            said.append(f"{PARAMETER[self.kind]} = {self.amount:g} must be from {allowed[0]:g} to {allowed[1]:g}")
        if self.kind == "split" and self.amount != int(self.amount):
            said.append(f"parts = {self.amount:g} must be a whole number")
        if self.availability not in AVAILABILITY:
            said.append(str(unknown("availability", self.availability, AVAILABILITY)))
        if said:
            raise InputError(said, subject=f"strategy {self.kind}")

    def __str__(self) -> str:
        seen = "" if self.availability == DECLARED else f",availability={self.availability}"
        return f"{self.kind}:{PARAMETER[self.kind]}={self.amount:g}{seen}"


def as_strategy(item: Strategy | str) -> Strategy:
    """A strategy from its spec, such as ``inflate:factor=1.5``.

    Raises:
        InputError: an unknown kind or parameter, with the valid choices.
    """
    if isinstance(item, Strategy):
        return item
    kind, _, rest = str(item).partition(":")
    if kind not in PARAMETER:
        raise unknown("strategy", kind, list(PARAMETER))
    said = Problems()
    name = PARAMETER[kind]
    options = read_options(rest, {name: float, "availability": str}, f"strategy {kind}", said)
    if not said and name not in options:
        said.say(f"strategy {kind} needs {name}=...")
    said.report()
    amount = options.pop(name)
    return Strategy(kind, amount, **options)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Gaming:
    """What a strategy came to.

    Attributes:
        participants: a row each: ``participant``, ``cheats``, ``import_kwh`` and ``export_kwh`` of use to it when
            everybody is honest, and ``import_gain_kwh``, ``export_gain_kwh`` when some are not.
        summary: of those who cheat: ``gain_kwh``, ``gain_pct``, ``wasted_kwh`` (granted and of no use); of the others
            ``others_kwh`` and ``others_pct``, negative where they lose; and ``cheats``, how many.
    """

    participants: pd.DataFrame
    summary: pd.Series[float]


def gaming(
    case: Case | str | Path,
    mechanism: Mechanism[Any] | str,
    strategy: Strategy | str,
    *,
    who: Sequence[str] | float = 0.05,
    seed: int = 0,
    honest: Run | None = None,
    **options: Any,
) -> Gaming:
    """Run a mechanism with everybody honest and with some who are not, and compare what is of use.

    The mechanism, its memory included, knows only what is declared. Of what it grants a participant can use no more
    than it can draw at the time: of a session its power, while it is there and until its energy is full (so that energy
    granted later than asked for honestly helps); of a profile what it really asks for.

    Args:
        case, mechanism, options: as for ``simulate``; without ``defer``.
        strategy: what those who cheat declare, such as ``"inflate:factor=1.5"``.
        who: their names, or a share of those who ask for anything that the strategy changes, drawn at random.
        seed: of that draw.
        honest: the run with everybody honest, where it is known.

    Raises:
        InputError: for wrong arguments, or where nobody asks for what the strategy changes.
    """
    the_case, chosen = as_case(case), as_strategy(strategy)
    if options.get("defer"):
        raise InputError("energy that waits is asked for again: what is of use to whom is not kept", subject="gaming")
    cheats = _cheats(the_case, chosen, who, seed)
    told, back = declared(the_case, chosen, cheats)
    honest = simulate(the_case, mechanism, **options) if honest is None else honest
    run = simulate(told, mechanism, **options)
    span = (honest.first, honest.first + len(honest.times))
    before = useful_kwh(the_case, span, honest.allocation.both_kw)
    granted = _together(run.allocation.both_kw, back, the_case.n_participants)
    after = useful_kwh(the_case, span, granted)
    gain = after - before
    mine = np.zeros(the_case.n_participants, dtype=bool)
    mine[cheats] = True
    table = pd.DataFrame({"participant": the_case.participant_names, "cheats": mine})
    for d, direction in enumerate(("import", "export")):
        table[f"{direction}_kwh"], table[f"{direction}_gain_kwh"] = before[d], gain[d]
    of_use, won = before.sum(axis=0), gain.sum(axis=0)
    wasted = granted[..., mine].sum() * the_case.dt_h - after[:, mine].sum()
    numbers = {
        "cheats": float(mine.sum()),
        "gain_kwh": won[mine].sum(),
        "gain_pct": 100.0 * won[mine].sum() / max(of_use[mine].sum(), 1e-12),
        "wasted_kwh": max(0.0, float(wasted)),
        "others_kwh": won[~mine].sum(),
        "others_pct": 100.0 * won[~mine].sum() / max(of_use[~mine].sum(), 1e-12),
    }
    return Gaming(table, pd.Series(numbers, dtype=float))


def _cheats(case: Case, strategy: Strategy, who: Sequence[str] | float, seed: int) -> IntArray:
    asks = case.owns("export" if strategy.kind == "understate" else "import")
    if strategy.kind in ("longer", "early"):
        asks = np.isin(np.arange(case.n_participants), case.profiles.sessions["participant"])
    if is_number(who):
        if not 0 < who <= 1:  # type: ignore[operator]
            raise InputError(
                f"who = {shortened(who)} must be names, or a share above 0 and at most 1", subject="gaming"
            )
        able = np.flatnonzero(asks)
        count = min(len(able), max(1, round(who * len(able))))  # type: ignore[operator]
        if not count:
            raise InputError(f"nobody in {case.name} asks for what {strategy} changes", subject="gaming")
        return np.sort(np.random.default_rng(seed).choice(able, count, replace=False))
    place = {name: i for i, name in enumerate(case.participant_names)}
    said = [
        f"{name!r} asks for nothing that {strategy} changes"
        if name in place
        else f"{case.name} has no participant {name!r}"
        for name in who  # type: ignore[union-attr]
        if name not in place or not asks[place[name]]
    ]
    if said:
        raise InputError(said, subject="gaming")
    return np.array(sorted(place[name] for name in who), dtype=np.intp)  # type: ignore[union-attr]


def declared(case: Case, strategy: Strategy, cheats: IntArray) -> tuple[Case, IntArray]:
    """The case as it is told, and (n',) whose participant of the true case each of its participants is."""
    tables, names = case.tables(), [case.participant_names[i] for i in cheats]
    people, series, sessions = (tables[name].copy() for name in ("participants", "series", "sessions"))
    its = sessions["participant"].isin(names)
    back = np.arange(case.n_participants)
    amount, believed = strategy.amount, strategy.availability == DECLARED
    mine = series["participant"].isin(names)
    if strategy.kind == "understate":
        at = mine & series["quantity"].eq("export")
        series.loc[at, "scale_kw"] = series.loc[at, "scale_kw"] * amount
    elif strategy.kind == "split":
        people, series, sessions, more = _split(people, series, sessions, cheats, names, int(amount))
        back = np.concatenate([back, more])
    elif strategy.kind == "early":
        arrival = pd.to_datetime(sessions.loc[its, "arrival"])
        told = (arrival - pd.Timedelta(hours=amount)).clip(lower=case.times[0])
        more = sessions.loc[its, "power_kw"] * ((arrival - told) / pd.Timedelta(hours=1))
        sessions.loc[its, "arrival"] = told
        sessions.loc[its, "energy_kwh"] = sessions.loc[its, "energy_kwh"] + more
    else:
        power = amount if strategy.kind == "inflate" and believed else 1.0
        at = mine & series["quantity"].eq("import")
        series.loc[at, "scale_kw"] = series.loc[at, "scale_kw"] * power
        sessions.loc[its, "power_kw"] = sessions.loc[its, "power_kw"] * power
        sessions.loc[its, "energy_kwh"] = _fitting(sessions[its], amount)
        people["connection_import_kw"] = people["connection_import_kw"].where(
            ~people["name"].isin(names), people["connection_import_kw"] * power
        )
    return case.with_tables(participants=people, series=series, sessions=sessions), back


def _fitting(sessions: pd.DataFrame, factor: float) -> FloatArray:
    """Energy times the factor, at most what the power brings while the session is there."""
    hours = (pd.to_datetime(sessions["departure"]) - pd.to_datetime(sessions["arrival"])) / pd.Timedelta(hours=1)
    most = np.maximum(sessions["power_kw"] * hours, sessions["energy_kwh"])
    return np.asarray(np.minimum(factor * sessions["energy_kwh"], most), dtype=float)


def _split(
    people: pd.DataFrame, series: pd.DataFrame, sessions: pd.DataFrame, cheats: IntArray, names: list[str], parts: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, IntArray]:
    """Further participants at the same bus, each with an equal part; what is inflexible stays with the first."""
    flexible = series["quantity"].isin(REQUESTS) & series["participant"].isin(names)
    its = sessions["participant"].isin(names)
    series.loc[flexible, "scale_kw"] = series.loc[flexible, "scale_kw"] / parts
    for column in ("power_kw", "energy_kwh"):
        sessions.loc[its, column] = sessions.loc[its, column] / parts
    tables = [people], [series], [sessions]
    rows = people.iloc[cheats].assign(battery_kwh=0.0, battery_kw=0.0, must_run_kw=0.0)
    for k in range(1, parts):
        alias = {name: f"{name} part {k + 1}" for name in names}
        tables[0].append(rows.assign(name=rows["name"].map(alias)))
        for table, some in zip(tables[1:], (series[flexible], sessions[its]), strict=True):
            table.append(some.assign(participant=some["participant"].map(alias)))
    people, series, sessions = (pd.concat(table, ignore_index=True) for table in tables)
    return people, series, sessions, np.tile(cheats, parts - 1)


def _together(granted: FloatArray, back: IntArray, n: int) -> FloatArray:
    """(2, T, n) power of true participants from that of declared ones."""
    one_each = sp.csr_array((np.ones(len(back)), (back, np.arange(len(back)))), shape=(n, len(back)))
    return np.stack([np.asarray((one_each @ power.T).T) for power in granted])
