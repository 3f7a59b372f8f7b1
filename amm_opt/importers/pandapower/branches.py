"""Lines, transformers and switches of a pandapower net, and the shunts that they and others put at buses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import BoolArray, ComplexArray
from amm_opt.errors import counted
from amm_opt.importers.pandapower.net import NetTables
from amm_opt.importers.pandapower.sequences import line_zero, on_phases, transformer_zero
from amm_opt.importers.pandapower.stars import star_legs

SWITCH_RX_RATIO = 2.0
"""R/X of switches with an impedance, pandapower's default."""
TRUE = ("True", "1", "1.0")
APPLIED = ("Ratio", "Symmetrical")
"""Types of tap changers that change magnitudes; an ideal phase shifter turns angles alone."""


def turning(t: NetTables, table: pd.DataFrame, kind: str, tap: str) -> pd.Series[bool]:
    """Transformers whose tap changer stands where it turns the angle: ideal phase shifters and steps with an angle."""
    if f"{tap}_pos" not in table:
        return pd.Series(False, index=table.index)
    position, neutral = (t.numbers(table, kind, f"{tap}_{c}", np.nan) for c in ("pos", "neutral"))
    degree = t.numbers(table, kind, f"{tap}_step_degree", 0.0)
    percent = t.numbers(table, kind, f"{tap}_step_percent", 0.0)
    ideal = t.texts(table, f"{tap}_changer_type").eq("Ideal")
    ideal |= t.texts(table, f"{tap}_phase_shifter").isin(TRUE)
    turned = np.where(ideal, degree.ne(0) | percent.ne(0), percent.ne(0) & (degree % 180.0).ne(0))
    return (position - neutral).fillna(0.0).ne(0) & turned


class BranchReader:
    """Reads the branches of one net.

    Attributes:
        shunt_kw, shunt_kvar: drawn, and injected, at each bus at nominal voltage, by its index.
    """

    def __init__(self, tables: NetTables) -> None:
        self._tables, self._report = tables, tables.report
        self._stars = star_legs(tables)
        self.shunt_kw = pd.Series(0.0, index=tables.bus.index)
        self.shunt_kvar = self.shunt_kw.copy()

    def branches(self) -> list[pd.DataFrame]:
        """One table for each kind that the net has."""
        self._shunts()
        two = self._tables.table("trafo")
        two = self._tables.at_buses(two, "trafo", ("hv_bus", "lv_bus")) if len(two) else two
        for kind in ("trafo", "trafo3w"):
            table = self._tables.table(kind)
            older = table[self._tables.texts(table, "tap_dependent_impedance").isin(TRUE)]
            self._tables.problems += [
                f"{kind} {n!r}: tap_dependent_impedance is not supported: tap_dependency_table is"
                for n in self._tables.names(older, kind)
            ]
        found = [self._lines(), self._transformers(two, "t"), self._transformers(self._stars, "t3")]
        return [t for t in (*found, self._impedances(), self._switches()) if len(t)]

    def _add(self, bus: pd.Series[int], kw: pd.Series[float], kvar: pd.Series[float]) -> None:
        for at, p, q in zip(bus, kw, kvar, strict=True):
            if at in self.shunt_kw.index:
                self.shunt_kw[at] += p
                self.shunt_kvar[at] += q

    def _hang(self, bus: pd.Series[int], which: BoolArray, mva: pd.Series[complex]) -> None:
        """Branches that hang at one bus, by what they draw there at nominal voltage (MW - j Mvar)."""
        kva = 1e3 * mva.to_numpy(complex)[which]
        self._add(bus[which], pd.Series(kva.real), pd.Series(kva.imag))

    def _shunts(self) -> None:
        """Shunts, and the constant-impedance part of wards; pandapower's q_mvar is drawn."""
        t = self._tables
        for kind, p, q in (("shunt", "p_mw", "q_mvar"), ("ward", "pz_mw", "qz_mvar")):
            table = t.at_buses(t.table(kind), kind) if len(t.table(kind)) else t.table(kind)
            if len(table) == 0:
                continue
            factor = pd.Series(1e3, index=table.index)
            if kind == "shunt":
                vn = table["bus"].map(t.vn_kv).astype(float)
                own = t.numbers(table, kind, "vn_kv", np.nan).fillna(vn)
                factor *= t.numbers(table, kind, "step", 1.0, lower=0.0) * (vn / own) ** 2
                tabular = t.texts(table, "step_dependency_table").eq("True")
                t.problems += [
                    f"shunt {name!r}: step_dependency_table is not supported" for name in t.names(table[tabular], kind)
                ]
            kw, kvar = t.numbers(table, kind, p, 0.0) * factor, -t.numbers(table, kind, q) * factor
            self._add(table["bus"], kw, kvar)
            self._report.read.append(
                f"{counted(len(table), f'{kind} element')}: {kw.sum():g} kW, {-kvar.sum():g} kvar at 1 pu"
            )

    def _open_ends(self, table: pd.DataFrame, letter: str, ends: tuple[str, str]) -> BoolArray:
        """(elements, 2) which ends an open switch cuts off, or have no bus in service."""
        t = self._tables
        switch = t.table("switch")
        off = set()
        if len(switch):
            opened = switch[(switch["et"] == letter) & ~t.flags(switch, "switch", "closed")]
            off = set(zip(opened["element"], opened["bus"], strict=True))
        return np.array(
            [[(i, bus) in off or bus not in t.bus.index for bus in row] for i, row in zip(
                table.get("of", table.index), table[list(ends)].to_numpy(), strict=True)], dtype=bool,
        ).reshape(len(table), 2)  # fmt: skip

    def _lines(self) -> pd.DataFrame:
        """Charging and leakage count half at each end; a line that is open at one end is a shunt at the other."""
        t, kind = self._tables, "line"
        every = t.table(kind)
        if len(every) == 0:
            return every
        line = t.at_buses(every, kind, ("from_bus", "to_bus"))
        every = every[every[["from_bus", "to_bus"]].isin(t.bus.index).any(axis=1)]
        number = t.numbers(every, kind, "parallel", 1.0, lower=1.0)
        length = t.numbers(every, kind, "length_km", lower=0.0)
        amps = t.numbers(every, kind, "max_i_ka", np.nan, lower=0.0) * t.numbers(every, kind, "df", 1.0, lower=0.0)
        loading = t.numbers(every, kind, "max_loading_percent", 100.0, lower=0.0) / 100.0
        kv = every["to_bus"].map(t.vn_kv).fillna(every["from_bus"].map(t.vn_kv)).astype(float)
        rating = 1e3 * np.sqrt(3.0) * kv * amps * number * loading
        if unrated := int(rating.isna().sum()):
            self._report.assumed.append(f"no limit on {counted(unrated, 'line')} without max_i_ka")
        size = length * number * kv**2
        kvar = 2e-6 * np.pi * t.frequency_hz * t.numbers(every, kind, "c_nf_per_km", 0.0) * size
        kw = 1e-3 * t.numbers(every, kind, "g_us_per_km", 0.0) * size
        r, x = (t.numbers(every, kind, f"{c}_ohm_per_km") * length / number for c in "rx")
        off = self._open_ends(every, "l", ("from_bus", "to_bus"))
        half = 0.5e-3 * (kw + 1j * kvar) / kv**2
        self._hang(every["from_bus"], ~off[:, 0] & off[:, 1], _seen(half, r + 1j * x, half) * kv**2)
        self._hang(every["to_bus"], ~off[:, 1] & off[:, 0], _seen(half, r + 1j * x, half) * kv**2)
        closed = pd.Series(~off.any(axis=1), index=every.index)[line.index]
        z0 = line_zero(t, line) if t.phased else None
        if kvar[line.index].any() or kw.any():
            self._report.read.append(f"line charging: {kvar.sum():.1f} kvar and {kw.sum():.3g} kW at 1 pu")
        made = pd.DataFrame(
            {
                "name": t.names(line, kind),
                "from_bus": line["from_bus"].map(t.bus),
                "to_bus": line["to_bus"].map(t.bus),
                "r_ohm": r[line.index],
                "x_ohm": x[line.index],
                "kind": "line",
                "rating_kva": rating.fillna(np.inf)[line.index],
                "tap": 1.0,
                "closed": closed,
                "charging_kvar": kvar[line.index],
                "from_shunt_kw": 0.5 * kw[line.index],
                "to_shunt_kw": 0.5 * kw[line.index],
            }
        )
        return made if z0 is None else on_phases(made, z0)

    def _transformers(self, tr: pd.DataFrame, letter: str) -> pd.DataFrame:
        """Impedance at the low-voltage side, from vk and vkr; the turns ratio from the taps and the rated voltages.

        Iron losses and magnetising current stand in the middle of the impedance, pandapower's T model, as its
        equivalent pi with shunts at both ends.
        """
        t, kind = self._tables, "trafo" if letter == "t" else "trafo3w"
        if len(tr) == 0:
            return tr
        number, mva = t.numbers(tr, kind, "parallel", 1.0, lower=1.0), t.numbers(tr, kind, "sn_mva", lower=0.0)
        lower = 0.0 if letter == "t" else -np.inf
        vk, vkr = (t.numbers(tr, kind, c, lower=lower) for c in ("vk_percent", "vkr_percent"))
        high, low, vk, vkr = self._taps(tr, vk, vkr)
        above = vkr.abs() > vk.abs() * (1.0 + 1e-12)
        t.problems += [f"trafo {n!r}: vkr_percent is above vk_percent" for n in t.names(tr[above], kind)]
        t.problems += [f"trafo {n!r}: sn_mva must be positive" for n in t.names(tr[~(mva > 0)], kind)]
        base = low**2 / mva.where(mva > 0, 1.0) / number
        z = (vkr + 1j * np.sign(vk) * np.sqrt(np.maximum(vk**2 - vkr**2, 0.0))) / 100.0 * base
        iron = t.numbers(tr, kind, "pfe_kw", 0.0, lower=0.0) / 1e3
        idle = t.numbers(tr, kind, "i0_percent", 0.0, lower=0.0) / 100.0 * mva
        y = number * (iron - 1j * np.sqrt(np.maximum(idle**2 - iron**2, 0.0))) / low**2
        zero = transformer_zero(t, tr, low) if t.phased and letter == "t" else None
        if t.phased and letter == "t3":
            t.problems.append("trafo3w elements: not supported beside loads and plants on single phases")
        z, at_high, at_low = self._pi(tr, z.to_numpy(complex), y.to_numpy(complex))
        vn_low, vn_high = (tr[c].map(t.vn_kv).astype(float) for c in ("lv_bus", "hv_bus"))
        tap = (high / vn_high) / (low / vn_low)
        if (shift := t.numbers(tr, kind, "shift_degree", 0.0)).any() and not t.phased:
            self._report.left_out.append(
                f"phase shifts of {counted(int(shift.ne(0).sum()), 'transformer')}: they turn angles alone"
            )
        loading = t.numbers(tr, kind, "max_loading_percent", 100.0, lower=0.0) / 100.0
        off = self._open_ends(tr, letter, ("hv_bus", "lv_bus"))
        self._hang(tr["hv_bus"], ~off[:, 0] & off[:, 1], _seen(at_high, z, at_low) * vn_low**2 / tap**2)
        self._hang(tr["lv_bus"], ~off[:, 1] & off[:, 0], _seen(at_low, z, at_high) * vn_low**2)
        if (y != 0).any():
            self._report.read.append(
                f"iron losses of transformers, {1e3 * (iron * number).sum():.2f} kW, and their magnetising current"
            )
        made = pd.DataFrame(
            {
                "name": t.names(tr, kind),
                "from_bus": tr["hv_bus"].map(t.bus),
                "to_bus": tr["lv_bus"].map(t.bus),
                "r_ohm": z.real,
                "x_ohm": z.imag,
                "kind": "transformer",
                "rating_kva": 1e3 * mva * t.numbers(tr, kind, "df", 1.0, lower=0.0) * number * loading,
                "tap": tap,
                "shift_degree": shift,
                "closed": ~off.any(axis=1),
                "from_shunt_kw": 1e3 * at_high.real * vn_low**2 / tap**2,
                "from_shunt_kvar": 1e3 * at_high.imag * vn_low**2 / tap**2,
                "to_shunt_kw": 1e3 * at_low.real * vn_low**2,
                "to_shunt_kvar": 1e3 * at_low.imag * vn_low**2,
            }
        )
        return made if zero is None else on_phases(made, zero[0]).assign(vector_group=zero[1])

    def _pi(
        self, tr: pd.DataFrame, z: ComplexArray, y: ComplexArray
    ) -> tuple[ComplexArray, ComplexArray, ComplexArray]:
        """Star of two impedances and a shunt between them as a delta: series ohm, and siemens at both ends."""
        r_part, x_part = (
            self._tables.numbers(tr, "trafo", f"leakage_{c}_ratio_hv", 0.5).to_numpy()
            for c in ("resistance", "reactance")
        )
        za = z.real * r_part + 1j * z.imag * x_part
        zb = z - za
        whole = z + za * zb * y  # (za zb + za zc + zb zc) / zc with zc = 1 / y
        safe = np.where(whole == 0, 1.0, whole)
        return whole, np.where(whole == 0, 0.5 * y, zb * y / safe), np.where(whole == 0, 0.5 * y, za * y / safe)

    def _taps(
        self, tr: pd.DataFrame, vk: pd.Series[float], vkr: pd.Series[float]
    ) -> tuple[pd.Series[float], pd.Series[float], pd.Series[float], pd.Series[float]]:
        """Rated voltages after both tap changers, and the impedance voltages that a table gives for the position."""
        t = self._tables
        rated = {
            "hv": t.numbers(tr, "trafo", "vn_hv_kv", lower=1e-9),
            "lv": t.numbers(tr, "trafo", "vn_lv_kv", lower=1e-9),
        }
        for tap in ("tap", "tap2"):
            if f"{tap}_pos" not in tr:
                continue
            position = t.numbers(tr, "trafo", f"{tap}_pos", np.nan)
            moved = (position - t.numbers(tr, "trafo", f"{tap}_neutral", np.nan)).fillna(0.0)
            side = t.texts(tr, f"{tap}_side")
            percent, degree = (t.numbers(tr, "trafo", f"{tap}_step_{c}", 0.0) for c in ("percent", "degree"))
            step = moved * percent / 100.0
            factor = np.hypot(1.0 + step * np.cos(np.deg2rad(degree)), step * np.sin(np.deg2rad(degree)))
            factor = factor.where(self._applied(tr, tap, moved), 1.0)
            if (turned := turning(t, tr, "trafo", tap)).any():
                self._report.left_out.append(
                    f"angles of {tap} positions of {counted(int(turned.sum()), 'transformer')}: in a radial network"
                    " they change no voltage"
                )
            tabular = t.texts(tr, f"{tap}_dependency_table").eq("True")
            if tabular.any() and tap == "tap":
                ratio, vk, vkr = self._from_table(tr, tabular, position, vk, vkr)
                factor = ratio.where(tabular, factor)
            lost = (factor != 1.0) & ~side.isin(["hv", "lv"])
            t.problems += [f"trafo {n!r}: {tap}_side must be hv or lv" for n in t.names(tr[lost], "trafo")]
            for which in rated:
                rated[which] = rated[which] * factor.where(side == which, 1.0)
        return rated["hv"], rated["lv"], vk, vkr

    def _applied(self, tr: pd.DataFrame, tap: str, moved: pd.Series[float]) -> pd.Series[bool]:
        """Where a position changes the ratio: by the type of the changer, or as pandapower did before version 3."""
        t = self._tables
        if "tap_changer_type" in tr or f"{tap}_changer_type" in tr:
            kind = t.texts(tr, f"{tap}_changer_type").replace("None", "")
            unknown = ~kind.isin([*APPLIED, "Ideal", "Tabular", ""])
            t.problems += [
                f"trafo {n!r}: {tap}_changer_type = {v!r}; Ratio, Symmetrical, Ideal, Tabular and none are read"
                for n, v in zip(t.names(tr[unknown], "trafo"), kind[unknown], strict=True)
            ]
            idle = moved.ne(0) & kind.eq("")
            if idle.any():
                self._report.left_out.append(
                    f"{tap} positions of {counted(int(idle.sum()), 'transformer')} without {tap}_changer_type, as in"
                    " pandapower 3"
                )
            return kind.isin(APPLIED)
        if f"{tap}_phase_shifter" in tr:
            return ~t.texts(tr, f"{tap}_phase_shifter").isin(TRUE)
        if moved.any():
            self._report.assumed.append(f"{tap} positions change the ratio: the net has no {tap}_changer_type")
        return pd.Series(True, index=tr.index)

    def _from_table(
        self,
        tr: pd.DataFrame,
        tabular: pd.Series[bool],
        position: pd.Series[float],
        vk: pd.Series[float],
        vkr: pd.Series[float],
    ) -> tuple[pd.Series[float], pd.Series[float], pd.Series[float]]:
        """Ratio and impedance voltages from ``trafo_characteristic_table``."""
        t = self._tables
        table = t.raw("trafo_characteristic_table")
        columns = ["id_characteristic", "step", "voltage_ratio", "vk_percent", "vkr_percent"]
        ratio, vk, vkr = pd.Series(1.0, index=tr.index), vk.copy(), vkr.copy()
        rows = {}
        if set(columns) <= set(table.columns):
            rows = {(a, b): rest for a, b, *rest in table[columns].itertuples(index=False)}
        identity = tr.get("id_characteristic_table", pd.Series(np.nan, index=tr.index))
        for k, name in zip(tr.index[tabular], t.names(tr[tabular], "trafo"), strict=True):
            found = rows.get((identity[k], position[k]))
            if found is None:
                t.problems.append(f"trafo {name!r}: trafo_characteristic_table has no row for its tap position")
                continue
            ratio[k] = found[0]
            vk[k], vkr[k] = (new if new == new else old for new, old in zip(found[1:], (vk[k], vkr[k]), strict=True))
        return ratio, vk, vkr

    def _impedances(self) -> pd.DataFrame:
        """Impedances that are alike in both directions, between buses of one nominal voltage, with their shunts."""
        t, kind = self._tables, "impedance"
        table = t.table(kind)
        if len(table) == 0:
            return table
        table = t.at_buses(table, kind, ("from_bus", "to_bus"))
        r, x, r_back, x_back = (t.numbers(table, kind, f"{c}_pu") for c in ("rft", "xft", "rtf", "xtf"))
        kv, back_kv = (table[c].map(t.vn_kv).astype(float) for c in ("from_bus", "to_bus"))
        mva = t.numbers(table, kind, "sn_mva", lower=1e-9)
        odd = (r != r_back) | (x != x_back) | (kv != back_kv)
        t.problems += [
            f"impedance {n!r}: not supported, its two directions or the voltages of its buses differ"
            for n in t.names(table[odd], kind)
        ]
        base = kv**2 / mva
        shunts = {
            f"{end}_{g}_pu": t.numbers(table, kind, f"{g}{end[0]}_pu", 0.0) for end in ("from", "to") for g in "gb"
        }
        values = {"name": t.names(table, kind), "from_bus": table["from_bus"].map(t.bus)}
        values |= {"to_bus": table["to_bus"].map(t.bus), "r_ohm": r * base, "x_ohm": x * base, "kind": "line"}
        values |= {"rating_kva": np.inf, "tap": 1.0, "closed": True}
        for end in ("from", "to"):
            values[f"{end}_shunt_kw"] = 1e3 * mva * shunts[f"{end}_g_pu"]
            values[f"{end}_shunt_kvar"] = 1e3 * mva * shunts[f"{end}_b_pu"]
        self._report.assumed.append(
            f"{counted(len(table), 'impedance element is a line', 'impedance elements are lines')} without a limit"
        )
        if t.phased:
            t.problems.append("impedance elements: not supported beside loads and plants on single phases")
        return pd.DataFrame(values)

    def _switches(self) -> pd.DataFrame:
        """Switches between two buses; those at lines and transformers open these."""
        t, kind = self._tables, "switch"
        switch = t.table(kind)
        if len(switch) == 0:
            return switch
        unknown = ~switch["et"].isin(["b", "l", "t", "t3"])
        t.problems += [
            f"switch {n!r}: et = {e!r} is not supported (b, l, t and t3 are)"
            for n, e in zip(t.names(switch[unknown], kind), switch["et"][unknown], strict=True)
        ]
        for letter, element in (("l", "line"), ("t", "trafo"), ("t3", "trafo3w")):
            at = switch["et"] == letter
            lost = at & ~switch["element"].isin(t.raw(element).index)
            t.problems += [
                f"switch {n!r}: there is no {element} {e}"
                for n, e in zip(t.names(switch[lost], kind), switch["element"][lost], strict=True)
            ]
        switch = t.at_buses(switch[switch["et"] == "b"], kind, ("bus", "element"))
        z = t.numbers(switch, kind, "z_ohm", 0.0, lower=0.0)
        share = np.hypot(SWITCH_RX_RATIO, 1.0)
        amps = t.numbers(switch, kind, "in_ka", np.nan, lower=0.0)
        kv = switch["bus"].map(t.vn_kv).astype(float)
        made = pd.DataFrame(
            {
                "name": t.names(switch, kind),
                "from_bus": switch["bus"].map(t.bus),
                "to_bus": switch["element"].map(t.bus),
                "r_ohm": z * SWITCH_RX_RATIO / share,
                "x_ohm": z / share,
                "kind": "switch",
                "rating_kva": (1e3 * np.sqrt(3.0) * kv * amps).where(amps > 0, np.inf),
                "tap": 1.0,
                "closed": t.flags(switch, kind, "closed") if len(switch) else switch["closed"].astype(bool),
            }
        )
        return on_phases(made, made["r_ohm"] + 1j * made["x_ohm"]) if t.phased else made


def _seen(near: Any, z: Any, far: Any) -> Any:
    """Siemens of a pi that is open at its far end, seen from the near one."""
    return near + far / (1.0 + z * far)
