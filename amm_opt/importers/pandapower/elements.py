"""Loads, plants and batteries of a pandapower net as elements of a draft."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from amm_opt.errors import counted, shorten
from amm_opt.importers.draft import ELEMENT_COLUMNS
from amm_opt.importers.pandapower.costs import Costs
from amm_opt.importers.pandapower.net import NetTables
from amm_opt.importers.people import BATTERY_COLUMNS, MIN_POWER_FACTOR

CHARGE_POINTS = ("APLS", "HLS")
"""SimBench profiles of charge points, public and at home."""
PHASED = {"asymmetric_load": "inflexible", "asymmetric_sgen": "export"}
"""Kinds with powers of their own on every phase, and what they are."""


class ElementReader:
    """Reads what draws and gives power in one net."""

    def __init__(self, tables: NetTables) -> None:
        self._tables, self._report = tables, tables.report

    def elements(self) -> pd.DataFrame:
        """One row per load or plant, and per phase of those that are not alike on all; columns as in ``Draft``."""
        t, parts = self._tables, []
        costs = Costs(t)
        for kind in ("load", "sgen", "gen", "ward", "storage", "motor", *PHASED):
            table = t.table(kind)
            if len(table) == 0:
                continue
            table = t.at_buses(table, kind)
            if kind == "gen":
                table = table[~t.texts(table, "slack").eq("True")]
            if kind == "storage" and len(table := self._without_size(table)) == 0:
                continue
            readers = {"motor": self._motors} | dict.fromkeys(PHASED, partial(self._by_phase, kind=kind))
            read = readers.get(kind, partial(self._powers, kind=kind))(table)
            parts.append(costs.priced(kind, table, read))
            self._report.read.append(counted(len(table), f"{kind} element"))
        parts += self._lines_of_direct_current()
        costs.say_source()
        joined = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=ELEMENT_COLUMNS)
        if len(joined) == 0 and not t.problems:
            t.problems.append("no loads and no generators: nobody takes part")
        return joined

    def batteries(self) -> pd.DataFrame:
        """One row per storage unit, columns ``BATTERY_COLUMNS``: what it holds between its limits, and its power.

        Of ``efficiency_percent``, which pandapower does not use, we read that of a round trip, half of it (its square
        root) each way; SimBench gives it as a share.
        """
        t, kind = self._tables, "storage"
        table = t.table(kind)
        if len(table) == 0:
            return pd.DataFrame(columns=BATTERY_COLUMNS)
        table = t.at_buses(table, kind)
        table = table.drop(index=self._without_size(table).index)
        number = t.numbers(table, kind, "scaling", 1.0, lower=0.0)
        low = t.numbers(table, kind, "min_e_mwh", 0.0, lower=0.0)
        kwh = 1e3 * number * (t.numbers(table, kind, "max_e_mwh", lower=0.0) - low)
        p = t.numbers(table, kind, "p_mw")
        size = t.numbers(table, kind, "sn_mva", np.nan, lower=0.0)
        limits = [t.numbers(table, kind, c, np.nan).abs() for c in ("min_p_mw", "max_p_mw")]
        kw = 1e3 * number * size.fillna(pd.concat([*limits, p.abs()], axis=1).max(axis=1))
        given = t.numbers(table, kind, "efficiency_percent", np.nan, lower=1e-9)
        round_trip = (given / 100.0).where(given > 1.0, given).fillna(0.9025)
        bad = (kw <= 0) | (kwh <= 0)
        t.problems += [f"storage {n!r}: max_e_mwh must be above min_e_mwh and sn_mva positive"
                       for n in t.names(table[bad], kind)]  # fmt: skip
        if (steady := p * number).any():
            self._report.left_out.append(
                f"{1e3 * steady.sum():g} kW that storage units draw as they stand: batteries are idle but for"
                " mechanisms that schedule them"
            )
        if (profiled := t.texts(table, "profile").ne("")).any():
            self._report.left_out.append(f"profiles of {int(profiled.sum())} storage units: they are batteries")
        self._report.read.append(
            f"{counted(len(table), 'storage element')} as batteries of {kwh.sum():g} kWh and {kw.sum():g} kW"
        )
        values = {
            "name": t.names(table, kind),
            "bus": table["bus"].map(t.bus),
            "kwh": kwh,
            "kw": kw,
            "efficiency": np.sqrt(round_trip),
            "initial": t.numbers(table, kind, "soc_percent", 50.0, lower=0.0) / 100.0,
        }
        return pd.DataFrame(values)[BATTERY_COLUMNS]

    def _without_size(self, table: pd.DataFrame) -> pd.DataFrame:
        """Storage that holds nothing, or of which nobody says how much: its power as it stands is all there is."""
        size = self._tables.numbers(table, "storage", "max_e_mwh", np.nan)
        rows = table[size.isna() | (size == self._tables.numbers(table, "storage", "min_e_mwh", 0.0))]
        if len(rows):
            said = f"power as it stands of {counted(len(rows), 'storage element')} that can hold nothing (max_e_mwh)"
            self._report.assumed += [said] if said not in self._report.assumed else []
        return rows

    def _stated(self, table: pd.DataFrame, kind: str, column: str, without: float) -> pd.Series[float]:
        """A column that a net may lack, but that has no empty places: ``runpp`` knows no power there either."""
        lacking = column not in table
        return self._tables.numbers(table, kind, column, without if lacking else None)

    def _powers(self, table: pd.DataFrame, kind: str) -> pd.DataFrame:
        t = self._tables
        p_column, q_column = ("ps_mw", "qs_mvar") if kind == "ward" else ("p_mw", "q_mvar")
        scaling = 1e3 * self._stated(table, kind, "scaling", 1.0)
        profile = t.texts(table, "profile")
        drawn = kind in ("ward", "storage")
        quantity = pd.Series("inflexible" if drawn else "export", index=table.index)
        if kind == "storage":
            profile[:] = ""
        if kind == "load":
            flexible = profile.str.startswith(CHARGE_POINTS) | t.texts(table, "controllable").isin(["True", "1", "1.0"])
            quantity = flexible.map({True: "import", False: "inflexible"})
            if flexible.any():
                some = counted(int(flexible.sum()), "load")
                self._report.assumed.append(f"flexible import (controllable, or a charge point's profile): {some}")
            self._say_dependence(table, 1e-3 * scaling)
            profile = profile.where(profile == "", profile + "_pload")
        if t.phased:
            delta = table[t.texts(table, "type").eq("delta")]
            t.problems += [
                f"{kind} {n!r}: type = 'delta' is not supported beside loads and plants on single phases"
                for n in t.names(delta, kind)
            ]
        p = t.numbers(table, kind, p_column) * scaling
        q = self._stated(table, kind, q_column, 0.0) * scaling
        if kind == "gen" and len(table):
            self._report.assumed.append(f"{counted(len(table), 'generator')} at unity power factor, holding no voltage")
            q *= 0.0
        wrong = table[(quantity != "inflexible") & (p < 0)]
        t.problems += [f"{kind} {name!r}: p_mw must not be negative" for name in t.names(wrong, kind)]
        columns = {"name": t.names(table, kind), "bus": table["bus"].map(t.bus), "quantity": quantity}
        return pd.DataFrame({**columns, "p_kw": p, "q_kvar": q, "profile": profile, "phases": ""})[ELEMENT_COLUMNS]

    def _say_dependence(self, table: pd.DataFrame, scaling: pd.Series[float]) -> None:
        """Loads with shares of constant impedance and current draw constant power: how much that is wrong at 1.1 pu."""
        t, kind = self._tables, "load"
        dependent = [str(c) for c in table if str(c).startswith("const_") and t.numbers(table, kind, str(c), 0.0).any()]
        if not dependent:
            return
        both = []
        for letter, column in (("p", "p_mw"), ("q", "q_mvar")):
            power = (t.numbers(table, kind, column, 0.0) * scaling).abs()
            z, i = (
                t.numbers(table, kind, f"const_{c}_{letter}_percent", 0.0)
                + t.numbers(table, kind, f"const_{c}_percent", 0.0)
                for c in "zi"
            )
            both.append(1e3 * (power * (0.21 * z + 0.1 * i) / 100.0).sum())
        self._report.assumed.append(
            f"loads that depend on the voltage ({shorten(dependent)}) draw constant power, which at 1.1 pu is"
            f" {both[0]:.3g} kW and {both[1]:.3g} kvar less than theirs, and at 0.9 pu up to as much more"
        )

    def _motors(self, table: pd.DataFrame) -> pd.DataFrame:
        """Load, from the mechanical power; reactive power is drawn."""
        t, kind = self._tables, "motor"
        share = t.numbers(table, kind, "loading_percent", 100.0) / t.numbers(
            table, kind, "efficiency_percent", 100.0, lower=1e-9
        )
        p = 1e3 * t.numbers(table, kind, "pn_mech_mw") * share * self._stated(table, kind, "scaling", 1.0)
        factor = t.numbers(table, kind, "cos_phi", lower=MIN_POWER_FACTOR)
        t.problems += [f"motor {n!r}: cos_phi must not be above 1" for n in t.names(table[factor > 1], kind)]
        q = p.abs() * np.sqrt(np.maximum(1.0 / factor**2 - 1.0, 0.0))
        values = {"name": t.names(table, kind), "bus": table["bus"].map(t.bus), "quantity": "inflexible"}
        return pd.DataFrame({**values, "p_kw": p, "q_kvar": q, "profile": "", "phases": ""})[ELEMENT_COLUMNS]

    def _lines_of_direct_current(self) -> list[pd.DataFrame]:
        """What they draw at one end and give at the other as they stand, less losses; they hold no voltage here."""
        t, kind = self._tables, "dcline"
        table = t.table(kind)
        if len(table) == 0:
            return []
        p, percent, fixed = (t.numbers(table, kind, c) for c in ("p_mw", "loss_percent", "loss_mw"))
        given = p.abs() * (1.0 - percent / 100.0) - fixed
        powers = {"from_bus": -p.where(p > 0, -given), "to_bus": p.where(p <= 0, given)}
        parts = []
        for end, mw in powers.items():
            at = t.at_buses(table, kind, [end])
            names = [f"{n} {end.removesuffix('_bus')}" for n in t.names(at, kind)]
            part = pd.DataFrame({"name": names, "bus": at[end].map(t.bus), "quantity": "inflexible"})
            part["p_kw"] = -1e3 * mw[at.index]
            parts.append(part.assign(q_kvar=0.0, profile="", phases="")[ELEMENT_COLUMNS])
        self._report.read.append(counted(len(table), "dcline element"))
        self._report.assumed.append(
            f"power as it stands of {counted(len(table), 'line')} of direct current, at unity power factor, holding no"
            " voltage"
        )
        return parts

    def _by_phase(self, table: pd.DataFrame, kind: str) -> pd.DataFrame:
        """One row for every phase with power; those between phases are problems."""
        t = self._tables
        between = t.texts(table, "type").eq("delta")
        t.problems += [f"{kind} {n!r}: type = 'delta' is not supported: wye is" for n in t.names(table[between], kind)]
        scaling, rows = 1e3 * self._stated(table, kind, "scaling", 1.0), []
        for phase in "abc":
            p, q = (
                self._stated(table, kind, f"{c}_{phase}_{u}", 0.0) * scaling for c, u in (("p", "mw"), ("q", "mvar"))
            )
            if PHASED[kind] == "export":
                t.problems += [f"{kind} {n!r}: p_{phase}_mw must not be negative" for n in t.names(table[p < 0], kind)]
            values = {"name": t.names(table, kind), "bus": table["bus"].map(t.bus), "quantity": PHASED[kind]}
            values |= {"p_kw": p, "q_kvar": q, "profile": "", "phases": phase}
            rows.append(pd.DataFrame(values)[(p != 0) | (q != 0)])
        return pd.concat(rows, ignore_index=True)[ELEMENT_COLUMNS]
