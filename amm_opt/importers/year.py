"""A year of half-hours on an imported network: who has a roof or a car, and what they ask for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_type_hints

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amm_opt.cases.case import Case
from amm_opt.cases.folder.folder import from_tables
from amm_opt.cases.scenario import Scenario
from amm_opt.cases.synthetic.generators import (
    EV_KW,
    LATITUDE_DEG,
    PV_KW,
    TIMER_SHARE,
    WEEK,
    charging_sessions,
    household_series,
    roof_series,
    year_profiles,
)
from amm_opt.errors import InputError, Problems, counted, shorten
from amm_opt.fields import Checked, is_number, shortened
from amm_opt.importers.imported import ImportedNetwork
from amm_opt.importers.people import SERVICE_KW
from amm_opt.io.columns import text
from amm_opt.specs import read_options

HOUSEHOLD_SHAPES = 40
TAP_STEP = 0.025
SITE_KW = 5.0
"""Own load of a site for every home whose vehicle and roof it may have."""
SITE = "site"
"""Profile of sites: the mean of all household shapes, per unit of its highest value."""


@dataclass(frozen=True)
class YearScenario(Checked):
    """What is laid over a network that comes without profiles.

    Attributes:
        ev: share of customers with an electric vehicle (7.4 kW).
        timer: share of its sessions that start by a tariff timer at 22:00.
        pv: share of customers with a roof of 3 to 8 kW.
        load_kw: median of the customers' mean inflexible load.
        tap_steps: steps of 2.5 % by which every distribution transformer lowers LV.
        days: length, from 1 January.
        year: of the time stamps.
        seed: of every random choice.
    """

    ev: float = 0.3
    timer: float = TIMER_SHARE
    pv: float = 0.4
    load_kw: float = 0.45
    tap_steps: int = 1
    days: int = 365
    year: int = 2023
    seed: int = 0

    def __post_init__(self) -> None:
        rules = (
            *((name, 0.0, 1.0) for name in ("ev", "timer", "pv")),
            ("load_kw", 0.0, 1.5),
            ("tap_steps", -4, 4),
            ("days", 1, 3660),
            ("year", 1970, 2200),
            ("seed", 0, 2**32 - 1),
        )
        problems = [
            f"{name} = {getattr(self, name)} must be within {low:g} to {high:g}"
            for name, low, high in rules
            if not low <= getattr(self, name) <= high
        ]
        if problems:
            raise InputError(problems, subject="scenario")

    @classmethod
    def from_spec(cls, text: str) -> YearScenario:
        """A scenario from ``"ev=0.6,pv=0.3"``; what is not given keeps its default.

        Raises:
            InputError: an unknown name, or a value that is no number, whole where it must be, or out of range.
        """
        said = Problems()
        values = read_options(text, get_type_hints(cls), "scenario", said)
        said.report()
        return cls(**values)

    def __str__(self) -> str:
        steps = f", LV lowered by {100 * TAP_STEP * self.tap_steps:g} %" if self.tap_steps else ""
        return (
            f"{self.ev:.0%} of customers charge a vehicle at {EV_KW:g} kW, {self.timer:.0%} of the sessions by a timer"
            f" at 22:00; {self.pv:.0%} have a roof of {PV_KW[0]:g} to {PV_KW[1]:g} kW; median load {self.load_kw:g}"
            f" kW{steps}; seed {self.seed}"
        )


def year_case(
    network: ImportedNetwork,
    scenario: YearScenario | None = None,
    *,
    latitude_deg: float = LATITUDE_DEG,
    timezone: str = "",
    title: str = "",
    licence: str = "",
    attribution: str = "",
) -> Case:
    """The network with a year of half-hours by a scenario; each customer of the network is one participant.

    Loads have power factor 0.95, vehicles and roofs 1. A customer whose own kW are more than a service of 80 A carries
    is a site, such as a shop or a street: its load has these kW as its peak and its own power factor, it has as many
    chances of a vehicle and of a roof as there are 5 kW in it, and its connection is agreed for its own kW with its
    vehicles. Customers without active power that draw (or feed in) constant
    reactive power, ``inflexible_kvar`` of the network's customers, do only that. The same seed gives the same
    case, and a higher share of one technology leaves the draws of the others alone.

    Args:
        timezone, title, licence, attribution: of the case; the network's own by default.

    Raises:
        InputError: where that is no network, or it has no customers.
    """
    scenario = YearScenario() if scenario is None else scenario
    _check(network, scenario, latitude_deg)
    if scenario.tap_steps:
        network = network.with_taps((1.0 + TAP_STEP) ** scenario.tap_steps)
    people = _participants(network.customers)
    sites = _sites(network.customers)
    homes = ~_only_reactive(network.customers) & ~people["name"].isin(sites.index)
    demand = _demand(people["name"][homes].to_numpy(dtype=object), sites, scenario, latitude_deg)
    made = from_tables(
        name=network.name,
        buses=network.buses,
        branches=network.branches,
        participants=_with_sites(people, sites, demand),
        **demand,
        scenario=Scenario(description=str(scenario)),
        timezone=timezone or network.timezone or None,
        title=title or network.title or f"{network.name}, {scenario.days} days of half-hours",
        licence=licence or network.licence,
        attribution=attribution or network.attribution,
    )
    notes = [f"a scenario instead of the customers' kW and power factors: {scenario}"]
    if network.demand is not None:
        plants = network.demand.participants
        gone = plants["name"][~plants["name"].isin(network.customers["name"])]
        more = f"; among them {len(gone)} that are no customers: {shorten(gone)}" if len(gone) else ""
        notes.append(f"the file's own profiles, plants and batteries are left out for the scenario{more}")
    if len(sites):
        notes.append(
            f"{counted(len(sites), 'site')} of more than {SERVICE_KW:g} kW on a phase: kW stay, as a peak, and so do"
            f" power factors; a vehicle and a roof by chance for every {SITE_KW:g} kW: {shorten(sites.index)}"
        )
    return replace(made, report=replace(network.report, assumed=[*network.report.assumed, *notes]))


def _check(network: ImportedNetwork, scenario: YearScenario, latitude_deg: float) -> None:
    if not isinstance(network, ImportedNetwork):
        raise InputError(
            f"year_case lays a year over a network that an importer read (from_opendss); this is a"
            f" {type(network).__name__}, give its own profiles instead"
        )
    if not isinstance(scenario, YearScenario):
        raise InputError(f"scenario = {scenario!r}; a YearScenario is needed (YearScenario.from_spec reads a text)")
    if not (is_number(latitude_deg) and -90.0 <= latitude_deg <= 90.0):
        raise InputError(f"latitude_deg = {shortened(latitude_deg)} must be a number within -90 to 90")
    if network.customers.empty:
        raise InputError(f"{network.name} has no customers")


def _demand(
    names: NDArray[np.object_], sites: pd.Series[float], scenario: YearScenario, latitude_deg: float
) -> dict[str, pd.DataFrame]:
    """Tables ``profiles``, ``series`` and ``sessions``: load of every name, roofs and vehicles of some."""
    streams = (np.random.default_rng(s) for s in np.random.SeedSequence(scenario.seed).spawn(6))
    shapes, loads, roofs, cars, site_roofs, site_cars = streams
    times = pd.date_range(f"{scenario.year}-01-01", periods=48 * scenario.days, freq="30min")
    profiles = year_profiles(times, latitude_deg, HOUSEHOLD_SHAPES, shapes)
    shifts = np.add.outer(WEEK * np.arange(-2, 3), np.arange(-1, 2)).ravel()
    homes = household_series(names, HOUSEHOLD_SHAPES, scenario.load_kw, 0.4, shifts, loads)
    peak = profiles.drop(columns="time").max()[homes["profile"]].to_numpy()
    homes["scale_kw"] = np.minimum(homes["scale_kw"], np.floor(1000 * (SERVICE_KW - EV_KW - 0.01) / peak) / 1000)
    owners = names[cars.random(len(names)) < scenario.ev]
    sessions = charging_sessions(owners, times, cars, timer_share=scenario.timer)
    parts = [homes, roof_series(names, scenario.pv, PV_KW, roofs)]
    if len(sites):
        mean = profiles[[f"home{k}" for k in range(HOUSEHOLD_SHAPES)]].mean(axis=1)
        profiles[SITE] = mean / mean.max()
        chances = np.repeat(sites.index.to_numpy(dtype=object), np.ceil(sites / SITE_KW).astype(int))
        drawn = roof_series(chances, scenario.pv, PV_KW, site_roofs)
        keys = ["participant", "quantity", "profile", "shift_steps"]
        parts.append(drawn.groupby(keys, as_index=False, sort=False)["scale_kw"].sum())
        own = {"participant": sites.index, "quantity": "inflexible", "profile": SITE, "shift_steps": 0}
        parts.append(pd.DataFrame({**own, "scale_kw": sites.to_numpy()}))
        owners = chances[site_cars.random(len(chances)) < scenario.ev]
        more = charging_sessions(owners, times, site_cars, timer_share=scenario.timer)
        sessions = pd.concat([sessions, more], ignore_index=True) if len(sessions) else more
    series = pd.concat([part for part in parts if len(part)], ignore_index=True)
    return {"profiles": profiles, "series": series, "sessions": sessions}


def _sites(customers: pd.DataFrame) -> pd.Series[float]:
    """kW by name of the customers that are more than homes."""
    count = customers["phases"].map(_phase_count) if "phases" in customers else 1
    own = customers[customers["kw"] > SERVICE_KW * count]
    return pd.Series(own["kw"].to_numpy(dtype=float), index=own["name"].to_numpy(dtype=object), name="kw")


def _with_sites(people: pd.DataFrame, sites: pd.Series[float], demand: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Participants with the connections of sites: their own kW and all that their vehicles and roofs may ask for."""
    if not len(sites):
        return people
    name, series, sessions = people["name"], demand["series"], demand["sessions"]
    own = name.isin(sites.index)
    roofs = series[series["quantity"].eq("export")].groupby("participant")["scale_kw"].sum()
    marks = pd.concat(
        [
            pd.DataFrame(
                {"participant": sessions["participant"], "at": sessions["arrival"], "kw": sessions["power_kw"]}
            ),
            pd.DataFrame(
                {"participant": sessions["participant"], "at": sessions["departure"], "kw": -sessions["power_kw"]}
            ),
        ]
    ).sort_values(["at", "kw"], ascending=[True, False])
    most = marks.groupby("participant")["kw"].cumsum().groupby(marks["participant"]).max()
    agreed = name.map(sites) + name.map(most).fillna(0.0)
    return people.assign(
        connection_import_kw=people["connection_import_kw"].where(~own, agreed),
        connection_export_kw=people["connection_export_kw"].where(~own, name.map(roofs).fillna(0.0)),
    )


def _only_reactive(customers: pd.DataFrame) -> pd.Series[bool]:
    if "inflexible_kvar" not in customers:
        return pd.Series(False, index=customers.index)
    return customers["kw"].eq(0) & customers["inflexible_kvar"].fillna(0.0).ne(0)


def _participants(customers: pd.DataFrame) -> pd.DataFrame:
    """Every customer with a service of 80 A on each phase; on one where the network is balanced or does not say."""
    own = [c for c in ("name", "bus", "phases", "inflexible_kvar") if c in customers]
    people = customers[own].assign(power_factor=0.95, connection_export_kw=10.0)
    if "power_factor" in customers:
        sites = people["name"].isin(_sites(customers).index)
        people["power_factor"] = people["power_factor"].where(~sites, customers["power_factor"])
    count = people["phases"].map(_phase_count) if "phases" in people else 1
    return people.assign(connection_import_kw=SERVICE_KW * count)


def _phase_count(phases: object) -> int:
    given = text(phases)
    return 1 if given is None or given == "pos" else len(given)
